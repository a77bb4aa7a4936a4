//! An agent on a pretended body and clock with a supervisor that starts it again; its journal and its files are real. It must not know what a story does to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use homing_link::loopback::{Hub, Loopback};
use homing_link::{Publication, Retention};
use homing_policy::{Batch, Journal as _, Record};
use homing_protocol::beacon::{Beacon, ClockTrust};
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::command::{BeaconReference, Command, Op};
use homing_protocol::id::{CommandId, SessionId};
use homing_protocol::keys::Psk;
use homing_protocol::measure::{Position, PositionSource};
use homing_protocol::receipt::{CommandState, Receipt};
use homing_protocol::topic::{Channel, Topic, device_filters};

use crate::agent::{embody, open_state, outlast};
use crate::brain::Brain;
use crate::config::Settings;
use crate::error::Error;
use crate::keystore::{Identity, randomness};
use crate::siren::intent;
use crate::siren::report::{Phase, Report};
use crate::wiring::house::{ADDRESS, Owner};
use crate::worker::Input;
use crate::{boottime, wallclock};
use body::{Searches, body};

const PLACE: Position = Position {
    time_unix_ms: None,
    latitude_e7: 525_162_700,
    longitude_e7: 133_777_000,
    accuracy_dm: 50,
    altitude_dm: None,
    speed_cm_s: None,
    course_cdeg: None,
    source: PositionSource::Gnss,
    age_s: 0,
};

/// Turns within which what must happen has happened: an order that was put off comes again after 30 s, one a turn.
const MOST_TURNS: u32 = 400;
/// How often a supervisor starts an agent that ends at once: one fault ends it once.
const MOST_STARTS: u32 = 3;

mod body;

pub(super) struct Rig {
    owner: Owner,
    identity: Identity,
    settings: Settings,
    hub: Hub,
    searches: Searches,
    /// `None` while the agent does not run.
    pub(super) brain: Option<Brain<Loopback>>,
    /// Time since the start of the phone.
    pub(super) now: Duration,
    /// The wall clock, seconds since 1970 UTC, and whether it is said to be right.
    pub(super) wall: (u64, ClockTrust),
    /// How often the phone was started.
    boots: u32,
    sequence: u64,
    orders: Vec<CommandId>,
    heard: RefCell<Heard>,
}

/// What the owner heard.
#[derive(Default)]
struct Heard {
    /// Publications looked at.
    publications: usize,
    /// Of each order the newest receipt's number, and what it says.
    newest: BTreeMap<CommandId, (u64, CommandState)>,
    by_number: BTreeMap<u64, Vec<u8>>,
}

impl Rig {
    pub(super) fn new(folder: &Path) -> Self {
        let settings = Settings {
            state_dir: folder.join("state"),
            runtime_dir: folder.join("run"),
            ..Settings::default()
        };
        std::fs::create_dir_all(intent::folder(&settings.state_dir)).expect("folder");
        std::fs::create_dir_all(&settings.runtime_dir).expect("folder");
        let owner = Owner::new();
        let bundle = owner.bundle(Psk::generate(&mut randomness()));
        let mut identity = Identity::create(&settings.state_dir, bundle, 1).expect("identity");
        let certificate = DeviceCertificate {
            address: ADDRESS,
            epoch: 1,
            keys: identity.public(),
        };
        identity.certificate = Some(certificate.sign(&owner.root));
        identity.first_key_set = owner.key_set(1);
        identity.store(&settings.state_dir).expect("identity");
        Self {
            owner,
            identity,
            settings,
            hub: Hub::new(),
            searches: Searches::default(),
            brain: None,
            now: Duration::from_secs(1_000),
            wall: (1_767_225_600, ClockTrust::Unset),
            boots: 1,
            sequence: 0,
            orders: Vec::new(),
            heard: RefCell::default(),
        }
    }

