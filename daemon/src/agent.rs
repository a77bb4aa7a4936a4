//! `homingd agent`: builds the agent from its parts, runs its loop, and ends it in order. It must not decide what an order means.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use homing_hal::capability::network::Network;
use homing_hal::capability::power::Power;
use homing_hal::{Hal, Roots};
use homing_link::{
    Backoff, Credentials, Endpoint, LinkSettings, MqttLink, SessionKind, Transport, clock,
};
use homing_policy::State;
use homing_protocol::authority::AuthorityList;
use homing_protocol::id::BootId;
use homing_protocol::readers::KeySet;
use homing_protocol::topic;
use tokio::sync::mpsc;

use crate::actor::ask::{ActorSocket, Privileged};
use crate::actor::notice;
use crate::alarm::Alarm;
use crate::alone::Alone;
use crate::args::Order;
use crate::brain::Brain;
use crate::config::{self, Settings, Simulator, Source};
use crate::crash::CrashPoint;
use crate::error::Error;
use crate::exit::ExitError;
use crate::folder::FolderWatch;
use crate::journal::Journal;
use crate::keystore::Identity;
use crate::outbox::Outbox;
use crate::roaming::Roaming;
use crate::scribe::Scribe;
use crate::signal::{AsyncSignals, Signal, Signals};
use crate::siren::intent;
use crate::status::{Connection, Refusals, StatusFile};
use crate::worker::{self, Search, Searcher};
use crate::{boottime, enrol, folder, history, log, membership, notify, wallclock};

/// How long the broker keeps our session while we are away: a phone in a drawer for a year.
const SESSION_EXPIRY: Duration = Duration::from_secs(366 * 24 * 3600);
/// How long an orderly end waits for the broker.
const GOODBYE: Duration = Duration::from_secs(2);

/// Faults that tests ask for; only a simulated phone has them.
#[derive(Debug, Default)]
struct TestFaults {
    crash_at: Option<u64>,
}

/// `homingd agent`.
///
/// # Errors
/// Not enrolled, a damaged state, a configuration that cannot be used.
pub fn run(order: &Order) -> Result<(), ExitError> {
    let settings = config::load(&order.source)?.settings;
    log::start(settings.log);
    let faults = test_faults(order)?;
    if !is_folder(&settings.state_dir)? {
        return Err(not_joined().into());
    }
    // Before anything is read: `homingd leave` and `enrol` end an enrolment, claimed or not, only where no agent is.
    let alone = Alone::take(&settings.state_dir)?;
    membership::settle(&settings.state_dir, &mut CrashPoint::default())?;
    let Some(identity) = Identity::load(&settings.state_dir)? else {
        // An agent that may not run leaves nothing behind.
        alone.remove()?;
        return Err(not_joined().into());
    };
    let signals = Signals::install()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Kernel {
            doing: "start the event loop",
            source,
        })?;
    let served = serve(settings, &order.source, (identity, alone), signals, &faults);
    Ok(runtime.block_on(served)?)
}

/// Whether the state directory is there; something else in its place is a fault.
fn is_folder(state_dir: &Path) -> Result<bool, Error> {
    let unusable = |source| Error::Folder {
        path: state_dir.to_owned(),
        source,
    };
    match std::fs::metadata(state_dir) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(unusable(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(error)),
    }
}

fn not_joined() -> Error {
    Error::Enrolment(
        "this phone has not joined an account: run `homingd enrol BUNDLE` first".into(),
    )
}

fn test_faults(order: &Order) -> Result<TestFaults, Error> {
    simulate_clocks(order)?;
    let crash_at = for_tests(order, "--crash-at")?;
    Ok(TestFaults {
        crash_at: crash_at.and_then(|number| u64::try_from(number).ok()),
    })
}

/// Sets a simulated phone's clocks as its command line asks.
pub(crate) fn simulate_clocks(order: &Order) -> Result<(), Error> {
    if let Some(offset) = for_tests(order, "--clock-offset")? {
        wallclock::simulate_offset(offset);
    }
    if let Some(times) = for_tests(order, "--clock-rate")? {
        boottime::simulate_rate(u32::try_from(times).unwrap_or(1));
    }
    Ok(())
}

