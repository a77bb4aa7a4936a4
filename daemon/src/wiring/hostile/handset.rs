//! A phone of the family: a real brain over a real journal, on a pretended body whose clocks, searches and siren a test moves. It must not run a thread.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use homing_hal::capability::network::{Network, NetworkEvent, NetworkPath};
use homing_hal::capability::power::Power;
use homing_hal::{Cancel, Fault, HalSettings, Probe};
use homing_link::loopback::{Hub, Loopback};
use homing_oracle::{Crash, Effect, Entry, Expected, Fact, Journal, Kind, Rest};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::envelope::Address;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::measure::{Battery, Charging, Position, PositionSource};
use homing_protocol::receipt::CommandState;
use homing_protocol::topic::device_filters;

use crate::actor::ask::Nobody;
use crate::agent::{Body, embody, open_state, outlast};
use crate::brain::Brain;
use crate::config::Settings;
use crate::error::Error;
use crate::keystore::Identity;
use crate::siren::intent::{self, Found};
use crate::siren::report::{self, Phase, Report};
use crate::wiring::house::processor_time;
use crate::worker::{Input, Search};
use crate::{boottime, wallclock};

/// Everything that was seen, in order; shared by all who see something.
pub(super) type Facts = Rc<RefCell<Vec<Fact>>>;

/// For whom a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Order(CommandId),
    Track,
}

/// A search without a receiver: it ends when the test says so.
struct Searching {
    phone: DeviceId,
    facts: Facts,
    world_ms: Rc<RefCell<u64>>,
    on: Rc<RefCell<Option<Purpose>>>,
}

impl Search for Searching {
    fn configure(&mut self, _settings: HalSettings, _limit: Duration) {}
    fn look_up(&mut self, _broker: (String, u16)) {}
    fn search(&mut self, command: CommandId, _longest: Duration) {
        *self.on.borrow_mut() = Some(Purpose::Order(command));
        self.facts.borrow_mut().push(Fact::Began(Effect {
            phone: self.phone,
            command,
            kind: Kind::Search,
            at_ms: *self.world_ms.borrow(),
        }));
    }
    fn track(&mut self) {
        *self.on.borrow_mut() = Some(Purpose::Track);
    }
    fn track_ended(&mut self) {}
}

struct Battery60;

impl Power for Battery60 {
    fn name(&self) -> &'static str {
        "pretended"
    }
    fn probe(&self) -> Probe {
        Probe::Unsupported {
            reason: "pretended".into(),
        }
    }
    fn battery(&mut self) -> Result<Battery, Fault> {
        Ok(Battery {
            percent: Some(60),
            charging: Charging::Discharging,
        })
    }
}

struct NoNetwork;

impl Network for NoNetwork {
    fn name(&self) -> &'static str {
        "pretended"
    }
    fn probe(&self) -> Probe {
        Probe::Unsupported {
            reason: "pretended".into(),
        }
    }
    fn path_to(&mut self, _address: IpAddr) -> Result<NetworkPath, Fault> {
        Err(Fault::Absent("no route is pretended".into()))
    }
    fn wait_for_change(
        &mut self,
        _deadline: Duration,
        _cancel: &Cancel,
    ) -> Result<NetworkEvent, Fault> {
        Err(Fault::Absent("nothing changes".into()))
    }
}

/// The phone.
pub(super) struct Handset {
    pub(super) address: Address,
    pub(super) identity: Identity,
    settings: Settings,
    hub: Hub,
    /// `None` only while it is being started.
    brain: Option<Brain<Loopback>>,
    facts: Facts,
    world_ms: Rc<RefCell<u64>>,
    searching: Rc<RefCell<Option<Purpose>>>,
    /// What sounds: the ring, and until when by the world's clock.
    sounding: Option<(String, u64)>,
    boots: u32,
    booted_at_ms: u64,
    wall: (u64, ClockTrust),
    wall_set_at_ms: u64,
    disk_fails: bool,
    /// How often the agent was cut off.
    pub(super) deaths: u32,
}

