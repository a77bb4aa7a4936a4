//! What a story saw, as facts for the oracle: orders by the owner's log, receipts and numbers by the phone's ledger and status. It must not judge.

use crate::story::{Watch, count, played_ms, text};
use e2e::Household;
use homing_oracle::{Crash, Entry, Expected, Fact, Journal, Meaning, Receipt, Rest, Right, Signed};
use homing_oracle::{in_words, judge};
use homing_protocol::command::Op;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::receipt::CommandState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Collects facts about the one phone of a household.
pub(crate) struct Witness {
    phone: DeviceId,
    facts: Vec<Fact>,
    /// What is known of orders that a story gave itself.
    given: BTreeMap<CommandId, Op>,
    signed: BTreeSet<CommandId>,
    /// Orders that ended before they left the owner's machine.
    unsent: BTreeSet<CommandId>,
}

/// How the owner's machine says so.
const UNSENT: &str = "before it was sent";

fn id(value: &Value) -> CommandId {
    text(value).parse().expect("a command id")
}

fn state(word: &str) -> Option<CommandState> {
    let mut all = (0..32).filter_map(CommandState::from_code);
    all.find(|state| state.word() == word)
}

/// Every receipt that the phone has made, by the ledger: the first has the number 1.
fn receipts(ledger: &[Value]) -> Vec<(CommandId, CommandState)> {
    let receipt = |entry: &Value| {
        let state = state(text(&entry["event"]))?;
        Some((id(&entry["command"]), state))
    };
    ledger.iter().filter_map(receipt).collect()
}

/// An order of which only the word is known.
fn op(word: &str) -> Op {
    match word {
        "locate" => Op::Locate { search_s: 60 },
        "ring" => Op::Ring { for_s: 0 },
        "ring-stop" => Op::RingStop { rings: Vec::new() },
        "resend-reports" => Op::ResendReports { first: 1, last: 1 },
        _ => Op::Status,
    }
}

impl Witness {
    pub(crate) fn new(household: &Household) -> Self {
        let device = household.status()["device"].clone();
        Self {
            phone: text(&device).parse().expect("a device id"),
            facts: Vec::new(),
            given: BTreeMap::new(),
            signed: BTreeSet::new(),
            unsent: BTreeSet::new(),
        }
    }

    /// A story has given this order.
    pub(crate) fn gave(&mut self, order: &str, op: Op) {
        self.given.insert(order.parse().expect("a command id"), op);
    }

    /// The agent was killed.
    pub(crate) fn killed(&mut self) {
        self.facts.push(Fact::Crashed(self.phone, Crash::Agent));
    }

    /// The agent has opened its state.
    pub(crate) fn opened(&mut self, took: Duration) {
        self.facts.push(Fact::Opened(self.phone, took));
    }

    /// Looks at both sides, in the order in which one explains the other: what the owner was told first.
    #[track_caller]
    pub(crate) fn look(&mut self, household: &Household, watch: &Watch) {
        let news = watch.news();
        let positions = watch.positions();
        let ledger = household.ledger();
        let log = household.log();
        self.read_orders(&log);
        let receipts = receipts(&ledger);
        self.read_news(&news, &receipts);
        for number in positions {
            self.facts.push(Fact::Stored(self.phone, number, number));
        }
        let agent = &household.status()["agent"];
        let mut commands = BTreeMap::new();
        for (command, state) in &receipts {
            // A refusal may only have asked for another signature.
            if *state != CommandState::Refused {
                let entry = Entry {
                    place: None,
                    state: *state,
                };
                commands.insert(*command, entry);
            }
        }
        if agent.is_object() {
            let journal = Journal {
                beacons: count(&agent["beacons"]),
                receipts: receipts.len() as u64,
                reports: count(&agent["reports"]),
                reports_stored: count(&agent["reports_stored"]),
                reports_forgotten: 0,
                passed_over: Vec::new(),
                authority: count(&agent["authority_version"]),
                key_set: count(&agent["key_set_version"]),
                commands,
            };
            self.facts.push(Fact::Journal(self.phone, journal));
        }
        let played = Fact::Played(self.phone, played_ms(household));
        self.facts.push(played);
    }

    fn read_orders(&mut self, log: &[Value]) {
        for order in log {
            let command = id(&order["id"]);
            if self.signed.insert(command) {
                let given = self.given.get(&command).cloned();
                self.facts.push(Fact::Signed(Signed {
                    phone: self.phone,
                    command,
                    op: given.unwrap_or_else(|| op(text(&order["op"]))),
                    right: Right::Has,
                }));
            }
        }
    }

    /// The steps that the watch has told: those that only the phone can know carry a receipt's number.
    fn read_news(&mut self, news: &[Value], receipts: &[(CommandId, CommandState)]) {
        let skipped = ["queued", "sent", "delivered", "refused"];
        for step in news.iter().filter(|step| step["kind"] == "state") {
            let detail = text(&step["detail"]);
            // What the owner's machine ended itself, the phone has never heard of.
            if detail.ends_with(UNSENT) {
                self.unsent.insert(id(&step["command"]));
                continue;
            }
            let word = detail.split(' ').next().unwrap_or_default();
            let Some(state) = state(word).filter(|_| !skipped.contains(&word)) else {
                continue;
            };
            let command = id(&step["command"]);
            let found = receipts.iter().position(|known| *known == (command, state));
            // One that the ledger does not know gets a number beyond all that it knows.
            let counter = found.unwrap_or(receipts.len()) as u64 + 1;
            self.facts.push(Fact::Told(Receipt {
                phone: self.phone,
                counter,
                command,
                state,
                meaning: Meaning::Step,
            }));
        }
    }

    /// What each receipt was about: the oracle asks for those whose order has ended without the owner having them all.
    fn say_what_the_ledger_says(&mut self, household: &Household) {
        for (counter, (command, state)) in (1..).zip(receipts(&household.ledger())) {
            let meaning = match state {
                CommandState::Refused => Meaning::SignAgain,
                _ => Meaning::Step,
            };
            self.facts.push(Fact::Published(Receipt {
                phone: self.phone,
                counter,
                command,
                state,
                meaning,
            }));
        }
    }

    /// The end: everything has been delivered, and the oracle finds nothing.
    #[track_caller]
    pub(crate) fn judge_end(mut self, household: &Household, watch: &Watch) {
        self.look(household, watch);
        self.say_what_the_ledger_says(household);
        let rest = Rest {
            outbox: BTreeSet::new(),
            kept: BTreeSet::new(),
            asked: BTreeSet::new(),
            expected: Expected::AllDelivered,
        };
        // Without an order behind them, the oracle finds whatever the phone did for them.
        let unsent = &self.unsent;
        self.facts
            .retain(|fact| !matches!(fact, Fact::Signed(order) if unsent.contains(&order.command)));
        self.facts.push(Fact::AtRest(self.phone, rest));
        let violations = judge(&self.facts);
        assert!(violations.is_empty(), "{}", in_words(&violations));
    }
}
