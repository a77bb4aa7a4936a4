//! The form of the journal's file through the versions: made anew, brought from an older one in one step, or left alone. It must not read what the rows say.

use std::path::Path;
use std::time::Duration;

use homing_policy::{Record, codec};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::failed;
use crate::error::Error;

/// The schema's version, SQLite's `user_version`.
pub(crate) const SCHEMA: i64 = 3;
/// What leads from each version to the next, from 1 on.
const STEPS: [&str; 2] = [
    include_str!("../journal_to_2.sql"),
    include_str!("../journal_to_3.sql"),
];

/// Opens the file, makes it or brings it to this version, all or nothing.
///
/// # Errors
/// [`Error::Enrolment`] for a file of a newer homingd, which is not touched; [`Error::Journal`].
pub(super) fn open(path: &Path, first_facts: &[Record]) -> Result<Connection, Error> {
    let doing = failed("open the file");
    if path.exists() {
        // Without the right to write: looking must not even tidy up what another version left.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let seen = Connection::open_with_flags(path, flags).and_then(|db| version_of(&db));
        refuse_others(path, seen.map_err(&doing)?)?;
    }
    let mut db = Connection::open(path)
        .and_then(for_writing)
        .map_err(&doing)?;
    configure(&db).map_err(failed("set up the file"))?;
    // Nothing is written: it tells whether the log's index, too, may be written.
    db.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
        .map_err(&doing)?;
    bring_up(&mut db, first_facts)?;
    settle(&db)?;
    Ok(db)
}

/// Where the disk fails at opening, SQLite opens for reading only and says nothing: every write would fail until the next
/// start, so that start is now.
fn for_writing(db: Connection) -> rusqlite::Result<Connection> {
    if db.is_readonly(rusqlite::MAIN_DB)? {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let why = "it could be opened for reading only".to_owned();
        return Err(rusqlite::Error::SqliteFailure(code, Some(why)));
    }
    Ok(db)
}

fn version_of(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn refuse_others(path: &Path, version: i64) -> Result<(), Error> {
    if (0..=SCHEMA).contains(&version) {
        return Ok(());
    }
    let whose = if version > SCHEMA {
        "a newer"
    } else {
        "another"
    };
    Err(Error::Enrolment(format!(
        "{} was written by {whose} homingd (journal version {version}, this one reads up to {SCHEMA}); install that one again",
        path.display()
    )))
}

fn bring_up(db: &mut Connection, first_facts: &[Record]) -> Result<(), Error> {
    let doing = failed("bring the tables to this version");
    let version = version_of(db).map_err(&doing)?;
    if version == SCHEMA {
        let tx = db
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(&doing)?;
        begin_anew(&tx, first_facts).map_err(&doing)?;
        return tx.commit().map_err(&doing);
    }
    let tx = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&doing)?;
    if version == 0 {
        tx.execute_batch(include_str!("../journal.sql"))
            .map_err(&doing)?;
        begin_anew(&tx, first_facts).map_err(&doing)?;
    } else {
        let done = usize::try_from(version - 1).unwrap_or(0);
        for step in STEPS.iter().skip(done) {
            tx.execute_batch(step).map_err(&doing)?;
        }
        tracing::info!("the journal was brought from version {version} to {SCHEMA}");
        begin_anew(&tx, first_facts).map_err(&doing)?;
    }
    tx.pragma_update(None, "user_version", SCHEMA)
        .map_err(&doing)?;
    tx.commit().map_err(&doing)
}

/// A journal without any fact is new, or was emptied for a new enrolment and holds the ledger alone.
fn begin_anew(tx: &Transaction<'_>, first_facts: &[Record]) -> rusqlite::Result<()> {
    let begun = "SELECT EXISTS (SELECT 1 FROM record)";
    if first_facts.is_empty() || tx.query_row(begun, [], |row| row.get(0))? {
        return Ok(());
    }
    for fact in first_facts {
        tx.execute(
            "INSERT INTO record (bytes) VALUES (?1)",
            [codec::encode(fact)],
        )?;
    }
    Ok(())
}

/// Writes what an earlier process left in the log into the file, and waits for the disk. After an fsync that failed the
/// kernel may go on showing what never reached the disk: what the rows say is told to others only once it was written
/// again by this process.
fn settle(db: &Connection) -> Result<(), Error> {
    let written = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    match written.map_err(failed("write what an earlier process left")) {
        // A disk that is full stays usable for finding.
        Err(error) if error.may_pass() => {
            tracing::warn!("{error}");
            Ok(())
        }
        other => other,
    }
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // Pages of 4 KiB: 32 of them hold what one commit touches.
    db.pragma_update(None, "cache_size", 32)?;
    db.pragma_update(None, "wal_autocheckpoint", 64)?;
    db.pragma_update(None, "journal_size_limit", 512 * 1024)?;
    Ok(())
}

#[cfg(test)]
mod tests;
