//! What somebody can make an owner believe who has the broker or a phone's stolen certificate, but none of its keys: nothing.

use e2e::{Answer, Handset, Household, Intruder, Message, PATIENCE, PHONE, Receiver, Sim};
use e2e::{Owner, PASSPHRASE, Papers, wait_until};
use homing_protocol::beacon::{Beacon, ClockTrust, Status};
use homing_protocol::enrolment::Bundle;
use homing_protocol::id::{BeaconNonce, BootId, CommandId, SessionId};
use homing_protocol::keys::{KemSecret, SigningKey};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind, Position, PositionSource};
use homing_protocol::rand_core::{TryCryptoRng, TryRng};
use homing_protocol::receipt::{CommandState, Detail, Receipt};
use homing_protocol::report::Report;
use serde_json::{Value, json};
use std::convert::Infallible;

/// Numbers for a thief's envelopes: nobody's secrets depend on them.
struct Dice(u64);

impl TryRng for Dice {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        Ok(self.0)
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.try_next_u64()?.to_be_bytes()[0];
        }
        Ok(())
    }
}

impl TryCryptoRng for Dice {}

/// A thief with a phone's bundle file: its address and its certificate, not its keys.
struct Thief {
    bundle: Bundle,
    client: Intruder,
    key: SigningKey,
    reading: KemSecret,
}

impl Thief {
    fn with_the_bundle_of(household: &Household) -> Self {
        let bundle = Bundle::decode(&std::fs::read(household.bundle()).unwrap()).unwrap();
        let folder = household.scratch.folder("thief");
        let (certificate, key) = (folder.join("crt"), folder.join("key"));
        std::fs::write(&certificate, &bundle.tls_certificate_pem).unwrap();
        std::fs::write(&key, &*bundle.tls_key_pem).unwrap();
        let papers = Papers {
            authority: household.owner.broker_folder().join("ca.crt"),
            certificate: Some((certificate, key)),
        };
        Self {
            bundle,
            client: Intruder::with_papers(&folder, household.broker.port(), papers).named("thief"),
            key: SigningKey::from_bytes(&[66; 32]),
            reading: KemSecret::from_bytes(&[67; 32]),
        }
    }

    fn topic(&self, end: &str) -> String {
        let device = self.bundle.address.device.to_string();
        format!("homing/v1/{}/{device}/up/{end}", &device[..2])
    }

    /// "It lies still, fully charged, and all is well", from far in the future of the phone's counters.
    fn beacon(&self) -> Vec<u8> {
        let beacon = Beacon {
            address: self.bundle.address,
            epoch: 1,
            counter: 1_000_000,
            nonce: BeaconNonce([1; 16]),
            boot: BootId([2; 16]),
            windows: Vec::new(),
            authority_version: 1_000,
            key_set_version: 1_000,
            receipts: 1_000,
            receipt_chain: [3; 32],
            next_contact_s: u32::MAX,
        };
        let status = Status {
            time_unix_s: 4_000_000_000,
            clock: ClockTrust::Synchronised,
            battery: Battery {
                percent: Some(1),
                charging: Charging::Full,
            },
            network: NetworkKind::Cellular,
            metered: Metered::Yes,
            ring: None,
            reports: 1_000,
            presence: 0,
            free_mib: 1,
            refused: 0,
            set_back: None,
            left_at: None,
            lists: None,
            lost: None,
        };
        beacon
            .sign(&status, &self.key, &[self.reading.public()], &mut Dice(1))
            .unwrap()
    }

    /// "Your order is done."
    fn receipt(&self, command: &str) -> Vec<u8> {
        let receipt = Receipt {
            address: self.bundle.address,
            epoch: 1,
            command: command.parse::<CommandId>().unwrap(),
            session: SessionId([1; 8]),
            seq: 1,
            state: CommandState::Done,
            counter: 1_000,
            previous: [4; 32],
        };
        let detail = Detail {
            time_unix_s: 0,
            refusal: None,
            text: None,
            report: Some(1_000),
            attestation: None,
        };
        let readers = [self.reading.public()];
        receipt
            .sign(&detail, &self.key, &readers, &mut Dice(2))
            .unwrap()
            .envelope
    }

    /// "It is on an island far away."
    fn report(&self) -> Vec<u8> {
        let position = Position {
            time_unix_ms: Some(4_000_000_000_000),
            latitude_e7: -250_000_000,
            longitude_e7: -1_300_000_000,
            accuracy_dm: 10,
            altitude_dm: None,
            speed_cm_s: None,
            course_cdeg: None,
            source: PositionSource::Gnss,
            age_s: 0,
        };
        let report = Report {
            address: self.bundle.address,
            epoch: 1,
            first: 1_000,
            positions: vec![position],
        };
        report
            .sign(&self.key, &[self.reading.public()], &mut Dice(3))
            .unwrap()
    }
}

/// What the owner is shown of the phone, and what was said beside it.
fn shown(household: &Household) -> (Value, Answer) {
    let answer = household
        .owner
        .homing(&["devices", "--json"])
        .expect_success();
    (answer.json(), answer)
}

fn warned(answer: &Answer) -> bool {
    answer.stderr.contains("was not signed by it")
}

