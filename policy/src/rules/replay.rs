//! Whether a command is new. A hostile broker may repeat, reorder and withhold; it must not cause an effect twice, nor one that the owner did not order.

use super::freshness;
use crate::event::Now;
use crate::state::State;
use crate::window::Verdict;
use homing_protocol::Refusal;
use homing_protocol::command::{Command, FURTHEST};

/// What the sequence space and the freshness of its class say of a command whose id is not known.
pub(super) fn judge(state: &State, now: &Now, command: &Command) -> Result<(), Refusal> {
    of_sequence(state, command)?;
    match command.op.class() {
        Some(class) => freshness::admit(state, now, class, command),
        None => Ok(()),
    }
}

fn of_sequence(state: &State, command: &Command) -> Result<(), Refusal> {
    match state.judge(command.client, command.session, command.seq) {
        Some(Verdict::New) => of_known_session(state, command),
        Some(Verdict::Seen) => Err(Refusal::Replayed),
        Some(Verdict::TooOld) => Err(Refusal::SeqTooOld),
        None => first_of_session(state, command),
    }
}

/// The windows of a known session tell its numbers apart, but a copy of an order that was forgotten may have been
/// withheld under a number that nobody has seen: once anything is forgotten, a newer beacon proves an order new.
fn of_known_session(state: &State, command: &Command) -> Result<(), Refusal> {
    let quoted = command.beacon.map_or(0, |quoted| quoted.counter);
    let least = state.least_beacon(command.client);
    if least == 0 || quoted > least {
        Ok(())
    } else {
        Err(Refusal::UnknownBeacon)
    }
}

/// A new session must quote a beacon that this phone made and still knows: so a session that was forgotten cannot come back with old commands. It must be newer than whatever else was forgotten.
fn first_of_session(state: &State, command: &Command) -> Result<(), Refusal> {
    let Some(quoted) = command.beacon else {
        return Err(Refusal::UnknownBeacon);
    };
    // A number above our own means that this phone's state was set back: finding goes on, and what may not goes by its
    // class.
    let known =
        state.beacon(quoted).is_some() && quoted.counter > state.least_beacon(command.client);
    let is_ahead = (state.beacons() + 1..=FURTHEST).contains(&quoted.counter);
    if is_ahead || known {
        Ok(())
    } else {
        Err(Refusal::UnknownBeacon)
    }
}

/// Whether the sender should sign the command again, under the same id.
pub(super) const fn sign_again(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::SeqTooOld | Refusal::UnknownBeacon | Refusal::NeedAuthority | Refusal::RolledBack
    )
}
