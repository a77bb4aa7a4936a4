//! The phone's memory: SQLite in WAL mode, every commit on the disk before it returns. It must not judge; it applies what was decided, all or nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_policy::track::MOST_REPORTS;
use homing_policy::{Batch, Now, Outgoing, Record, State, codec};
use homing_protocol::Malformed;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::alone::Alone;
use crate::answers;
use crate::crash::CrashPoint;
use crate::error::Error;
use crate::ledger;
use crate::scribe::Scribe;
use crate::shelf;

/// Rows after which the journal is compacted to the facts of the state; 2,000 rows replay in milliseconds.
const COMPACT_AFTER: i64 = 2_000;

mod reserve;
mod schema;

/// A row that waits for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// A receipt, by outbox row.
    Receipt(i64),
    /// Positions that travel together in one report, by number.
    Reports {
        /// The first.
        first: u64,
        /// The last, at most 31 more.
        last: u64,
    },
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    db: Connection,
    folder: PathBuf,
    /// What signs and seals what goes out.
    pub scribe: Scribe,
    /// When what is committed next happened; positions are kept with it.
    pub moment: Option<Now>,
    chain: [u8; 32],
    rows: i64,
    /// How many of the rows the last look found useful: without many more there is nothing to compact.
    useful: i64,
    crash: CrashPoint,
    /// Held as long as this journal is open.
    _alone: Alone,
}

fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Journal { doing, source }
}

/// Where the journal lies.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("agent.db")
}

impl Journal {
    /// Opens the journal, or begins one with these facts, and gives the state that it tells.
    ///
    /// # Errors
    /// [`Error::Journal`], [`Error::Damaged`].
    pub(crate) fn open(
        state_dir: &Path,
        alone: Alone,
        scribe: Scribe,
        first_facts: &[Record],
        crash_at: Option<u64>,
    ) -> Result<(Self, State), Error> {
        let db = schema::open(&path(state_dir), first_facts)?;
        let mut journal = Self {
            db,
            folder: state_dir.to_owned(),
            scribe,
            moment: None,
            chain: [0; 32],
            rows: 0,
            useful: 0,
            _alone: alone,
            crash: CrashPoint::at(crash_at),
        };
        let state = journal.replay()?;
        journal.hold_reserve();
        Ok((journal, state))
    }

    fn replay(&mut self) -> Result<State, Error> {
        let doing = failed("replay the rows");
        let mut state = State::default();
        let mut rows = 0;
        {
            let mut statement = self
                .db
                .prepare("SELECT bytes FROM record ORDER BY id")
                .map_err(&doing)?;
            let mut found = statement.query([]).map_err(&doing)?;
            while let Some(row) = found.next().map_err(&doing)? {
                let bytes = row
                    .get_ref(0)
                    .map_err(&doing)?
                    .as_blob()
                    .map_err(|error| doing(error.into()))?;
                let record = codec::decode(bytes).map_err(|source| Error::Damaged {
                    what: format!("the journal {}", path(&self.folder).display()),
                    source,
                })?;
                state.apply(&record);
                rows += 1;
            }
        }
        self.rows = rows;
        let chain: Option<[u8; 32]> = self
            .db
            .query_row("SELECT head FROM chain", [], |row| row.get(0))
            .optional()
            .map_err(&doing)?;
        self.chain = chain.unwrap_or_default();
        Ok(state)
    }

    /// From now on the so-manieth crash point ends the agent that owns this journal by an error: odd ones lie before a
    /// commit, even ones after it.
    #[cfg(test)]
    pub(crate) fn crash_in(&mut self, points: u64) {
        self.crash = CrashPoint::told_at(points);
    }

    /// Whether that has happened.
    #[cfg(test)]
    pub(crate) fn has_crashed(&self) -> bool {
        self.crash.has_struck()
    }

    /// The file itself, for tests that take its disk away.
    #[cfg(test)]
    pub(crate) const fn database(&self) -> &Connection {
        &self.db
    }

    /// The head of the receipt chain.
    #[must_use]
    pub const fn chain_head(&self) -> [u8; 32] {
        self.chain
    }