    fn try_start(&mut self) -> Result<Brain<Loopback>, Error> {
        self.hub.cut(&ADDRESS.device.to_string());
        self.searches.borrow_mut().clear();
        let kept = open_state(&self.settings, &self.identity, None)?;
        let filters = device_filters(ADDRESS.device);
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let transport = self.hub.connect(&ADDRESS.device.to_string(), &filters);
        let mut brain = embody(
            self.settings.clone(),
            &self.identity,
            kept,
            transport,
            body(&self.searches, self.boot()),
        )?;
        brain.start()?;
        Ok(brain)
    }

    /// As a supervisor does it.
    pub(super) fn start(&mut self) {
        for _ in 0..MOST_STARTS {
            self.set_clocks();
            match self.try_start() {
                Ok(brain) => {
                    self.brain = Some(brain);
                    return;
                }
                Err(error) => println!("it ends at its start: {error}"),
            }
        }
        panic!("one fault keeps the agent from starting");
    }

    fn set_clocks(&self) {
        boottime::PRETENDED.set(Some(self.now));
        wallclock::PRETENDED.set(Some(self.wall));
    }

    /// This start of the phone, as the kernel names it.
    fn boot(&self) -> String {
        format!("7b0f4a3e-0000-4000-8000-{:012x}", self.boots)
    }

    /// The battery was empty: another start of the phone, whose clock since boot begins anew.
    pub(super) fn reboot(&mut self) {
        self.brain = None;
        self.boots += 1;
        self.now = Duration::from_secs(20);
        drop(intent::withdraw(&intent::folder(&self.settings.state_dir)));
        self.start();
    }

