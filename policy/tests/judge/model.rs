//! Every order of events of a small household, breadth first: what the random schedules may miss. States that are alike are visited once.

use crate::house::*;
use crate::locate::PLACE;
use crate::world::{Death, World};
use homing_policy::{Event, Record, SearchOutcome, SirenPhase, codec};
use homing_protocol::command::Verified;
use std::collections::BTreeSet;

/// States alike: receipts and reports may have been numbered in another order.
fn likeness(world: &World) -> Vec<u8> {
    let mut bytes = Vec::new();
    for mut fact in world.phone.state.facts() {
        if let Record::Receipt { counter, .. } | Record::Report { counter } = &mut fact {
            *counter = 0;
        }
        // Where the phone lies and since when has no bearing on any order.
        if matches!(fact, Record::TrackPlace(_)) {
            continue;
        }
        bytes.extend(codec::encode(&fact));
    }
    let now = &world.phone.now;
    bytes.extend(
        format!(
            "{:?}{:?}{:?}{}",
            world.intent, world.search, now.boot, now.boottime_ms
        )
        .into_bytes(),
    );
    bytes
}

fn successors(world: &World, orders: &[Verified], reach: &mut Vec<World>) {
    let mut step = |change: &dyn Fn(&mut World)| {
        let mut next = world.clone();
        change(&mut next);
        reach.push(next);
    };
    for order in orders {
        step(&|world| world.receive(order, Death::No));
        step(&|world| world.receive(order, Death::BeforeEffects));
    }
    if world.intent.is_some() {
        step(&|world| world.siren(SirenPhase::Sounding, Death::No));
        step(&|world| world.siren(SirenPhase::Ended, Death::No));
        step(&|world| world.siren(SirenPhase::Ended, Death::BeforeEffects));
        // It dies or reports, and the daemon is not there to hear it.
        step(&|world| world.intent = None);
    }
    if world.search.is_some() && world.phone.state.reports == 0 {
        step(&|world| world.find(SearchOutcome::Found(PLACE), Death::No));
    }
    step(&|world| world.happen(&Event::Tick, Death::No));
    step(&|world| world.restart());
    if world.phone.now.boot.0[0] < 2 {
        step(&|world| world.reboot());
    }
    if world.phone.now.boottime_ms < HOUR_MS + 1 {
        step(&|world| world.phone.later(70_000));
    }
}

#[test]
fn no_order_of_events_in_a_small_household_breaks_a_promise() {
    let house = House::new();
    let orders = [
        house.sign(&ring(1, 1)),
        house.sign(&stop(2, 2, &[])),
        house.sign(&ring(1, 3).by(1, 1)),
        house.sign(&stop(2, 4, &[1, 3]).by(1, 1)),
        house.sign(&locate(3, 5)),
    ];
    let mut known = BTreeSet::new();
    let mut frontier = vec![World::new()];
    let mut depth = 0;
    while !frontier.is_empty() && depth < DEPTH {
        depth += 1;
        let mut reach = Vec::new();
        for world in &frontier {
            successors(world, &orders, &mut reach);
        }
        reach.retain(|world| known.insert(likeness(world)));
        for world in &reach {
            let mut end = world.clone();
            end.settle();
        }
        frontier = reach;
    }
    assert!(known.len() > 500, "{} states", known.len());
}

/// Steps followed; some seconds without optimisation.
const DEPTH: usize = 5;