/// 2026-01-01 00:00 UTC.
pub(super) const TODAY_S: u64 = 1_767_225_600;

impl Handset {
    /// A phone that has joined, in a folder that holds its identity, started now.
    pub(super) fn start(
        folder: &Path,
        identity: Identity,
        hub: &Hub,
        facts: &Facts,
        world_ms: &Rc<RefCell<u64>>,
    ) -> Self {
        let settings = Settings {
            state_dir: folder.to_owned(),
            runtime_dir: folder.to_owned(),
            ..Settings::default()
        };
        let mut handset = Self {
            address: identity.bundle.address,
            identity,
            settings,
            hub: hub.clone(),
            brain: None,
            facts: Rc::clone(facts),
            world_ms: Rc::clone(world_ms),
            searching: Rc::default(),
            sounding: None,
            boots: 1,
            booted_at_ms: *world_ms.borrow() - 5_000,
            wall: (TODAY_S, ClockTrust::Unset),
            wall_set_at_ms: *world_ms.borrow(),
            disk_fails: false,
            deaths: 0,
        };
        handset.boot();
        handset
    }

    fn now_ms(&self) -> u64 {
        *self.world_ms.borrow()
    }

    fn see(&self, fact: Fact) {
        self.facts.borrow_mut().push(fact);
    }

    /// Its name at the broker.
    pub(super) fn name(&self) -> String {
        self.address.device.to_string()
    }

    pub(super) fn brain(&self) -> &Brain<Loopback> {
        self.brain.as_ref().expect("it runs")
    }

    fn boot_text(&self) -> String {
        format!("7b0f4a3e-0000-4000-8000-{:012}", self.boots)
    }

    /// From here on this thread's clocks are this phone's.
    fn enter(&self) {
        let since = Duration::from_millis(self.now_ms() - self.booted_at_ms);
        boottime::PRETENDED.set(Some(since));
        let passed = (self.now_ms() - self.wall_set_at_ms) / 1_000;
        let (wall, trust) = self.wall;
        wallclock::PRETENDED.set(Some((wall.saturating_add(passed), trust)));
    }

    /// Starts the agent on the files that are there.
    fn boot(&mut self) {
        self.enter();
        let phone = self.address.device;
        let began = processor_time();
        let opened = self.opened();
        match opened {
            Ok(brain) => {
                self.see(Fact::Opened(phone, processor_time() - began));
                self.brain = Some(brain);
                let journal = self.journal();
                self.see(Fact::Journal(phone, journal));
                self.ask(Brain::start);
            }
            Err(error) => panic!("{phone} does not start: {error}"),
        }
    }

    fn opened(&self) -> Result<Brain<Loopback>, Error> {
        let durable = open_state(&self.settings, &self.identity, None)?;
        let filters = device_filters(self.address.device);
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let transport = self.hub.connect(&self.name(), &filters);
        let searching = Searching {
            phone: self.address.device,
            facts: Rc::clone(&self.facts),
            world_ms: Rc::clone(&self.world_ms),
            on: Rc::clone(&self.searching),
        };
        let body = Body {
            searcher: Box::new(searching),
            privileged: Box::new(Nobody),
            power: Box::new(Battery60),
            network: Box::new(NoNetwork),
            boot_text: self.boot_text(),
        };
        embody(
            self.settings.clone(),
            &self.identity,
            durable,
            transport,
            body,
        )
    }

    /// Lets the brain do something; a crash point or an error that nothing outlasts ends its process.
    fn ask(&mut self, act: impl FnOnce(&mut Brain<Loopback>) -> Result<(), Error>) {
        self.enter();
        let brain = self.brain.as_mut().expect("it runs");
        let result = outlast(act(brain));
        if brain.journal.has_crashed() {
            return self.die(Crash::Agent);
        }
        if let Err(error) = result {
            let words = format!("the agent ended by itself: {error}");
            self.see(Fact::StayedShut(self.address.device, words));
            self.die(Crash::Agent);
        }
    }

