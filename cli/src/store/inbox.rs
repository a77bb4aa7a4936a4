//! What phones say, stored as it came. Verified before it gets here.
use super::news::{NewsKind, tell};
use super::past::{self, Lineage};
use super::{Store, count, farewell, fixed, int, order};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_owner::chain::Link;
use homing_owner::delivery::State;
use homing_owner::phone::{Answer, Heard, Meaning};
use homing_protocol::beacon::{Beacon, ClockTrust};
use homing_protocol::id::DeviceId;
use homing_protocol::receipt::Receipt;
use rusqlite::{OptionalExtension, Transaction, params};

/// How many receipts are kept of each phone: a few hundred orders.
const RECEIPTS_KEPT: u32 = 2_000;

/// How many beacons are remembered by number: those of ten days, or of half an hour of a phone that connects every other second.
const VOUCHED_KEPT: i64 = 1_024;

/// How much later than promised a phone may be heard of before what it vouched for counts as withheld, milliseconds.
const GRACE_MS: i64 = 60_000;

/// Whether a message was made just now or kept by the broker for who comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Passed on as it came.
    Live,
    /// Kept by the broker.
    Retained,
}

/// The newest beacon of a phone.
#[derive(Clone, Debug)]
pub(crate) struct BeaconRow {
    /// As it came; verified anew when it is used.
    pub(crate) bytes: Vec<u8>,
    /// When it was received as it was made; `None` when only the broker's copy is known.
    pub(crate) live_at: Option<UnixMs>,
}

pub(super) fn touch(
    transaction: &Transaction<'_>,
    device: DeviceId,
    at: UnixMs,
) -> Result<(), Error> {
    // A contact that lies in the future was written while this machine's clock was wrong.
    transaction.execute(
        "UPDATE device SET last_contact = ?1
         WHERE id = ?2 AND (last_contact IS NULL OR last_contact < ?1 OR last_contact > ?3)",
        params![at.0, device.0, UnixMs::now().0],
    )?;
    Ok(())
}

/// Remembers what the newest beacon vouches for, and until when that may be on its way.
fn vouch(
    transaction: &Transaction<'_>,
    device: DeviceId,
    beacon: &Beacon,
    at: UnixMs,
) -> Result<(), Error> {
    let counter = int(beacon.counter);
    let due = i64::from(beacon.next_contact_s) * 1_000 + GRACE_MS;
    transaction.execute(
        "INSERT OR IGNORE INTO vouched (device, counter, receipts, heard_at, due_at) VALUES (?, ?, ?, ?, ?)",
        params![
            device.0, counter, int(beacon.receipts), at.0, at.0.saturating_add(due),
        ],
    )?;
    transaction.execute(
        "DELETE FROM vouched WHERE device = ? AND counter <= ?",
        params![device.0, counter - VOUCHED_KEPT],
    )?;
    Ok(())
}

/// Forgets the oldest receipts of a phone once there are more than are kept. What lies before the oldest is not missed.
fn forget_old_receipts(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    let oldest =
        "SELECT counter FROM receipt WHERE device = ? ORDER BY counter DESC LIMIT 1 OFFSET ?";
    let last: Option<i64> = transaction
        .query_row(oldest, params![device.0, RECEIPTS_KEPT], |row| row.get(0))
        .optional()?;
    if let Some(last) = last {
        let delete = "DELETE FROM receipt WHERE device = ? AND counter <= ?";
        transaction.execute(delete, params![device.0, last])?;
        let from = "UPDATE device SET receipts_from = ? WHERE id = ?";
        transaction.execute(from, params![last + 1, device.0])?;
    }
    Ok(())
}

/// What a receipt means for its order.
fn meaning(transaction: &Transaction<'_>, answer: &Answer, at: UnixMs) -> Result<Meaning, Error> {
    Ok(
        if order::is_attested(transaction, answer.receipt.command)? {
            answer.attested_meaning(at.0)
        } else {
            answer.meaning(at.0)
        },
    )
}

