//! Random schedules: two clients' orders duplicated, lost and reordered among deaths, restarts and clocks; the world checks what must hold.

use crate::house::*;
use crate::locate::PLACE;
use crate::world::{Death, World};
use homing_policy::{Event, SearchOutcome, SirenPhase};
use homing_protocol::Refusal;
use homing_protocol::command::{Op, Verified};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Signed once: every schedule draws from the same orders.
static ORDERS: LazyLock<Vec<Verified>> = LazyLock::new(|| {
    let house = House::new();
    let mut orders = Vec::new();
    for client in 0..2u8 {
        let of = |id: u8| 100 * client + id;
        let other = |id: u8| 100 * (1 - client) + id;
        orders.extend(
            [
                ring(1, of(1)),
                locate(2, of(2)),
                stop(3, of(3), &[of(1), other(1)]),
                ring(4, of(4)).given_at(TODAY),
                order(5, of(5), Op::Status),
                stop(6, of(6), &[]),
                locate(7, of(7)),
                ring(8, of(8)),
                // Signed again under the same id, another command under a used number, and one that jumps far ahead.
                ring(9, of(1)),
                locate(9, of(9)),
                ring(4, of(10)),
                locate(3_000, of(11)),
                // A second session, one that quotes what this phone does not know, and one from before a roll-back.
                ring(1, of(12)).by(0, 2),
                stop(2, of(13), &[of(12), other(8)]).by(0, 2),
                ring(1, of(14)).by(0, 3).quoting(None),
                locate(1, of(15)).by(0, 4).quoting(Some(quoting(90))),
            ]
            .map(|order| {
                let session = order.session;
                house.sign(&order.by(client, session))
            }),
        );
    }
    orders
});

#[derive(Clone, Debug)]
enum Step {
    Deliver(usize, Death),
    Refuse(usize, Death),
    Sounding(Death),
    Failing(Death),
    Silent(Death),
    /// The siren process speaks of a ring that is not its order: a report from before.
    Stray(u8, bool),
    Found(Death),
    Lost(Death),
    Tick(Death),
    Beacon,
    Later(u64),
    Clock(u64, bool),
    Restart,
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    let death = || prop_oneof![6 => Just(Death::No), 1 => Just(Death::BeforeCommit), 1 => Just(Death::BeforeEffects)];
    let index = || 0..32usize;
    prop_oneof![
        10 => (index(), death()).prop_map(|(index, death)| Step::Deliver(index, death)),
        1 => (index(), death()).prop_map(|(index, death)| Step::Refuse(index, death)),
        3 => death().prop_map(Step::Sounding),
        1 => death().prop_map(Step::Failing),
        3 => death().prop_map(Step::Silent),
        1 => (0..20u8, any::<bool>()).prop_map(|(id, sounds)| Step::Stray(id, sounds)),
        2 => death().prop_map(Step::Found),
        1 => death().prop_map(Step::Lost),
        2 => death().prop_map(Step::Tick),
        1 => Just(Step::Beacon),
        2 => (0..100_000u64).prop_map(Step::Later),
        1 => (prop_oneof![Just(0), Just(TODAY), Just(TODAY + 2 * DAY), Just(2_147_483_648), Just(u64::MAX)], any::<bool>()).prop_map(|(wall, kept)| Step::Clock(wall, kept)),
        1 => Just(Step::Restart),
        1 => Just(Step::Reboot),
    ]
}

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Deliver(index, death) => world.receive(&ORDERS[*index], *death),
        Step::Refuse(index, death) => world.happen(
            &Event::Refused(Refusal::NotAllowed, ORDERS[*index].command()),
            *death,
        ),
        Step::Sounding(death) => world.siren(SirenPhase::Sounding, *death),
        Step::Failing(death) => world.siren(SirenPhase::Failing("busy"), *death),
        Step::Silent(death) => world.siren(SirenPhase::Ended, *death),
        Step::Stray(id, sounds) if world.intent != Some(command_id(*id)) => {
            let phase = if *sounds {
                SirenPhase::Sounding
            } else {
                SirenPhase::Ended
            };
            let command = command_id(*id);
            world.happen(&Event::Siren { command, phase }, Death::No);
        }
        Step::Stray(..) => {}
        Step::Found(death) => world.find(SearchOutcome::Found(PLACE), *death),
        Step::Lost(death) => world.find(SearchOutcome::Failed("dark"), *death),
        Step::Tick(death) => world.happen(&Event::Tick, *death),
        Step::Beacon => world.phone.beacon(),
        Step::Later(ms) => world.phone.later(*ms),
        Step::Clock(wall, true) => world.phone.trust(*wall),
        Step::Clock(wall, false) => {
            world.phone.now.wall_unix_s = *wall;
            world.phone.now.clock = homing_protocol::beacon::ClockTrust::Unset;
        }
        Step::Restart => world.restart(),
        Step::Reboot => world.reboot(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_schedule_makes_an_order_done_twice_forgotten_or_answered_twice(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            take(&mut world, step);
        }
        // The broker delivers everything at last, in the order that suits it.
        for verified in ORDERS.iter().rev() {
            world.receive(verified, Death::No);
        }
        world.settle();
        // And once more: nothing is left to be done.
        for verified in ORDERS.iter() {
            let id = verified.command().id;
            if world.phone.state.command(id).is_some() {
                world.receive(verified, Death::No);
                prop_assert_eq!(world.intent, None);
                prop_assert_eq!(world.search, None);
            }
        }
        world.settle();
    }
}
