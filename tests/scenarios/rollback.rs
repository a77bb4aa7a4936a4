//! A phone whose state is restored from an older image: the phone and the owner notice, it is found and rings, nothing done happens again, and `homing resume` ends it.

use crate::story::{Watch, orders, queue, text, wait_played_out, wait_settled};
use e2e::{Household, Intruder, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a siren may play beyond its time, ms: its samples are written in blocks of 100 ms, two of which may wait.
const BLOCKS_MS: u64 = 400;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success(), "{} copied", from.display());
}

/// The phone is switched off and its state saved, as a backup of the whole phone would do it.
fn save(household: &mut Household, name: &str) -> PathBuf {
    wait_settled(household);
    household.handset.stop();
    let image = household.scratch.path().join(name);
    copy(&household.handset.state(), &image);
    household.handset.start();
    household.wait_connected();
    image
}

/// The phone is off; its state becomes the one of the image.
fn restore(household: &Household, image: &Path) {
    let state = household.handset.state();
    std::fs::remove_dir_all(&state).unwrap();
    copy(image, &state);
}

fn quick() -> Household {
    let household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household
}

fn alarms(household: &Household) -> Vec<String> {
    let devices = household.owner.json(&["devices"]);
    let alarms = devices["alarms"].as_array().cloned().unwrap_or_default();
    alarms.iter().map(|alarm| text(alarm).to_owned()).collect()
}

/// Waits until nothing is alarming any more.
fn wait_calm(household: &Household) {
    let mut last = Vec::new();
    wait_until(PATIENCE, "the alarm to be over", || {
        let now = alarms(household);
        if now != last {
            eprintln!("alarms: {now:?}");
            last = now;
        }
        last.is_empty().then_some(())
    });
}

fn beacons(household: &Household) -> u64 {
    household.status()["agent"]["beacons"].as_u64().unwrap_or(0)
}

/// Lets the phone make so many more beacons.
fn show_itself(household: &mut Household, times: u64) {
    for _ in 0..times {
        let before = beacons(household);
        household.handset.stop();
        household.handset.start();
        wait_until(PATIENCE, "another beacon", || {
            (beacons(household) > before).then_some(())
        });
    }
}

fn is_set_back(household: &Household) -> bool {
    household.status()["agent"]["set_back"] == true
}

