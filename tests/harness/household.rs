//! A whole household in one value: owner, broker, simulated phone, enrolled and running. It must not hold a story's own checks.

use crate::wait::PATIENCE;
use crate::{Broker, Gpsd, Handset, Owner, Proc, Scratch, Sim, free_port, wait_until};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The passphrase of every household in tests; marked, so that a leak can be searched for.
pub const PASSPHRASE: &str = "marked-passphrase-7f3a horse battery";

/// Where a household's phone gets its positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A real gpsd, fed with the simulated phone's NMEA.
    Gpsd,
    /// The simulator itself: quicker, where the story is not about positions.
    Simulated,
}

/// Owner, broker and phone. Fields are dropped in this order: the folder last.
#[derive(Debug)]
pub struct Household {
    /// `homing watch`, when it was started.
    pub watch: Option<Proc>,
    /// The phone.
    pub handset: Handset,
    /// The broker.
    pub broker: Broker,
    /// The owner's machine.
    pub owner: Owner,
    /// What `homing init` said: the recovery kit's words, with `--json`.
    pub founding: Value,
    /// The real gpsd, where there is one.
    pub gpsd: Option<Gpsd>,
    /// The simulated body and world.
    pub sim: Sim,
    /// The folder that holds everything.
    pub scratch: Scratch,
}

/// The phone's name in every household.
pub const PHONE: &str = "phone";

impl Household {
    /// An account, a broker that runs, and a phone that has not joined yet.
    ///
    /// # Panics
    /// When any of them cannot be started.
    #[track_caller]
    #[must_use]
    pub fn without_phone(receiver: Receiver) -> Self {
        let scratch = Scratch::new();
        let sim = Sim::start(&scratch.folder("sim"));
        let gpsd =
            (receiver == Receiver::Gpsd).then(|| Gpsd::start(&scratch.folder("gpsd"), sim.nmea()));
        let handset = Handset::new(&scratch.folder("phone"), &sim, gpsd.as_ref());
        let owner = Owner::new(&scratch.folder("laptop"), PASSPHRASE);
        let broker = format!("mqtts://127.0.0.1:{}", free_port());
        let founding = owner.json(&["init", "--broker", &broker]);
        let broker = Broker::start(&owner.broker_folder());
        Self {
            watch: None,
            handset,
            broker,
            owner,
            founding,
            gpsd,
            sim,
            scratch,
        }
    }

    /// The same with the phone enrolled and running.
    ///
    /// # Panics
    /// When enrolment fails; with what both sides said.
    #[track_caller]
    #[must_use]
    pub fn enrolled(receiver: Receiver) -> Self {
        let mut household = Self::without_phone(receiver);
        household.enrol();
        household
    }

    /// Enrols the phone and starts it.
    ///
    /// # Panics
    /// When that fails; with what both sides said.
    #[track_caller]
    pub fn enrol(&mut self) {
        let bundle = self.bundle();
        let path = bundle.display().to_string();
        let mut adding = self.owner.start(
            "device-add",
            &["device", "add", PHONE, "--out", &path, "--wait", "60s"],
        );
        wait_until(PATIENCE, "the bundle", || {
            if let Some(status) = adding.ended() {
                assert!(status.success(), "device add: {status}\n{}", adding.log());
            }
            bundle.is_file().then_some(())
        });
        self.handset.enrol(&bundle);
        self.handset.start();
        let status = adding.wait(Duration::from_secs(60));
        assert!(
            status.success(),
            "device add: {status}\n{}\n{}",
            adding.log(),
            self.handset.agent_log()
        );
    }

    /// Where the phone's bundle lies.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.scratch.path().join("phone.homing")
    }

    /// Starts `homing watch`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start_watch(&mut self) {
        self.watch = Some(self.owner.start("watch", &["watch"]));
    }

    /// `homing log phone --json`, oldest first.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.owner
            .homing(&["log", PHONE, "--json"])
            .expect_success()
            .json_lines()
    }

    /// `homingd status --json` on the phone.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Value {
        self.handset
            .homingd(&["status", "--json"])
            .expect_success()
            .json()
    }

    /// `homingd ledger --json` on the phone, oldest first.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn ledger(&self) -> Vec<Value> {
        self.handset
            .homingd(&["ledger", "--json"])
            .expect_success()
            .json_lines()
    }

    /// Waits until the agent is connected to the broker.
    ///
    /// # Panics
    /// When it is not in time; with its log.
    #[track_caller]
    pub fn wait_connected(&self) {
        wait_until(PATIENCE, "the agent to be connected", || {
            (self.status()["agent"]["broker"] == "connected").then_some(())
        });
    }
}
