//! A command's way in: repeated, replayed, refused, or taken on and handed to its rule.

use super::{Saying, accept, advance, locate, pace, receipt, replay, resume, ring};
use crate::decision::{Decision, Effect, Outgoing};
use crate::event::Now;
use crate::record::Record;
use crate::state::State;
use homing_protocol::Refusal;
use homing_protocol::command::{Command, Op, Verified};
use homing_protocol::receipt::CommandState;

pub(super) fn arrived(state: &State, now: &Now, verified: &Verified, decision: &mut Decision) {
    let command = verified.command();
    if state.command(command.id).is_some() {
        return again(state, command, decision);
    }
    if let Err(refusal) = replay::judge(state, now, command) {
        if replay::sign_again(refusal) {
            return tell_once(state, now, refusal, verified, decision);
        }
        return refused(state, now, refusal, command, decision);
    }
    match pace::charge(state, now, command.client, decision) {
        pace::Verdict::Taken => {}
        pace::Verdict::TellBusy => return busy(state, command, decision),
        pace::Verdict::Ignore => return,
    }
    resume::notice(state, command, decision);
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
        Op::Unknown { .. } => refuse(state, now, Refusal::Unsupported, command, decision),
    }
}

/// The id is known: the owner has not got the answer yet, or somebody plays it again. The answer is the same.
fn again(state: &State, command: &Command, decision: &mut Decision) {
    // A re-signed copy uses up its number too, so that the beacon's window tells the owner it came.
    if state
        .space(command.client, command.session)
        .is_some_and(|space| space.judge(command.seq) == crate::window::Verdict::New)
    {
        decision.record(Record::Seen {
            client: command.client,
            session: command.session,
            seq: command.seq,
        });
    }
    decision.send(Outgoing::Repeat {
        command: command.id,
    });
    decision.count_refusal(Refusal::Replayed);
}

/// Refuses for good: the id is remembered, so that a repetition is answered from memory.
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
    if pace::charge(state, now, command.client, decision) == pace::Verdict::Taken {
        refuse(state, now, refusal, command, decision);
    }
}

/// The same for an order that is new and paid for.
fn refuse(state: &State, now: &Now, refusal: Refusal, command: &Command, decision: &mut Decision) {
    decision.count_refusal(refusal);
    decision.record(Record::Accepted(crate::record::Accepted {
        id: command.id,
        client: command.client,
        session: command.session,
        seq: command.seq,
        op: command.op.clone(),
        not_after: command.not_after,
        at_beacon: state.beacons(),
        at_unix_s: now.wall_unix_s,
    }));
    let saying = Saying {
        refusal: Some(refusal),
        ..Saying::default()
    };
    receipt(
        state,
        decision,
        command.id,
        (command.session, command.seq),
        CommandState::Refused,
        saying,
    );
}

/// Asks for another signature. The id stays free. The same bytes get the same receipt again, because a broker may have
/// lost it; a second one is never made.
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
    if pace::charge(state, now, command.client, decision) != pace::Verdict::Taken {
        return;
    }
    resume::notice(state, command, decision);
    if refusal == Refusal::UnknownBeacon {
        // Perhaps there is none yet that would do, and perhaps the sender has not heard the one there is.
        decision.effect(Effect::BeaconSoon);
    }
    decision.record(Record::Told { digest });
    let saying = Saying {
        refusal: Some(refusal),
        ..Saying::default()
    };
    receipt(
        state,
        decision,
        command.id,
        (command.session, command.seq),
        CommandState::Refused,
        saying,
    );
}

/// Refuses an order of a client that gives too many. Its number is used up, so that the same bytes never have an effect;
/// the id is not remembered: that would cost others the memory that this client has used up.
fn busy(state: &State, command: &Command, decision: &mut Decision) {
    decision.record(Record::Seen {
        client: command.client,
        session: command.session,
        seq: command.seq,
    });
    let saying = Saying {
        refusal: Some(Refusal::Busy),
        ..Saying::default()
    };
    receipt(
        state,
        decision,
        command.id,
        (command.session, command.seq),
        CommandState::Refused,
        saying,
    );
}
