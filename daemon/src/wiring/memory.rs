//! The journal over the years: what is compacted, how fast it opens, and a ledger that shows a changed row.

use std::time::Duration;

use homing_policy::record::{Accepted, Pace};
use homing_policy::{Batch, Journal as _, Record, codec};
use homing_protocol::command::Op;
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::receipt::CommandState::*;
use homing_protocol::topic::Channel;

use super::house::*;
use crate::agent::open_state;
use crate::config::Settings;
use crate::journal::path;

fn beacon(phone: &Phone, counter: u64) -> Record {
    Record::Beacon {
        maker: homing_policy::NonceMaker::Agent,
        counter,
        nonce: BeaconNonce([1; 16]),
        boot: phone.brain.boot,
        boottime_ms: counter,
    }
}

fn count(phone: &Phone, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table}");
    phone
        .brain
        .journal
        .database()
        .query_row(&query, [], |row| row.get(0))
        .unwrap()
}

/// Adds beacons to journal and state.
fn add_beacons(phone: &mut Phone, most: u64) {
    let first = phone.brain.state.beacons() + 1;
    let records: Vec<Record> = (first..first + most)
        .map(|counter| beacon(phone, counter))
        .collect();
    let batch = Batch {
        records: &records,
        outgoing: &[],
    };
    phone.brain.journal.commit(batch).unwrap();
    for record in &records {
        phone.brain.state.apply(record);
    }
}

#[test]
fn compaction_changes_no_answer_and_keeps_what_waits() {
    run(async {
        let mut phone = Phone::new().await;
        let (ringing, sealed) = phone.order(ring());
        let (status, _) = phone.order(Op::Status);
        phone.until(|phone| phone.said(status) == [Done]).await;
        add_beacons(&mut phone, 7_000);
        let before = phone.brain.state.clone();
        assert!(count(&phone, "record") > 7_000);
        phone.brain.journal.compact(&before).unwrap();
        assert_eq!(
            count(&phone, "record"),
            i64::try_from(before.facts().len()).unwrap()
        );
        assert_eq!(count(&phone, "receipt"), 2, "the newest of each command");
        let mut phone = phone.restart();
        let mut after = phone.brain.state.clone();
        after.siren = before.siren;
        assert_eq!(after, before);
        phone.publish(Channel::Command, sealed);
        phone.until(|phone| phone.said(ringing).len() >= 2).await;
        // A second look has nothing to do.
        let rows = count(&phone, "record");
        phone.brain.journal.compact(&phone.brain.state).unwrap();
        assert_eq!(count(&phone, "record"), rows);
    });
}

