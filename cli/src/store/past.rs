//! What a phone said before its state was set back, or before it was enrolled again: kept for the record and the movement history, never compared with what it says now. Believes nothing that was not verified before.
use super::{NewsKind, Store, StoredReport, count, fixed, int, news::tell};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_owner::phone::{Answer, Heard};
use homing_protocol::beacon::Beacon;
use homing_protocol::command::BeaconReference;
use homing_protocol::id::{BeaconNonce, DeviceId};
use rusqlite::{OptionalExtension, Transaction, params};

/// Beacons of a phone that are remembered by number and nonce, as many as a phone remembers itself (protocol v1).
const MARKS_KEPT: i64 = 4096;
/// Another client's resume is known by a leap of the beacon numbers: half of what a resume adds.
const LEAP: i64 = 50;
/// What a resume adds to beacon and report numbers, because other clients may have seen more than this one.
const MARGIN: u64 = 100;

/// What was known of a phone when its state turned out to be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetBack {
    /// The newest beacon of the past that was lost; without a nonce when only its number is known.
    pub(crate) number: u64,
    nonce: Option<BeaconNonce>,
    receipts: u64,
    head: [u8; 32],
    reports: u64,
    /// When it was noticed.
    pub(crate) noticed_at: UnixMs,
}

impl SetBack {
    /// How a command quotes it, so that the phone learns of it.
    pub(crate) fn reference(&self) -> Option<BeaconReference> {
        self.nonce.map(|nonce| BeaconReference {
            counter: self.number,
            nonce,
        })
    }

    /// The order that lets the phone count on from here.
    pub(crate) const fn resume(&self) -> homing_protocol::command::Op {
        homing_protocol::command::Op::Resume {
            beacon: self.number.saturating_add(MARGIN),
            receipts: self.receipts,
            head: self.head,
            reports: self.reports.saturating_add(MARGIN),
        }
    }
}

/// A report of an earlier time, with the certificate of the keys that signed it.
#[derive(Clone, Debug)]
pub(crate) struct PastReport {
    /// The so-manieth time, from 1.
    pub(crate) era: u32,
    /// ROOT-signed device certificate of that time.
    pub(crate) certificate: Vec<u8>,
    /// The report.
    pub(crate) report: StoredReport,
}

/// How a beacon stands to the ones that were heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lineage {
    /// It follows from them, or is an older one of them.
    Follows,
    /// It belongs to a past that the phone has lost: somebody plays it again.
    Lost,
    /// It was made after them by a phone that has lost what they tell.
    SetBack,
}

/// The newest beacon of a phone in the past that counts now.
struct Newest {
    counter: i64,
    nonce: Option<Vec<u8>>,
    receipts: i64,
    head: Vec<u8>,
    reports: i64,
}

fn newest(transaction: &Transaction<'_>, device: DeviceId) -> Result<Option<Newest>, Error> {
    let sql = "SELECT counter, nonce, receipts, head, reports FROM beacon_mark WHERE device = ? AND past = 0 ORDER BY counter DESC LIMIT 1";
    let found = transaction.query_row(sql, [device.0], |row| {
        Ok(Newest {
            counter: row.get(0)?,
            nonce: row.get(1)?,
            receipts: row.get(2)?,
            head: row.get(3)?,
            reports: row.get(4)?,
        })
    });
    if let Some(found) = found.optional()? {
        return Ok(Some(found));
    }
    // A state that was begun before beacons were marked knows a number and nothing else.
    let sql = "SELECT beacon_counter FROM device WHERE id = ? AND beacon_counter > 0";
    let counter = transaction.query_row(sql, [device.0], |row| row.get(0));
    Ok(counter.optional()?.map(|counter| Newest {
        counter,
        nonce: None,
        receipts: 0,
        head: Vec::new(),
        reports: 0,
    }))
}

fn exists(
    transaction: &Transaction<'_>,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<bool, Error> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM beacon_mark WHERE {condition})");
    Ok(transaction.query_row(&sql, values, |row| row.get(0))?)
}

