//! A lost phone is heard, whatever its user or a crash does, and never longer or more often than it was told to.

use crate::story::{
    Watch, count, each_has_one_end, played_ms, queue, steps, text, told, wait_played_out,
    wait_settled,
};
use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a siren may play beyond its time, ms: its samples are written in blocks of 100 ms, two of which may wait.
const BLOCKS_MS: u64 = 400;

fn mixer(household: &Household) -> Value {
    household.sim.ask(json!({"get": "world"}))["mixer"].clone()
}

/// Somebody mutes the phone, turns it down and plugs in a headset.
fn hush(household: &Household) {
    let sim = &household.sim;
    sim.ask(json!({"set": "mixer", "volume": 0, "mute": true}));
    sim.ask(json!({"set": "route", "to": "headset"}));
}

/// Milliseconds of sound that nobody could hear.
#[track_caller]
fn hushed_ms(household: &Household) -> u64 {
    count(&household.sim.siren()["hushed_ms"])
}

/// Waits for the full level, as the ear beside the phone hears it over a second.
#[track_caller]
fn wait_loud(household: &Household) {
    wait_until(PATIENCE, "the siren at full level", || {
        (household.sim.siren()["level_dbfs"].as_f64()? > -6.0).then_some(())
    });
}

fn ordered(household: &Household, arguments: &[&str]) -> Value {
    let mut all = vec!["ring", PHONE];
    all.extend(arguments);
    household.owner.json(&all)
}

#[test]
fn a_lost_phone_rings_although_muted() {
    let household = Household::enrolled(Receiver::Simulated);
    hush(&household);
    let before = mixer(&household);
    assert_eq!(
        before,
        json!({"volume": 0, "mute": true, "route": "headset"})
    );

    let ring = ordered(&household, &["--for", "10m"]);
    assert_eq!(ring["state"], "running");
    wait_loud(&household);
    assert_eq!(household.sim.siren()["muted_by_user"], true);
    assert_eq!(household.sim.siren()["route"], "speaker");

    // Whoever has found it tries to silence it. Measured in sound, so that a busy machine does not count.
    for _ in 0..3 {
        let before = hushed_ms(&household);
        hush(&household);
        wait_until(PATIENCE, "the siren to be loud again", || {
            let mixer = mixer(&household);
            (mixer == json!({"volume": 100, "mute": false, "route": "speaker"})).then_some(())
        });
        let silenced = hushed_ms(&household) - before;
        assert!(silenced <= 1_000, "silenced for {silenced} ms");
    }
    wait_loud(&household);

    // The owner has found it: silent within a second of the order's arrival.
    let mut stop = household.owner.start("stop", &["ring", PHONE, "--stop"]);
    let arrived = wait_until(PATIENCE, "the stop to arrive", || {
        let log = household.handset.agent_log();
        log.contains("order ring-stop")
            .then(|| played_ms(&household))
    });
    let status = stop.wait(PATIENCE);
    assert!(status.success(), "{status}: {}", stop.log());
    assert!(stop.log().contains("phone is silent."), "{}", stop.log());
    let said = played_ms(&household);
    let played = wait_played_out(&household);
    assert!(
        played <= arrived + 1_000,
        "{} ms after the stop",
        played - arrived
    );
    assert_eq!(played, said, "it was silent when that was said");
    household.sim.wait_silent(PATIENCE);
    assert_eq!(mixer(&household), before, "as the user had left it");
    each_has_one_end(&household);
}

#[test]
fn a_ring_ends_by_itself_when_its_time_is_over() {
    let household = Household::enrolled(Receiver::Simulated);
    hush(&household);
    let before = mixer(&household);
    let watch = Watch::start(&household);
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "5s"]);
    household.sim.wait_heard(PATIENCE);
    assert_eq!(watch.wait_end(&ring), "done");
    let played = wait_played_out(&household);
    assert!(
        (1_000..=5_000 + BLOCKS_MS).contains(&played),
        "{played} ms of 5 s"
    );
    assert_eq!(mixer(&household), before);
    // A second order of the same kind is an order of its own.
    let again = queue(&household.owner, &["ring", PHONE, "--for", "3s"]);
    assert_eq!(watch.wait_end(&again), "done");
    let both = wait_played_out(&household);
    assert!(
        both > played && both <= played + 3_000 + BLOCKS_MS,
        "{played} ms, then {both} ms"
    );
    each_has_one_end(&household);
}

#[test]
fn the_siren_goes_on_when_the_agent_is_killed_and_the_agent_then_reports() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "12s"]);
    watch.wait_state(&ring, &["running"]);
    household.handset.kill9_agent();
    let killed_at = played_ms(&household);
    wait_until(PATIENCE, "half a second more of sound", || {
        (played_ms(&household) > killed_at + 500).then_some(())
    });
    assert_eq!(household.sim.siren()["heard"], true);
    household.handset.start_agent();
    household.wait_connected();
    assert_eq!(watch.wait_end(&ring), "done");
    let played = wait_played_out(&household);
    assert!(played <= 12_000 + BLOCKS_MS, "{played} ms of 12 s");

    // The same, but the agent comes back only when everything is over.
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "2s"]);
    watch.wait_state(&ring, &["running"]);
    household.handset.kill9_agent();
    let both = wait_played_out(&household);
    assert!(both <= played + 2_000 + BLOCKS_MS, "{}", both - played);
    household.handset.start_agent();
    assert_eq!(watch.wait_end(&ring), "done");
    assert_eq!(wait_played_out(&household), both, "it does not ring again");

    // And a stop reaches a siren whose agent was killed.
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "10m"]);
    watch.wait_state(&ring, &["running"]);
    household.handset.kill9_agent();
    let stop = queue(&household.owner, &["ring", PHONE, "--stop"]);
    watch.wait_state(&stop, &["sent"]);
    household.handset.start_agent();
    assert_eq!(watch.wait_end(&stop), "done");
    assert_eq!(watch.wait_end(&ring), "cancelled");
    household.sim.wait_silent(PATIENCE);
    each_has_one_end(&household);
}