#[test]
fn a_journal_of_a_hundred_thousand_rows_opens_quickly() {
    run(async {
        let mut phone = Phone::new().await;
        add_beacons(&mut phone, 5_000);
        let told = codec::encode(&Record::Told { digest: [1; 32] });
        let rows = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 95000) INSERT INTO record (bytes) SELECT ?1 FROM n";
        phone
            .brain
            .journal
            .database()
            .execute(rows, [told])
            .unwrap();
        phone.brain.state.apply(&Record::Told { digest: [1; 32] });
        let before = phone.brain.state.clone();
        let began = processor_time();
        let phone = phone.restart();
        let took = processor_time() - began;
        assert_eq!(phone.brain.state, before);
        // 06 allows 5 s on a phone.
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

/// Five rows for each of so many orders: five clients take turns, each in a new session after fifty.
fn orders_taken_on(count: u64) -> Vec<Record> {
    let rows = (1..=count).flat_map(|number| {
        let client = ClientId([u8::try_from(number % 5).unwrap(); 16]);
        let session = SessionId((number / 250).to_be_bytes());
        let mut id = CommandId([0; 16]);
        id.0[..8].copy_from_slice(&number.to_be_bytes());
        let receipt = |counter, state| Record::Receipt {
            counter,
            command: id,
            state,
        };
        let seq = number;
        let pace = Pace {
            boot: BootId([9; 16]),
            boottime_ms: number,
            debt_ms: 20_000,
            told: 0,
            copies_ms: 0,
        };
        [
            Record::Paced { client, pace },
            Record::Seen {
                client,
                session,
                seq,
            },
            Record::Accepted(Accepted {
                id,
                client,
                session,
                seq,
                op: Op::Locate { search_s: 60 },
                not_after: None,
                at_beacon: 1,
                at_unix_s: number,
            }),
            receipt(2 * number - 1, Running),
            receipt(2 * number, Done),
        ]
    });
    rows.collect()
}

#[test]
fn after_a_crash_a_journal_of_a_hundred_thousand_rows_of_orders_opens_quickly() {
    run(async {
        let mut phone = Phone::new().await;
        let records = orders_taken_on(20_000);
        let database = phone.brain.journal.database();
        database.execute_batch("BEGIN").unwrap();
        let insert = "INSERT INTO record (bytes) VALUES (?1)";
        let mut statement = database.prepare(insert).unwrap();
        for record in &records {
            statement.execute([codec::encode(record)]).unwrap();
        }
        drop(statement);
        database.execute_batch("COMMIT").unwrap();
        for record in &records {
            phone.brain.state.apply(record);
        }
        // The files as a power cut leaves them: nobody has closed the journal, nor emptied its log.
        let left = tempfile::tempdir().unwrap();
        for ending in ["", "-wal"] {
            let file = format!("{}{ending}", path(&phone.state_dir()).display());
            let name = format!("agent.db{ending}");
            std::fs::copy(file, left.path().join(name)).unwrap();
        }
        let settings = Settings {
            state_dir: left.path().to_owned(),
            ..Settings::default()
        };
        let began = processor_time();
        let (_journal, state, _) = open_state(&settings, &phone.identity, None).unwrap();
        let took = processor_time() - began;
        eprintln!("a journal of {} rows opened in {took:?}", records.len());
        assert_eq!(state, phone.brain.state);
        // 06 allows 5 s on a phone.
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn a_damaged_row_and_a_journal_of_the_future_are_told_in_one_sentence() {
    run(async {
        let phone = Phone::new().await;
        let phone = phone.stop();
        let open = || {
            crate::agent::open_state(&phone.settings, &phone.identity, None)
                .unwrap_err()
                .to_string()
        };
        let path = crate::journal::path(&phone.settings.state_dir);
        let db = rusqlite::Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        let newer = open();
        assert!(newer.contains("newer homingd"), "{newer}");
        db.pragma_update(None, "user_version", -1).unwrap();
        let other = open();
        assert!(other.contains("another homingd"), "{other}");
        db.pragma_update(None, "user_version", 2).unwrap();
        let damaged = [
            codec::encode(&Record::Tombstone {
                client: homing_protocol::id::ClientId([1; 16]),
                ring: CommandId([1; 16]),
            }),
            vec![0],
        ]
        .concat();
        db.execute("INSERT INTO record (bytes) VALUES (?1)", [damaged])
            .unwrap();
        let damaged = open();
        assert!(
            damaged.contains("agent.db") && damaged.contains("damaged"),
            "{damaged}"
        );
    });
}

#[test]
fn the_ledger_shows_every_order_and_the_row_that_somebody_changed() {
    run(async {
        let mut phone = Phone::new().await;
        let (id, _) = phone.order(Op::Status);
        phone.until(|phone| phone.said(id) == [Done]).await;
        let read = |phone: &Phone| crate::ledger::read(&phone.state_dir()).unwrap();
        let ledger = read(&phone);
        assert_eq!(ledger.broken_at, None);
        let events: Vec<_> = ledger
            .entries
            .iter()
            .map(|entry| entry["event"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(events, ["received", "done"]);
        assert_eq!(ledger.entries[0]["order"], "status");
        assert_eq!(ledger.entries[0]["command"], id.to_string());
        let db = phone.brain.journal.database();
        db.execute(
            "UPDATE ledger SET entry = replace(entry, 'status', 'locate') WHERE id = 1",
            [],
        )
        .unwrap();
        assert_eq!(read(&phone).broken_at, Some(0));
        db.execute(
            "UPDATE ledger SET entry = replace(entry, 'locate', 'status') WHERE id = 1",
            [],
        )
        .unwrap();
        assert_eq!(read(&phone).broken_at, None);
        db.execute("DELETE FROM ledger WHERE id = 1", []).unwrap();
        assert_eq!(read(&phone).broken_at, Some(0));
    });
}

#[test]
fn receipts_are_chained_without_a_gap_over_restarts() {
    run(async {
        let mut phone = Phone::new().await;
        for _ in 0..3 {
            let (id, _) = phone.order(Op::Status);
            phone.until(|phone| phone.said(id).contains(&Done)).await;
            phone = phone.restart();
            phone
                .until(|phone| phone.brain.connected == crate::status::Connection::Connected)
                .await;
            phone.settle().await;
        }
        let mut head = [0; 32];
        let mut counter = 0;
        for envelope in phone.published(Channel::Receipt) {
            let verified = homing_protocol::receipt::Receipt::verify(
                &envelope,
                &ADDRESS,
                &phone.identity.agent.public(),
            );
            let (receipt, _, next) = verified.unwrap();
            if receipt.counter == counter + 1 {
                assert_eq!(receipt.previous, head);
                (counter, head) = (receipt.counter, next);
            }
        }
        let beacon = phone.newest_beacon();
        assert_eq!((beacon.receipts, beacon.receipt_chain), (counter, head));
    });
}