    /// Commits a batch, giving up the reserve once when the disk is full and an order depends on it.
    fn write(&mut self, batch: Batch<'_>) -> Result<(), Error> {
        match self.write_once(batch) {
            Err(Error::Journal { source, .. })
                if is_full(&source) && is_of_order(batch) && self.release_reserve() =>
            {
                tracing::warn!("the disk is full: the reserve is used");
                self.write_once(batch)
            }
            result => result,
        }
    }

    fn write_once(&mut self, batch: Batch<'_>) -> Result<(), Error> {
        let doing = failed("write down a decision");
        let tx = self.db.transaction().map_err(&doing)?;
        for record in batch.records {
            tx.execute(
                "INSERT INTO record (bytes) VALUES (?1)",
                [codec::encode(record)],
            )
            .map_err(&doing)?;
            ledger::note(&tx, record).map_err(&doing)?;
            match record {
                Record::Report { counter } => {
                    shelf::forget(&tx, counter.saturating_sub(MOST_REPORTS))
                }
                Record::ReportsForgotten { through } => shelf::forget(&tx, *through),
                _ => Ok(()),
            }
            .map_err(&doing)?;
        }
        let chain = post(
            &tx,
            &self.scribe,
            resumed_head(batch.records).unwrap_or(self.chain),
            batch.outgoing,
            self.moment.as_ref(),
        )?;
        // A transaction that changes nothing costs no write: a flood of repetitions must not wear the disk.
        if chain != self.chain {
            tx.execute(
                "INSERT INTO chain (id, head) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET head = ?1",
                [chain],
            )
            .map_err(&doing)?;
        }
        self.crash.pass()?;
        tx.commit().map_err(&doing)?;
        self.crash.pass()?;
        self.chain = chain;
        self.rows += i64::try_from(batch.records.len()).unwrap_or(0);
        Ok(())
    }

    /// Replaces the rows by the facts of the state when they have become many.
    ///
    /// # Errors
    /// [`Error::Journal`]; the rows are then as before.
    pub fn compact(&mut self, state: &State) -> Result<(), Error> {
        if self.rows < self.useful.saturating_add(COMPACT_AFTER) {
            return Ok(());
        }
        let facts = state.facts();
        self.useful = i64::try_from(facts.len()).unwrap_or(i64::MAX);
        if self.rows < self.useful.saturating_add(COMPACT_AFTER) {
            return Ok(());
        }
        let doing = failed("compact the rows");
        let tx = self.db.transaction().map_err(&doing)?;
        tx.execute("DELETE FROM record", []).map_err(&doing)?;
        for fact in &facts {
            tx.execute(
                "INSERT INTO record (bytes) VALUES (?1)",
                [codec::encode(fact)],
            )
            .map_err(&doing)?;
        }
        answers::thin_out(&tx, state.receipts).map_err(&doing)?;
        ledger::shorten(&tx).map_err(&doing)?;
        tx.commit().map_err(&doing)?;
        self.rows = self.useful;
        Ok(())
    }

