//! Every order this phone ever took on and how it ended, hash-chained, readable by the person who carries it. It must not be shortened from afar.

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
        .prepare("SELECT entry, hash FROM ledger ORDER BY id")
        .map_err(doing)?;
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .map_err(doing)?;
    let mut ledger = Ledger {
        entries: Vec::new(),
        broken_at: None,
    };
    let mut previous = Vec::new();
    for row in rows {
        let (entry, hash) = row.map_err(doing)?;
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
