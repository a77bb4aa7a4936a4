//! Every order of events of a small household, until no state is left that was not visited: what the random schedules may miss. It must not bound deliveries, deaths, restarts or time.

use crate::house::*;
use crate::small::{Small, Step};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::{Op, Verified};
use std::collections::BTreeSet;

/// How a search ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Searched {
    pub(crate) states: usize,
    pub(crate) transitions: u64,
    /// Steps to the farthest state that was reached.
    pub(crate) depth: u32,
    /// Whether no state was left to visit.
    pub(crate) exhausted: bool,
}

/// Which way a state was found: tells the story of a broken promise.
struct Trail {
    nodes: Vec<(u32, Step)>,
}

/// Speaks only when a check fails while it is held.
struct Witness<'a> {
    trail: &'a Trail,
    node: u32,
    step: Option<Step>,
}

impl Drop for Witness<'_> {
    #[expect(
        clippy::disallowed_macros,
        reason = "a failed search says how it got there"
    )]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut steps: Vec<Step> = self.step.into_iter().collect();
        let mut node = self.node;
        while node > 0 {
            let (parent, step) = self.trail.nodes[node as usize];
            steps.push(step);
            node = parent;
        }
        steps.reverse();
        eprintln!("the promise was broken by: {steps:?}");
    }
}

/// Visits every state that these orders can lead to, at most `most`; breadth first, so that a broken promise is shown
/// by the fewest steps.
pub(crate) fn search(orders: &[Verified], clocks: &[ClockTrust], most: usize) -> Searched {
    let first = Small::new();
    let mut known = BTreeSet::from([first.likeness()]);
    let mut trail = Trail {
        nodes: vec![(0, Step::Later)],
    };
    let mut found = Searched {
        states: 1,
        transitions: 0,
        depth: 0,
        exhausted: true,
    };
    let mut frontier = vec![(0u32, first)];
    while !frontier.is_empty() && found.exhausted {
        let mut reach = Vec::new();
        for (node, world) in frontier {
            for step in world.steps(orders, clocks) {
                let witness = Witness {
                    trail: &trail,
                    node,
                    step: Some(step),
                };
                let mut next = world.clone();
                next.take(step, orders);
                found.transitions += 1;
                if !known.insert(next.likeness()) {
                    continue;
                }
                next.check_future(orders);
                drop(witness);
                let number = u32::try_from(trail.nodes.len()).expect("fewer than 2^32 states");
                trail.nodes.push((node, step));
                reach.push((number, next));
            }
            if known.len() >= most {
                found.exhausted = false;
                break;
            }
        }
        found.depth += u32::from(!reach.is_empty());
        frontier = reach;
    }
    found.states = known.len();
    found
}

fn signed(orders: &[Order]) -> Vec<Verified> {
    let house = House::new();
    orders.iter().map(|order| house.sign(order)).collect()
}

/// Two clients; each rings and stops, one of them by name; one ring comes signed again under another number.
pub(crate) fn rings() -> Vec<Verified> {
    signed(&[
        ring(1, 1),
        stop(2, 2, &[]),
        ring(3, 1),
        ring(1, 3).by(1, 1),
        stop(2, 4, &[1]).by(1, 1),
    ])
}

/// Two clients search and ask; one searches twice.
pub(crate) fn searches_and_questions() -> Vec<Verified> {
    signed(&[
        locate(1, 1),
        locate(2, 2),
        order(3, 3, Op::Status),
        locate(1, 5).by(1, 1),
        order(2, 6, Op::Status).by(1, 1),
    ])
}

/// Orders that are pointless after a day, on a phone whose clock is kept, wrong or not at all.
pub(crate) fn rings_of_a_day() -> Vec<Verified> {
    signed(&[
        ring(1, 1).given_at(TODAY),
        stop(2, 2, &[]).given_at(TODAY),
        ring(1, 3).by(1, 1).given_at(TODAY),
    ])
}

/// Either client rings, stops by name or at large, and searches: all that can meet each other.
pub(crate) fn rings_and_searches() -> Vec<Verified> {
    signed(&[
        ring(1, 1),
        stop(2, 2, &[]),
        locate(3, 3),
        ring(1, 5).by(1, 1),
        stop(2, 6, &[1]).by(1, 1),
        locate(3, 7).by(1, 1),
    ])
}

/// Either client has four orders.
pub(crate) fn everything() -> Vec<Verified> {
    signed(&[
        ring(1, 1),
        stop(2, 2, &[]),
        locate(3, 3),
        order(4, 4, Op::Status),
        ring(1, 5).by(1, 1),
        stop(2, 6, &[1]).by(1, 1),
        locate(3, 7).by(1, 1),
        order(4, 8, Op::Status).by(1, 1),
    ])
}

const CLOCKS: [ClockTrust; 2] = [ClockTrust::Unset, ClockTrust::Synchronised];

/// `least` guards the search itself: a world in which hardly anything can happen keeps every promise.
fn exhausts(orders: &[Verified], clocks: &[ClockTrust], least: usize) {
    let found = search(orders, clocks, 1_000_000);
    assert!(found.exhausted && found.states >= least, "{found:?}");
}

#[test]
fn no_order_of_rings_and_stops_of_two_clients_breaks_a_promise() {
    exhausts(&rings(), &[], 10_000);
}

#[test]
fn no_order_of_searches_and_questions_breaks_a_promise() {
    exhausts(&searches_and_questions(), &[], 100);
}

#[test]
fn no_order_of_rings_under_a_changing_clock_breaks_a_promise() {
    exhausts(&rings_of_a_day(), &CLOCKS, 2_000);
}

/// The whole small household: `cargo xtask campaign small-model`.
#[test]
#[ignore = "by hand: cargo xtask campaign small-model"]
#[expect(
    clippy::disallowed_methods,
    reason = "a campaign is told by its environment how far it goes, and writes down what it found"
)]
fn a_campaign_of_two_clients_with_four_orders_each() {
    let most = std::env::var("HOMING_CAMPAIGN_COUNT")
        .map_or(1_000_000, |text| text.parse().expect("a number of states"));
    let households = [
        (
            "ring, stop, locate of either client",
            rings_and_searches(),
            &[][..],
        ),
        (
            "ring, stop, locate, status of either client",
            everything(),
            &[][..],
        ),
        (
            "rings and stops, one ring signed again",
            rings(),
            &CLOCKS[..],
        ),
        (
            "orders of a day under a changing clock",
            rings_of_a_day(),
            &CLOCKS[..],
        ),
    ];
    let lines: Vec<String> = households
        .iter()
        .map(|(name, orders, clocks)| {
            let Searched { states, transitions, depth, exhausted } = search(orders, clocks, most);
            let orders = orders.len();
            format!(
                "    {{ \"household\": \"{name}\", \"orders\": {orders}, \"states\": {states}, \"transitions\": {transitions}, \"depth\": {depth}, \"exhausted\": {exhausted} }}"
            )
        })
        .collect();
    let text = format!(
        "{{\n  \"campaign\": \"small-model\",\n  \"broken_promises\": 0,\n  \"searched\": [\n{}\n  ]\n}}\n",
        lines.join(",\n")
    );
    if let Ok(result) = std::env::var("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(result, text).expect("the result is written");
    }
}
