//! One rule for each kind of event. They read the state and write a decision; they must not keep anything themselves.

mod command;
pub(crate) mod freshness;
mod lists;
mod locate;
mod lost;
mod pace;
mod replay;
mod resume;
mod ring;
mod track;

use crate::decision::{Decision, Effect, Outgoing};
use crate::event::{Event, NonceMaker, Now};
use crate::record::{Accepted, Record};
use crate::state::{Entry, State};
use homing_protocol::Refusal;
use homing_protocol::cbor::LARGEST;
use homing_protocol::command::{Command, Op};
use homing_protocol::id::{BeaconNonce, CommandId, SessionId};
use homing_protocol::lost::Attestation;
use homing_protocol::receipt::CommandState;

/// What to do about an event.
pub fn decide(state: &State, now: &Now, event: &Event<'_>) -> Decision {
    let mut decision = Decision::default();
    // A clock gone mad must not make a record that cannot be read back.
    let now = &Now {
        boottime_ms: now.boottime_ms.min(LARGEST / 2),
        wall_unix_s: now.wall_unix_s.min(LARGEST),
        ..*now
    };
    match event {
        Event::Started => started(state, now, &mut decision),
        Event::Configured { ring_longest_s } => {
            ring::configured(state, *ring_longest_s, &mut decision)
        }
        Event::Command(verified) => command::arrived(state, now, verified, &mut decision),
        Event::Refused(refusal, refused) => {
            command::refused(state, now, *refusal, refused, &mut decision)
        }
        Event::Authority { version, signed } => {
            lists::authority(state, *version, signed, &mut decision)
        }
        Event::KeySet { version, signed } => lists::key_set(state, *version, signed, &mut decision),
        Event::ReportsStored { through, rights } => {
            lists::reports_stored(state, *through, *rights, &mut decision)
        }
        Event::SearchEnded { command, outcome } => {
            locate::ended(state, now, *command, outcome, &mut decision)
        }
        Event::TrackLook { settings, battery } => {
            track::look(state, now, settings, *battery, &mut decision)
        }
        Event::TrackEnded { outcome } => track::ended(state, now, outcome, &mut decision),
        Event::ReportsExpired { through } => track::expired(state, *through, &mut decision),
        Event::Siren { command, phase } => ring::siren(state, *command, phase, &mut decision),
        Event::Actor { command, answer } => lost::answered(state, *command, answer, &mut decision),
        Event::ActorStirred => lost::ask_again(state, &mut decision),
        Event::BeaconDue { nonce, maker } => {
            beacon(state, now, (*nonce, *maker), &mut decision);
        }
        Event::Tick => {
            ring::look_after(state, now, &mut decision);
            locate::look_after(state, now, &mut decision);
        }
    }
    decision
}

fn started(state: &State, now: &Now, decision: &mut Decision) {
    locate::resume(state, now, decision);
    ring::resume(state, now, decision);
    lost::ask_again(state, decision);
    decision.effect(Effect::BeaconSoon);
}

fn beacon(
    state: &State,
    now: &Now,
    (nonce, maker): (BeaconNonce, NonceMaker),
    decision: &mut Decision,
) {
    let counter = state.beacons() + 1;
    decision.record(Record::Beacon {
        counter,
        nonce,
        maker,
        boot: now.boot,
        boottime_ms: now.boottime_ms,
    });
    decision.effect(Effect::PublishBeacon { counter });
}

/// Where a receipt belongs and what it says besides the state.
#[derive(Clone, Debug, Default)]
struct Saying {
    refusal: Option<Refusal>,
    text: Option<String>,
    report: Option<u64>,
    attestation: Option<Attestation>,
}

/// Makes the next receipt.
fn receipt(
    state: &State,
    decision: &mut Decision,
    command: CommandId,
    at: (SessionId, u64),
    now_state: CommandState,
    saying: Saying,
) {
    let counter = decision.receipts_after(state.receipts) + 1;
    decision.record(Record::Receipt {
        counter,
        command,
        state: now_state,
    });
    decision.send(Outgoing::Receipt {
        counter,
        command,
        session: at.0,
        seq: at.1,
        state: now_state,
        refusal: saying.refusal,
        text: saying.text,
        report: saying.report,
        attestation: saying.attestation,
    });
}

/// Brings a command that was taken on to a new state.
fn advance(
    state: &State,
    decision: &mut Decision,
    accepted: &Accepted,
    to: CommandState,
    saying: Saying,
) {
    receipt(
        state,
        decision,
        accepted.id,
        (accepted.session, accepted.seq),
        to,
        saying,
    );
}

/// Takes a command on, without a receipt.
fn accept(state: &State, now: &Now, command: &Command, decision: &mut Decision) -> Accepted {
    let accepted = taken_on(state, now, command);
    decision.record(seen(command));
    decision.record(Record::Accepted(accepted.clone()));
    accepted
}

/// A command as it is remembered from now on.
fn taken_on(state: &State, now: &Now, command: &Command) -> Accepted {
    Accepted {
        id: command.id,
        client: command.client,
        session: command.session,
        seq: command.seq,
        op: command.op.clone(),
        not_after: command.not_after,
        at_beacon: state.beacons(),
        at_unix_s: now.wall_unix_s,
    }
}

/// The fact that a command's number is used up.
const fn seen(command: &Command) -> Record {
    Record::Seen {
        client: command.client,
        session: command.session,
        seq: command.seq,
    }
}

/// Ends a command that was taken on and not achieved; `why` is a sentence for the owner.
fn fail(state: &State, entry: &Entry, why: &str, decision: &mut Decision) {
    end_with(state, entry, CommandState::Failed, why, decision);
}

/// Likewise, with more than a sentence.
fn fail_saying(state: &State, entry: &Entry, saying: Saying, decision: &mut Decision) {
    let to = CommandState::Failed;
    advance(state, decision, &entry.accepted, to, saying);
}

/// Ends a command that was taken on, with a sentence for the owner.
fn end_with(state: &State, entry: &Entry, to: CommandState, why: &str, decision: &mut Decision) {
    let saying = Saying {
        text: Some(why.to_owned()),
        ..Saying::default()
    };
    advance(state, decision, &entry.accepted, to, saying);
}

/// Whether an open command is of this kind.
const fn is_search(op: &Op) -> bool {
    matches!(op, Op::Locate { .. })
}

/// Whether an open command is of this kind.
const fn is_ring(op: &Op) -> bool {
    matches!(op, Op::Ring { .. })
}

/// Whether the sender gave a newer order of this kind, which is still open: the older one was held up on its way, and
/// must not take the newer one's place.
fn is_overtaken(state: &State, command: &Command, kind: fn(&Op) -> bool) -> bool {
    state.open().map(|entry| &entry.accepted).any(|open| {
        kind(&open.op)
            && open.client == command.client
            && open.session == command.session
            && open.seq > command.seq
    })
}
