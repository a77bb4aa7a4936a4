//! What becomes of a phone's open orders when it says that it leaves the account, and when it is there after all: it was cut off while it left. Believes nothing that was not verified before.
use super::order::{cancel_open, steps, write_steps};
use super::{NewsKind, fixed, news::tell};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_owner::delivery::Recorded;
use homing_protocol::id::{CommandId, DeviceId};
use rusqlite::{OptionalExtension, Transaction, params};

/// Why an order ends whose phone says goodbye.
const WHY: &str = "the phone has left the account";

/// Ends the open orders of a phone that says goodbye, and tells the owner.
pub(super) fn take(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    cancel_open(transaction, device, WHY)?;
    tell(transaction, device, None, NewsKind::Left, "")
}

/// Opens again what a goodbye has ended, when the phone shows itself after it. Called before that is told.
pub(super) fn take_back(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    if says_it_has_left(transaction, device)? {
        open_again(transaction, device)?;
    }
    Ok(())
}

/// Whether the last that a phone said in its present enrolment is that it leaves the account.
fn says_it_has_left(transaction: &Transaction<'_>, device: DeviceId) -> Result<bool, Error> {
    let sql =
        "SELECT kind FROM news WHERE device = ? AND kind IN (?, ?, ?) ORDER BY id DESC LIMIT 1";
    let [left, others @ ..] = [NewsKind::Left, NewsKind::Beacon, NewsKind::InvitedAgain];
    let [beacon, again] = others.map(NewsKind::word);
    let values = params![device.0, left.word(), beacon, again];
    let last: Option<String> = transaction
        .query_row(sql, values, |row| row.get(0))
        .optional()?;
    Ok(last.as_deref() == Some(left.word()))
}

/// The orders are signed anew under the same ids, and end as the phone says.
fn open_again(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    let ended = "SELECT id FROM command WHERE device = ?1 AND state = 'cancelled'
       AND (SELECT witness || ' ' || detail FROM step WHERE command = id ORDER BY number DESC LIMIT 1) = 'owner ' || ?2";
    let mut statement = transaction.prepare(ended)?;
    let ids = statement.query_map(params![device.0, WHY], |row| row.get::<_, Vec<u8>>(0))?;
    for id in ids.collect::<Result<Vec<_>, _>>()? {
        let id = CommandId(fixed(&id, "order")?);
        let mut progress = steps(transaction, id)?;
        let known = progress.steps().len();
        let why = "it was cut off while it left, and is there";
        if progress.open_again(UnixMs::now().0, why) == Recorded::Advanced {
            let anew = "UPDATE command SET seq = NULL, published_at = NULL, published_times = 0 WHERE id = ?";
            transaction.execute(anew, [id.0])?;
            write_steps(transaction, device, id, &progress, known)?;
        }
    }
    Ok(())
}
