//! The cast of the tour: an owner, a broker, a phone that walks, a gpsd. It tells no story.

use crate::stage::Stage;
use e2e::{
    Broker, Gpsd, Handset, HandsetKeeper, Owner, PATIENCE, Proc, Scratch, SharedHandset, Sim,
    TcpProxy, free_port, ours,
};
use homing_face::{Body, Face, Hands};
use serde_json::json;
use std::sync::{Arc, MutexGuard};

/// The demo's own account; it is worth nothing and gone at the end.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// What the phone is called.
pub(crate) const PHONE: &str = "phone";

/// A walk round Berlin's Tiergarten, latitude and longitude.
const WALK: [[f64; 2]; 4] = [
    [52.516_27, 13.377_70],
    [52.514_50, 13.350_10],
    [52.509_20, 13.339_40],
    [52.508_90, 13.376_60],
];

/// Everybody. The order is that in which they leave: the folder last.
pub(crate) struct Household {
    face: Face,
    pub(crate) watch: Option<Proc>,
    handset: SharedHandset,
    /// The phone's way to the broker, which whoever holds the phone may cut.
    pub(crate) way: Arc<TcpProxy>,
    pub(crate) broker: Broker,
    pub(crate) owner: Owner,
    _gpsd: Gpsd,
    pub(crate) sim: Sim,
    pub(crate) scratch: Scratch,
}

impl Household {
    /// Makes an account and a broker, and a phone that does not belong to the account yet.
    pub(crate) fn set_up(stage: &Stage) -> Self {
        stage.heading("A household: an account, a broker, a phone on a walk");
        let scratch = Scratch::new();
        let sim = Sim::start(&scratch.folder("sim"));
        sim.ask(json!({"set": "track", "points": WALK, "speed_m_s": 4.0, "repeat": "loop"}));
        sim.ask(json!({"set": "battery", "percent": 64.0, "charging": "discharging"}));
        let gpsd = Gpsd::start(&scratch.folder("gpsd"), sim.nmea());
        let handset = Handset::new(&scratch.folder("phone"), &sim, Some(&gpsd));
        let handset = SharedHandset::new(handset);
        let owner = Owner::new(&scratch.folder("laptop"), PASSPHRASE);
        let port = free_port();
        let answer = owner.init(port);
        stage.answer(
            &format!("homing init --broker mqtts://127.0.0.1:{port}"),
            &answer,
        );
        let broker = Broker::start(&owner.broker_folder());
        stage.say(&format!(
            "mosquitto listens on port {} with the configuration, certificates and ACL from {}.",
            broker.port(),
            owner.broker_folder().display()
        ));
        stage.say("The phone is simulated; gpsd is real and hears its receiver's NMEA, on the move at 4 m/s.");
        let way = Arc::new(TcpProxy::start(port));
        let keeper = HandsetKeeper::new(handset.clone(), Arc::clone(&way));
        let body = Body::new(sim.socket().to_path_buf());
        let face = Face::start(body, Box::new(keeper), Hands::Away, 0)
            .unwrap_or_else(|error| panic!("the phone's page cannot be served: {error}"));
        stage.heading(&format!("See and hear the phone: {}", face.url()));
        stage.say("Open that in a browser on this machine and press \"Listen to the room\" before the siren sounds.");
        Self {
            face,
            watch: None,
            handset,
            way,
            broker,
            owner,
            _gpsd: gpsd,
            sim,
            scratch,
        }
    }

    /// The phone's programs.
    pub(crate) fn handset(&self) -> MutexGuard<'_, Handset> {
        self.handset.get()
    }

    /// Runs `homing` with these arguments, shows both, and fails the tour when it failed.
    pub(crate) fn homing(&self, stage: &Stage, arguments: &[&str]) -> e2e::Answer {
        say_and_run(stage, &self.owner, arguments)
    }

    /// The resident that every household needs, in the background.
    pub(crate) fn start_watch(&mut self) {
        self.watch = Some(self.owner.start("watch", &["watch"]));
    }

    /// Commands to paste into another terminal.
    pub(crate) fn print_commands(&self, stage: &Stage) {
        let ledger = format!(
            "{} ledger --config {} --allow-simulator",
            ours("homingd").display(),
            self.handset().config().display()
        );
        self.face.give(Hands::OnThePhone);
        stage.say(&format!("The phone itself is yours at {}: mute it, cut its power, take away its network, and find it all the same.", self.face.url()));
        hand_over(stage, &self.owner, "", &ledger);
    }

    /// Waits until nothing is heard beside the phone.
    pub(crate) fn silence(&self) {
        self.sim.wait_silent(PATIENCE);
    }
}

/// Runs `homing` as this owner, shows command and answer, and fails the tour when it failed.
pub(crate) fn say_and_run(stage: &Stage, owner: &Owner, arguments: &[&str]) -> e2e::Answer {
    let answer = owner.homing(arguments);
    let typed: Vec<String> = arguments.iter().map(|word| as_typed(word)).collect();
    stage.answer(&format!("homing {}", typed.join(" ")), &answer);
    answer.expect_success()
}

/// A word as a shell takes it.
fn as_typed(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+=,".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

/// What the owner can paste into another terminal, `options` after each order, and one command more.
pub(crate) fn hand_over(stage: &Stage, owner: &Owner, options: &str, more: &str) {
    stage.heading("Your turn: paste these into another terminal");
    let homing = format!(
        "{} --home {}",
        ours("homing").display(),
        owner.home().display()
    );
    for command in [
        format!("{homing} devices"),
        format!("{homing} locate {PHONE}{options}"),
        format!("{homing} ring {PHONE} --for 10s{options}"),
        format!(
            "{homing} lost {PHONE} --message 'Please call me' --phone '+49 30 1234567'{options}"
        ),
        format!("{homing} lost {PHONE} --off{options}"),
        format!("{homing} log {PHONE}"),
        more.to_owned(),
    ] {
        stage.say(&format!("  {command}"));
    }
    stage.say(&format!("If a passphrase is asked for: {PASSPHRASE}\nCtrl-C ends everything and leaves nothing behind."));
}
