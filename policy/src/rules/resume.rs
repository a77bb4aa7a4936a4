//! A state that was set back: noticing it, and counting on from what the owner knows. Finding goes on in between.

use super::freshness::{self, Past};
use super::{Saying, accept, advance, end_with, is_ring};
use crate::decision::{Decision, Effect};
use crate::event::Now;
use crate::record::Record;
use crate::state::{Entry, State};
use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::command::{Command, Op, Verified};
use homing_protocol::receipt::CommandState;

/// Looks whether a command knows more of this phone's past than the phone does.
pub(super) fn notice(state: &State, verified: &Verified, decision: &mut Decision) {
    if let Past::Lost { quoted } = freshness::past(state, verified.command()) {
        noticed(state, quoted, verified.rights(), decision);
    }
}

/// Writes down that the state was set back, and ends what was open in it and may have been done long ago: a ring that goes
/// on. Anybody of the list can say so, also when it is not true: who may not stop a ring does not end one in this way.
pub(super) fn noticed(state: &State, quoted: u64, rights: Capabilities, decision: &mut Decision) {
    if state.set_back.is_none_or(|known| known < quoted) {
        decision.record(Record::SetBack { quoted });
        decision.effect(Effect::BeaconSoon);
    }
    if !rights.allows(Capability::Ring) {
        return;
    }
    // What was ordered since it was noticed quotes a beacon above the floor.
    let is_of_the_past =
        |ring: &Entry| state.set_back.is_none() || ring.accepted.at_beacon <= state.floor;
    let rings: Vec<_> = state
        .open()
        .filter(|entry| is_ring(&entry.accepted.op) && is_of_the_past(entry))
        .collect();
    for ring in &rings {
        let why = "the phone's state was set back to an older one: ring again";
        end_with(state, ring, CommandState::Cancelled, why, decision);
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