/// The whole number that a flag for tests carries, if it was given.
/// The crash point that a test asks for, if one does.
pub(crate) fn crash_point(order: &Order) -> Result<CrashPoint, Error> {
    let at = for_tests(order, "--crash-at")?;
    Ok(CrashPoint::at(at.and_then(|at| u64::try_from(at).ok())))
}

fn for_tests(order: &Order, flag: &'static str) -> Result<Option<i64>, Error> {
    let Some(text) = order.value(flag) else {
        return Ok(None);
    };
    if order.source.simulator == Simulator::Refused {
        return Err(Error::Usage(format!(
            "{flag} is for tests: it needs --allow-simulator"
        )));
    }
    let number = text.to_str().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Error::Usage(format!("{flag} takes a whole number")))
}

pub(crate) fn link_settings(
    settings: &Settings,
    identity: &Identity,
) -> Result<LinkSettings, Error> {
    let bundle = &identity.bundle;
    let endpoint: Endpoint = bundle.broker.parse()?;
    let credentials = Credentials {
        ca_pem: bundle.ca_pem.clone(),
        certificate_pem: bundle.tls_certificate_pem.clone(),
        key_pem: bundle.tls_key_pem.clone(),
    };
    let device = bundle.address.device;
    let mut link = LinkSettings::new(endpoint, credentials, device.to_string());
    link.session = SessionKind::Persistent {
        expiry: SESSION_EXPIRY,
    };
    link.subscriptions = topic::device_filters(device);
    link.keep_alive = settings.mqtt.keep_alive;
    link.backoff = Backoff::default();
    link.system_clock = wallclock::now;
    // Not the moment of the consent: nobody knows whether the clock was right then, and a floor in the future would make
    // every later certificate look expired.
    link.clock_floor = clock::floor(clock::build_time(), None);
    Ok(link)
}

async fn serve(
    settings: Settings,
    source: &Source,
    (mut identity, alone): (Identity, Alone),
    signals: Signals,
    faults: &TestFaults,
) -> Result<(), Error> {
    let mut signals = signals.into_async()?;
    let mut transport = MqttLink::start(link_settings(&settings, &identity)?)?;
    if identity.certificate.is_none() {
        let model = model(&settings);
        notify::ready();
        notify::status("waiting for the owner to answer the claim");
        let mut crash = CrashPoint::default();
        let joining = enrol::join(
            &mut transport,
            &mut identity,
            &settings.state_dir,
            &model,
            &mut crash,
        );
        if unless_ended(joining, &mut signals).await?.is_none() {
            transport.close(GOODBYE).await;
            return Ok(());
        }
        // Begin the connection anew: it is the first one of an enrolled phone, and starts with a beacon.
        transport.close(GOODBYE).await;
        transport = MqttLink::start(link_settings(&settings, &identity)?)?;
    }
    let (journal, state, authority) = open_alone(alone, &settings, &identity, faults.crash_at)?;
    let brain = assemble(settings, &identity, journal, state, authority, transport)?;
    live(brain, source, signals).await
}

/// Runs something until it is done (`Some`) or a signal to end comes (`None`).
async fn unless_ended<R>(
    work: impl Future<Output = Result<R, Error>>,
    signals: &mut AsyncSignals,
) -> Result<Option<R>, Error> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done.map(Some),
            signal = signals.next() => if signal? == Signal::Stop { return Ok(None) },
        }
    }
}

fn model(settings: &Settings) -> String {
    let mut hal = Hal::open(&settings.hal, &Roots::default());
    hal.identity
        .identity()
        .ok()
        .and_then(|identity| identity.model.or(identity.system))
        .unwrap_or_else(|| "Linux phone".into())
}