    /// Is cut off and starts again.
    pub(super) fn die(&mut self, crash: Crash) {
        self.hub.end(&self.name(), homing_link::Disconnect::Broken);
        self.brain = None;
        self.deaths += 1;
        *self.searching.borrow_mut() = None;
        self.repair_disk();
        self.see(Fact::Crashed(self.address.device, crash));
        if crash == Crash::Phone {
            self.sounding = None;
            self.boots += 1;
            self.booted_at_ms = self.now_ms() - 3_000;
        }
        self.boot();
    }

    /// Will be cut off at its so-manieth crash point from now.
    pub(super) fn die_in(&mut self, points: u64) {
        let brain = self.brain.as_mut().expect("it runs");
        brain.journal.crash_in(points);
    }

    /// Takes what lies before it; whether there was anything.
    pub(super) fn turn(&mut self) -> bool {
        let mut busy = false;
        while let Some(event) = self
            .brain
            .as_mut()
            .and_then(|brain| brain.transport.next_now())
        {
            busy = true;
            self.ask(|brain| brain.hear(event));
            self.ask(Brain::tick);
        }
        busy
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        self.look_at_deadline();
        self.ask(Brain::tick);
    }

    /// The search that is on ends.
    pub(super) fn find(&mut self, place: Result<i32, String>) {
        let Some(purpose) = self.searching.borrow_mut().take() else {
            return;
        };
        let found = place.map(position);
        let input = match purpose {
            Purpose::Order(command) => {
                self.see(Fact::Ended(Effect {
                    phone: self.address.device,
                    command,
                    kind: Kind::Search,
                    at_ms: self.now_ms(),
                }));
                Input::SearchEnded { command, found }
            }
            Purpose::Track => Input::TrackEnded { found },
        };
        self.ask(|brain| brain.take_in(input));
        self.ask(Brain::tick);
    }

    fn siren_folder(&self) -> PathBuf {
        intent::folder(&self.settings.state_dir)
    }

    fn sound_of(&self, ring: &str, at_ms: u64) -> Effect {
        Effect {
            phone: self.address.device,
            command: ring.parse().expect("a command id"),
            kind: Kind::Sound,
            at_ms,
        }
    }

    fn siren_says(&self, ring: &str, phase: Phase, reason: Option<&str>) {
        let said = Report {
            command: Some(ring.to_owned()),
            phase,
            reason: reason.map(str::to_owned),
            warning: None,
            boottime_ms: self.now_ms() - self.booted_at_ms,
            pid: std::process::id(),
            started: 0,
            boot_id: self.boot_text(),
        };
        said.store(&self.siren_folder()).expect("stored");
    }

    fn look_at_deadline(&mut self) {
        if let Some((ring, until)) = self.sounding.clone()
            && until <= self.now_ms()
        {
            self.sounding = None;
            self.see(Fact::Ended(self.sound_of(&ring, until)));
            let folder = self.siren_folder();
            if let Ok(found) = intent::load(&folder)
                && matches!(&found, Found::Intent(order) if order.command == ring)
            {
                intent::discard(&folder, &found).expect("discarded");
            }
            self.siren_says(&ring, Phase::Ended, Some(report::DEADLINE));
            self.ask(|brain| brain.take_in(Input::SirenChanged));
        }
    }

