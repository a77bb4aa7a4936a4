//! Whether a command of its class is fresh enough, and whether it waits while this phone's state is set back. Any clock may refuse, none may permit.

use crate::event::{NonceMaker, Now};
use crate::state::State;
use homing_protocol::Refusal;
use homing_protocol::command::{Class, Command, FURTHEST, LIVE_MS, Op};

/// What a command says of this phone's own past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Nothing that this phone does not know.
    AsKnown,
    /// It quotes a beacon that this phone has made and does not remember: its state was set back.
    Lost {
        /// The number quoted.
        quoted: u64,
    },
}

/// Compares the beacon that a command quotes with the ones this phone remembers.
pub(super) fn past(state: &State, command: &Command) -> Past {
    match command.beacon {
        // A number that no phone can reach says nothing of any past.
        Some(quoted)
            if quoted.counter <= FURTHEST
                && (quoted.counter > state.beacons() || state.contradicts(quoted)) =>
        {
            Past::Lost {
                quoted: quoted.counter,
            }
        }
        _ => Past::AsKnown,
    }
}

/// Judges a command by its class alone.
///
/// # Errors
/// [`Refusal::UnknownBeacon`] when it must be signed again with the newest beacon; [`Refusal::RolledBack`] when it waits
/// until the owner has sent a resume.
pub fn admit(state: &State, now: &Now, class: Class, command: &Command) -> Result<(), Refusal> {
    let is_set_back = state.set_back.is_some() || past(state, command) != Past::AsKnown;
    match class {
        Class::Harmless => Ok(()),
        // It may have been done in the past that this phone forgot: only one that is signed since then is a new one.
        Class::Nuisance if is_set_back && !quotes_since_floor(state, command) => {
            Err(Refusal::UnknownBeacon)
        }
        Class::Nuisance => Ok(()),
        Class::Sensitive | Class::Destructive => {
            let ends_it = matches!(command.op, Op::Resume { .. });
            if is_set_back && !ends_it {
                Err(Refusal::RolledBack)
            } else if is_live(state, now, command) && is_challenged(state, command) {
                Ok(())
            } else {
                Err(Refusal::UnknownBeacon)
            }
        }
    }
}

fn quotes_since_floor(state: &State, command: &Command) -> bool {
    let floor = state.floor_of(command.client);
    command
        .beacon
        .is_some_and(|quoted| state.beacon(quoted).is_some() && quoted.counter > floor)
}

/// What the privileged half does answers a challenge of its own; another order need not.
fn is_challenged(state: &State, command: &Command) -> bool {
    let quoted = command.beacon.and_then(|quoted| state.beacon(quoted));
    !matches!(command.op, Op::LostOff { .. })
        || quoted.is_some_and(|mark| mark.maker == NonceMaker::Actor)
}

/// A beacon's nonce is the challenge that a live command answers: it was random, and nobody could know it earlier.
fn is_live(state: &State, now: &Now, command: &Command) -> bool {
    command
        .beacon
        .and_then(|quoted| state.beacon(quoted))
        .is_some_and(|mark| {
            mark.boot == now.boot && now.boottime_ms.saturating_sub(mark.boottime_ms) <= LIVE_MS
        })
}