#[test]
fn a_siren_that_is_killed_carries_on_and_never_past_its_deadline() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    hush(&household);
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "12s"]);
    for _ in 0..2 {
        let before = played_ms(&household);
        wait_until(PATIENCE, "half a second of sound", || {
            (played_ms(&household) > before + 500).then_some(())
        });
        household.handset.kill9_siren();
        household.handset.start_siren();
    }
    assert_eq!(watch.wait_end(&ring), "done");
    let played = wait_played_out(&household);
    assert!(
        (1_000..=12_000 + BLOCKS_MS).contains(&played),
        "{played} ms of 12 s"
    );

    // Nobody is left to sound; the order is answered all the same, not as done, and a late siren does not make up for it.
    let ring = queue(&household.owner, &["ring", PHONE, "--for", "8s"]);
    watch.wait_state(&ring, &["running"]);
    household.handset.kill9_siren();
    let end = watch.wait_end(&ring);
    assert!(end.starts_with("failed the siren began"), "{end}");
    let killed_at = wait_played_out(&household);
    household.handset.start_siren();
    assert_eq!(wait_played_out(&household), killed_at);
    each_has_one_end(&household);
}

#[test]
fn a_stop_that_overtakes_its_ring_leaves_no_sound() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household.handset.stop();
    // Both leave the owner's machine while the phone is away, and the broker then forgets them.
    let ring = text(&ordered(&household, &["--for", "10m", "--wait", "5s"])["id"]).to_owned();
    let stop = text(&ordered(&household, &["--stop", "--wait", "5s"])["id"]).to_owned();
    let log = household.log();
    assert!(
        log.iter().all(|order| steps(order) == ["queued", "sent"]),
        "{log:?}"
    );
    household.broker.kill9();
    household.broker.delete_database();
    household.broker.restart();
    household.handset.start();
    household.wait_connected();
    // The outbox sends stops first, whatever was ordered first.
    let watch = Watch::start(&household);
    assert_eq!(watch.wait_end(&stop), "done");
    assert_eq!(watch.wait_end(&ring), "cancelled");
    wait_settled(&household);
    let ledger = household.ledger();
    let received = |order: &str| {
        let of_order = |entry: &Value| entry["command"] == order && entry["event"] == "received";
        ledger.iter().position(of_order).unwrap()
    };
    assert!(received(&stop) < received(&ring), "{ledger:?}");
    assert_eq!(told(&ledger, &ring, "running"), 0);
    assert_eq!(played_ms(&household), 0, "it must not ring at all");
    each_has_one_end(&household);
}

#[test]
fn a_ring_that_never_left_is_stopped_or_expires_on_the_owners_machine() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household.broker.stop();
    let stopped = queue(&household.owner, &["ring", PHONE, "--for", "10m"]);
    let stop = queue(&household.owner, &["ring", PHONE, "--stop"]);
    let late = queue(&household.owner, &["ring", PHONE, "--within", "1s"]);
    let queued_at = Instant::now();
    let ended = |household: &Household, order: &str| {
        let log = household.log();
        let found = log.iter().find(|entry| entry["id"] == order).unwrap();
        text(&found["state"]).to_owned()
    };
    assert_eq!(ended(&household, &stopped), "cancelled");
    // The order counts in whole seconds: after two it is late by any rounding.
    wait_until(PATIENCE, "the time of the late ring to pass", || {
        (queued_at.elapsed() > Duration::from_secs(2)).then_some(())
    });
    household.broker.restart();
    let watch = Watch::start(&household);
    assert_eq!(watch.wait_end(&stop), "done");
    wait_until(PATIENCE, "the late ring to expire", || {
        (ended(&household, &late) == "expired").then_some(())
    });
    wait_settled(&household);
    let ledger = household.ledger();
    for order in [&stopped, &late] {
        assert_eq!(told(&ledger, order, "received"), 0, "{ledger:?}");
    }
    assert_eq!(played_ms(&household), 0);
}

#[test]
fn a_second_ring_takes_the_place_of_the_first() {
    let household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    let first = queue(&household.owner, &["ring", PHONE, "--for", "10m"]);
    watch.wait_state(&first, &["running"]);
    let before = played_ms(&household);
    let second = queue(&household.owner, &["ring", PHONE, "--for", "2s"]);
    assert_eq!(watch.wait_end(&first), "superseded");
    assert_eq!(watch.wait_end(&second), "done");
    let played = wait_played_out(&household) - before;
    // What the first played until the second had arrived counts as well; it would have gone on for ten minutes.
    assert!((1_000..=2_000 + 30_000).contains(&played), "{played} ms");
    each_has_one_end(&household);
}
