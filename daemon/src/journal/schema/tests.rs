//! Journals of other versions: an older one is brought up whole or not at all, a newer one is left alone.

use std::fs;
use std::path::PathBuf;

use homing_policy::{State, codec};
use homing_protocol::id::{ClientId, CommandId, SessionId};
use homing_protocol::receipt::CommandState;
use tempfile::TempDir;

use super::*;
use crate::ledger;

/// A journal as version 1 left it.
fn of_version_1() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::journal::path(folder.path());
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.execute_batch(include_str!("fixture_1.sql")).unwrap();
    drop(db);
    (folder, path)
}

fn count(db: &Connection, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table}");
    db.query_row(&query, [], |row| row.get(0)).unwrap()
}

fn state(db: &Connection) -> State {
    let mut state = State::default();
    let mut statement = db.prepare("SELECT bytes FROM record ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0));
    for bytes in rows.unwrap() {
        state.apply(&codec::decode(&bytes.unwrap()).unwrap());
    }
    state
}

#[test]
fn a_journal_of_schema_1_is_brought_up_and_nothing_that_it_knew_is_lost() {
    let (folder, path) = of_version_1();
    let db = open(&path, &[]).unwrap();
    assert_eq!(version_of(&db).unwrap(), SCHEMA);
    let state = state(&db);
    assert_eq!((state.authority.0, state.key_set.0), (3, 2));
    assert_eq!((state.beacons(), state.floor, state.receipts), (7, 5, 7));
    // The one floor of that time is every client's.
    assert_eq!(state.least_beacon(ClientId([0xc1; 16])), 5);
    assert_eq!(state.least_beacon(ClientId([0xd2; 16])), 5);
    let stands = |id: u8| state.command(CommandId([id; 16])).unwrap().state;
    assert_eq!(
        [1, 2, 3].map(stands),
        [
            CommandState::Done,
            CommandState::Cancelled,
            CommandState::Done
        ]
    );
    assert!(state.is_dead(CommandId([2; 16])) && state.is_dead(CommandId([9; 16])));
    let space = state.space(ClientId([0xc1; 16]), SessionId([0x5e; 8]));
    assert_eq!(space.unwrap().high, 3);
    assert!(state.gasped && state.place.is_some());
    assert_eq!((count(&db, "receipt"), count(&db, "outbox")), (7, 1));
    let ledger = ledger::read(folder.path()).unwrap();
    assert_eq!((ledger.entries.len(), ledger.broken_at), (5, None));
    drop(db);
    // A second start finds nothing to do.
    let again = open(&path, &[]).unwrap();
    assert_eq!(count(&again, "ledger"), 5);
}

#[test]
fn a_journal_of_schema_1_that_was_emptied_for_a_new_enrolment_begins_with_its_facts() {
    let (folder, path) = of_version_1();
    let db = Connection::open(&path).unwrap();
    db.execute("DELETE FROM record", []).unwrap();
    drop(db);
    let facts = [Record::KeySet {
        version: 4,
        signed: vec![7],
    }];
    for _ in 0..2 {
        let db = open(&path, &facts).unwrap();
        assert_eq!(
            (version_of(&db).unwrap(), count(&db, "record")),
            (SCHEMA, 1)
        );
        assert_eq!(state(&db).key_set, (4, vec![7]));
    }
    let ledger = ledger::read(folder.path()).unwrap();
    assert_eq!(ledger.entries.len(), 5, "what was ordered before stays");
}

#[test]
fn a_journal_that_cannot_be_brought_up_stays_as_it_was() {
    let (_folder, path) = of_version_1();
    let db = Connection::open(&path).unwrap();
    // Somebody added the column by hand: the step fails in its middle.
    db.execute_batch("ALTER TABLE ledger ADD COLUMN left_out INTEGER")
        .unwrap();
    let failed = open(&path, &[]).unwrap_err().to_string();
    assert!(failed.contains("bring the tables"), "{failed}");
    assert_eq!(version_of(&db).unwrap(), 1);
    assert_eq!(count(&db, "record"), 28);
}

#[test]
fn a_journal_of_a_newer_homingd_is_refused_and_not_a_byte_is_touched() {
    let (_folder, path) = of_version_1();
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    let refused = open(&path, &[]).unwrap_err().to_string();
    assert!(refused.contains("a newer homingd"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_an_earlier_process_left_in_the_log_is_on_the_disk_before_it_is_read() {
    let (_folder, path) = of_version_1();
    let first = open(&path, &[]).unwrap();
    first
        .execute("INSERT INTO record (bytes) SELECT bytes FROM record", [])
        .unwrap();
    let log = path.with_file_name("agent.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    // As after a kill: nobody has closed it.
    let second = open(&path, &[]).unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), 0, "written again");
    assert_eq!(count(&second, "record"), 56);
    drop(first);
}
