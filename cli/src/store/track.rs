//! Positions in the owner's state: what is stored, what is missing, what is too old to be kept. Opens no report: it was verified before it got here.
use super::inbox::touch;
use super::news::tell;
use super::{NewsKind, Store, count, int};
use crate::clock::UnixMs;
use crate::error::Error;
use homing_owner::reports;
use homing_protocol::command::MOST_RESENT;
use homing_protocol::id::{CommandId, DeviceId};
use homing_protocol::report::Report;
use rusqlite::{OptionalExtension, Transaction, params};

const DAY_MS: i64 = 86_400_000;

/// What a clock does not do while it goes: two days, a weekend in which a machine is off.
const LEAP_MS: i64 = 2 * DAY_MS;

/// How often the clock is written down, milliseconds: a call that only shows something seldom writes.
const NOTED_EVERY_MS: i64 = DAY_MS / 4;
/// Retention of a phone whose claim another client holds, days: the one that is proposed when nobody says otherwise.
const USUAL_RETENTION_DAYS: i64 = 30;
/// How long a position is kept where none is to be kept: as long as it takes to show it.
const SHOWN_MS: i64 = 600_000;
/// How far a receiver's own time may lie back; a phone that was away longer, or a receiver whose week number has rolled
/// over (every 19.6 years), says nothing useful about the age of what has just come in.
const OLDEST_MS: i64 = 400 * DAY_MS;
/// How far a receiver's time may lie ahead of this machine's: a clock that has lost a year files nothing as a year old,
/// where the next look with the right clock would delete it.
const FURTHEST_MS: i64 = OLDEST_MS;

/// One stored report.
#[derive(Clone, Debug)]
pub(crate) struct StoredReport {
    /// As it came.
    pub(crate) bytes: Vec<u8>,
    /// When it was stored.
    pub(crate) received_at: UnixMs,
}

