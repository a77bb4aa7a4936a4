//! How quick the phone is, by a clock of its own: the guest's time goes by the instructions it carries out, so that a busy machine does not spoil it. It fails for no speed.

use crate::household::{Home, connected_after, every_kit, figures};
use e2e::{Clock, Fittings, GUEST_PATIENCE, PHONE, Sound, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const RINGS: usize = 3;
/// Long enough for an emulated phone to be looked at while it sounds; the deadline in the order is this after its arrival.
const RING: Duration = Duration::from_secs(300);

#[test]
fn a_phones_pace_is_measured_by_its_own_clock() {
    let Some(kit) = every_kit() else { return };
    let fittings = Fittings {
        sound: Sound::Usb,
        clock: Clock::Instructions,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(kit, fittings);
    let mut boots = vec![connected_after(home.guest()).as_secs_f64()];
    for _ in 0..2 {
        home.power_cut();
        boots.push(connected_after(home.boot()).as_secs_f64());
    }
    let mut rings = Vec::new();
    for _ in 0..RINGS {
        rings.push(ring(&mut home));
    }
    figures(&json!({
        "kernel to connected, s (the first one joins the account before)": boots,
        "order's arrival to the card's first sample, ms": rings,
    }));
}

/// Rings once; returns the milliseconds from the order's arrival on the phone to the card's start.
fn ring(home: &mut Home) -> i64 {
    home.wait_connected();
    let lasting = format!("{}s", RING.as_secs());
    let ringing = home
        .owner
        .start("ring", &["ring", PHONE, "--for", &lasting, "--json"]);
    let status = "cat /proc/asound/card0/pcm0p/sub0/status";
    let started_ms = wait_until(GUEST_PATIENCE, "the card to play", || {
        let said = home.guest().run(status).text;
        seconds_after(&said, "trigger_time").filter(|_| said.contains("state: RUNNING"))
    });
    let intent = home
        .guest()
        .run("cat /var/lib/homing/siren/intent.json")
        .expect_success()
        .text;
    let intent: Value = serde_json::from_str(&intent).expect("an intent is JSON");
    let deadline_ms = intent["deadline_boottime_ms"]
        .as_i64()
        .expect("an intent has a deadline");
    home.stop_ringing();
    drop(ringing);
    started_ms - (deadline_ms - i64::try_from(RING.as_millis()).unwrap_or(0))
}

/// `trigger_time: 12.345678901` as milliseconds of the monotonic clock, which in a phone that never slept is the one
/// that deadlines are counted by.
fn seconds_after(status: &str, key: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let (seconds, fraction) = line
        .trim_start()
        .strip_prefix(':')?
        .trim()
        .split_once('.')?;
    let milliseconds: i64 = fraction.get(..3)?.parse().ok()?;
    Some(seconds.parse::<i64>().ok()? * 1_000 + milliseconds)
}
