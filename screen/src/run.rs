//! The lost screen's loop: one notice after the other on the panel, touches in, questions out. It decides nothing: the attendant does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use homing_hal::capability::call::{Expected, IncomingCalls, Ring};
use homing_hal::capability::panel::{Backlight, Geometry, Panel};
use homing_hal::capability::power::Power;
use homing_hal::capability::touch::{Input, Touch};
use homing_hal::{Cancel, Fault, Hal};
use nix::sys::signal::{SigSet, Signal};

use crate::actor;
use crate::attendant::{Attendant, Phone, Wish};
use crate::call::Caller;
use crate::clock::{self, Clock};
use crate::error::Error;
use crate::keypad::Verdict;
use crate::notice::Notice;
use crate::page::{Emergency, Moment};
use crate::ring::{Listener, Vibrator};
use crate::watch::Watch;

/// How long a panel that a session is just giving up is waited for.
const BUSY: Duration = Duration::from_secs(30);
/// How often it is tried.
const AGAIN: Duration = Duration::from_millis(200);
/// When hands are looked for again where there are no input devices at all.
const HANDS_AGAIN: Duration = Duration::from_secs(10);
/// A clock that is a day behind the episode's beginning is wrong.
const CLOCK_SLACK_S: i64 = 86_400;

/// What happens.
enum Event {
    Input(Input),
    Deaf(Fault),
    Notice,
    Verdict(Verdict),
    Call(Emergency),
    /// Under which of the notices that were shown, and how the owner's call stands.
    Ring(u32, Ring),
    End,
}

/// What comes after the notice is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// The process ends.
    OneNotice,
    /// It waits for the next one.
    Resident,
}

/// What the loop works with.
#[derive(Debug)]
pub struct Setup {
    /// The notice's file.
    pub notice: PathBuf,
    /// The privileged half's socket.
    pub actor_socket: PathBuf,
    /// The system's `/etc`, for the time zone.
    pub etc: PathBuf,
    /// Language, fonts, calls.
    pub phone: Phone,
    /// What comes after.
    pub stay: Stay,
}

/// Blocks the signals that end the process; to be called before any thread begins.
///
/// # Errors
/// The kernel's.
pub fn block_signals() -> Result<SigSet, Error> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    ends.thread_block().map_err(|errno| Error::Io {
        doing: "blocking signals",
        error: errno.into(),
    })?;
    Ok(ends)
}

/// Shows notices until there is none (or, resident, until a signal comes). A panel that an earlier process died with is given back where there is no notice.
///
/// # Errors
/// [`Error::Body`] when the panel is lost: the supervisor starts this anew, and the console stays locked.
pub fn run(setup: &Setup, hal: Hal, ends: SigSet) -> Result<(), Error> {
    let absent = |what: &str| Fault::Absent(format!("no driver for {what}"));
    let panel = hal.panel.ok_or_else(|| absent("a panel"))?;
    let touch = hal.touch.ok_or_else(|| absent("touch"))?;
    let (tell, hear) = mpsc::channel();
    let mut watch = Watch::new(&setup.notice)?;
    let told = tell.clone();
    spawn("notice", move || {
        loop {
            let event = match watch.wait() {
                Ok(()) => Event::Notice,
                // Blind to the notice it must not stay: the supervisor starts this anew.
                Err(fault) => Event::Deaf(fault),
            };
            let is_last = matches!(event, Event::Deaf(_));
            if told.send(event).is_err() || is_last {
                return;
            }
        }
    })?;
    let told = tell.clone();
    spawn("signals", move || {
        if ends.wait().is_ok() {
            let _ = told.send(Event::End);
        }
    })?;
    let mut screen = Screen {
        setup,
        clock: Clock::of_system(&setup.etc),
        panel,
        touch: Some(touch),
        power: hal.power,
        caller: hal.dialler.map(Caller::new),
        incoming: hal.incoming,
        vibrator: hal.attention.into_iter().next(),
        listener: None,
        shown: 0,
        emergency: setup.phone.emergency.clone(),
        tell,
        hear,
    };
    screen.serve()
}

/// Starts a thread.
///
/// # Errors
/// The system's.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let builder = thread::Builder::new().name(name.into());
    // Nothing here recurses; the default of 2 MiB would be address space for nothing.
    let spawned = builder.stack_size(128 * 1024).spawn(work);
    spawned.map_err(|error| Error::Io {
        doing: "starting a thread",
        error,
    })
}

