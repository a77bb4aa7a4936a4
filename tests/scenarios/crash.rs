//! The agent dies at every moment at which it could: nothing acknowledged is lost, nothing rings twice, every order is answered once.

use crate::story::{
    Watch, each_has_one_end, no_alarm, played_ms, queue, told, wait_played_out, wait_positions,
    wait_settled,
};
use crate::witness::Witness;
use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use homing_protocol::command::Op;

/// What a siren may play beyond its time, ms: its samples are written in blocks of 100 ms, two of which may wait.
const BLOCKS_MS: u64 = 400;
/// More journal writes than any of these stories has.
const FAR: u32 = 60;

/// Whether the agent went through its crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Crashed,
    Survived,
}

/// Waits until the agent has died or `over` holds; the dead one is started again, whole.
#[track_caller]
fn wait_for_crash(household: &mut Household, over: impl Fn(&Household) -> bool) -> Fate {
    let fate = wait_until(PATIENCE, "the crash or the end of the story", || {
        let agent = household.handset.agent().expect("it was started");
        if agent.ended().is_some() {
            return Some(Fate::Crashed);
        }
        over(household).then_some(Fate::Survived)
    });
    if fate == Fate::Crashed {
        household.handset.set_crash_point(None);
        household.handset.start_agent();
    }
    fate
}

/// Whether nothing is open and nothing unconfirmed, so that the agent has no reason to write any more.
fn is_settled(household: &Household) -> bool {
    let status = household.status();
    let agent = &status["agent"];
    agent["open"] == serde_json::json!([]) && agent["reports"] == agent["reports_stored"]
}

fn has_ended(watch: &Watch, order: &str) -> bool {
    let ends = ["done", "cancelled", "failed"];
    watch
        .states(order)
        .iter()
        .any(|state| ends.iter().any(|end| state.starts_with(end)))
}

/// Tells the story once for each crash point, in one household, until a telling comes to its end without a crash.
/// Returns how often it crashed, after the oracle has found nothing.
fn at_every_write(
    household: &mut Household,
    watch: &Watch,
    mut story: impl FnMut(&mut Household, &mut Witness) -> Fate,
) -> u32 {
    let mut witness = Witness::new(household);
    for point in 1..FAR {
        household.handset.kill9_agent();
        witness.killed();
        household.handset.set_crash_point(Some(point));
        let fate = story(household, &mut witness);
        wait_settled(household);
        if fate == Fate::Survived {
            wait_positions(household, watch);
            witness.judge_end(household, watch);
            return point - 1;
        }
        witness.killed();
        witness.look(household, watch);
    }
    panic!("the agent still crashes at its journal write {FAR}");
}

#[test]
fn an_agent_killed_at_every_journal_write_answers_a_search_once() {
    let mut household = Household::enrolled(Receiver::Simulated);
    // The receiver knows its sky already: each search takes as long as two readings that agree.
    household
        .sim
        .ask(serde_json::json!({"set": "position", "first_fix_ms": 0}));
    let watch = Watch::start(&household);
    let crashes = at_every_write(&mut household, &watch, |household, witness| {
        let order = queue(&household.owner, &["locate", PHONE]);
        witness.gave(&order, Op::Locate { search_s: 60 });
        household.handset.start_agent();
        let fate = wait_for_crash(household, |household| {
            has_ended(&watch, &order) && is_settled(household)
        });
        assert_eq!(watch.wait_end(&order), "done");
        fate
    });
    // Before and after each: beacon, order, position found, position confirmed.
    assert!(crashes >= 8, "only {crashes} journal writes");
    each_has_one_end(&household);
    wait_positions(&household, &watch);
    no_alarm(&household);
}

#[test]
fn an_agent_killed_at_every_journal_write_rings_once() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    let crashes = at_every_write(&mut household, &watch, |household, witness| {
        let before = played_ms(household);
        let order = queue(&household.owner, &["ring", PHONE, "--for", "2s"]);
        witness.gave(&order, Op::Ring { for_s: 2 });
        household.handset.start_agent();
        let fate = wait_for_crash(household, |household| {
            has_ended(&watch, &order) && is_settled(household)
        });
        assert_eq!(watch.wait_end(&order), "done");
        let played = played_ms(household) - before;
        assert!(
            (100..=2_000 + BLOCKS_MS).contains(&played),
            "{played} ms of 2 s, {fate:?}"
        );
        assert_eq!(told(&household.ledger(), &order, "running"), 1);
        fate
    });
    // Before and after each: beacon, order, it sounds, it has ended.
    assert!(crashes >= 8, "only {crashes} journal writes");
    let played = played_ms(&household);
    assert_eq!(wait_played_out(&household), played, "done means silent");
    each_has_one_end(&household);
    no_alarm(&household);
}

#[test]
fn an_agent_killed_at_every_journal_write_stops_its_ring() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let watch = Watch::start(&household);
    let mut silent_since = None;
    let crashes = at_every_write(&mut household, &watch, |household, witness| {
        if let Some(silent_since) = silent_since {
            assert_eq!(
                played_ms(household),
                silent_since,
                "what was stopped rang again"
            );
        }
        let ring = queue(&household.owner, &["ring", PHONE, "--for", "10m"]);
        witness.gave(&ring, Op::Ring { for_s: 600 });
        household.handset.start_agent();
        let sounding = || watch.states(&ring).iter().any(|state| state == "running");
        let mut fate = wait_for_crash(household, |_| sounding());
        watch.wait_state(&ring, &["running"]);
        household.sim.wait_heard(PATIENCE);
        let stop = queue(&household.owner, &["ring", PHONE, "--stop"]);
        let named = ring.parse().expect("a command id");
        witness.gave(&stop, Op::RingStop { rings: vec![named] });
        if fate == Fate::Survived {
            fate = wait_for_crash(household, |household| {
                has_ended(&watch, &stop) && is_settled(household)
            });
        }
        assert_eq!(watch.wait_end(&stop), "done");
        assert_eq!(watch.wait_end(&ring), "cancelled");
        silent_since = Some(played_ms(household));
        assert_eq!(told(&household.ledger(), &ring, "running"), 1);
        fate
    });
    // Before and after each: beacon, ring, it sounds, stop, it is silent.
    assert!(crashes >= 10, "only {crashes} journal writes");
    assert_eq!(Some(wait_played_out(&household)), silent_since);
    each_has_one_end(&household);
    no_alarm(&household);
}
