//! Lost mode, as far as the unprivileged half has a say in it: it hands the signed orders over and tells what came of them. It must not claim anything that the privileged half has not attested.

use super::{Saying, accept, advance, fail_saying, is_overtaken};
use crate::decision::{Decision, Effect};
use crate::event::{ActorAnswer, Now};
use crate::record::{Accepted, Record};
use crate::state::{Entry, State};
use homing_protocol::Refusal;
use homing_protocol::command::{Op, Verified};
use homing_protocol::id::CommandId;
use homing_protocol::lost::{Attestation, Outcome};
use homing_protocol::receipt::CommandState;

const fn is_lost(op: &Op) -> bool {
    matches!(op, Op::Lost { .. })
}

/// An episode begins, unless the privileged half says that it has been ended before it arrived. It never expires: whoever lost a phone wants it locked
/// however late it is found.
pub(super) fn ordered(state: &State, now: &Now, verified: &Verified, decision: &mut Decision) {
    let command = verified.command();
    let accepted = accept(state, now, command, decision);
    if is_overtaken(state, command, is_lost) {
        let to = CommandState::Superseded;
        return advance(state, decision, &accepted, to, Saying::default());
    }
    hand_over(state, &accepted, verified, decision);
}

/// The end of the named episodes, whether or not they arrived, and of the one that is open. The privileged half remembers
/// them: a mark of the agent's could be made by whoever may stop a ring.
pub(super) fn ended(state: &State, now: &Now, verified: &Verified, decision: &mut Decision) {
    let accepted = accept(state, now, verified.command(), decision);
    hand_over(state, &accepted, verified, decision);
}

fn hand_over(state: &State, accepted: &Accepted, verified: &Verified, decision: &mut Decision) {
    decision.record(Record::Handed {
        command: accepted.id,
        signed: verified.signed().to_vec(),
    });
    advance(
        state,
        decision,
        accepted,
        CommandState::Accepted,
        Saying::default(),
    );
    decision.effect(Effect::HandOver {
        command: accepted.id,
    });
}

/// Everything open is handed over again: the answer to a command that was carried out before is how it stands now.
pub(super) fn ask_again(state: &State, decision: &mut Decision) {
    ask(state, decision, |_| true);
}

fn ask(state: &State, decision: &mut Decision, which: impl Fn(&Entry) -> bool) {
    for entry in state.open().filter(|entry| which(entry)) {
        if state.handed(entry.accepted.id).is_some() {
            decision.effect(Effect::HandOver {
                command: entry.accepted.id,
            });
        }
    }
}

pub(super) fn answered(
    state: &State,
    command: CommandId,
    answer: &ActorAnswer<'_>,
    decision: &mut Decision,
) {
    let open = state
        .command(command)
        .filter(|entry| !entry.state.is_final() && state.handed(command).is_some());
    let Some(entry) = open else {
        return;
    };
    match answer {
        ActorAnswer::Outcome { attestation, text } => {
            came_out(state, entry, *attestation, *text, decision);
        }
        ActorAnswer::Refused(Refusal::Expired) => {
            let to = CommandState::Cancelled;
            advance(state, decision, &entry.accepted, to, Saying::default());
        }
        // It has attested that the phone is locked; a refusal does not undo that.
        ActorAnswer::Refused(refusal) if entry.state == CommandState::Running => {
            decision.count_refusal(*refusal);
        }
        ActorAnswer::Refused(refusal) => {
            decision.count_refusal(*refusal);
            let saying = Saying {
                refusal: Some(*refusal),
                text: Some(why_refused(*refusal).into()),
                ..Saying::default()
            };
            fail_saying(state, entry, saying, decision);
        }
        // The agent tells each reason once. What is locked is not less so because it was asked in vain.
        ActorAnswer::Failing(why) if entry.state == CommandState::Accepted => {
            let saying = Saying {
                text: Some((*why).to_owned()),
                ..Saying::default()
            };
            advance(
                state,
                decision,
                &entry.accepted,
                CommandState::Accepted,
                saying,
            );
        }
        ActorAnswer::Failing(_) => {}
    }
}

/// What an owner can do about it.
const fn why_refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Misdirected => {
            "the phone's privileged half serves another enrolment: run homingd enrol there again, as root"
        }
        Refusal::UnknownBeacon => {
            "it waited too long at the phone, or the phone was locked anew meanwhile: order it again"
        }
        _ => "so says the phone's privileged half: order it again",
    }
}

fn came_out(
    state: &State,
    entry: &Entry,
    attestation: Attestation,
    text: Option<&str>,
    decision: &mut Decision,
) {
    let begins = is_lost(&entry.accepted.op);
    let to = match attestation.outcome {
        Outcome::Locked | Outcome::LockedInPart if begins => CommandState::Running,
        Outcome::Superseded if begins => CommandState::Superseded,
        Outcome::EndedByOrder | Outcome::EndedByCode if begins => CommandState::Done,
        Outcome::EndedByOrder | Outcome::NothingToEnd if !begins => CommandState::Done,
        // No answer to this kind of command.
        _ => return,
    };
    if to == entry.state {
        return;
    }
    let text = text.unwrap_or_else(|| attestation.outcome.words());
    let saying = Saying {
        text: Some(text.to_owned()),
        attestation: Some(attestation),
        ..Saying::default()
    };
    advance(state, decision, &entry.accepted, to, saying);
    // Readers see at once that it is lost, or found.
    decision.effect(Effect::BeaconSoon);
    if !begins {
        // The end of each open episode has an attestation of its own.
        ask(state, decision, |other| is_lost(&other.accepted.op));
    }
}
