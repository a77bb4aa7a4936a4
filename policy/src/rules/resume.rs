//! A state that was set back: noticing it, and counting on from what the owner knows. Finding goes on in between.

use super::freshness::{self, Past};
use super::{Saying, accept, advance, is_ring};
use crate::decision::{Decision, Effect};
use crate::event::Now;
use crate::record::Record;
use crate::state::State;
use homing_protocol::command::{Command, Op};
use homing_protocol::receipt::CommandState;

/// Looks whether a command knows more of this phone's past than the phone does.
pub(super) fn notice(state: &State, command: &Command, decision: &mut Decision) {
    if let Past::Lost { quoted } = freshness::past(state, command) {
        noticed(state, quoted, decision);
    }
}

/// Writes down that the state was set back. What was open in it may have been done long ago: a ring that goes on is ended.
pub(super) fn noticed(state: &State, quoted: u64, decision: &mut Decision) {
    if state.set_back.is_some_and(|known| known >= quoted) {
        return;
    }
    let is_new = state.set_back.is_none();
    decision.record(Record::SetBack { quoted });
    decision.effect(Effect::BeaconSoon);
    if !is_new {
        return;
    }
    let rings: Vec<_> = state
        .open()
        .filter(|entry| is_ring(&entry.accepted.op))
        .collect();
    for ring in &rings {
        let saying = Saying {
            text: Some("the phone's state was set back to an older one: ring again".into()),
            ..Saying::default()
        };
        let to = CommandState::Cancelled;
        advance(state, decision, &ring.accepted, to, saying);
    }
    if !rings.is_empty() {
        decision.effect(Effect::Silence);
    }
}

/// The order to count on. It only ever raises numbers, and everything that was signed before it must be signed again.
pub(super) fn ordered(state: &State, now: &Now, command: &Command, decision: &mut Decision) {
    let Op::Resume {
        beacon,
        receipts,
        head,
        reports,
    } = command.op
    else {
        return;
    };
    let accepted = accept(state, now, command, decision);
    decision.record(Record::Resumed {
        beacon: beacon.max(state.beacons()),
        receipts: receipts.max(state.receipts),
        // Who knows fewer receipts than there are knows no head to go on from.
        head: (receipts > state.receipts).then_some(head),
        reports: reports.max(state.reports),
    });
    advance(
        state,
        decision,
        &accepted,
        CommandState::Done,
        Saying::default(),
    );
    decision.effect(Effect::BeaconSoon);
}