    /// One turn of the agent's loop, a second later.
    pub(super) fn turn(&mut self) {
        self.now += Duration::from_secs(1);
        self.wall.0 = self.wall.0.saturating_add(1);
        self.set_clocks();
        let Some(brain) = &mut self.brain else {
            return self.start();
        };
        let mut done = Ok(());
        while let Some(event) = brain.transport.next_now() {
            done = done.and_then(|()| outlast(brain.hear(event)));
        }
        let found: Vec<CommandId> = self.searches.borrow_mut().drain(..).collect();
        for command in found {
            let found = Ok(PLACE);
            let ended = Input::SearchEnded { command, found };
            done = done.and_then(|()| outlast(brain.take_in(ended)));
        }
        done = done
            .and_then(|()| outlast(brain.take_in(Input::SirenChanged)))
            .and_then(|()| outlast(brain.tick()));
        if let Err(error) = done {
            println!("the agent ends: {error}");
            self.brain = None;
        }
    }

    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..MOST_TURNS {
            if holds(self) {
                return;
            }
            self.turn();
        }
        panic!("this must happen and has not: {what}");
    }

    /// An order of the owner, for the newest beacon.
    pub(super) fn order(&mut self, op: Op) -> CommandId {
        self.order_within(op, None)
    }

    /// An order that is pointless after this time of the owner's clock.
    pub(super) fn order_within(&mut self, op: Op, not_after: Option<u64>) -> CommandId {
        self.until("a beacon", |rig| {
            rig.brain
                .as_ref()
                .is_some_and(|brain| brain.state.newest_beacon().is_some())
        });
        let brain = self.brain.as_ref().expect("it runs");
        let mark = brain.state.newest_beacon().expect("a beacon");
        self.sequence += 1;
        let command = Command {
            address: ADDRESS,
            epoch: 1,
            client: self.owner.client.public().client_id(),
            session: SessionId([5; 8]),
            seq: self.sequence,
            id: CommandId::random(&mut randomness()),
            op,
            issued_at: 1_767_225_600,
            not_after,
            beacon: Some(BeaconReference {
                counter: mark.counter,
                nonce: mark.nonce,
            }),
            authority_version: 1,
            binding: None,
            presence: None,
        };
        let device = self.identity.kem.public();
        let sealed = command.seal(&self.owner.client, &device, &mut randomness());
        self.hub.inject(&Publication {
            topic: Topic::Device(ADDRESS.device, Channel::Command).to_string(),
            payload: sealed.expect("sealed"),
            retention: Retention::Live,
        });
        self.orders.push(command.id);
        command.id
    }

    pub(super) fn is_siren_ordered(&self) -> bool {
        intent::folder(&self.settings.state_dir)
            .join("intent.json")
            .exists()
    }

    /// The siren's process writes until it has written.
    pub(super) fn siren_says(&mut self, ring: CommandId, phase: Phase) {
        let report = Report {
            command: Some(ring.to_string()),
            phase,
            reason: None,
            warning: None,
            boottime_ms: 1,
            pid: std::process::id(),
            started: 0,
            boot_id: self.boot(),
        };
        let folder = intent::folder(&self.settings.state_dir);
        let written = (0..MOST_STARTS).any(|_| report.store(&folder).is_ok());
        assert!(written, "one fault keeps the siren from reporting");
    }

    /// So many rows that the journal is compacted at the next beacon.
    pub(super) fn grow_long(&mut self) {
        let records = vec![Record::Floor { beacon: 0 }; 2_500];
        let batch = Batch {
            records: &records,
            outgoing: &[],
        };
        for _ in 0..MOST_STARTS {
            let brain = self.brain.as_mut().expect("it runs");
            match brain.journal.commit(batch) {
                Ok(()) => break,
                Err(error) => {
                    println!("the agent ends: {error}");
                    self.brain = None;
                    self.start();
                }
            }
        }
        let beacons = |rig: &Self| rig.brain.as_ref().map_or(0, |brain| brain.state.beacons());
        let before = beacons(self);
        if let Some(brain) = &mut self.brain {
            brain.beacon_at = Duration::ZERO;
        }
        self.until("another beacon", |rig| beacons(rig) > before);
        self.turn();
    }

    /// Takes in the receipts that were published since the last look.
    fn listen(&self) {
        let topic = Topic::Device(ADDRESS.device, Channel::Receipt).to_string();
        let mut heard = self.heard.borrow_mut();
        let seen = self.hub.seen();
        let fresh = seen.get(heard.publications..).unwrap_or_default();
        for publication in fresh.iter().filter(|seen| seen.topic == topic) {
            let agent = self.identity.agent.public();
            let verified = Receipt::verify(&publication.payload, &ADDRESS, &agent);
            let receipt = verified.expect("a phone's own receipt").0;
            let newest = heard
                .newest
                .entry(receipt.command)
                .or_insert((0, receipt.state));
            if receipt.counter > newest.0 {
                *newest = (receipt.counter, receipt.state);
            }
            let bytes = publication.payload.clone();
            let first = heard.by_number.entry(receipt.counter).or_insert(bytes);
            assert!(*first == publication.payload, "one number, two receipts");
        }
        heard.publications = seen.len();
    }

    /// Of each beacon that was published, by its number, in how many seconds it promises the next one.
    pub(super) fn promises(&self) -> BTreeMap<u64, u32> {
        let topic = Topic::Device(ADDRESS.device, Channel::Beacon).to_string();
        let agent = self.identity.agent.public();
        let seen = self.hub.seen().into_iter();
        let beacons = seen.filter(|publication| publication.topic == topic);
        let promise = |publication: Publication| {
            let verified = Beacon::verify(&publication.payload, &ADDRESS, &agent);
            let beacon = verified.expect("a phone's own beacon").0;
            (beacon.counter, beacon.next_contact_s)
        };
        beacons.map(promise).collect()
    }

    /// What the owner was told last of an order.
    pub(super) fn told(&self, id: CommandId) -> Option<CommandState> {
        self.listen();
        self.heard.borrow().newest.get(&id).map(|(_, state)| *state)
    }

    /// What was told is what the journal says, whole, after all; nothing was told twice in different words.
    pub(super) fn check(&mut self) {
        self.brain = None;
        let (journal, state, _) =
            open_state(&self.settings, &self.identity, None).expect("it opens again");
        self.listen();
        let told = self.heard.borrow().by_number.keys().copied().max();
        assert!(told <= Some(state.receipts), "told and forgotten");
        for id in &self.orders {
            let entry = state.command(*id).expect("an order that was answered");
            assert_eq!(Some(entry.state), self.told(*id));
        }
        let whole: String = journal
            .database()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("checked");
        assert_eq!(whole, "ok");
        let ledger = crate::ledger::read(&self.settings.state_dir).expect("a ledger");
        assert_eq!(ledger.broken_at, None);
    }
}