#[test]
fn a_phone_restored_from_an_older_image_is_noticed_found_and_rings_once_until_it_is_resumed() {
    let mut household = quick();
    let port = household.broker.turn_hostile();
    let thief = Intruder::plain(household.scratch.path(), port);
    let tap = thief.listen(&["homing/v1/+/+/cmd"]);
    household.wait_connected();
    let watch = Watch::start(&household);
    let done = |household: &Household, arguments: &[&str]| {
        let order = queue(&household.owner, arguments);
        assert_eq!(watch.wait_end(&order), "done", "{arguments:?}");
        order
    };
    done(&household, &["locate", PHONE]);
    let image = save(&mut household, "image");

    // After the image: what the phone will forget and the owner knows.
    show_itself(&mut household, 3);
    done(&household, &["ring", PHONE, "--for", "1s"]);
    done(&household, &["locate", PHONE]);
    wait_settled(&household);
    let (rung, newest) = (wait_played_out(&household), beacons(&household));
    let recorded: Vec<_> = tap.messages();
    assert!(!recorded.is_empty());

    // An order waits for the phone, signed for a beacon that it is about to lose.
    household.handset.stop();
    let late = queue(&household.owner, &["ring", PHONE, "--for", "3s"]);
    watch.wait_state(&late, &["sent"]);
    restore(&household, &image);
    household.handset.start();
    assert_eq!(watch.wait_end(&late), "done");
    let after = wait_played_out(&household);
    assert!(
        (rung + 100..=rung + 3_000 + BLOCKS_MS).contains(&after),
        "{} ms of three seconds",
        after - rung
    );
    wait_until(PATIENCE, "the phone to notice", || {
        is_set_back(&household).then_some(())
    });
    assert!(beacons(&household) < newest);
    let told = wait_until(PATIENCE, "the owner's alarm", || {
        alarms(&household)
            .into_iter()
            .find(|alarm| alarm.contains("set back"))
    });
    assert!(told.contains(&format!("homing resume {PHONE}")), "{told}");
    let in_words = household.handset.homingd(&["status"]).expect_success();
    assert!(in_words.stdout.contains("set back"), "{in_words}");

    // The broker plays everything again that was ever ordered.
    for message in &recorded {
        let _ = thief.publish(&message.topic, &message.payload);
    }
    let located = done(&household, &["locate", PHONE]);
    assert!(!located.is_empty());
    assert_eq!(
        wait_played_out(&household),
        after,
        "what was done rang again"
    );
    let place = household
        .owner
        .homing(&["locate", PHONE, "--wait", "30s", "--json"])
        .expect_success()
        .json();
    assert!(place["latitude"].is_number(), "{place}");

    let resumed = household.owner.json(&["resume", PHONE]);
    assert_eq!(resumed["state"], "done", "{resumed}");
    wait_until(PATIENCE, "the phone to count on", || {
        (!is_set_back(&household) && beacons(&household) > newest).then_some(())
    });
    for message in &recorded {
        let _ = thief.publish(&message.topic, &message.payload);
    }
    done(&household, &["locate", PHONE]);
    done(&household, &["ring", PHONE, "--for", "1s"]);
    let last = wait_played_out(&household);
    assert!(
        (after + 100..=after + 1_000 + BLOCKS_MS).contains(&last),
        "{} ms of one second",
        last - after
    );
    wait_calm(&household);
    let again = household.owner.json(&["resume", PHONE]);
    assert_eq!(again["state"], "not-needed");
    for order in orders(&household) {
        let steps = order["steps"].as_array().cloned().unwrap_or_default();
        let ends = steps.iter().filter(|step| step["state"] == "done").count();
        assert_eq!(ends, 1, "{order}");
    }
    // Nothing of the movement from before the image is lost, and what came since is there.
    let track = household.owner.homing(&["track", PHONE, "--json"]);
    let lines: Vec<Value> = track.expect_success().json_lines();
    assert!(lines.len() >= 4, "{lines:?}");
    drop(tap);
}

#[test]
fn an_owner_who_notices_first_tells_the_phone() {
    let mut household = quick();
    let watch = Watch::start(&household);
    let image = save(&mut household, "image");
    show_itself(&mut household, 3);
    wait_settled(&household);
    household.handset.stop();
    restore(&household, &image);
    household.handset.start();
    // Nobody orders anything: the newest beacon is enough.
    wait_until(PATIENCE, "the watch's alarm", || {
        let news = watch.news();
        news.iter()
            .any(|news| news["kind"] == "rolled-back")
            .then_some(())
    });
    wait_until(PATIENCE, "the phone to know", || {
        is_set_back(&household).then_some(())
    });
}

#[test]
fn a_resume_is_cut_at_every_journal_write_and_is_done_once() {
    let mut household = quick();
    let watch = Watch::start(&household);
    let image = save(&mut household, "image");
    show_itself(&mut household, 2);
    wait_settled(&household);
    for point in 1..40 {
        household.handset.stop();
        restore(&household, &image);
        household.handset.start();
        wait_until(PATIENCE, "the phone to know", || {
            is_set_back(&household).then_some(())
        });
        wait_settled(&household);
        household.handset.stop();
        household.handset.set_crash_point(Some(point));
        let order = household
            .owner
            .homing(&["resume", PHONE, "--wait", "0s", "--json"]);
        let order = order.expect_code(75).json();
        household.handset.start();
        let id = text(&order["id"]);
        let crashed = wait_until(PATIENCE, "the crash or the end", || {
            let agent = household.handset.agent().expect("it was started");
            if agent.ended().is_some() {
                return Some(true);
            }
            let settled = household.status()["agent"]["open"] == json!([]);
            (settled && watch.states(id).iter().any(|state| state == "done")).then_some(false)
        });
        household.handset.set_crash_point(None);
        household.handset.start();
        assert_eq!(watch.wait_end(id), "done");
        wait_until(PATIENCE, "the phone to count on", || {
            (!is_set_back(&household)).then_some(())
        });
        wait_calm(&household);
        if !crashed {
            assert!(point > 4, "only {point} journal writes");
            return;
        }
    }
    panic!("the agent still crashes at its 40th journal write");
}
