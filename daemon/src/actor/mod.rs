//! The phone's privileged half, `homingd actor`, and the agent's way to ask it. It has no network, and believes nothing that is not signed.

pub(crate) mod ask;
pub(crate) mod bootcopy;
pub(crate) mod identity;
mod memory;
pub(crate) mod notice;
mod service;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use homing_hal::{Hal, Roots};
use homing_protocol::actor::Request;
use homing_protocol::id::BootId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::bootcopy::BootCopy;
use self::identity::TakenOver;
use self::service::Service;
use self::socket::{Callers, Doorkeeper, Listener};
use crate::config::{self, Settings};
use crate::error::Error;
use crate::exit::ExitError;
use crate::signal::{Signal, Signals};
use crate::siren::intent;
use crate::{args, boottime, log, notify};

/// How long a process that was started by a request waits for the next one, where nothing else keeps it.
const IDLE: Duration = Duration::from_secs(20);

/// How long nobody is let in after that failed: the system is short of something.
const REST: Duration = Duration::from_secs(1);

/// `homingd actor`.
///
/// # Errors
/// A configuration that cannot be used (78), a folder or socket that cannot be had (74), missing rights (77).
pub(crate) fn run(order: &args::Order) -> Result<(), ExitError> {
    let settings = config::load(&order.source)?.settings;
    log::start(settings.log);
    crate::agent::simulate_clocks(order)?;
    let mut signals = Signals::install()?;
    let actor_dir = settings.actor_dir();
    identity::prepare(&actor_dir)?;
    begin_to_serve(&settings);
    let roots = Roots::default();
    let boot: BootId = intent::boot_id(&roots)?
        .replace('-', "")
        .parse()
        .map_err(|_| Error::Kernel {
            doing: "read the boot id",
            source: io::ErrorKind::InvalidData.into(),
        })?;
    let mut hal = settings.hal.clone();
    hal.actor_folder = Some(actor_dir.clone());
    let lockdown = Hal::open(&hal, &roots).lockdown;
    let copy = BootCopy::new(&settings, &roots);
    let mut service = Service::open(actor_dir, lockdown, boot, copy)?;
    let listener = Listener::open(&settings.actor_socket())?;
    // A phone that starts in lost mode is locked before anybody is let in.
    crate::agent::outlast(service.settle())?;
    notify::ready();
    let ended = serve(&mut service, &listener, &mut signals, &settings);
    notify::stopping();
    Ok(ended?)
}

/// A phone that joined before it had a privileged half, or without one, is served from now on.
fn begin_to_serve(settings: &Settings) {
    let actor_dir = settings.actor_dir();
    // One that is damaged is an owner's, too.
    if !matches!(identity::ActorIdentity::load(&actor_dir), Ok(None)) {
        return;
    }
    match identity::take_over(&settings.state_dir, &actor_dir) {
        Ok(TakenOver::Yes) => tracing::info!("this phone can be locked from now on"),
        Ok(TakenOver::Nothing) => tracing::info!("this phone has not joined an account"),
        // It may join later; until then every order is answered with the reason.
        Err(error) => tracing::error!("this phone cannot be locked: {error}"),
    }
}

fn serve(
    service: &mut Service,
    listener: &Listener,
    signals: &mut Signals,
    settings: &Settings,
) -> Result<(), Error> {
    let doorkeeper = Doorkeeper::of(&settings.state_dir);
    let mut callers = Callers::default();
    let mut asked_at = boottime::now()?;
    let mut closed_until = Duration::ZERO;
    loop {
        let now = boottime::now()?;
        let may_end = service.due().is_none() && listener.is_activated() && callers.is_empty();
        if may_end && now >= asked_at + IDLE {
            return Ok(());
        }
        let until_due = service.due().map(|at| at.saturating_sub(now));
        let until_idle = may_end.then(|| (asked_at + IDLE).saturating_sub(now));
        let rest = closed_until.checked_sub(now).filter(|rest| !rest.is_zero());
        let patience = [until_due, until_idle, callers.patience(now), rest];
        let patience = patience.into_iter().flatten().min();
        let door = rest.is_none().then_some(listener);
        wait(door, &callers, signals, patience)?;
        while let Some(signal) = signals.take() {
            if signal == Signal::Stop {
                return Ok(());
            }
        }
        let now = boottime::now()?;
        if let Err(error) = callers.let_in(listener, now) {
            tracing::warn!("nobody can be let in: {error}");
            // Whoever waits outside keeps the socket readable: without a rest this would spin.
            closed_until = now + REST;
        }
        let mut asked = callers.take_requests(&doorkeeper, now);
        // Whoever types a code waits for nobody's orders.
        asked.sort_by_key(|(request, _)| matches!(request, Request::Order { .. }));
        for (request, caller) in asked {
            caller.reply(&service.answer(&request));
            asked_at = boottime::now()?;
        }
        // Questions put this off for nobody.
        if service.due().is_some_and(|at| now >= at) {
            crate::agent::outlast(service.settle())?;
        }
    }
}

fn wait(
    door: Option<&Listener>,
    callers: &Callers,
    signals: &Signals,
    patience: Option<Duration>,
) -> Result<(), Error> {
    let timeout = match patience {
        None => PollTimeout::NONE,
        // One more millisecond: the kernel would wake a fraction before the time and the caller would spin.
        Some(patience) => {
            PollTimeout::try_from(patience.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut sources = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    sources.extend(door.map(|door| PollFd::new(door.as_fd(), PollFlags::POLLIN)));
    let calling = callers.iter();
    sources.extend(calling.map(|caller| PollFd::new(caller.as_fd(), PollFlags::POLLIN)));
    match poll(&mut sources, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::Kernel {
            doing: "wait for requests",
            source: errno.into(),
        }),
    }
}
