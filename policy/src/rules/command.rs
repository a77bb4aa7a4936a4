//! A command's way in: repeated, replayed, refused, or taken on and handed to its rule.

use super::{
    Saying, accept, advance, locate, lost, pace, receipt, replay, resume, ring, seen, taken_on,
};
use crate::decision::{Decision, Effect, Outgoing};
use crate::event::Now;
use crate::record::Record;
use crate::state::State;
use crate::window::Verdict;
use homing_protocol::Refusal;
use homing_protocol::command::{Command, Op, Verified};
use homing_protocol::receipt::CommandState;

pub(super) fn arrived(state: &State, now: &Now, verified: &Verified, decision: &mut Decision) {
    let command = verified.command();
    if state.command(command.id).is_some() {
        return again(state, now, command, decision);
    }
    if let Err(refusal) = replay::judge(state, now, command) {
        if replay::sign_again(refusal) {
            return tell_once(state, now, refusal, verified, decision);
        }
        return replayed(state, now, refusal, command, decision);
    }
    match pace::charge(state, now, command.client, decision) {
        pace::Verdict::Taken => {}
        pace::Verdict::TellBusy => return say_no(state, Refusal::Busy, command, decision),
        pace::Verdict::Ignore => return,
    }
    resume::notice(state, verified, decision);
    match &command.op {
        Op::Locate { search_s } => locate::ordered(state, now, command, *search_s, decision),
        Op::Ring { for_s } => ring::ordered(state, now, command, *for_s, decision),
        Op::RingStop { rings } => ring::stopped(state, now, command, rings, decision),
        Op::Status => {
            let accepted = accept(state, now, command, decision);
            advance(
                state,
                decision,
                &accepted,
                CommandState::Done,
                Saying::default(),
            );
            decision.effect(Effect::BeaconSoon);
        }
        Op::ResendReports { first, last } => {
            let accepted = accept(state, now, command, decision);
            // The owner is told where what is gone for good ends.
            let saying = Saying {
                report: Some(state.lowest_report(*first)),
                ..Saying::default()
            };
            advance(state, decision, &accepted, CommandState::Done, saying);
            decision.effect(Effect::ResendReports {
                first: *first,
                last: *last,
            });
        }
        Op::Resume { .. } => resume::ordered(state, now, command, decision),
        Op::Lost { .. } => lost::ordered(state, now, verified, decision),
        Op::LostOff { .. } => lost::ended(state, now, verified, decision),
        Op::Unknown { .. } => refuse(state, now, Refusal::Unsupported, command, decision),
    }
}

/// The id is known: the owner has not got the answer yet, or somebody plays it again. The answer is the same.
fn again(state: &State, now: &Now, command: &Command, decision: &mut Decision) {
    // A re-signed copy uses up its number too, so that the beacon's window tells the owner it came.
    let is_unseen = state
        .space(command.client, command.session)
        .is_some_and(|space| space.judge(command.seq) == Verdict::New);
    if is_unseen && pace::charge_copy(state, now, command.client, decision) {
        decision.record(seen(command));
    }
    decision.send(Outgoing::Repeat {
        command: command.id,
    });
    decision.count_refusal(Refusal::Replayed);
}

/// Refuses what its client may not order, or what nobody can read: the id is remembered, so that a repetition is answered
/// from memory.
pub(super) fn refused(
    state: &State,
    now: &Now,
    refusal: Refusal,
    command: &Command,
    decision: &mut Decision,
) {
    decision.count_refusal(refusal);
    if state.command(command.id).is_some() {
        return decision.send(Outgoing::Repeat {
            command: command.id,
        });
    }
    match pace::charge(state, now, command.client, decision) {
        pace::Verdict::Taken => refuse(state, now, refusal, command, decision),
        pace::Verdict::TellBusy => say_no(state, Refusal::Busy, command, decision),
        pace::Verdict::Ignore => {}
    }
}

/// Refuses for good another command under a number that was used. Only its own client can have signed it, and most likely
/// long ago: its id was forgotten since.
fn replayed(
    state: &State,
    now: &Now,
    refusal: Refusal,
    command: &Command,
    decision: &mut Decision,
) {
    decision.count_refusal(refusal);
    if pace::charge_copy(state, now, command.client, decision) {
        refuse(state, now, refusal, command, decision);
    }
}

/// Refuses for good an order that is paid for.
fn refuse(state: &State, now: &Now, refusal: Refusal, command: &Command, decision: &mut Decision) {
    decision.count_refusal(refusal);
    decision.record(Record::Accepted(taken_on(state, now, command)));
    say_no(state, refusal, command, decision);
}

/// Asks for another signature. The id stays free. The same bytes get the same receipt again, because a broker may have
/// lost it; a second one is never made. Who plays too many old ones is not answered: that is what must cost nothing, and
/// whoever waits for an answer publishes again.
fn tell_once(
    state: &State,
    now: &Now,
    refusal: Refusal,
    verified: &Verified,
    decision: &mut Decision,
) {
    let (command, digest) = (verified.command(), verified.digest());
    decision.count_refusal(refusal);
    if state.was_told(&digest) {
        return decision.send(Outgoing::Repeat {
            command: command.id,
        });
    }
    if !pace::charge_copy(state, now, command.client, decision) {
        return;
    }
    resume::notice(state, verified, decision);
    if refusal == Refusal::UnknownBeacon {
        // Perhaps there is none yet that would do, and perhaps the sender has not heard the one there is.
        decision.effect(Effect::BeaconSoon);
    }
    decision.record(Record::Told { digest });
    say_no(state, refusal, command, decision);
}

/// The receipt of an order that is not done. By itself it leaves number and id free: an order that is answered *busy* is
/// as good as one that never came, and remembering it would cost others the memory that this client has used up.
fn say_no(state: &State, refusal: Refusal, command: &Command, decision: &mut Decision) {
    let saying = Saying {
        refusal: Some(refusal),
        ..Saying::default()
    };
    let at = (command.session, command.seq);
    receipt(
        state,
        decision,
        command.id,
        at,
        CommandState::Refused,
        saying,
    );
}