    /// The siren's process looks at its order, as it does ten times a second.
    pub(super) fn siren(&mut self) {
        self.look_at_deadline();
        let folder = self.siren_folder();
        let since = Duration::from_millis(self.now_ms() - self.booted_at_ms);
        let longest = self.settings.ring.longest;
        let order = match intent::load(&folder).expect("readable") {
            Found::Intent(order) => order
                .remaining(&self.boot_text(), since, longest)
                .ok()
                .map(|left| (order.command, left)),
            Found::Nothing | Found::Unreadable(_) => None,
        };
        let wanted = order.as_ref().map(|(ring, _)| ring.as_str());
        let is_on = self.sounding.as_ref().map(|(ring, _)| ring.clone());
        if is_on.as_deref() == wanted {
            return;
        }
        if let Some(ring) = is_on {
            self.sounding = None;
            self.see(Fact::Ended(self.sound_of(&ring, self.now_ms())));
            self.siren_says(&ring, Phase::Ended, Some(report::STOPPED));
        }
        if let Some((ring, left)) = order {
            self.see(Fact::Began(self.sound_of(&ring, self.now_ms())));
            self.siren_says(&ring, Phase::Sounding, None);
            let left = u64::try_from(left.as_millis()).expect("short");
            self.sounding = Some((ring, self.now_ms() + left));
        }
        self.ask(|brain| brain.take_in(Input::SirenChanged));
        self.ask(Brain::tick);
    }

    /// Whether its siren sounds.
    pub(super) fn is_sounding(&self) -> bool {
        self.sounding.is_some()
    }

    /// Nothing reaches its disk any more.
    pub(super) fn break_disk(&mut self) {
        if !self.disk_fails {
            self.disk_fails = true;
            let journal = self.journal();
            self.see(Fact::Journal(self.address.device, journal));
            self.see(Fact::DiskFails(self.address.device));
            self.set_query_only(true);
        }
    }

    /// Its disk works.
    pub(super) fn repair_disk(&mut self) {
        if self.disk_fails {
            self.disk_fails = false;
            self.see(Fact::DiskWorks(self.address.device));
            self.set_query_only(false);
        }
    }

    fn set_query_only(&self, only: bool) {
        if let Some(brain) = &self.brain {
            let database = brain.journal.database();
            database
                .pragma_update(None, "query_only", only)
                .expect("set");
        }
    }

    /// Somebody sets its wall clock.
    pub(super) fn set_clock(&mut self, wall: u64, trust: ClockTrust) {
        self.wall = (wall, trust);
        self.wall_set_at_ms = self.now_ms();
    }

    /// What its journal says, for the oracle.
    pub(super) fn journal(&self) -> Journal {
        let state = &self.brain().state;
        let entry = |entry: &homing_policy::state::Entry| {
            let accepted = &entry.accepted;
            let place = (accepted.client, accepted.session, accepted.seq);
            let taken_on = entry.state != CommandState::Refused;
            let seen = Entry {
                place: taken_on.then_some(place),
                state: entry.state,
            };
            (accepted.id, seen)
        };
        Journal {
            beacons: state.beacons(),
            receipts: state.receipts,
            reports: state.reports,
            reports_stored: state.reports_stored,
            reports_forgotten: state.reports_forgotten,
            passed_over: state.passed_over.clone(),
            authority: state.authority.0,
            key_set: state.key_set.0,
            commands: state.commands().map(entry).collect(),
        }
    }

    /// What waits on the phone, for the oracle.
    pub(super) fn rest(&self, asked: BTreeSet<CommandId>, expected: Expected) -> Rest {
        let journal = &self.brain().journal;
        let mut statement = journal
            .database()
            .prepare("SELECT receipt FROM outbox")
            .expect("prepared");
        let rows = statement
            .query_map([], |row| row.get::<_, i64>(0))
            .expect("asked");
        let outbox = rows.map(|row| row.expect("read").unsigned_abs()).collect();
        let kept = journal.kept(0, i64::MAX.unsigned_abs(), u32::MAX);
        Rest {
            outbox,
            kept: kept.expect("asked").into_iter().collect(),
            asked,
            expected,
        }
    }
}

fn position(place: i32) -> Position {
    Position {
        time_unix_ms: None,
        latitude_e7: 525_000_000 + place,
        longitude_e7: 134_000_000,
        accuracy_dm: 80,
        altitude_dm: None,
        speed_cm_s: None,
        course_cdeg: None,
        source: PositionSource::Gnss,
        age_s: 0,
    }
}