struct Screen<'a> {
    setup: &'a Setup,
    clock: Clock,
    panel: Box<dyn Panel>,
    /// Away while its thread listens.
    touch: Option<Box<dyn Touch>>,
    power: Box<dyn Power>,
    caller: Option<Caller>,
    incoming: Option<Arc<dyn IncomingCalls>>,
    /// Away while a listener has it.
    vibrator: Vibrator,
    listener: Option<Listener>,
    /// How many notices were shown: what a listener of an earlier one still said is about another number.
    shown: u32,
    /// A call outlives the notice it began under.
    emergency: Emergency,
    tell: Sender<Event>,
    hear: Receiver<Event>,
}

/// Why a notice is not shown any more.
enum After {
    Gone,
    Changed(Notice),
    End,
}

impl Screen<'_> {
    fn serve(&mut self) -> Result<(), Error> {
        let mut next = Notice::read(&self.setup.notice)?;
        if next.is_none() {
            // Whoever died with the panel has left it locked, and its episode is over.
            self.panel.release()?;
        }
        loop {
            match next.take() {
                Some(notice) => match self.show_until_gone(notice)? {
                    After::End => return Ok(()),
                    After::Gone | After::Changed(_) => {}
                },
                None if self.setup.stay == Stay::OneNotice => return Ok(()),
                None => match self.hear.recv() {
                    Ok(Event::End) | Err(_) => return Ok(()),
                    Ok(Event::Call(emergency)) => self.called(emergency),
                    Ok(Event::Deaf(fault)) => return Err(fault.into()),
                    Ok(_) => next = Notice::read(&self.setup.notice)?,
                },
            }
        }
    }

    /// Has the panel for as long as there is a notice. A process that is told to end keeps the console locked: the phone is still lost.
    fn show_until_gone(&mut self, mut notice: Notice) -> Result<After, Error> {
        let cancel = Cancel::new();
        let listening = self.listen(&cancel)?;
        let shown = self.taken().and_then(|geometry| {
            loop {
                match self.show(notice.clone(), geometry)? {
                    After::Changed(newer) => notice = newer,
                    after => break Ok(after),
                }
            }
        });
        cancel.cancel();
        self.touch = listening.join().ok();
        let after = shown?;
        if let After::Gone = after {
            if let Some(touch) = &mut self.touch {
                touch.release()?;
            }
            self.panel.release()?;
        }
        Ok(after)
    }

    /// Begins to listen to touch and keys; without any the notice is shown all the same.
    fn listen(&mut self, cancel: &Cancel) -> Result<JoinHandle<Box<dyn Touch>>, Error> {
        let mut touch = self
            .touch
            .take()
            .ok_or_else(|| Fault::Broken("somebody listens already".into()))?;
        let (tell, cancel) = (self.tell.clone(), cancel.clone());
        if let Err(fault) = touch.take() {
            eprintln!("homing-lost-screen: touch and keys: {fault}");
        }
        spawn("touch", move || {
            loop {
                let event = match touch.next(&cancel) {
                    Ok(input) => Event::Input(input),
                    Err(Fault::Cancelled(_)) => return touch,
                    // The kernel may still be finding its devices.
                    Err(Fault::Absent(_)) => match cancel.rest(Instant::now() + HANDS_AGAIN) {
                        Ok(()) => continue,
                        Err(_) => return touch,
                    },
                    Err(fault) => {
                        let _ = tell.send(Event::Deaf(fault));
                        return touch;
                    }
                };
                if tell.send(event).is_err() {
                    return touch;
                }
            }
        })
    }

    /// Takes the panel, from a session too that is only just ending.
    fn taken(&mut self) -> Result<Geometry, Error> {
        let until = Instant::now() + BUSY;
        loop {
            match self.panel.take() {
                Err(Fault::Busy(_)) if Instant::now() < until => {
                    let _ = Cancel::new().rest(Instant::now() + AGAIN);
                }
                other => return Ok(other?),
            }
        }
    }

    /// Shows one notice, and hears its owner call meanwhile.
    fn show(&mut self, notice: Notice, geometry: Geometry) -> Result<After, Error> {
        self.shown += 1;
        self.listener = self.listener_for(&notice)?;
        let after = self.attend(notice, geometry);
        if let Some(listener) = self.listener.take() {
            self.vibrator = listener.end();
        }
        after
    }

    /// Nobody's call is taken on a phone where no call was ever heard, nor where the owner left no number.
    fn listener_for(&mut self, notice: &Notice) -> Result<Option<Listener>, Error> {
        let from = notice.contact.as_deref().and_then(Expected::of);
        let (Some(from), Some(incoming)) = (from, &self.incoming) else {
            return Ok(None);
        };
        if self.setup.phone.emergency == Emergency::Impossible {
            return Ok(None);
        }
        let (tell, shown) = (self.tell.clone(), self.shown);
        let vibrator = self.vibrator.take();
        Listener::start(Arc::clone(incoming), from, vibrator, move |ring| {
            let _ = tell.send(Event::Ring(shown, ring));
        })
        .map(Some)
    }

    fn attend(&mut self, notice: Notice, geometry: Geometry) -> Result<After, Error> {
        let since = notice.since_unix_s;
        let current = notice.clone();
        let phone = Phone {
            emergency: self.emergency.clone(),
            ..self.setup.phone.clone()
        };
        let mut attendant = Attendant::new(notice, &phone, geometry, Instant::now());
        let mut lit = None;
        loop {
            let now = Instant::now();
            attendant.pass(now);
            let wanted = attendant.backlight();
            if wanted != Backlight::Off {
                let drawn = attendant.draw(self.moment(since), now);
                self.panel.show(&drawn.frame, &drawn.text.join("\n"))?;
            }
            if lit != Some(wanted) {
                self.panel.light(wanted)?;
                lit = Some(wanted);
            }
            let mut event = self.next_event(attendant.next(now));
            // What has come by then is seen in one picture: drawing takes longer than a finger.
            while let Some(happened) = event {
                if let Some(after) = self.take(happened, &mut attendant, &current)? {
                    return Ok(after);
                }
                event = self.hear.try_recv().ok();
            }
        }
    }

    /// Hands an event on; says so when the notice is not to be shown any more.
    fn take(
        &mut self,
        event: Event,
        attendant: &mut Attendant,
        shown: &Notice,
    ) -> Result<Option<After>, Error> {
        let now = Instant::now();
        match event {
            Event::End => return Ok(Some(After::End)),
            Event::Deaf(fault) => return Err(fault.into()),
            Event::Verdict(verdict) => attendant.verdict(verdict, now),
            Event::Call(emergency) => {
                self.called(emergency);
                attendant.call(self.emergency.clone(), now);
            }
            Event::Ring(under, ring) if under == self.shown => attendant.ring(ring, now),
            Event::Ring(..) => {}
            Event::Notice => match Notice::read(&self.setup.notice)? {
                None => return Ok(Some(After::Gone)),
                Some(newer) if newer != *shown => return Ok(Some(After::Changed(newer))),
                Some(_) => {}
            },
            Event::Input(input) => match attendant.input(input, now) {
                Some(Wish::Judge(digits)) => self.judge(digits)?,
                Some(Wish::Call) => self.call()?,
                Some(Wish::HangUp) => self.caller.iter().for_each(Caller::hang_up),
                Some(Wish::Answer) => self.listener.iter().try_for_each(Listener::answer)?,
                Some(Wish::EndAnswered) => self.listener.iter().try_for_each(Listener::hang_up)?,
                None => {}
            },
        }
        Ok(None)
    }

    /// The next event; `None` when the time has come to draw anew: at a deadline, or with the next minute. Without a deadline the panel is off, and nothing but an event wakes this process.
    fn next_event(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return Some(self.hear.recv().unwrap_or(Event::End));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let minute = clock::until_next_minute(clock::now());
        match self.hear.recv_timeout(left.min(minute)) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::End),
        }
    }

    fn moment(&mut self, since_unix_s: i64) -> Moment {
        let unix_s = i64::try_from(clock::now().as_secs()).unwrap_or(i64::MAX);
        let battery = self.power.battery();
        Moment {
            clock: self.clock.read(unix_s, since_unix_s - CLOCK_SLACK_S),
            battery_percent: battery.ok().and_then(|battery| battery.percent),
        }
    }

    /// Calls for help. Nobody is offered that on a phone that is not said to be able to.
    fn call(&mut self) -> Result<(), Error> {
        let Some(caller) = &mut self.caller else {
            return Ok(());
        };
        let tell = self.tell.clone();
        caller.call(move |emergency| {
            let _ = tell.send(Event::Call(emergency));
        })
    }

    /// How the call stands now.
    fn called(&mut self, emergency: Emergency) {
        if !matches!(emergency, Emergency::Calling(_)) {
            self.caller.iter_mut().for_each(Caller::ended);
        }
        self.emergency = emergency;
    }

    fn judge(&self, digits: zeroize::Zeroizing<String>) -> Result<(), Error> {
        let (tell, socket) = (self.tell.clone(), self.setup.actor_socket.clone());
        spawn("code", move || {
            let _ = tell.send(Event::Verdict(actor::ask(&socket, digits)));
        })
        .map(drop)
    }
}

/// Gives back the panel that a process died with, unless a notice says that the phone is lost.
///
/// # Errors
/// [`Error::Body`].
pub fn undo(notice: &Path, hal: Hal) -> Result<(), Error> {
    if Notice::read(notice)?.is_some() {
        return Ok(());
    }
    match hal.panel {
        Some(mut panel) => Ok(panel.release()?),
        None => Ok(()),
    }
}
