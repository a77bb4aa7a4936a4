//! A phone joins once more, leaves, and goes to another account: what was before is dead, nothing of it is left, and both sides are told.

use crate::story::{Watch, orders, played_ms, queue, text, wait_settled};
use e2e::{
    Answer, Household, Intruder, Owner, PASSPHRASE, PATIENCE, PHONE, Receiver, free_port,
    wait_until,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn quick() -> Household {
    let household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household
}

/// `homing device add --again`, without waiting for the phone.
fn again(household: &Household, name: &str) -> PathBuf {
    let bundle = household.scratch.path().join(name);
    let out = bundle.display().to_string();
    let _ = household
        .owner
        .homing(&["device", "add", PHONE, "--again", "--yes", "--out", &out])
        .expect_success();
    bundle
}

/// The owner signs the keys of the phone that has claimed.
fn accept(household: &Household) {
    let _ = household
        .owner
        .homing(&["device", "accept", PHONE, "--wait", "60s"])
        .expect_success();
}

fn enrol(household: &Household, bundle: &Path) -> Answer {
    let path = bundle.display().to_string();
    household.handset.homingd(&["enrol", &path, "--yes"])
}

fn listed(household: &Household) -> Value {
    household.owner.json(&["devices"])
}

fn alarms(household: &Household) -> String {
    listed(household)["alarms"].to_string()
}

/// Waits until the phone has been located, and returns its position's number.
fn locate(household: &Household) -> Value {
    let answer = household
        .owner
        .homing(&["locate", PHONE, "--wait", "30s", "--json"])
        .expect_success();
    answer.json()
}

fn track(household: &Household) -> Vec<Value> {
    let track = household.owner.homing(&["track", PHONE, "--json"]);
    track.expect_success().json_lines()
}

#[test]
fn a_phone_that_is_enrolled_again_keeps_name_and_history_and_obeys_nothing_of_before() {
    let mut household = quick();
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let tap = thief.listen(&["homing/v1/+/+/cmd", "homing/v1/+/+/authority"]);
    household.wait_connected();
    let before = locate(&household);
    let _ = household
        .owner
        .homing(&["ring", PHONE, "--for", "1s"])
        .expect_success();
    wait_settled(&household);
    let old_bundle = household.bundle();
    let fingerprint = household.status()["fingerprint"].clone();
    let ledger = household.ledger().len();
    // It was heard of just now, and can be found until its owner says that he means it.
    let out = household.scratch.path().join("second.homing");
    let out = out.display().to_string();
    let asked = household
        .owner
        .homing(&["device", "add", PHONE, "--again", "--out", &out]);
    let asked = asked.sentence("homing", 64);
    assert!(asked.contains("--yes"), "{asked}");
    assert!(!Path::new(&out).exists());
    let _ = locate(&household);
    household.handset.stop();
    let waiting = queue(&household.owner, &["ring", PHONE, "--for", "10s"]);

    let bundle = again(&household, "second.homing");
    let log = orders(&household);
    let ended = log.iter().find(|order| order["id"] == waiting.as_str());
    let last = ended.and_then(|order| order["steps"].as_array()?.last().cloned());
    let last = last.unwrap_or_default();
    assert_eq!(last["state"], "cancelled", "{last}");
    assert!(text(&last["detail"]).contains("enrolled again"), "{last}");
    let crl = household.owner.broker_folder().join("crl.pem");
    assert!(crl.is_file());

    // The very same phone, still enrolled under the first number.
    let _ = enrol(&household, &bundle).expect_success();
    let dead = enrol(&household, &old_bundle).sentence("homingd", 78);
    assert!(dead.contains("it is dead"), "{dead}");
    let twice = enrol(&household, &bundle).sentence("homingd", 78);
    assert!(twice.contains("claimed this bundle already"), "{twice}");
    household.broker.restart();
    household.handset.start();
    accept(&household);
    let status = household.status();
    assert_eq!(status["epoch"], 2);
    assert_ne!(status["fingerprint"], fingerprint);
    household.wait_connected();
    let played = played_ms(&household);
    let after = locate(&household);
    assert!(after["latitude"].is_number() && before["latitude"].is_number());

    // Everything that was ever sent to it is played again.
    for message in tap.messages() {
        let _ = thief.publish(&message.topic, &message.payload);
    }
    let _ = locate(&household);
    assert_eq!(played_ms(&household), played, "an old order rang");
    assert!(household.ledger().len() > ledger, "the ledger goes on");
    let devices = listed(&household);
    assert_eq!(
        (&devices["name"], &devices["standing"], &devices["alarms"]),
        (&json!(PHONE), &json!("enrolled"), &json!([]))
    );
    assert!(
        track(&household).len() >= 3,
        "both enrolments are in the track"
    );
    drop(tap);
}

#[test]
fn a_wiped_phone_joins_again_and_a_second_claim_of_the_new_bundle_is_an_alarm() {
    let mut household = quick();
    let _ = locate(&household);
    wait_settled(&household);
    household.handset.stop();
    let state = household.handset.state();
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    let bundle = again(&household, "second.homing");
    household.broker.restart();
    let _ = enrol(&household, &bundle).expect_success();
    household.handset.start();
    accept(&household);
    let _ = locate(&household);
    assert_eq!(alarms(&household), "[]");

    // Somebody made a copy of the bundle.
    household.handset.stop();
    std::fs::remove_dir_all(state.join("identity")).unwrap();
    let _ = enrol(&household, &bundle).expect_success();
    household.handset.start();
    wait_until(PATIENCE, "the alarm", || {
        alarms(&household)
            .contains("somebody else tried to join")
            .then_some(())
    });
}

#[test]
fn joining_again_is_whole_or_not_begun_whenever_the_power_is_cut() {
    let mut household = quick();
    household.handset.stop();
    let bundle = again(&household, "second.homing");
    let path = bundle.display().to_string();
    let image = household.scratch.path().join("image");
    let state = household.handset.state();
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        let done = std::process::Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status();
        assert!(done.unwrap().success());
    };
    copy(&state, &image);
    let mut epochs = [0, 0];
    for point in 1..40 {
        copy(&image, &state);
        let cut =
            household
                .handset
                .homingd(&["enrol", &path, "--yes", "--crash-at", &point.to_string()]);
        if cut.status.success() {
            assert!(point > 4, "only {point} points");
            assert!(epochs[0] > 0 && epochs[1] > 0, "{epochs:?}");
            household.broker.restart();
            household.handset.start();
            accept(&household);
            let _ = locate(&household);
            return;
        }
        // Whoever looks next finishes it, or finds nothing begun: then the bundle can be used.
        let second = enrol(&household, &bundle);
        let finished = second.stderr.contains("claimed this bundle already")
            || second.stdout.contains("had joined already");
        assert!(finished || second.status.success(), "{point}: {second}");
        epochs[usize::from(finished)] += 1;
        assert_eq!(household.status()["epoch"], 2, "point {point}");
        assert!(!state.join("identity").join("next.cbor").exists());
        // The privileged half serves the new enrolment too: nothing that is signed for the old one locks this phone.
        let served = |at: &Path| std::fs::read(at.join("actor/identity.cbor")).unwrap();
        assert_ne!(served(&state), served(&image), "point {point}");
        assert!(!state.join("actor/act_sig").exists(), "point {point}");
    }
    panic!("it is still cut at its 40th point");
}

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            all.push((path, bytes));
        }
    }
    all
}