/// Opens what the phone remembers, for tests that have nothing else in the folder.
#[cfg(test)]
pub(crate) fn open_state(
    settings: &Settings,
    identity: &Identity,
    crash_at: Option<u64>,
) -> Result<(Journal, State, AuthorityList), Error> {
    let alone = Alone::take(&settings.state_dir)?;
    open_alone(alone, settings, identity, crash_at)
}

/// Opens what the phone remembers.
pub(crate) fn open_alone(
    alone: Alone,
    settings: &Settings,
    identity: &Identity,
    crash_at: Option<u64>,
) -> Result<(Journal, State, AuthorityList), Error> {
    let bundle = &identity.bundle;
    let damaged = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Damaged { what, source }
    };
    let first = KeySet::verify(&identity.first_key_set, &bundle.root, &bundle.address)
        .map_err(damaged("the identity's key set"))?;
    let facts = enrol::first_facts(bundle, &identity.first_key_set, &first)?;
    let (mut journal, state) = Journal::open(
        &settings.state_dir,
        alone,
        Scribe::new(identity, first),
        &facts,
        crash_at,
    )?;
    journal.scribe.readers = KeySet::verify(&state.key_set.1, &bundle.root, &bundle.address)
        .map_err(damaged("the key set in the journal"))?;
    let authority = AuthorityList::verify(&state.authority.1, &bundle.root, bundle.address.account)
        .map_err(damaged("the authority list in the journal"))?;
    Ok((journal, state, authority))
}

/// The hardware of a phone, as the agent needs it.
pub(crate) struct Body {
    pub(crate) searcher: Box<dyn Search>,
    pub(crate) privileged: Box<dyn Privileged>,
    pub(crate) power: Box<dyn Power>,
    pub(crate) network: Box<dyn Network>,
    /// Which start of the phone this is, as the kernel names it.
    pub(crate) boot_text: String,
}

pub(crate) fn assemble<T: Transport>(
    settings: Settings,
    identity: &Identity,
    journal: Journal,
    state: State,
    authority: AuthorityList,
    transport: T,
) -> Result<(Brain<T>, mpsc::UnboundedReceiver<worker::Input>), Error> {
    let (inputs, receiver) = mpsc::unbounded_channel();
    let roots = Roots::default();
    let hal = Hal::open(&settings.hal, &roots);
    let siren_folder = intent::folder(&settings.state_dir);
    folder::ensure(&siren_folder)?;
    worker::watch_siren(FolderWatch::new(&siren_folder)?, inputs.clone());
    worker::watch_network(Hal::open(&settings.hal, &roots).network, inputs.clone());
    worker::put_back_receivers(settings.hal.clone());
    let privileged = ActorSocket::new(settings.actor_socket(), inputs.clone());
    watch_notice(&settings, inputs.clone());
    let searcher = Searcher::new(settings.hal.clone(), settings.locate.deadline, inputs);
    let body = Body {
        searcher: Box::new(searcher),
        privileged: Box::new(privileged),
        power: hal.power,
        network: hal.network,
        boot_text: intent::boot_id(&roots)?,
    };
    let brain = embody(
        settings,
        identity,
        (journal, state, authority),
        transport,
        body,
    )?;
    Ok((brain, receiver))
}

/// Without a privileged half there is nothing to hear of it; what is open is asked for again at each start.
fn watch_notice(settings: &Settings, inputs: mpsc::UnboundedSender<worker::Input>) {
    let shown = notice::folder(&settings.actor_dir());
    match FolderWatch::new(&shown) {
        Ok(watch) => worker::watch_notice(watch, inputs),
        Err(error) => tracing::warn!("what the privileged half shows is not seen: {error}"),
    }
}