/// Runs of stored numbers that reach beyond `from`, by first number.
fn runs(
    connection: &rusqlite::Connection,
    device: DeviceId,
    from: i64,
) -> Result<Vec<(u64, u64)>, Error> {
    let mut statement = connection.prepare(
        "SELECT first, count FROM report WHERE device = ? AND first + count > ? ORDER BY first",
    )?;
    let rows = statement.query_map(params![device.0, from], |row| {
        Ok((count(row.get(0)?), count(row.get(1)?)))
    })?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

/// The lowest number that this client still asks for; `None` when it has never had a position of this phone to ask behind.
fn wanted_from(connection: &rusqlite::Connection, device: DeviceId) -> Result<Option<i64>, Error> {
    let sql = "SELECT max(reports_from, acknowledged + 1) FROM device WHERE id = ? AND reports_from IS NOT NULL";
    Ok(connection
        .query_row(sql, [device.0], |row| row.get(0))
        .optional()?)
}

/// The phone has answered a request for positions: what lies before `kept` does not exist any more, and is no gap.
pub(super) fn gone_for_good(
    transaction: &Transaction<'_>,
    device: DeviceId,
    request: CommandId,
    kept: u64,
) -> Result<(), Error> {
    transaction.execute(
        "UPDATE device SET reports_from = max(coalesce(reports_from, 1), ?1)
         WHERE id = ?2 AND EXISTS (SELECT 1 FROM command WHERE id = ?3 AND device = ?2 AND op LIKE 'resend-reports %')",
        params![int(kept), device.0, request.0],
    )?;
    Ok(())
}

impl Store {
    /// Stores a report. One that we have confirmed already lowers our word on it, so that it is given again: the phone has not heard it.
    pub(crate) fn heard_report(
        &mut self,
        device: DeviceId,
        report: &Report,
        bytes: &[u8],
        at: UnixMs,
    ) -> Result<(), Error> {
        let transaction = self.write()?;
        let length = report.positions.len() as u64;
        let last = report.first + length - 1;
        let known =
            reports::complete_through(report.first, runs(&transaction, device, int(report.first))?)
                .is_some_and(|through| through >= last);
        if !known {
            let newest = report.positions.iter().filter_map(|it| it.time_unix_ms);
            let newest_at = newest
                .max()
                .filter(|time| (at.0 - OLDEST_MS..=at.0 + FURTHEST_MS).contains(time))
                .unwrap_or(at.0);
            transaction.execute(
                "INSERT OR IGNORE INTO report (device, first, count, bytes, received_at, newest_at) VALUES (?, ?, ?, ?, ?, ?)",
                params![device.0, int(report.first), int(length), bytes, at.0, newest_at],
            )?;
            let which = match length {
                1 => last.to_string(),
                _ => format!("{}-{last}", report.first),
            };
            tell(&transaction, device, None, NewsKind::Position, &which)?;
            touch(&transaction, device, at)?;
        }
        transaction.execute(
            "UPDATE device SET reports_from = coalesce(reports_from, ?1), acknowledged = min(acknowledged, ?1 - 1) WHERE id = ?2",
            params![int(report.first), device.0],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Up to which position everything of a phone is stored here, when that is more than we have said.
    pub(crate) fn unacknowledged(&self, device: DeviceId) -> Result<Option<u64>, Error> {
        let Some(from) = wanted_from(&self.connection, device)? else {
            return Ok(None);
        };
        let runs = runs(&self.connection, device, from)?;
        Ok(reports::complete_through(count(from), runs))
    }

    /// Up to which position we have said that everything is stored, 0 when we have said nothing.
    pub(crate) fn confirmed(&self, device: DeviceId) -> Result<u64, Error> {
        let sql = "SELECT acknowledged FROM device WHERE id = ?";
        let through = self
            .connection
            .query_row(sql, [device.0], |row| row.get(0))?;
        Ok(count(through))
    }

    /// Remembers up to which position we have said that everything is stored.
    pub(crate) fn acknowledged(&self, device: DeviceId, through: u64) -> Result<(), Error> {
        self.connection.execute(
            "UPDATE device SET acknowledged = ? WHERE id = ?",
            params![int(through), device.0],
        )?;
        Ok(())
    }

    /// The first range of positions that is missing here, no longer than one order may ask for. `newest` is the newest number that the phone says it has made.
    pub(crate) fn missing(
        &self,
        device: DeviceId,
        newest: u64,
    ) -> Result<Option<(u64, u64)>, Error> {
        let Some(from) = wanted_from(&self.connection, device)? else {
            return Ok(None);
        };
        let runs = runs(&self.connection, device, from)?;
        let gap = reports::first_gap(count(from), newest, runs);
        Ok(gap.map(|(first, last)| (first, last.min(first + MOST_RESENT - 1))))
    }

    /// When this range, by its first number, was last asked for; and when anything last came in.
    pub(crate) fn asked_for(
        &self,
        device: DeviceId,
        first: u64,
    ) -> Result<(Option<UnixMs>, Option<UnixMs>), Error> {
        let asked = "SELECT max(issued_at) FROM command WHERE device = ? AND op LIKE ?";
        let asked: Option<i64> = self.connection.query_row(
            asked,
            params![device.0, format!("resend-reports {first}-%")],
            |row| row.get(0),
        )?;
        let came = "SELECT max(received_at) FROM report WHERE device = ?";
        let came: Option<i64> = self
            .connection
            .query_row(came, [device.0], |row| row.get(0))?;
        Ok((asked.map(UnixMs), came.map(UnixMs)))
    }

    /// The report with the newest position, or the one that holds position `number`.
    pub(crate) fn report(
        &self,
        device: DeviceId,
        number: Option<u64>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT bytes FROM report WHERE device = ?1 AND (?2 IS NULL OR (first <= ?2 AND first + count > ?2)) ORDER BY first + count DESC LIMIT 1";
        Ok(self
            .connection
            .query_row(sql, params![device.0, number.map(int)], |row| row.get(0))
            .optional()?)
    }

    /// The reports whose newest position is not older than `since`, by number.
    pub(crate) fn reports_since(
        &self,
        device: DeviceId,
        since: UnixMs,
    ) -> Result<Vec<StoredReport>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT bytes, received_at FROM report WHERE device = ? AND newest_at >= ? ORDER BY first, count",
        )?;
        let rows = statement.query_map(params![device.0, since.0], |row| {
            Ok(StoredReport {
                bytes: row.get(0)?,
                received_at: UnixMs(row.get(1)?),
            })
        })?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }

    /// From which time on positions of a phone may be kept.
    pub(crate) fn kept_since(&self, device: DeviceId, now: UnixMs) -> Result<UnixMs, Error> {
        let sql = "SELECT retention_days FROM device WHERE id = ?";
        let days: Option<i64> = self
            .connection
            .query_row(sql, [device.0], |row| row.get(0))
            .optional()?
            .flatten();
        Ok(UnixMs(match days.unwrap_or(USUAL_RETENTION_DAYS) {
            0 => now.0 - SHOWN_MS,
            days => now.0 - days * DAY_MS,
        }))
    }

    /// Whether this machine's clock may delete something. One that leaps, forwards or back, may be wrong: it is believed again when it has gone on by itself for a day, as it does on a machine that was switched off for a week.
    fn is_clock_believed(&self, now: UnixMs) -> Result<bool, Error> {
        let sql = "SELECT latest, believed_from FROM clock_seen";
        let seen = self
            .connection
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (latest, believed_from): (i64, i64) = seen.optional()?.unwrap_or((0, 0));
        let (gap, is_first) = (now.0.saturating_sub(latest), latest == 0);
        let from = if gap.abs() > LEAP_MS && !is_first {
            now.0.saturating_add(DAY_MS)
        } else {
            believed_from
        };
        if is_first || from != believed_from || gap > NOTED_EVERY_MS {
            let sql = "INSERT INTO clock_seen (one, latest, believed_from) VALUES (1, ?1, ?2)
                       ON CONFLICT (one) DO UPDATE SET latest = ?1, believed_from = ?2";
            match self.connection.execute(sql, params![now.0, from]) {
                Ok(_) => {}
                Err(error) => {
                    let error = Error::from(error);
                    // A full disk keeps nobody from looking.
                    return if error.may_pass() {
                        Ok(false)
                    } else {
                        Err(error)
                    };
                }
            }
        }
        Ok(now.0 >= from)
    }

    /// Deletes positions that are older than what was agreed with the phone's user, once the phone knows that we had them, or a day later: what is not confirmed would come again.
    pub(crate) fn forget_old_positions(&self, now: UnixMs) -> Result<(), Error> {
        if !self.is_clock_believed(now)? {
            return Ok(());
        }
        let condition = "FROM report WHERE newest_at <
              (SELECT CASE coalesce(retention_days, ?2) WHEN 0 THEN ?1 - ?3 ELSE ?1 - coalesce(retention_days, ?2) * ?4 END
               FROM device WHERE id = report.device)
            AND (received_at < ?1 - ?4
              OR first + count - 1 <= (SELECT acknowledged FROM device WHERE id = report.device))";
        let values = params![now.0, USUAL_RETENTION_DAYS, SHOWN_MS, DAY_MS];
        // A call that has nothing to delete must not wait for another process that writes.
        let old: bool = self.connection.query_row(
            &format!("SELECT EXISTS (SELECT 1 {condition})"),
            values,
            |row| row.get(0),
        )?;
        if old {
            self.connection
                .execute(&format!("DELETE {condition}"), values)?;
        }
        let condition = "FROM past_report WHERE newest_at <
              (SELECT CASE coalesce(retention_days, ?2) WHEN 0 THEN ?1 - ?3 ELSE ?1 - coalesce(retention_days, ?2) * ?4 END
               FROM device WHERE id = past_report.device)";
        let old: bool = self.connection.query_row(
            &format!("SELECT EXISTS (SELECT 1 {condition})"),
            values,
            |row| row.get(0),
        )?;
        if old {
            self.connection
                .execute(&format!("DELETE {condition}"), values)?;
        }
        Ok(())
    }
}
