//! Whether a command is new. A hostile broker may repeat, reorder and withhold; it must not cause an effect twice, nor one that the owner did not order.

use crate::state::State;
use crate::window::Verdict;
use homing_protocol::Refusal;
use homing_protocol::command::Command;

/// What the sequence space says of a command whose id is not known.
pub(super) fn judge(state: &State, command: &Command) -> Result<(), Refusal> {
    match state.judge(command.client, command.session, command.seq) {
        Some(Verdict::New) => Ok(()),
        Some(Verdict::Seen) => Err(Refusal::Replayed),
        Some(Verdict::TooOld) => Err(Refusal::SeqTooOld),
        None => first_of_session(state, command),
    }
}

/// A new session must quote a beacon that this phone made and still knows: so a session that was forgotten cannot come back with old commands. It must be newer than whatever else was forgotten.
fn first_of_session(state: &State, command: &Command) -> Result<(), Refusal> {
    let Some(quoted) = command.beacon else {
        return Err(Refusal::UnknownBeacon);
    };
    // A number above our own means that this phone's state was rolled back. Every operation of this version helps
    // to find it, and finding goes on.
    let known = state.beacon(quoted).is_some() && quoted.counter > state.floor;
    if quoted.counter > state.beacons() || known {
        Ok(())
    } else {
        Err(Refusal::UnknownBeacon)
    }
}

/// Whether the sender should sign the command again, under the same id.
pub(super) const fn sign_again(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::SeqTooOld | Refusal::UnknownBeacon | Refusal::NeedAuthority
    )
}