/// A brain in a body, without the threads that watch its surroundings.
pub(crate) fn embody<T: Transport>(
    settings: Settings,
    identity: &Identity,
    (journal, state, authority): (Journal, State, AuthorityList),
    transport: T,
    body: Body,
) -> Result<Brain<T>, Error> {
    let siren_folder = intent::folder(&settings.state_dir);
    folder::ensure(&siren_folder)?;
    let boot: BootId = body
        .boot_text
        .replace('-', "")
        .parse()
        .map_err(|_| Error::Kernel {
            doing: "read the boot id",
            source: std::io::ErrorKind::InvalidData.into(),
        })?;
    let endpoint: Endpoint = identity.bundle.broker.parse()?;
    Ok(Brain {
        address: identity.bundle.address,
        epoch: identity.bundle.epoch,
        boot,
        boot_text: body.boot_text,
        broker_at: endpoint.host.parse().ok(),
        broker: (endpoint.host, endpoint.port),
        roaming: Roaming::default(),
        root: identity.bundle.root,
        kem: identity.kem.clone(),
        authority,
        state,
        journal,
        transport,
        outbox: Outbox::default(),
        retention_days: identity.retention_days,
        looks: history::Looks::after(boottime::now()?, &settings),
        searcher: body.searcher,
        privileged: body.privileged,
        power: body.power,
        network: body.network,
        siren_folder,
        siren_again: None,
        siren_fault: None,
        status: StatusFile::new(&settings.runtime_dir),
        settings,
        refusals: Refusals::default(),
        parked: Vec::new(),
        beacon_at: Duration::MAX,
        refused_again_at: Duration::ZERO,
        asked_at: None,
        shown: None,
        put_off: None,
        ask_again: None,
        failing: BTreeMap::new(),
        answers: Vec::new(),
        connected: Connection::Waiting {
            reason: "starting".into(),
        },
    })
}

async fn live(
    (mut brain, mut inputs): (Brain<MqttLink>, mpsc::UnboundedReceiver<worker::Input>),
    source: &Source,
    mut signals: AsyncSignals,
) -> Result<(), Error> {
    brain.start()?;
    let mut alarm = Alarm::new()?;
    let mut pulse = notify::watchdog_interval().map(|every| tokio::time::interval(every));
    loop {
        let due = boottime::now()?.saturating_add(brain.patience());
        tokio::select! {
            event = brain.transport.next() => outlast(brain.hear(event))?,
            Some(input) = inputs.recv() => outlast(brain.take_in(input))?,
            signal = signals.next() => match signal? {
                Signal::Stop => break,
                Signal::Reload => outlast(reload(&mut brain, source))?,
            },
            () = beat(&mut pulse) => notify::alive(),
            rung = alarm.wait_until(due) => rung?,
        }
        // One place looks after what is due, however the loop woke.
        outlast(brain.tick())?;
    }
    notify::stopping();
    tracing::info!("ending after {} s since boot", boottime::now()?.as_secs());
    brain.transport.close(GOODBYE).await;
    brain.status.remove();
    Ok(())
}

/// Reads the configuration again; a faulty one changes nothing.
fn reload(brain: &mut Brain<MqttLink>, source: &Source) -> Result<(), Error> {
    match config::load(source) {
        Ok(loaded) => {
            // The folders and the connection were built with the old values; those hold until the next start.
            let settings = Settings {
                state_dir: brain.settings.state_dir.clone(),
                runtime_dir: brain.settings.runtime_dir.clone(),
                actor_dir: brain.settings.actor_dir.clone(),
                actor_socket: brain.settings.actor_socket.clone(),
                ..loaded.settings
            };
            brain
                .searcher
                .configure(settings.hal.clone(), settings.locate.deadline);
            brain.settings = settings;
            brain.looks.soon();
            tracing::info!("the configuration was read again");
            brain.configured()
        }
        Err(error) => {
            tracing::error!("the old configuration stays in force: {error}");
            Ok(())
        }
    }
}

/// Goes on after a fault that may pass: an agent that ends because the disk is full finds it full when it starts again.
pub(crate) fn outlast(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.may_pass() => {
            tracing::error!("put off: {error}");
            Ok(())
        }
        other => other,
    }
}

/// The supervisor's heartbeat, if it asked for one.
async fn beat(pulse: &mut Option<tokio::time::Interval>) {
    match pulse {
        Some(pulse) => {
            pulse.tick().await;
        }
        None => std::future::pending().await,
    }
}