    /// The receipts that wait for the broker, oldest first.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn waiting(&self) -> Result<Vec<Waiting>, Error> {
        let doing = failed("list the outbox");
        let mut receipts = self
            .db
            .prepare("SELECT id FROM outbox ORDER BY id LIMIT 64")
            .map_err(&doing)?;
        let mut waiting = Vec::new();
        for row in receipts.query_map([], |row| row.get(0)).map_err(&doing)? {
            waiting.push(Waiting::Receipt(row.map_err(&doing)?));
        }
        Ok(waiting)
    }

    /// The numbers of the positions kept from `first` to `last`, the lowest `most`.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn kept(&self, first: u64, last: u64, most: u32) -> Result<Vec<u64>, Error> {
        shelf::kept(&self.db, first, last, most).map_err(failed("list the positions"))
    }

    /// The number up to which all positions are older than so long, as far as that is known; `None` when none is.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn older_than(&self, age: Duration, now: &Now) -> Result<Option<u64>, Error> {
        shelf::older_than(&self.db, age, now).map_err(failed("look for old positions"))
    }

    /// The envelope of a waiting row; `None` when it is gone.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn load(&self, waiting: Waiting) -> Result<Option<Vec<u8>>, Error> {
        match waiting {
            Waiting::Receipt(id) => self
                .db
                .prepare("SELECT r.envelope FROM outbox o JOIN receipt r ON r.counter = o.receipt WHERE o.id = ?1")
                .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
                .map_err(failed("read the outbox")),
            Waiting::Reports { first, last } => {
                let positions = shelf::positions(&self.db, first, last)?;
                // Some were forgotten since they were listed.
                if positions.is_empty() || positions.len() as u64 != last - first + 1 {
                    return Ok(None);
                }
                let report = self.scribe.report(first, positions);
                report.map(Some).map_err(unsealed)
            }
        }
    }

    /// Forgets a receipt's outbox row after the broker took it; the receipt itself stays for repetitions. Reports wait for a reader instead.
    ///
    /// # Errors
    /// [`Error::Journal`].
    pub fn sent(&mut self, waiting: Waiting) -> Result<(), Error> {
        if let Waiting::Receipt(id) = waiting {
            self.crash.pass()?;
            // Not worth waiting for the disk: sent twice is harmless, the counter tells.
            let deleted = self
                .db
                .pragma_update(None, "synchronous", "NORMAL")
                .and_then(|()| self.db.execute("DELETE FROM outbox WHERE id = ?1", [id]));
            // Also after a failure: the next decision must be on the disk before it is acknowledged.
            let strict = self.db.pragma_update(None, "synchronous", "FULL");
            deleted.and(strict).map_err(failed("empty the outbox"))?;
            self.crash.pass()?;
        }
        Ok(())
    }
}

impl homing_policy::Journal for Journal {
    type Error = Error;
    fn commit(&mut self, batch: Batch<'_>) -> Result<(), Error> {
        self.write(batch)
    }
}

/// Whether a batch takes an order on or answers one: only for that the reserve is given up.
fn is_of_order(batch: Batch<'_>) -> bool {
    batch.records.iter().any(|record| {
        matches!(
            record,
            Record::Accepted(_) | Record::Receipt { .. } | Record::SearchOrdered { .. }
        )
    })
}

fn is_full(error: &rusqlite::Error) -> bool {
    // A full disk reaches SQLite as SQLITE_FULL or, in the middle of a WAL frame or a shared-memory page, as SQLITE_IOERR.
    matches!(
        error.sqlite_error_code(),
        Some(
            rusqlite::ErrorCode::DiskFull
                | rusqlite::ErrorCode::SystemIoFailure
                | rusqlite::ErrorCode::CannotOpen
        )
    )
}

fn unsealed(source: Malformed) -> Error {
    Error::Damaged {
        what: "the list of readers".into(),
        source,
    }
}

/// The head that the owner says the chain goes on from, if this batch is about that.
fn resumed_head(records: &[Record]) -> Option<[u8; 32]> {
    records.iter().find_map(|record| match record {
        Record::Resumed { head, .. } => *head,
        _ => None,
    })
}

/// Puts messages into the outbox; gives the chain's new head.
fn post(
    tx: &Transaction<'_>,
    scribe: &Scribe,
    mut chain: [u8; 32],
    outgoing: &[Outgoing],
    moment: Option<&Now>,
) -> Result<[u8; 32], Error> {
    let doing = failed("fill the outbox");
    for message in outgoing {
        match message {
            Outgoing::Receipt {
                counter, command, ..
            } => {
                let signed = scribe.receipt(message, chain).map_err(unsealed)?;
                chain = signed.head;
                let counter = i64::try_from(*counter).unwrap_or(i64::MAX);
                tx.execute(
                    "INSERT INTO receipt (counter, command, envelope) VALUES (?1, ?2, ?3)",
                    params![counter, command.0, signed.envelope],
                )
                .map_err(&doing)?;
                tx.execute("INSERT INTO outbox (receipt) VALUES (?1)", [counter])
                    .map_err(&doing)?;
                answers::forget(tx, counter).map_err(&doing)?;
            }
            Outgoing::Repeat { command } => answers::repeat(tx, *command).map_err(&doing)?,
            Outgoing::Report { counter, position } => {
                shelf::put(tx, *counter, position, moment).map_err(&doing)?;
            }
        }
    }
    Ok(chain)
}
