//! Clocks that lie: the wall clock jumps to 1970, 2038 or 2099, back and forth, changes with each start, and is believed or not; the phone sleeps for days. It must not test what the judge's own tests do.

use std::time::Duration;

use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::Op;
use homing_protocol::receipt::CommandState;

use super::rig::Rig;
use crate::siren::report::Phase;

/// Schedules on each run; more by `cargo xtask campaign clocks`.
const EACH_RUN: u64 = 200;
/// 2026-01-01 00:00 UTC, when every order is given.
const TODAY: u64 = 1_767_225_600;

/// An evenly spread number (splitmix64, Steele, Lea and Flood 2014).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Moments that a phone's wall clock may show.
fn moment(seed: &mut u64) -> u64 {
    let known = [
        0,
        1,
        TODAY,
        TODAY - 86_400,
        TODAY + 2 * 86_400,
        2_147_483_647,
        2_147_483_648,
        4_070_908_800,
        253_402_300_799,
    ];
    known[usize::try_from(next(seed) % 9).unwrap_or(0)]
}

/// One thing that happens to the clocks.
fn twist(rig: &mut Rig, seed: &mut u64) {
    match next(seed) % 6 {
        0 => rig.wall.0 = moment(seed),
        1 => rig.wall.0 = rig.wall.0.saturating_add(next(seed) % 1_000_000),
        2 => rig.wall.0 = rig.wall.0.saturating_sub(next(seed) % 1_000_000),
        // Asleep: the clock since boot goes on, the other may not.
        3 => rig.now += Duration::from_secs(next(seed) % (40 * 86_400)),
        4 => {
            rig.wall = (moment(seed), ClockTrust::Unset);
            rig.reboot();
        }
        _ => rig.turn(),
    }
    rig.wall.1 = if next(seed).is_multiple_of(2) {
        ClockTrust::Synchronised
    } else {
        ClockTrust::Unset
    };
}

/// One schedule on a phone that has lived through others; how many orders ended as expired.
fn live(rig: &mut Rig, mut seed: u64) -> u32 {
    let mut expired = 0;
    for _ in 0..4 {
        twist(rig, &mut seed);
        let op = match next(&mut seed) % 3 {
            0 => Op::Status,
            1 => Op::Locate { search_s: 10 },
            _ => Op::Ring { for_s: 600 },
        };
        let within = next(&mut seed).is_multiple_of(2).then_some(TODAY + 86_400);
        let believed = rig.wall.1 == ClockTrust::Synchronised;
        let is_ring = matches!(op, Op::Ring { .. });
        let order = rig.order_within(op, within);
        if is_ring {
            rig.until("the ring's answer", |rig| rig.told(order).is_some());
            if rig.told(order) == Some(CommandState::Expired) {
                assert!(
                    within.is_some() && believed,
                    "only a clock that is believed may refuse"
                );
                expired += 1;
                continue;
            }
            rig.until("the siren's order", Rig::is_siren_ordered);
            rig.siren_says(order, Phase::Sounding);
            rig.until("the sound", |rig| {
                rig.told(order) == Some(CommandState::Running)
            });
            twist(rig, &mut seed);
            let stop = rig.order(Op::RingStop { rings: vec![order] });
            rig.until("the end", |rig| !rig.is_siren_ordered());
            rig.siren_says(order, Phase::Ended);
            rig.until("silence", |rig| rig.told(stop) == Some(CommandState::Done));
        } else {
            // Nothing that helps to find the phone asks a clock.
            rig.until("an answer", |rig| {
                rig.told(order) == Some(CommandState::Done)
            });
        }
    }
    expired
}

fn run(first: u64, count: u64) -> (u64, u32) {
    let (mut orders, mut expired) = (0, 0);
    // Some schedules in one phone's life: clocks of long ago must not matter either.
    for begin in (first..first + count).step_by(8) {
        let folder = super::io_faults::folder();
        let mut rig = Rig::new(folder.path());
        rig.start();
        for seed in begin..(begin + 8).min(first + count) {
            expired += live(&mut rig, seed);
            orders += 4;
        }
        rig.check();
    }
    (orders, expired)
}

#[test]
fn no_clock_permits_anything_and_none_keeps_a_phone_from_being_found() {
    let (_, expired) = run(1, EACH_RUN);
    assert!(expired > 0, "some clocks do refuse");
}

#[test]
#[ignore = "by hand: cargo xtask campaign clocks"]
fn a_campaign_of_clocks() {
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (first, count) = (
        number("HOMING_CAMPAIGN_SEED", 1),
        number("HOMING_CAMPAIGN_COUNT", EACH_RUN),
    );
    let began = std::time::Instant::now();
    let (orders, expired) = run(first, count);
    let result = serde_json::json!({
        "campaign": "clocks",
        "schedules": count,
        "first_seed": first,
        "orders": orders,
        "expired": expired,
        "violations": 0,
        "seconds": began.elapsed().as_secs(),
    });
    if let Some(path) = std::env::var_os("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(path, format!("{result:#}\n")).expect("written");
    }
}