/// Compares a beacon with what is known. A lower number alone proves nothing, the broker may have kept it back: what counts is another beacon under that number, when it was made by the phone's synchronised clock, or the phone's own word that it lost what we know.
pub(super) fn judge(
    transaction: &Transaction<'_>,
    device: DeviceId,
    heard: &Heard,
    made_at: Option<UnixMs>,
) -> Result<Lineage, Error> {
    let beacon = &heard.beacon;
    let (counter, nonce) = (int(beacon.counter), beacon.nonce.0);
    let same = "device = ? AND counter = ? AND nonce = ? AND past = 1";
    if exists(transaction, same, params![device.0, counter, nonce])? {
        return Ok(Lineage::Lost);
    }
    // Whoever repeats a beacon of the present past tells nothing new.
    let same = "device = ? AND counter = ? AND nonce = ? AND past = 0";
    if exists(transaction, same, params![device.0, counter, nonce])? {
        return Ok(Lineage::Follows);
    }
    let Some(known) = newest(transaction, device)? else {
        return Ok(Lineage::Follows);
    };
    let said = heard.status.as_ref().and_then(|status| status.set_back);
    if counter > known.counter {
        let went_back = int(beacon.receipts) < known.receipts
            || (int(beacon.receipts) == known.receipts
                && !known.head.is_empty()
                && known.head != beacon.receipt_chain);
        let is_news = said.is_some() && !is_open(transaction, device)?;
        return Ok(if went_back || is_news {
            Lineage::SetBack
        } else {
            Lineage::Follows
        });
    }
    let other = "device = ? AND counter = ? AND nonce <> ? AND past = 0";
    let is_twin = exists(transaction, other, params![device.0, counter, nonce])?;
    let is_later = match made_at {
        Some(made_at) => {
            let sql = "SELECT count(*) > 0 FROM device WHERE id = ? AND last_contact < ?";
            transaction.query_row(sql, params![device.0, made_at.0], |row| row.get(0))?
        }
        None => false,
    };
    let is_older = counter < known.counter;
    let says_so = said.is_some_and(|quoted| int(quoted) >= known.counter);
    // Two beacons under one number prove two pasts; the one that was not heard before is taken for the newer one.
    Ok(if is_twin || (is_older && (is_later || says_so)) {
        Lineage::SetBack
    } else {
        Lineage::Follows
    })
}

fn is_open(transaction: &Transaction<'_>, device: DeviceId) -> Result<bool, Error> {
    let sql = "SELECT count(*) > 0 FROM set_back WHERE device = ?";
    Ok(transaction.query_row(sql, [device.0], |row| row.get(0))?)
}

/// Remembers a beacon by number and nonce.
pub(super) fn mark(
    transaction: &Transaction<'_>,
    device: DeviceId,
    heard: &Heard,
) -> Result<(), Error> {
    let Beacon {
        counter,
        nonce,
        receipts,
        receipt_chain,
        ..
    } = &heard.beacon;
    let reports = heard.status.as_ref().map_or(0, |status| status.reports);
    transaction.execute(
        "INSERT OR IGNORE INTO beacon_mark (device, counter, nonce, receipts, head, reports) VALUES (?, ?, ?, ?, ?, ?)",
        params![device.0, int(*counter), nonce.0, int(*receipts), receipt_chain, int(reports)],
    )?;
    transaction.execute(
        "DELETE FROM beacon_mark WHERE device = ?1 AND counter <= ?2",
        params![device.0, int(*counter).saturating_sub(MARKS_KEPT)],
    )?;
    Ok(())
}

/// Raises the alarm, once for each number that was reached.
pub(super) fn alarm(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    let reached = newest(transaction, device)?.map_or(0, |known| known.counter);
    let told = "SELECT count(*) > 0 FROM news WHERE device = ? AND kind = ? AND detail = ?";
    let (word, reached) = (NewsKind::RolledBack.word(), reached.to_string());
    if !transaction.query_row(told, params![device.0, word, reached], |row| row.get(0))? {
        tell(transaction, device, None, NewsKind::RolledBack, &reached)?;
    }
    Ok(())
}

