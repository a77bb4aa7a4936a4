//! Every order this phone ever took on and how it ended, hash-chained, readable by the person who carries it. Nobody can order it shortened; who orders without end pushes out its own entries alone.

use std::collections::BTreeMap;
use std::path::Path;

use homing_policy::Record;
use homing_protocol::id::CommandId;
use homing_protocol::keys::sha256;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction};
use serde_json::{Value, json};

use crate::args::{Order, Switch};
use crate::config;
use crate::error::Error;
use crate::exit::ExitError;
use crate::{journal, print, wallclock};

/// Adds what a record means to a person: an order that came in, or how one stands.
pub(crate) fn note(tx: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    let time = wallclock::unix_s();
    let entry = match record {
        Record::Accepted(accepted) => json!({
            "time": time, "event": "received", "order": accepted.op.word(),
            "command": accepted.id.to_string(), "client": accepted.client.to_string(),
        }),
        Record::Receipt { command, state, .. } if *command != CommandId([0; 16]) => json!({
            "time": time, "event": state.word(), "command": command.to_string(),
        }),
        Record::SetBack { .. } => json!({ "time": time, "event": "set-back" }),
        _ => return Ok(()),
    };
    let entry = entry.to_string();
    let previous: Option<Vec<u8>> = tx
        .query_row(
            "SELECT hash FROM ledger ORDER BY id DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    tx.execute(
        "INSERT INTO ledger (entry, hash) VALUES (?1, ?2)",
        (&entry, link(&previous.unwrap_or_default(), &entry)),
    )?;
    Ok(())
}

/// Entries kept: 2 MB; at three an order these are the orders of a year at nine a day.
const MOST_ENTRIES: usize = 10_000;

/// One row, as far as shortening is concerned.
struct Row {
    id: i64,
    /// Who ordered, empty where that is not known any more.
    client: String,
    left_out: i64,
}

/// Leaves out the oldest entries of who has most, until few enough are left. Neighbours that are left out become one row
/// which says how many, with the hash of the last: the chain goes on.
///
/// # Errors
/// SQLite's.
pub(crate) fn shorten(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    shorten_to(tx, MOST_ENTRIES)
}

fn shorten_to(tx: &Transaction<'_>, most: usize) -> rusqlite::Result<()> {
    let many: i64 = tx.query_row(
        "SELECT count(*) FROM ledger WHERE left_out = 0",
        [],
        |row| row.get(0),
    )?;
    if usize::try_from(many).unwrap_or(0) <= most {
        return Ok(());
    }
    let mut rows = rows_with_clients(tx)?;
    let share = fair_share(&rows, most);
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows.iter_mut().rev().filter(|row| row.left_out == 0) {
        let kept = kept.entry(row.client.clone()).or_default();
        *kept += 1;
        row.left_out = i64::from(*kept > share);
    }
    // A row that is left out swallows the one before it, if that is left out as well.
    let mut run: Option<Row> = None;
    for mut row in rows {
        if row.left_out == 0 {
            run = None;
            continue;
        }
        if let Some(before) = run.take() {
            tx.execute("DELETE FROM ledger WHERE id = ?1", [before.id])?;
            row.left_out += before.left_out;
        }
        tx.execute(
            "UPDATE ledger SET entry = '', left_out = ?2 WHERE id = ?1",
            (row.id, row.left_out),
        )?;
        run = Some(row);
    }
    Ok(())
}

fn rows_with_clients(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Row>> {
    let mut clients: BTreeMap<String, String> = BTreeMap::new();
    let mut statement = tx.prepare("SELECT id, entry, left_out FROM ledger ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        let (id, entry, left_out) = (row.get(0)?, row.get::<_, String>(1)?, row.get(2)?);
        let entry: Value = serde_json::from_str(&entry).unwrap_or(Value::Null);
        let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
        let command = field("command").to_owned();
        let client = match field("client") {
            "" => clients.get(&command).cloned().unwrap_or_default(),
            client => clients.entry(command).or_insert(client.to_owned()).clone(),
        };
        Ok(Row {
            id,
            client,
            left_out,
        })
    })?;
    rows.collect()
}

/// How many entries each client may keep so that all together are few enough: who has less gives the rest to the others.
fn fair_share(rows: &[Row], most: usize) -> usize {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.left_out == 0) {
        *counts.entry(&row.client).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    let mut left = most;
    for (index, count) in counts.iter().enumerate() {
        let share = left / (counts.len() - index);
        if *count > share {
            return share;
        }
        left -= count;
    }
    usize::MAX
}

fn link(previous: &[u8], entry: &str) -> [u8; 32] {
    sha256(&[b"homing ledger".as_slice(), previous, entry.as_bytes()].concat())
}

/// The ledger as it stands, oldest first, and whether its chain holds.
pub(crate) struct Ledger {
    pub(crate) entries: Vec<Value>,
    pub(crate) broken_at: Option<usize>,
}