#[test]
fn a_phone_that_leaves_tells_its_owner_and_takes_nothing_to_the_next_account() {
    let mut household = quick();
    let watch = Watch::start(&household);
    let _ = locate(&household);
    wait_settled(&household);
    let account = household.status()["account"].clone();
    let running = household.handset.homingd(&["leave", PHONE]);
    assert!(running.sentence("homingd", 78).contains("stop the agent"));
    household.handset.stop();
    let other = household.handset.homingd(&["leave", "elsewhere"]);
    assert!(other.sentence("homingd", 64).contains(PHONE));
    let late = queue(&household.owner, &["ring", PHONE, "--for", "5s"]);

    // Without a broker nobody can be told, and nothing changes.
    household.broker.stop();
    let untold = household.handset.homingd(&["leave", PHONE]);
    assert!(untold.sentence("homingd", 78).contains("--untold"));
    // Leaving without a word is not the way past the Homing PIN either.
    let _ = household
        .handset
        .homingd_told(&["pin", "set"], "135790\n135790\n")
        .expect_success();
    let wrong = household
        .handset
        .homingd_told(&["leave", "--untold", PHONE], "246801\n");
    assert!(wrong.sentence("homingd", 77).contains("Homing PIN"));
    assert_ne!(household.status()["enrolled"], "no");
    household.broker.restart();
    let image = household.scratch.path().join("image");
    let state = household.handset.state();
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        let done = std::process::Command::new("cp")
            .arg("-a")
            .args([from, to])
            .status();
        assert!(done.unwrap().success());
    };
    copy(&state, &image);
    let mut left = 0;
    for point in 1..40 {
        copy(&image, &state);
        let point = point.to_string();
        let cut = household
            .handset
            .homingd(&["leave", PHONE, "--crash-at", &point]);
        if cut.status.success() {
            break;
        }
        let again = household.handset.homingd(&["leave", PHONE]);
        let gone = again.stderr.contains("belongs to no account");
        assert!(gone || again.status.success(), "{point}: {again}");
        left += u32::from(gone);
        assert_eq!(household.status()["enrolled"], "no", "point {point}");
    }
    assert!(left > 3, "cut in the middle only {left} times");
    let of_account = files(&state)
        .into_iter()
        .filter(|(path, bytes)| !bytes.is_empty() && !path.ends_with("state.json"))
        .map(|(path, _)| path)
        .collect::<Vec<_>>();
    assert_eq!(of_account, Vec::<PathBuf>::new());
    let told = wait_until(PATIENCE, "the owner to be told", || {
        let alarms = alarms(&household);
        alarms
            .contains("took it out of the account")
            .then_some(alarms)
    });
    assert!(told.contains("homing device revoke"), "{told}");
    assert_eq!(
        watch.wait_end(&late),
        "cancelled the phone has left the account"
    );

    // Another account takes it up.
    let second = Owner::new(&household.scratch.folder("second"), PASSPHRASE);
    second.init(free_port());
    let broker = e2e::Broker::start(&second.broker_folder());
    let bundle = household.scratch.path().join("other.homing");
    let out = bundle.display().to_string();
    let _ = second
        .homing(&["device", "add", "taken", "--out", &out])
        .expect_success();
    let _ = enrol(&household, &bundle).expect_success();
    household.handset.start();
    let _ = second
        .homing(&["device", "accept", "taken", "--wait", "60s"])
        .expect_success();
    let place = second
        .homing(&["locate", "taken", "--wait", "30s", "--json"])
        .expect_success();
    assert!(place.json()["latitude"].is_number());
    assert_ne!(household.status()["account"], account);
    let first = household.owner.homing(&["ring", PHONE, "--wait", "2s"]);
    assert!(!first.stdout.contains("rings"), "{first}");
    let ledger = household.ledger();
    let received = ledger.iter().filter(|entry| entry["event"] == "received");
    assert_eq!(received.count(), 1, "the new owner's alone: {ledger:?}");
    drop(broker);
}
