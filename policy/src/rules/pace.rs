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
    let before = state.pace(client);
    let debt_ms = before.map_or(0, |pace| {
        // After a restart of the phone only the time since then is certain.
        let paid = if pace.boot == now.boot {
            now.boottime_ms.saturating_sub(pace.boottime_ms)
        } else {
            now.boottime_ms
        };
        pace.debt_ms.saturating_sub(paid)
    });
    let told = before.map_or(0, |pace| pace.told);
    let pace = |debt_ms, told| Record::Paced {
        client,
        pace: Pace {
            boot: now.boot,
            boottime_ms: now.boottime_ms,
            debt_ms,
            told,
        },
    };
    if debt_ms + EARNED_EACH_MS <= MOST_AT_ONCE * EARNED_EACH_MS {
        decision.record(pace(debt_ms + EARNED_EACH_MS, 0));
        return Verdict::Taken;
    }
    decision.count_refusal(Refusal::Busy);
    if told >= MOST_TOLD {
        return Verdict::Ignore;
    }
    decision.record(pace(debt_ms, told + 1));
    Verdict::TellBusy
}