/// What the phone signed before its state was set back, and does not remember: an order that is still open ends by it. One
/// that it had only begun it will not go on with, and answers again.
fn end_by_late_word(
    transaction: &Transaction<'_>,
    answer: &Answer,
    at: UnixMs,
) -> Result<(), Error> {
    match meaning(transaction, answer, at)? {
        Meaning::Step(step) if step.state.is_final() => {
            order::record(transaction, answer.receipt.command, step)
        }
        Meaning::Step(_) | Meaning::SignAgain(_) => Ok(()),
    }
}

/// Raises the alarm when another receipt has the number of this one.
fn tell_of_twins(
    transaction: &Transaction<'_>,
    device: DeviceId,
    receipt: &Receipt,
) -> Result<(), Error> {
    let others = "SELECT count(*) > 1 FROM receipt WHERE device = ? AND counter = ?";
    let values = params![device.0, int(receipt.counter)];
    if !transaction.query_row(others, values, |row| row.get(0))? {
        return Ok(());
    }
    let number = receipt.counter.to_string();
    let kind = NewsKind::BrokenChain;
    tell(transaction, device, Some(receipt.command), kind, &number)
}

impl Store {
    /// Stores a beacon when it is newer than the one that is known.
    pub(crate) fn heard_beacon(
        &mut self,
        device: DeviceId,
        heard: &Heard,
        bytes: &[u8],
        origin: Origin,
        at: UnixMs,
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        let counter = int(heard.beacon.counter);
        let live_at = (origin == Origin::Live).then_some(at.0);
        // What the broker kept may be old: only the phone's own synchronised clock tells when it was made.
        let synchronised = heard
            .status
            .as_ref()
            .filter(|status| status.clock == ClockTrust::Synchronised);
        let made_at = synchronised
            .map(|status| UnixMs(int(status.time_unix_s).saturating_mul(1_000).min(at.0)));
        match past::judge(&transaction, device, heard, made_at)? {
            Lineage::Follows => {}
            Lineage::Lost => return Ok(()),
            Lineage::SetBack => {
                past::alarm(&transaction, device)?;
                past::put_away(&transaction, device, heard)?;
            }
        }
        past::mark(&transaction, device, heard)?;
        let newer = transaction.execute(
            "UPDATE device SET beacon = ?, beacon_counter = ?, beacon_live_at = ?, beacon_made_at = ?, answer = NULL
             WHERE id = ? AND beacon_counter < ?",
            params![bytes, counter, live_at, made_at.unwrap_or(at).0, device.0, counter],
        )?;
        if newer > 0 {
            let left = heard.status.as_ref().and_then(|status| status.left_at);
            if left.is_none() {
                farewell::take_back(&transaction, device)?;
            }
            tell(&transaction, device, None, NewsKind::Beacon, "")?;
            // A beacon that is played again is no contact, and the broker says what it likes about which were retained.
            touch(&transaction, device, made_at.unwrap_or(at))?;
            vouch(&transaction, device, &heard.beacon, at)?;
            past::look_for_resume(&transaction, device, heard)?;
            if left.is_some() {
                farewell::take(&transaction, device)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The newest beacon of a phone.
    pub(crate) fn beacon(&self, device: DeviceId) -> Result<Option<BeaconRow>, Error> {
        let sql = "SELECT beacon, beacon_live_at FROM device WHERE id = ? AND beacon IS NOT NULL";
        let found = self.connection.query_row(sql, [device.0], |row| {
            let live_at: Option<i64> = row.get(1)?;
            Ok(BeaconRow {
                bytes: row.get(0)?,
                live_at: live_at.map(UnixMs),
            })
        });
        Ok(found.optional()?)
    }

    /// Stores a receipt and lets its order take the step, in one transaction.
    pub(crate) fn heard_receipt(
        &mut self,
        device: DeviceId,
        answer: &Answer,
        bytes: &[u8],
        at: UnixMs,
    ) -> Result<(), Error> {
        let receipt = &answer.receipt;
        let transaction = self.write()?;
        match past::put_receipt_away(&transaction, device, answer, bytes, at)? {
            past::Putting::Present => {}
            past::Putting::Known => return Ok(()),
            past::Putting::Late => {
                end_by_late_word(&transaction, answer, at)?;
                transaction.commit()?;
                return Ok(());
            }
        }
        // One that was stored and is forgotten says nothing new.
        let new = transaction.execute(
            "INSERT OR IGNORE INTO receipt (device, counter, command, previous, head, bytes, received_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 FROM device WHERE id = ?1 AND receipts_from <= ?2",
            params![device.0, int(receipt.counter), receipt.command.0, receipt.previous, answer.head, bytes, at.0],
        )?;
        if new > 0 {
            touch(&transaction, device, at)?;
            tell_of_twins(&transaction, device, receipt)?;
            match meaning(&transaction, answer, at)? {
                Meaning::Step(step) => {
                    if step.state == State::Done && order::is_resume(&transaction, receipt.command)?
                    {
                        past::resumed(&transaction, device)?;
                    }
                    order::record(&transaction, receipt.command, step)?;
                }
                Meaning::SignAgain(reason) => order::requeue(
                    &transaction,
                    receipt.command,
                    receipt.seq,
                    at,
                    reason.word(),
                )?,
            }
            if let Some(report) = answer.detail.as_ref().and_then(|detail| detail.report) {
                transaction.execute(
                    "UPDATE command SET report = ? WHERE id = ?",
                    params![int(report), receipt.command.0],
                )?;
                super::track::gone_for_good(&transaction, device, receipt.command, report)?;
            }
            forget_old_receipts(&transaction, device)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The chain of a phone's stored receipts.
    pub(crate) fn chain(&self, device: DeviceId) -> Result<Vec<Link>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT counter, previous, head FROM receipt WHERE device = ? ORDER BY counter",
        )?;
        let rows = statement.query_map([device.0], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        })?;
        rows.map(|row| {
            let (counter, previous, head) = row?;
            Ok(Link {
                counter: count(counter),
                previous: fixed(&previous, "receipt")?,
                head: fixed(&head, "receipt")?,
            })
        })
        .collect()
    }

    /// The highest number among a phone's stored receipts, if there are any.
    pub(crate) fn newest_receipt(&self, device: DeviceId) -> Result<Option<u64>, Error> {
        let sql = "SELECT max(counter) FROM receipt WHERE device = ?";
        let newest: Option<i64> = self
            .connection
            .query_row(sql, [device.0], |row| row.get(0))?;
        Ok(newest.map(count))
    }

    /// Up to which number a phone's receipts must be here, or somebody keeps them back: a beacon has vouched for them, its time for the next one has passed and a minute more, and after that the phone was heard of again.
    pub(crate) fn receipts_due(&self, device: DeviceId) -> Result<u64, Error> {
        let sql = "SELECT coalesce(max(receipts), 0) FROM vouched WHERE device = ?1
                   AND due_at <= (SELECT max(heard_at) FROM vouched WHERE device = ?1)";
        let due = self
            .connection
            .query_row(sql, [device.0], |row| row.get(0))?;
        Ok(count(due))
    }

    /// Sets when the newest beacon was made, as if time had passed.
    #[cfg(test)]
    pub(crate) fn beacon_was_made(&self, device: DeviceId, at: UnixMs) -> Result<(), Error> {
        let sql = "UPDATE device SET beacon_made_at = ? WHERE id = ?";
        self.connection.execute(sql, params![at.0, device.0])?;
        Ok(())
    }

    /// Sets when a phone was last heard of, as if time had passed.
    #[cfg(test)]
    pub(crate) fn contact_was(&self, device: DeviceId, at: UnixMs) -> Result<(), Error> {
        let sql = "UPDATE device SET last_contact = ? WHERE id = ?";
        self.connection.execute(sql, params![at.0, device.0])?;
        Ok(())
    }
}
