//! How long receipts are kept for repetitions, and what a repetition brings. It must not make or change one.

use homing_protocol::id::CommandId;
use rusqlite::{Transaction, params};

/// How far back a command's newest receipt is kept for repetitions. A command makes at most three, besides one for each
/// time it must be signed again, so every command that the state remembers can be answered again.
const OLDEST_RECEIPT: i64 = 4 * homing_policy::state::MOST_COMMANDS as i64;
/// Among so many of the newest receipts none is taken away: a repetition brings all of a command's, so that none seems
/// withheld. Older commands keep their newest one.
const WHOLE_ANSWERS: i64 = 1024;
/// Receipts that one repetition brings at most: a command has three, and some more when it was signed again.
const MOST_REPEATED: u32 = 16;

/// Queues the receipts of a command again, unless they are queued already: a flood of repetitions costs a few messages.
/// All of them, because the broker may have given any to nobody, and one that is missing looks withheld.
pub(crate) fn repeat(tx: &Transaction<'_>, command: CommandId) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO outbox (receipt) SELECT counter FROM
             (SELECT counter FROM receipt WHERE command = ?1 ORDER BY counter DESC LIMIT ?2)
         WHERE counter NOT IN (SELECT receipt FROM outbox) ORDER BY counter",
        params![command.0, MOST_REPEATED],
    )
    .map(|_| ())
}

/// Forgets what is too old to be repeated: at each new receipt, so that nothing grows between two compactions.
pub(crate) fn forget(tx: &Transaction<'_>, newest: i64) -> rusqlite::Result<()> {
    tx.execute(
        "DELETE FROM receipt WHERE counter < ?1 AND counter NOT IN (SELECT receipt FROM outbox)",
        [newest.saturating_sub(OLDEST_RECEIPT)],
    )
    .map(|_| ())
}

/// Leaves of an older command its newest receipt alone.
pub(crate) fn thin_out(tx: &Transaction<'_>, newest: u64) -> rusqlite::Result<()> {
    tx.execute(
        "DELETE FROM receipt WHERE counter < ?1
             AND counter NOT IN (SELECT max(counter) FROM receipt GROUP BY command)
             AND counter NOT IN (SELECT receipt FROM outbox)",
        [i64::try_from(newest)
            .unwrap_or(i64::MAX)
            .saturating_sub(WHOLE_ANSWERS)],
    )
    .map(|_| ())
}
