//! How many orders one client may give: whoever has its key must neither fill the disk nor push out what others ordered. It must not ask a wall clock, which somebody could set.

use crate::decision::Decision;
use crate::event::Now;
use crate::record::{Pace, Record};
use crate::state::{MOST_COMMANDS, State};
use homing_protocol::Refusal;
use homing_protocol::id::ClientId;

/// How long it takes to earn one order, milliseconds: 4,320 a day are more than a search each half minute.
const EARNED_EACH_MS: u64 = 20_000;
/// Orders that a rested client may give at once: half of the ids that a phone remembers, so that no client alone pushes
/// out what the others ordered.
const MOST_AT_ONCE: u64 = MOST_COMMANDS as u64 / 2;
/// How often a client that is too fast is told so; after that it hears nothing until an order of it is taken again.
const MOST_TOLD: u64 = 16;
/// What may be copies and makes a client's rows all the same, at once: as many as the answers that are remembered by
/// their bytes ([`crate::state::MOST_TOLD`]).
const MOST_COPIES_AT_ONCE: u64 = crate::state::MOST_TOLD as u64;

/// Whether one more order of a client is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is, and is paid for.
    Taken,
    /// It is not, and the client is told.
    TellBusy,
    /// It is not, and nothing is written down.
    Ignore,
}

/// Charges a client for one order.
pub(super) fn charge(
    state: &State,
    now: &Now,
    client: ClientId,
    decision: &mut Decision,
) -> Verdict {
    let mut pace = paid(state, now, client);
    let debt_ms = pace.debt_ms + EARNED_EACH_MS;
    let verdict = if debt_ms <= MOST_AT_ONCE * EARNED_EACH_MS {
        (pace.debt_ms, pace.told) = (debt_ms, 0);
        Verdict::Taken
    } else {
        decision.count_refusal(Refusal::Busy);
        if pace.told >= MOST_TOLD {
            return Verdict::Ignore;
        }
        pace.told += 1;
        Verdict::TellBusy
    };
    decision.record(Record::Paced { client, pace });
    verdict
}

/// Charges a client for what may be a copy of something that it signed long ago, and says whether it may leave a trace.
/// Whoever plays copies uses up nothing but this: what the client orders anew is charged by [`charge`].
pub(super) fn charge_copy(
    state: &State,
    now: &Now,
    client: ClientId,
    decision: &mut Decision,
) -> bool {
    let mut pace = paid(state, now, client);
    pace.copies_ms += EARNED_EACH_MS;
    let is_within = pace.copies_ms <= MOST_COPIES_AT_ONCE * EARNED_EACH_MS;
    if is_within {
        decision.record(Record::Paced { client, pace });
    }
    is_within
}

/// How a client stands now, after the time since its last order has paid what it could.
fn paid(state: &State, now: &Now, client: ClientId) -> Pace {
    let before = state.pace(client);
    // After a restart of the phone only the time since then is certain.
    let paid_ms = before.map_or(0, |pace| {
        if pace.boot == now.boot {
            now.boottime_ms.saturating_sub(pace.boottime_ms)
        } else {
            now.boottime_ms
        }
    });
    let left = |debt: fn(&Pace) -> u64| before.map_or(0, debt).saturating_sub(paid_ms);
    Pace {
        boot: now.boot,
        boottime_ms: now.boottime_ms,
        debt_ms: left(|pace| pace.debt_ms),
        told: before.map_or(0, |pace| pace.told),
        copies_ms: left(|pace| pace.copies_ms),
    }
}