pub(crate) fn read(state_dir: &Path) -> Result<Ledger, Error> {
    let path = journal::path(state_dir);
    let doing = |source| Error::Journal {
        doing: "read the ledger",
        source,
    };
    if !path.exists() {
        return Err(Error::Enrolment(
            "this phone has not joined an account, so nobody could order anything".into(),
        ));
    }
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(doing)?;
    let mut statement = db
        .prepare("SELECT entry, hash, left_out FROM ledger ORDER BY id")
        .map_err(doing)?;
    let rows = statement
        .query_map([], |row| {
            let entry = row.get::<_, String>(0)?;
            Ok((entry, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?))
        })
        .map_err(doing)?;
    let mut ledger = Ledger {
        entries: Vec::new(),
        broken_at: None,
    };
    let mut previous = Vec::new();
    for row in rows {
        let (entry, hash, left_out) = row.map_err(doing)?;
        if left_out > 0 {
            previous = hash;
            ledger
                .entries
                .push(json!({"event": "left-out", "count": left_out}));
            continue;
        }
        if ledger.broken_at.is_none() && link(&previous, &entry)[..] != hash[..] {
            ledger.broken_at = Some(ledger.entries.len());
        }
        previous = hash;
        ledger
            .entries
            .push(serde_json::from_str(&entry).unwrap_or(Value::String(entry)));
    }
    Ok(ledger)
}

/// `homingd ledger [--json]`.
///
/// # Errors
/// Not enrolled, or the journal cannot be read.
pub fn run(order: &Order) -> Result<(), ExitError> {
    let settings = config::load(&order.source)?.settings;
    let ledger = read(&settings.state_dir)?;
    let mut text = String::new();
    for entry in &ledger.entries {
        if order.switch("--json") == Switch::On {
            text.push_str(&format!("{entry}\n"));
        } else {
            let field = |name: &str| {
                entry
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or("")
                    .to_owned()
            };
            if let Some(count) = entry.get("count").and_then(Value::as_u64) {
                text.push_str(&format!("{:23}  {count} older entries were left out\n", ""));
                continue;
            }
            let time = entry.get("time").and_then(Value::as_u64).unwrap_or(0);
            let who = field("client");
            let by = if who.is_empty() {
                String::new()
            } else {
                format!(" by client {who}")
            };
            let order = field("order");
            let what = if order.is_empty() {
                String::new()
            } else {
                format!(" {order}")
            };
            text.push_str(&format!(
                "{}  {}{what}  {}{by}\n",
                utc(time),
                field("event"),
                field("command")
            ));
        }
    }
    if ledger.entries.is_empty() && order.switch("--json") == Switch::Off {
        text.push_str("No order was ever received.\n");
    }
    print(&text)?;
    match ledger.broken_at {
        None => Ok(()),
        Some(index) => Err(ExitError::new(
            crate::exit::ExitStatus::Io,
            format!(
                "the ledger was changed by hand: entry {} does not follow from the one before",
                index + 1
            ),
        )),
    }
}

/// Seconds since 1970 as `YYYY-MM-DD HH:MM:SS UTC` (civil-from-days after Howard Hinnant's public derivation).
pub(crate) fn utc(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_leaves_out_the_oldest_of_who_has_most_and_its_chain_still_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut db = Connection::open(journal::path(folder.path())).unwrap();
        db.execute_batch(include_str!("journal.sql")).unwrap();
        let mut order = |client: u8, id: u8| {
            let tx = db.transaction().unwrap();
            let accepted = homing_policy::record::Accepted {
                id: CommandId([id; 16]),
                client: homing_protocol::id::ClientId([client; 16]),
                session: homing_protocol::id::SessionId([1; 8]),
                seq: id.into(),
                op: homing_protocol::command::Op::Status,
                not_after: None,
                at_beacon: 1,
                at_unix_s: 0,
            };
            note(&tx, &Record::Accepted(accepted)).unwrap();
            shorten_to(&tx, 20).unwrap();
            tx.commit().unwrap();
        };
        (1..=5).for_each(|id| order(1, id));
        (10..=110).for_each(|id| order(2, id));
        (6..=8).for_each(|id| order(1, id));
        let ledger = read(folder.path()).unwrap();
        assert_eq!(ledger.broken_at, None);
        let of = |client: u8| {
            let name = homing_protocol::id::ClientId([client; 16]).to_string();
            let entries = ledger.entries.iter();
            entries.filter(|entry| entry["client"] == name).count()
        };
        assert_eq!((of(1), of(2)), (8, 12));
        let left_out: u64 = ledger
            .entries
            .iter()
            .filter_map(|entry| entry["count"].as_u64())
            .sum();
        assert_eq!(left_out, 101 - 12);
        assert_eq!(ledger.entries.len(), 21, "one row tells of all of them");
        db.execute(
            "UPDATE ledger SET entry = replace(entry, 'status', 'ring') WHERE id > 105",
            [],
        )
        .unwrap();
        assert!(read(folder.path()).unwrap().broken_at.is_some());
    }

    #[test]
    fn days_of_the_calendar_are_named_right() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (2_147_483_648, "2038-01-19 03:14:08 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