/// Puts away what is known of the past that the phone has lost, so that what it says now is taken for what it is. The alarm stays until a resume.
pub(super) fn put_away(
    transaction: &Transaction<'_>,
    device: DeviceId,
    heard: &Heard,
) -> Result<(), Error> {
    let status = heard.status.as_ref();
    let quoted = status.and_then(|status| status.set_back).unwrap_or(0);
    if let Some(known) = newest(transaction, device)? {
        let sql =
            "SELECT counter, head FROM receipt WHERE device = ? ORDER BY counter DESC LIMIT 1";
        let stored: Option<(i64, Vec<u8>)> = transaction
            .query_row(sql, [device.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (receipts, head) = stored
            .filter(|(counter, _)| *counter > known.receipts)
            .unwrap_or((known.receipts, known.head));
        let head = if head.is_empty() { vec![0; 32] } else { head };
        // Whoever may order anything chose this number: it counts only as far as a phone can have gone unheard.
        let furthest = known.counter.saturating_add(MARKS_KEPT);
        let quoted = int(quoted).min(furthest);
        let sql = "SELECT max(acknowledged, coalesce((SELECT max(first + count - 1) FROM report WHERE device = device.id), 0)) FROM device WHERE id = ?";
        let reports: i64 = transaction.query_row(sql, [device.0], |row| row.get(0))?;
        // Set back once more, the furthest past is what counts.
        transaction.execute(
            "INSERT INTO set_back (device, counter, nonce, receipts, head, reports, noticed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (device) DO UPDATE SET counter = max(counter, ?2), reports = max(reports, ?6), told = 0,
               nonce = CASE WHEN ?2 >= counter THEN ?3 ELSE nonce END,
               head = CASE WHEN ?4 > receipts THEN ?5 ELSE head END, receipts = max(receipts, ?4)",
            params![
                device.0, known.counter.max(quoted),
                known.nonce.filter(|_| known.counter >= quoted),
                receipts, head, reports.max(known.reports), UnixMs::now().0,
            ],
        )?;
    }
    transaction.execute(
        "UPDATE beacon_mark SET past = 1 WHERE device = ? AND counter >= ?",
        params![device.0, int(heard.beacon.counter)],
    )?;
    end_era(transaction, device, "set-back")?;
    // Up to where both pasts agree, positions need not be asked for.
    transaction.execute(
        "UPDATE device SET reports_from = min(?1, acknowledged) + 1, acknowledged = min(?1, acknowledged),
           beacon = NULL, beacon_counter = 0, beacon_live_at = NULL, beacon_made_at = NULL WHERE id = ?2",
        params![int(status.map_or(0, |status| status.reports)), device.0],
    )?;
    Ok(())
}

/// Moves reports and receipts of a phone to the past.
pub(super) fn end_era(
    transaction: &Transaction<'_>,
    device: DeviceId,
    why: &str,
) -> Result<(), Error> {
    let era: i64 = transaction.query_row(
        "INSERT INTO past (device, era, certificate, why, ended_at)
         SELECT id, (SELECT coalesce(max(era), 0) + 1 FROM past WHERE device = ?1), certificate, ?2, ?3 FROM device WHERE id = ?1
         RETURNING era",
        params![device.0, why, UnixMs::now().0],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO past_report SELECT device, ?2, first, count, bytes, received_at, newest_at FROM report WHERE device = ?1",
        params![device.0, era],
    )?;
    transaction.execute("DELETE FROM report WHERE device = ?", [device.0])?;
    // What it vouched for and what was forgotten were receipts of that time; it counts them anew.
    transaction.execute("DELETE FROM vouched WHERE device = ?", [device.0])?;
    let anew = "UPDATE device SET receipts_from = 0 WHERE id = ?";
    transaction.execute(anew, [device.0])?;
    transaction.execute("UPDATE past SET receipts = 0 WHERE device = ?", [device.0])?;
    move_receipts(transaction, device, era, i64::MAX)
}

fn move_receipts(
    transaction: &Transaction<'_>,
    device: DeviceId,
    era: i64,
    through: i64,
) -> Result<(), Error> {
    transaction.execute(
        "INSERT OR IGNORE INTO past_receipt SELECT device, ?2, counter, command, previous, head, bytes, received_at
         FROM receipt WHERE device = ?1 AND counter <= ?3",
        params![device.0, era, through],
    )?;
    transaction.execute(
        "DELETE FROM receipt WHERE device = ? AND counter <= ?",
        params![device.0, through],
    )?;
    Ok(())
}

/// How a receipt stands to what was put away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Putting {
    /// It belongs to the present.
    Present,
    /// It lies there: the phone sends it again because somebody asks once more for an order that was done then.
    Known,
    /// It belongs there and was late: it has just been put there.
    Late,
}

/// Puts a receipt of a past that has ended to the others of that time.
pub(super) fn put_receipt_away(
    transaction: &Transaction<'_>,
    device: DeviceId,
    answer: &Answer,
    bytes: &[u8],
    at: UnixMs,
) -> Result<Putting, Error> {
    let (receipt, counter) = (&answer.receipt, int(answer.receipt.counter));
    let known =
        "SELECT EXISTS (SELECT 1 FROM past_receipt WHERE device = ? AND counter = ? AND head = ?)";
    let values = params![device.0, counter, answer.head];
    if transaction.query_row(known, values, |row| row.get(0))? {
        return Ok(Putting::Known);
    }
    let put = transaction.execute(
        "INSERT INTO past_receipt (device, era, counter, command, previous, head, bytes, received_at)
         SELECT ?1, era, ?2, ?3, ?4, ?5, ?6, ?7 FROM past WHERE device = ?1 AND receipts >= ?2 ORDER BY era DESC LIMIT 1",
        params![device.0, counter, receipt.command.0, receipt.previous, answer.head, bytes, at.0],
    )?;
    Ok(if put > 0 {
        Putting::Late
    } else {
        Putting::Present
    })
}

/// The phone counts on from what was known: the alarm is over, and so are the numbers that it used meanwhile.
pub(super) fn resumed(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), Error> {
    let sql = "DELETE FROM set_back WHERE device = ? RETURNING receipts";
    let receipts: Option<i64> = transaction
        .query_row(sql, [device.0], |row| row.get(0))
        .optional()?;
    let Some(receipts) = receipts else {
        return Ok(());
    };
    let sql = "UPDATE past SET receipts = ?2 WHERE device = ?1 AND era = (SELECT max(era) FROM past WHERE device = ?1) RETURNING era";
    let values = params![device.0, receipts];
    let era: Option<i64> = transaction
        .query_row(sql, values, |row| row.get(0))
        .optional()?;
    let era = era.ok_or(Error::Damaged("past of a phone"))?;
    move_receipts(transaction, device, era, receipts)?;
    tell(transaction, device, None, NewsKind::Resumed, "")
}

/// Looks whether a beacon shows that another client has let the phone count on.
pub(super) fn look_for_resume(
    transaction: &Transaction<'_>,
    device: DeviceId,
    heard: &Heard,
) -> Result<(), Error> {
    let waits = heard
        .status
        .as_ref()
        .is_none_or(|status| status.set_back.is_some());
    let sql = "SELECT count(*) > 0 FROM set_back WHERE device = ? AND counter + ? < ?";
    let values = params![device.0, LEAP, int(heard.beacon.counter)];
    if !waits && transaction.query_row(sql, values, |row| row.get(0))? {
        resumed(transaction, device)?;
    }
    Ok(())
}

impl Store {
    /// What was known of a phone whose state was set back and that waits for a resume.
    pub(crate) fn set_back(&self, device: DeviceId) -> Result<Option<SetBack>, Error> {
        let sql = "SELECT counter, nonce, receipts, head, reports, noticed_at FROM set_back WHERE device = ?";
        let found = self.connection.query_row(sql, [device.0], |row| {
            let counts = [row.get::<_, i64>(0)?, row.get(2)?, row.get(4)?].map(count);
            Ok((
                counts,
                row.get::<_, Option<Vec<u8>>>(1)?,
                row.get::<_, Vec<u8>>(3)?,
                UnixMs(row.get(5)?),
            ))
        });
        let Some(([number, receipts, reports], nonce, head, noticed_at)) = found.optional()? else {
            return Ok(None);
        };
        Ok(Some(SetBack {
            number,
            nonce: nonce
                .map(|nonce| fixed(&nonce, "beacon").map(BeaconNonce))
                .transpose()?,
            receipts,
            head: fixed(&head, "receipt")?,
            reports,
            noticed_at,
        }))
    }

    /// Claims the one order that tells the phone of its lost past; `false` when somebody has claimed it.
    pub(crate) fn tell_of_set_back(&self, device: DeviceId) -> Result<bool, Error> {
        let sql =
            "UPDATE set_back SET told = 1 WHERE device = ? AND told = 0 AND nonce IS NOT NULL";
        Ok(self.connection.execute(sql, [device.0])? > 0)
    }

    /// Reports of earlier times whose newest position is not older than `since`, oldest time first.
    pub(crate) fn past_reports_since(
        &self,
        device: DeviceId,
        since: UnixMs,
    ) -> Result<Vec<PastReport>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT r.era, p.certificate, r.bytes, r.received_at FROM past_report r
             JOIN past p ON p.device = r.device AND p.era = r.era
             WHERE r.device = ? AND r.newest_at >= ? ORDER BY r.era, r.first, r.count",
        )?;
        let rows = statement.query_map(params![device.0, since.0], |row| {
            Ok(PastReport {
                era: row.get(0)?,
                certificate: row.get(1)?,
                report: StoredReport {
                    bytes: row.get(2)?,
                    received_at: UnixMs(row.get(3)?),
                },
            })
        })?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }
}
