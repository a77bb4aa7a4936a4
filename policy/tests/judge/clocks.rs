//! Any clock may refuse, no clock may permit: at each step of 200 seeded schedules the judge is asked again with other clocks.

use crate::house::*;
use crate::locate::PLACE;
use crate::world::{Death, World};
use homing_policy::{Effect, Event, Now, Outgoing, SearchOutcome, SirenPhase, decide};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::{Op, Verified};
use homing_protocol::receipt::CommandState;
use std::sync::LazyLock;

/// Schedules on each run.
const EACH_RUN: u64 = 200;
/// Steps of a schedule.
const STEPS: u32 = 60;

/// What a wall clock may show: 1970, today, around, 2038 on both sides, 2099, the end of counting.
const WALLS: [u64; 9] = [
    0,
    1,
    TODAY,
    TODAY - DAY,
    TODAY + 2 * DAY,
    2_147_483_647,
    2_147_483_648,
    4_070_908_800,
    u64::MAX,
];

/// Orders given at odd times, with and without an end.
static ORDERS: LazyLock<Vec<Verified>> = LazyLock::new(|| {
    let house = House::new();
    let of = |client: u8| {
        let id = move |id: u8| 100 * client + id;
        [
            ring(1, id(1)).given_at(TODAY),
            locate(2, id(2)).given_at(TODAY),
            stop(3, id(3), &[id(1)]),
            ring(4, id(4)),
            ring(5, id(5)).given_at(0),
            order(6, id(6), Op::Status).given_at(TODAY),
            ring(7, id(7)).given_at(4_070_908_800),
            locate(8, id(8)).given_at(0),
            ring(9, id(9)).given_at(TODAY - 3 * DAY),
            stop(10, id(10), &[id(9)]).given_at(0),
        ]
        .map(|order| order.by(client, 1))
    };
    let orders = of(0).into_iter().chain(of(1));
    orders.map(|order| house.sign(&order)).collect()
});

/// An evenly spread number (splitmix64, Steele, Lea and Flood 2014).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn pick<T: Copy>(seed: &mut u64, from: &[T]) -> T {
    let count = u64::try_from(from.len()).unwrap();
    from[usize::try_from(next(seed) % count).unwrap()]
}

/// What the judge would do, and say of which order.
fn judged(world: &World, now: Now, event: &Event<'_>) -> (Vec<Effect>, Vec<CommandState>) {
    let mut journal = Memory::default();
    let mut state = world.phone.state.clone();
    let effects = decide(&state, &now, event).commit(&mut state, &mut journal);
    let said = journal.sent.iter().filter_map(|message| match message {
        Outgoing::Receipt { state, .. } => Some(*state),
        Outgoing::Repeat { .. } | Outgoing::Report { .. } => None,
    });
    (effects.unwrap(), said.collect())
}

const fn is_permission(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Sound { .. } | Effect::Search { .. } | Effect::TrackSearch
    )
}

/// Asks once more as if no clock were believed, and with each other time shown.
fn check_clocks(world: &World, event: &Event<'_>) {
    let now = world.phone.now;
    let doubted = |wall_unix_s| Now {
        wall_unix_s,
        clock: ClockTrust::Unset,
        ..now
    };
    let (without, said) = judged(world, doubted(now.wall_unix_s), event);
    assert!(
        !said.contains(&CommandState::Expired),
        "a doubted clock refuses"
    );
    for wall in WALLS {
        assert_eq!(judged(world, doubted(wall), event).0, without, "{wall}");
        let believed = Now {
            wall_unix_s: wall,
            clock: ClockTrust::Synchronised,
            ..now
        };
        for effect in judged(world, believed, event).0 {
            assert!(
                !is_permission(&effect) || without.contains(&effect),
                "{wall} permits {effect:?}"
            );
        }
    }
}

fn step(world: &mut World, seed: &mut u64) {
    match next(seed) % 12 {
        0 => world.phone.trust(pick(seed, &WALLS)),
        1 => {
            world.phone.now.wall_unix_s = pick(seed, &WALLS);
            world.phone.now.clock = ClockTrust::Unset;
        }
        // Asleep: the wall clock stands still, jumps or goes back meanwhile.
        2 => world.phone.now.boottime_ms += next(seed) % (40 * DAY * 1_000),
        3 => {
            world.phone.now.wall_unix_s = pick(seed, &WALLS);
            world.reboot();
        }
        4 => world.phone.later(next(seed) % 100_000),
        5 => world.phone.beacon(),
        6 => {
            check_clocks(world, &Event::Tick);
            world.happen(&Event::Tick, Death::No);
        }
        7 => {
            check_clocks(world, &Event::Started);
            world.restart();
        }
        8 => world.siren(
            pick(seed, &[SirenPhase::Sounding, SirenPhase::Ended]),
            Death::No,
        ),
        9 => world.find(SearchOutcome::Found(PLACE), Death::No),
        _ => {
            let index = usize::try_from(next(seed) % 20).unwrap();
            let order = &ORDERS[index];
            check_clocks(world, &Event::Command(order));
            world.receive(order, Death::No);
        }
    }
}

#[test]
fn any_clock_may_refuse_and_no_clock_may_permit() {
    let mut expired = 0;
    for seed in 1..=EACH_RUN {
        let (mut world, mut random) = (World::new(), seed);
        for _ in 0..STEPS {
            step(&mut world, &mut random);
        }
        let entries = world.phone.state.commands();
        expired += entries
            .filter(|entry| entry.state == CommandState::Expired)
            .count();
        world.settle();
    }
    assert!(
        expired > 50,
        "only {expired} orders met a clock that refused"
    );
}