#[test]
fn a_thief_with_the_stolen_certificate_but_no_keys_fools_nobody() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    let _ = household.owner.homing(&["locate", PHONE]).expect_success();
    let place = household.owner.json(&["locate", PHONE, "--last"]);
    household.handset.stop();
    let waiting = household
        .owner
        .json(&["ring", PHONE, "--for", "1s", "--wait", "5s"]);
    let order = waiting["id"].as_str().unwrap();
    let (before, quiet) = shown(&household);
    assert!(!warned(&quiet), "{quiet}");

    let mut watch = household.owner.start("watch", &["watch"]);
    let thief = Thief::with_the_bundle_of(&household);
    let receipt = thief.receipt(order);
    for (end, forged) in [
        ("receipt", receipt.clone()),
        ("report", thief.report()),
        // Not even of that kind.
        ("receipt", thief.report()),
        ("report", vec![7; 600]),
        ("receipt", receipt[..receipt.len() / 2].to_vec()),
    ] {
        thief.client.publish(&thief.topic(end), &forged).unwrap();
    }
    thief
        .client
        .publish_retained(&thief.topic("beacon"), &thief.beacon())
        .unwrap();
    watch.wait_for_output(PATIENCE, "phone was not signed by it");
    let (after, loud) = shown(&household);
    assert_eq!(after, before, "the owner believed a forgery");
    assert!(
        warned(&loud),
        "the retained forgery is worth a warning: {loud}"
    );
    let log = household.log();
    let newest = log.last().unwrap();
    assert_eq!(
        (&newest["id"], &newest["state"]),
        (&waiting["id"], &json!("sent")),
        "{newest}"
    );
    let still = household.owner.json(&["locate", PHONE, "--last"]);
    assert_eq!(
        (&still["latitude"], &still["number"]),
        (&place["latitude"], &place["number"])
    );

    // The phone itself is believed as before, and its next beacon takes the forgery's place.
    household.handset.start();
    wait_until(PATIENCE, "the order to be done", || {
        let log = household.log();
        (log.last()?["state"] == "done").then_some(())
    });
    assert!(!warned(&shown(&household).1));
}

/// The beacon that the broker retains, as a new subscriber gets it.
fn retained_beacon(tap: &Intruder, unlike: Option<&Message>) -> Message {
    wait_until(PATIENCE, "a beacon at the broker", || {
        let mut heard = tap.listen(&["homing/v1/+/+/up/beacon"]);
        let found = heard.wait_for(PATIENCE, "the retained beacon", |_| true);
        (Some(&found) != unlike).then_some(found)
    })
}

#[test]
fn an_old_beacon_that_the_broker_puts_back_is_harmless() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let port = household.broker.turn_hostile();
    household.wait_connected();
    let thief = Intruder::plain(household.scratch.path(), port);
    let old = retained_beacon(&thief, None);
    let first = household.owner.json(&["ring", PHONE, "--for", "1s"]);
    household.handset.stop();
    household.handset.start();
    retained_beacon(&thief, Some(&old));
    household.sim.wait_silent(PATIENCE);
    let before = wait_until(PATIENCE, "the ring to have ended for the owner too", || {
        let (shown, _) = shown(&household);
        (shown["queued_orders"] == 0).then_some(shown)
    });
    let sounded = household.sim.siren()["played_ms"].clone();

    thief.publish_retained(&old.topic, &old.payload).unwrap();
    let (after, said) = shown(&household);
    assert_eq!(after, before, "time went backwards");
    assert_eq!(after["alarms"], json!([]), "{said}");
    let log = household.log();
    assert_eq!((log.len(), &log[0]["id"]), (1, &first["id"]));
    let again = household.sim.siren()["played_ms"].clone();
    assert_eq!(again, sounded, "an order went out a second time");

    // A machine that knows nothing but this old beacon.
    let kit = household
        .scratch
        .path()
        .join("kit.json")
        .display()
        .to_string();
    let _ = household
        .owner
        .homing(&["kit", "--out", &kit])
        .expect_success();
    let fresh = Owner::new(&household.scratch.folder("fresh"), PASSPHRASE);
    let _ = fresh.homing(&["recover", "--kit", &kit]).expect_success();
    let rung = fresh.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
}

#[test]
fn a_bundle_used_twice_raises_an_alarm_and_the_first_phone_stays() {
    let household = Household::enrolled(Receiver::Simulated);
    let sim = Sim::start(&household.scratch.folder("sim-2"));
    let mut copy = Handset::new(&household.scratch.folder("copy"), &sim, None);
    copy.enrol(&household.bundle());
    copy.start_agent();
    let alarm = wait_until(PATIENCE, "the alarm", || {
        let (device, _) = shown(&household);
        Some(device["alarms"][0].as_str()?.to_owned())
    });
    assert!(alarm.contains("same bundle"), "{alarm}");
    let status = household.owner.json(&["status"]);
    assert!(status["alarms"][0].as_str().is_some(), "{status}");
    let claimant = copy.homingd(&["status", "--json"]).expect_success().json();
    assert_eq!(claimant["enrolled"], "claimed", "nobody answered the copy");

    copy.stop();
    let rung = household
        .owner
        .json(&["ring", PHONE, "--for", "1m", "--wait", "30s"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    assert_eq!(sim.siren()["played_ms"], 0);
}
