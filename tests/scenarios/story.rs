//! What several stories ask of a household: orders by id, what `homing watch` tells, where the phone really is. No checks of their own.

use e2e::{Household, Owner, PATIENCE, PHONE, Proc, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// States after which nothing follows.
pub(crate) const ENDS: [&str; 6] = [
    "done",
    "failed",
    "refused",
    "expired",
    "superseded",
    "cancelled",
];

/// `homing watch --json` and what it has told so far.
pub(crate) struct Watch {
    process: Proc,
}

impl Watch {
    /// Starts it and waits until the broker has let it in. What an earlier one of the same owner told is still told.
    #[track_caller]
    pub(crate) fn start(household: &Household) -> Self {
        let before = residents(household);
        let watch = Self::start_offline(household);
        wait_until(PATIENCE, "the watch to be connected", || {
            (residents(household) > before).then_some(())
        });
        watch
    }

    /// Starts it where there may be no broker.
    #[track_caller]
    pub(crate) fn start_offline(household: &Household) -> Self {
        Self {
            process: household.owner.start("watch", &["watch", "--json"]),
        }
    }

    /// Starts it with more on its command line, and waits until the broker has let it in.
    #[track_caller]
    pub(crate) fn start_with(household: &Household, arguments: &[&str]) -> Self {
        let before = residents(household);
        let all: Vec<&str> = arguments
            .iter()
            .copied()
            .chain(["watch", "--json"])
            .collect();
        let process = household.owner.start("watch", &all);
        wait_until(PATIENCE, "the watch to be connected", || {
            (residents(household) > before).then_some(())
        });
        Self { process }
    }

    /// The owner's machine loses its power.
    pub(crate) fn kill9(mut self) {
        self.process.kill9();
    }

    /// Everything it told, oldest first.
    pub(crate) fn news(&self) -> Vec<Value> {
        let log = self.process.log();
        let whole = log
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Everything it said, news and troubles.
    pub(crate) fn said(&self) -> String {
        self.process.log()
    }

    /// The states it told of an order, each with its detail behind it.
    pub(crate) fn states(&self, order: &str) -> Vec<String> {
        let news = self.news().into_iter();
        news.filter(|news| news["kind"] == "state" && news["command"] == order)
            .map(|news| text(&news["detail"]).trim().to_owned())
            .collect()
    }

    /// Waits until an order has come to one of these states, and returns it with its detail.
    #[track_caller]
    pub(crate) fn wait_state(&self, order: &str, wanted: &[&str]) -> String {
        wait_until(PATIENCE, &format!("{order} to be {wanted:?}"), || {
            self.states(order)
                .into_iter()
                .find(|state| wanted.contains(&word(state)))
        })
    }

    /// Waits until an order has ended, and returns how, with the detail.
    #[track_caller]
    pub(crate) fn wait_end(&self, order: &str) -> String {
        self.wait_state(order, &ENDS)
    }

    /// The numbers of the positions that were stored, lowest first; those of one number as often as they came. What came
    /// in one message is told in one line, as `5-7`.
    pub(crate) fn positions(&self) -> Vec<u64> {
        let news = self.news().into_iter();
        let mut numbers: Vec<u64> = news
            .filter(|news| news["kind"] == "position")
            .filter_map(|news| {
                let detail = text(&news["detail"]);
                let (first, last) = detail.split_once('-').unwrap_or((detail, detail));
                Some(first.parse().ok()?..=last.parse().ok()?)
            })
            .flatten()
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Waits until the watch has stored every position that the phone has ever reported: each once, none missing.
#[track_caller]
pub(crate) fn wait_positions(household: &Household, watch: &Watch) {
    wait_settled(household);
    let status = household.status();
    let reports = count(&status["agent"]["reports"]);
    let all: Vec<u64> = (1..=reports).collect();
    wait_until(PATIENCE, "every position to be told", || {
        (watch.positions().len() >= all.len()).then_some(())
    });
    assert_eq!(watch.positions(), all);
}

/// How often the broker has let in a client of the owner's that keeps a session (`c0`), which only the watch does.
pub(crate) fn residents(household: &Household) -> usize {
    let log = household.broker.log();
    log.lines()
        .filter(|line| line.contains(" as owner-") && line.contains(", c0,"))
        .count()
}

fn word(state: &str) -> &str {
    state.split(' ').next().unwrap_or_default()
}

/// Queues an order without waiting for anything, and returns its id.
#[track_caller]
pub(crate) fn queue(owner: &Owner, arguments: &[&str]) -> String {
    let all: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(["--wait", "0s", "--json"])
        .collect();
    let answer = owner.homing(&all);
    // 75: no answer yet, which is what --wait 0s asks for.
    assert!(
        matches!(answer.status.code(), Some(0 | 75)),
        "not queued: {answer}"
    );
    text(&answer.json()["id"]).to_owned()
}

/// A JSON text.
#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A JSON number.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// A JSON number that counts something.
#[track_caller]
pub(crate) fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a count: {value}"))
}

/// The states of one entry of `homing log --json`, in order.
pub(crate) fn steps(order: &Value) -> Vec<&str> {
    let steps = order["steps"].as_array().into_iter().flatten();
    steps.map(|step| text(&step["state"])).collect()
}

/// The owner's log without what the machine ordered by itself: to be given positions again that were lost on their way.
#[track_caller]
pub(crate) fn orders(household: &Household) -> Vec<Value> {
    let mut log = household.log();
    log.retain(|order| order["op"] != "resend-reports");
    log
}

/// How every order stands by the owner's log, and whether the phone signed that; each must have ended, and once.
#[track_caller]
fn signed_ends(household: &Household) -> BTreeMap<String, (String, bool)> {
    let log = orders(household);
    log.iter()
        .map(|order| {
            let steps = order["steps"].as_array().into_iter().flatten();
            let ended: Vec<_> = steps
                .filter(|step| ENDS.contains(&text(&step["state"])))
                .collect();
            assert_eq!(ended.len(), 1, "exactly one end: {order}");
            let end = text(&ended[0]["state"]).to_owned();
            let signed = ended[0]["signed"] == true;
            (text(&order["id"]).to_owned(), (end, signed))
        })
        .collect()
}

/// How every order ended by the owner's log; each must have, and once.
#[track_caller]
pub(crate) fn ends(household: &Household) -> BTreeMap<String, String> {
    let ends = signed_ends(household).into_iter();
    ends.map(|(order, (end, _))| (order, end)).collect()
}

/// How often the phone's ledger tells this event of an order. The ledger's chain holds, or reading it had failed.
#[track_caller]
pub(crate) fn told(ledger: &[Value], order: &str, event: &str) -> usize {
    let of_order = ledger.iter().filter(|entry| entry["command"] == order);
    of_order.filter(|entry| entry["event"] == event).count()
}

/// Each order was received once and has one end, the one that the owner knows; one that never left was never received.
#[track_caller]
pub(crate) fn each_has_one_end(household: &Household) {
    let ends = signed_ends(household);
    let ledger = household.ledger();
    for (order, (end, signed)) in ends {
        let of_order: Vec<_> = ledger
            .iter()
            .filter(|entry| entry["command"] == order)
            .collect();
        let ended: usize = ENDS.iter().map(|end| told(&ledger, &order, end)).sum();
        let counts = ["received", &end].map(|event| told(&ledger, &order, event));
        let expected = if signed { ([1, 1], 1) } else { ([0, 0], 0) };
        assert_eq!((counts, ended), expected, "{order} {end}: {of_order:?}");
    }
}

/// No receipt is missing, doubled or out of the chain as far as the owner can tell.
#[track_caller]
pub(crate) fn no_alarm(household: &Household) {
    wait_until(PATIENCE, "every receipt to have come", || {
        let listed = household.owner.json(&["devices"]);
        (listed["alarms"] == json!([])).then_some(())
    });
}

/// Waits until the agent has no open order and everything it reported is stored by the owner.
#[track_caller]
pub(crate) fn wait_settled(household: &Household) {
    wait_until(PATIENCE, "the phone to have nothing open", || {
        let status = household.status();
        let agent = &status["agent"];
        (agent["open"] == json!([]) && agent["reports"] == agent["reports_stored"]).then_some(())
    });
}

/// Milliseconds of sound that the phone's loudspeaker has played so far, heard or not.
#[track_caller]
pub(crate) fn played_ms(household: &Household) -> u64 {
    count(&household.sim.siren()["played_ms"])
}

/// Waits until the phone plays nothing any more, and returns how much it has played.
#[track_caller]
pub(crate) fn wait_played_out(household: &Household) -> u64 {
    let mut last = (played_ms(household), Instant::now());
    wait_until(PATIENCE, "the loudspeaker to rest", || {
        let now = played_ms(household);
        if now != last.0 {
            last = (now, Instant::now());
        }
        // The siren writes a block each 100 ms: two seconds without one are its end, also on a busy machine.
        (last.1.elapsed() > Duration::from_secs(2)).then_some(now)
    })
}

/// Where the phone really is, degrees.
#[track_caller]
pub(crate) fn truth(household: &Household) -> [f64; 2] {
    let world = household.sim.ask(json!({"get": "world"}));
    ["lat", "lon"].map(|name| number(&world["position"][name]))
}

/// Metres between two places a few kilometres apart (equirectangular; the Earth's mean radius is 6,371,009 m).
pub(crate) fn metres(a: [f64; 2], b: [f64; 2]) -> f64 {
    let north = (a[0] - b[0]).to_radians();
    let east = (a[1] - b[1]).to_radians() * a[0].to_radians().cos();
    north.hypot(east) * 6_371_009.0
}

/// Starts `homing locate` and leaves it waiting.
#[track_caller]
pub(crate) fn start_locate(household: &Household, name: &str) -> Proc {
    household
        .owner
        .start(name, &["locate", PHONE, "--wait", "30s"])
}
