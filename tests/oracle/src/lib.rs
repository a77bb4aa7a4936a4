//! The oracle: what must hold however a harness treats phone, broker and owner, judged from facts that the harness saw. It must not know how any of them works.
//!
//! A harness collects [`Fact`]s in the order in which they happened and asks [`judge`]. The numbers are those of the
//! design's list of invariants; 5 (erase) and 8 (snapshots) belong to parts that do not exist yet.

#![forbid(unsafe_code)]

mod counters;
mod delivery;
mod disk;
mod effects;
mod fact;
mod telling;

use core::fmt;

pub use fact::{
    Beacon, Crash, Effect, Entry, Expected, Fact, Journal, Kind, Meaning, Receipt, Rest, Right,
    Signed,
};

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// 1: no effect without a valid verified command.
    OnlyOrders,
    /// 2: each command has at most one effect and one end, each number of a sequence space one command.
    Once,
    /// 3: what the owner was told is explained by the phone's journal after any crash.
    Explained,
    /// 4: counters and versions never go down.
    NeverDown,
    /// 6: cancelled stays cancelled; so does every other end.
    EndsStay,
    /// 7: every report and receipt is delivered or still in the outbox.
    NothingLost,
    /// 9: the state opens after any cut in under 5 s without a person.
    Opens,
    /// 10: after an I/O error nothing claims success for what did not reach the disk.
    NoFalseClaim,
}

impl Invariant {
    /// Its number in the design.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::OnlyOrders => 1,
            Self::Once => 2,
            Self::Explained => 3,
            Self::NeverDown => 4,
            Self::EndsStay => 6,
            Self::NothingLost => 7,
            Self::Opens => 9,
            Self::NoFalseClaim => 10,
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// What was seen, in one sentence.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant.number(), self.words)
    }
}

/// What one judge has found.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, invariant: Invariant, words: String) {
        self.0.push(Violation { invariant, words });
    }
}

/// Judges facts in the order in which they happened; every broken promise once, by number. Empty when all were kept.
#[must_use]
pub fn judge(facts: &[Fact]) -> Vec<Violation> {
    let mut findings = Findings::default();
    effects::judge(facts, &mut findings);
    telling::judge(facts, &mut findings);
    counters::judge(facts, &mut findings);
    delivery::judge(facts, &mut findings);
    disk::judge(facts, &mut findings);
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

/// The violations as one text, a line each, for a test's message.
#[must_use]
pub fn in_words(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
