//! The agent is killed at random moments, again and again, in the middle of whatever it does; the oracle judges what became of every order.

use crate::story::{
    Watch, each_has_one_end, no_alarm, queue, wait_played_out, wait_positions, wait_settled,
};
use crate::witness::Witness;
use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use homing_protocol::command::Op;
use std::time::{Duration, Instant};

/// Kills on each run.
const EACH_RUN: u64 = 100;
/// The longest life between two kills, milliseconds: a start takes some 30, an order some 10, a search two seconds.
const LONGEST_LIFE_MS: u64 = 250;

/// Numbers that look random and are the same for the same seed (splitmix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Gives a random order; its id.
fn order(household: &Household, witness: &mut Witness, dice: &mut Dice) -> String {
    let (arguments, op): (&[&str], Op) = match dice.below(5) {
        0 | 1 => (&["ring", PHONE, "--for", "1s"], Op::Ring { for_s: 1 }),
        2 => (
            &["ring", PHONE, "--stop"],
            Op::RingStop { rings: Vec::new() },
        ),
        _ => (&["locate", PHONE], Op::Locate { search_s: 60 }),
    };
    let id = queue(&household.owner, arguments);
    witness.gave(&id, op);
    id
}

/// Lets the agent live for a while.
fn live(span: Duration) {
    let began = Instant::now();
    wait_until(PATIENCE, "the moment of the kill", || {
        (began.elapsed() >= span).then_some(())
    });
}

/// Starts the agent and measures how long its state takes to open: in processor time, whatever else the machine does.
fn start_and_measure(household: &mut Household, witness: &mut Witness) {
    household.handset.start_agent();
    let pid = household.handset.agent().expect("started").id();
    wait_until(PATIENCE, "the agent's own status", || {
        (household.status()["agent"]["pid"] == pid).then_some(())
    });
    witness.opened(processor_time(pid));
}

/// What a process has used since its start, or nothing if it has ended: fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms (proc(5)).
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Kills the agent so many times in one household, and asks the oracle; how many orders were given.
fn kill(kills: u64, seed: u64) -> usize {
    let mut household = Household::without_phone(Receiver::Simulated);
    // Positions of its own accord as well.
    let track = "[track]\nmoving_s = 2\nstationary_s = 2\n";
    household.handset.configure("track", track);
    household.enrol();
    household
        .sim
        .ask(serde_json::json!({"set": "position", "first_fix_ms": 0}));
    let watch = Watch::start(&household);
    let mut witness = Witness::new(&household);
    let mut dice = Dice(seed);
    let mut orders = Vec::new();
    for number in 0..kills {
        if dice.below(2) == 0 {
            orders.push(order(&household, &mut witness, &mut dice));
        }
        live(Duration::from_millis(dice.below(LONGEST_LIFE_MS)));
        household.handset.kill9_agent();
        witness.killed();
        if number % 10 == 9 {
            start_and_measure(&mut household, &mut witness);
            witness.look(&household, &watch);
        } else {
            household.handset.start_agent();
        }
    }
    for order in &orders {
        watch.wait_end(order);
    }
    let lazy = "[track]\nmoving_s = 86400\nstationary_s = 86400\n";
    household.handset.configure("track", lazy);
    household.handset.reload();
    wait_settled(&household);
    wait_positions(&household, &watch);
    wait_played_out(&household);
    each_has_one_end(&household);
    no_alarm(&household);
    witness.judge_end(&household, &watch);
    // What comes last still works.
    let last = queue(&household.owner, &["locate", PHONE]);
    assert_eq!(watch.wait_end(&last), "done");
    orders.len()
}

#[test]
fn a_hundred_kills_at_random_moments_break_no_promise() {
    let orders = kill(EACH_RUN, 0x2026_1123);
    assert!(orders > 20, "only {orders} orders");
}

#[test]
#[ignore = "by hand: cargo xtask campaign kills"]
fn a_campaign_of_kills() {
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (seed, count) = (
        number("HOMING_CAMPAIGN_SEED", 1),
        number("HOMING_CAMPAIGN_COUNT", EACH_RUN),
    );
    let (began, mut orders, mut kills) = (Instant::now(), 0, 0);
    while kills < count {
        let these = (count - kills).min(EACH_RUN);
        orders += kill(these, seed + kills);
        kills += these;
        eprintln!("{kills} kills, {:?}", began.elapsed());
    }
    let result = serde_json::json!({
        "campaign": "kills",
        "kills": kills,
        "first_seed": seed,
        "orders": orders,
        "violations": 0,
        "seconds": began.elapsed().as_secs(),
    });
    if let Some(path) = std::env::var_os("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(path, format!("{result:#}\n")).expect("written");
    }
}
