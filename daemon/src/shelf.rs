//! The positions that the phone keeps, with what is known of their age. It must not decide what is forgotten: a wrong clock must never empty it.

use std::time::Duration;

use homing_policy::Now;
use homing_protocol::beacon::ClockTrust;
use homing_protocol::measure::Position;
use homing_protocol::report::{decode_position, encode_position};
use rusqlite::{Connection, Transaction, params};

use crate::error::Error;

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Puts a position on the shelf, with the moment at which it got its number.
///
/// # Errors
/// SQLite's.
pub fn put(
    tx: &Transaction<'_>,
    counter: u64,
    position: &Position,
    moment: Option<&Now>,
) -> rusqlite::Result<()> {
    let wall = moment
        .filter(|now| now.clock == ClockTrust::Synchronised)
        .map(|now| int(now.wall_unix_s));
    tx.execute(
        "INSERT INTO report (counter, position, boot, boottime_ms, wall_s) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            int(counter),
            encode_position(position),
            moment.map_or([0; 16], |now| now.boot.0),
            moment.map_or(0, |now| int(now.boottime_ms)),
            wall
        ],
    )
    .map(|_| ())
}

/// Takes every position up to this number from the shelf.
///
/// # Errors
/// SQLite's.
pub fn forget(tx: &Transaction<'_>, through: u64) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM report WHERE counter <= ?1", [int(through)])
        .map(|_| ())
}

/// The numbers from `first` to `last` that are on the shelf, the lowest `most` of them.
///
/// # Errors
/// SQLite's.
pub fn kept(db: &Connection, first: u64, last: u64, most: u32) -> rusqlite::Result<Vec<u64>> {
    let mut statement = db.prepare(
        "SELECT counter FROM report WHERE counter BETWEEN ?1 AND ?2 ORDER BY counter LIMIT ?3",
    )?;
    let rows = statement.query_map(params![int(first), int(last), most], |row| {
        row.get::<_, i64>(0)
    })?;
    rows.map(|row| row.map(|counter| u64::try_from(counter).unwrap_or(0)))
        .collect()
}

/// The positions from `first` to `last` that are on the shelf, in order.
///
/// # Errors
/// [`Error::Journal`], [`Error::Damaged`].
pub fn positions(db: &Connection, first: u64, last: u64) -> Result<Vec<Position>, Error> {
    let doing = |source| Error::Journal {
        doing: "read the positions",
        source,
    };
    let mut statement = db
        .prepare("SELECT position FROM report WHERE counter BETWEEN ?1 AND ?2 ORDER BY counter")
        .map_err(doing)?;
    let rows = statement
        .query_map([int(first), int(last)], |row| row.get::<_, Vec<u8>>(0))
        .map_err(doing)?;
    rows.map(|bytes| {
        decode_position(&bytes.map_err(doing)?).map_err(|source| Error::Damaged {
            what: "a position in the journal".into(),
            source,
        })
    })
    .collect()
}

/// The number up to which all positions are older than `age`; `None` when none is known to be.
///
/// How old one is, the clock since start tells when both moments lie in the same start; else the wall clock, but only when
/// it was synchronised at both. Numbers grow with time: what lies before an old one is older still.
///
/// # Errors
/// SQLite's.
pub fn older_than(db: &Connection, age: Duration, now: &Now) -> rusqlite::Result<Option<u64>> {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    // A negative limit lies before every moment.
    let started = int(now.boottime_ms) - int(age_ms);
    let wall = match now.clock {
        ClockTrust::Synchronised => int(now.wall_unix_s) - int(age.as_secs()),
        ClockTrust::Unset => -1,
    };
    let found: Option<i64> = db.query_row(
        "SELECT max(counter) FROM report
         WHERE (boot = ?1 AND boottime_ms < ?2) OR (boot <> ?1 AND wall_s IS NOT NULL AND wall_s < ?3)",
        params![now.boot.0, started, wall],
        |row| row.get(0),
    )?;
    Ok(found.map(|counter| u64::try_from(counter).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_protocol::id::BootId;
    use homing_protocol::measure::PositionSource;

    const DAY: Duration = Duration::from_secs(86_400);
    /// 2026-01-01 00:00 UTC.
    const TODAY: u64 = 1_767_225_600;

    fn position(number: u64) -> Position {
        Position {
            time_unix_ms: None,
            latitude_e7: i32::try_from(number).unwrap(),
            longitude_e7: -1,
            accuracy_dm: 96,
            altitude_dm: None,
            speed_cm_s: Some(3),
            course_cdeg: None,
            source: PositionSource::Gnss,
            age_s: 0,
        }
    }

    fn moment(boot: u8, days: u64, wall_days: u64, clock: ClockTrust) -> Now {
        Now {
            boot: BootId([boot; 16]),
            boottime_ms: days * 86_400_000,
            wall_unix_s: TODAY + wall_days * 86_400,
            clock,
        }
    }

    fn shelf(moments: &[Now]) -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("journal.sql")).unwrap();
        let tx = db.transaction().unwrap();
        for (number, moment) in (1u64..).zip(moments) {
            put(&tx, number, &position(number), Some(moment)).unwrap();
        }
        tx.commit().unwrap();
        db
    }

    #[test]
    fn positions_come_back_as_they_were_put_and_go_from_the_oldest() {
        let now = moment(1, 1, 0, ClockTrust::Unset);
        let mut db = shelf(&[now; 40]);
        assert_eq!(kept(&db, 3, 50, 5).unwrap(), [3, 4, 5, 6, 7]);
        let tx = db.transaction().unwrap();
        forget(&tx, 38).unwrap();
        tx.commit().unwrap();
        assert_eq!(kept(&db, 0, u64::MAX, 100).unwrap(), [39, 40]);
        assert_eq!(
            positions(&db, 1, 100).unwrap(),
            [position(39), position(40)]
        );
    }

    #[test]
    fn in_one_start_the_clock_since_start_tells_the_age_whatever_the_wall_clock_says() {
        let days = |days| moment(1, days, 10_000 * days, ClockTrust::Synchronised);
        let db = shelf(&[days(1), days(2), days(3)]);
        let old = |now| older_than(&db, 30 * DAY, &now).unwrap();
        assert_eq!(old(days(31)), None);
        assert_eq!(old(days(32)), Some(1));
        assert_eq!(old(moment(1, 34, 0, ClockTrust::Unset)), Some(3));
    }

    #[test]
    fn over_restarts_only_a_clock_synchronised_then_and_now_forgets_anything() {
        use ClockTrust::{Synchronised, Unset};
        let db = shelf(&[
            moment(1, 1, 0, Unset),
            moment(1, 2, 1, Synchronised),
            moment(2, 1, 5_000, Unset),
        ]);
        let old = |now| older_than(&db, 30 * DAY, &now).unwrap();
        assert_eq!(old(moment(3, 1, 40_000, Unset)), None);
        assert_eq!(old(moment(3, 1, 20, Synchronised)), None);
        assert_eq!(
            old(moment(3, 1, 40, Synchronised)),
            Some(2),
            "what lies before an old one is older"
        );
        // A clock that went back makes nothing older.
        let db = shelf(&[moment(1, 1, 50, Synchronised)]);
        let old = |now| older_than(&db, 30 * DAY, &now).unwrap();
        assert_eq!(old(moment(2, 1, 0, Synchronised)), None);
    }
}
