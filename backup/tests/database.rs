//! Databases backed up while another process writes them: what is restored is whole, one state, and no older than the backup.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use homing_backup::archiver::{self, Changes, Done, Looked, Options, Reach, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::MemoryStore;
use oracle::PASSWORD;
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Tells the writer, which is this program once more, what to write to.
const WRITER: &str = "HOMING_TEST_DATABASE";
/// Accounts whose sum never changes.
const ACCOUNTS: i64 = 2_000;

/// A writer that is killed when it is dropped.
struct Writing(Child);

impl Writing {
    fn to(database: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--ignored"])
            .env(WRITER, database)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "told by the other tests, as the writer, in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(WRITER) else {
        return;
    };
    let mut database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    // On a slow disk nearly all of its time would pass in commits, which nobody can read beside.
    database.execute_batch("PRAGMA synchronous=OFF").unwrap();
    for round in 0_i64.. {
        let change = database.transaction().unwrap();
        for number in 0..20 {
            let (from, to) = (
                (round * 37 + number * 101) % ACCOUNTS,
                (round * 91 + number * 13) % ACCOUNTS,
            );
            change
                .execute("UPDATE account SET money = money - 1 WHERE id = ?1", [from])
                .unwrap();
            change
                .execute("UPDATE account SET money = money + 1 WHERE id = ?1", [to])
                .unwrap();
        }
        change
            .execute("INSERT INTO log(round) VALUES (?1)", [round])
            .unwrap();
        change
            .execute("UPDATE total SET rounds = rounds + 1", [])
            .unwrap();
        change.commit().unwrap();
    }
}

/// A folder with a database in it, and a repository.
struct Place {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    repository: Repository<MemoryStore>,
}

impl Place {
    fn new(journal: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = MemoryStore::default();
        let place = Self {
            state: tempfile::tempdir().unwrap(),
            repository: Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap(),
            folder,
        };
        let database = Connection::open(place.database()).unwrap();
        database
            .execute_batch(&format!(
                "PRAGMA journal_mode={journal};
                 CREATE TABLE account(id INTEGER PRIMARY KEY, money INTEGER, filling BLOB);
                 CREATE TABLE log(round INTEGER); CREATE TABLE total(rounds INTEGER);
                 INSERT INTO total VALUES (0);
                 WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i+1 < {ACCOUNTS})
                 INSERT INTO account SELECT i, 100, randomblob(400) FROM n;"
            ))
            .unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn database(&self) -> PathBuf {
        self.path().join("accounts.db")
    }

    fn back_up(&self, changes: Option<Changes>) -> Done {
        let options = Options {
            state: Some(self.state.path().into()),
            ..forest::options()
        };
        let folders = [&*self.path()];
        let observer = &mut Unobserved;
        archiver::archive(
            &self.repository,
            &folders,
            changes,
            &options,
            &SystemClock,
            observer,
        )
        .unwrap()
    }

    /// What is beside the database in a snapshot, and the database itself restored.
    fn restored(&self, done: &Done) -> (Vec<String>, tempfile::TempDir, PathBuf) {
        let mut reader = Reader::new(&self.repository).unwrap();
        let tree = forest::subtree(&mut reader, done.snapshot.tree, &self.path());
        let names = reader.tree(&tree).unwrap().into_iter();
        let names = names
            .map(|node| String::from_utf8(node.name).unwrap())
            .collect();
        let target = tempfile::tempdir().unwrap();
        let (all, keep) = (Selection::default(), Conflicts::Keep);
        restore::execute(
            &mut reader,
            done.snapshot.tree,
            &all,
            target.path(),
            keep,
            &mut Unwatched,
        )
        .unwrap();
        let database = target
            .path()
            .join(self.database().strip_prefix("/").unwrap());
        (names, target, database)
    }
}

/// The database is whole, its rows fit each other; returns how many rounds are in it.
fn rounds(database: &Path) -> i64 {
    let database = Connection::open(database).unwrap();
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    let text: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(text, "ok");
    let number = |query: &str| {
        database
            .query_row(query, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(number("SELECT sum(money) FROM account"), 100 * ACCOUNTS);
    assert_eq!(
        number("SELECT count(*) FROM log"),
        number("SELECT rounds FROM total")
    );
    number("SELECT rounds FROM total")
}

fn seen(database: &Path) -> i64 {
    let database = Connection::open(database).unwrap();
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    database
        .query_row("SELECT rounds FROM total", [], |row| row.get(0))
        .unwrap()
}

/// Waits until the writer is at work beyond that round.
fn wait_beyond(database: &Path, round: i64) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = seen(database);
        if now > round {
            return now;
        }
        assert!(Instant::now() < deadline, "no writer after a minute");
        std::thread::yield_now();
    }
}

fn is_right_every_time_under_a_busy_writer(journal: &str) {
    let place = Place::new(journal);
    let _writing = Writing::to(&place.database());
    let mut last = 0;
    for round in 0..6 {
        let before = wait_beyond(&place.database(), last);
        let told = (round % 2 == 1).then(|| {
            // What a tracker sees of a database in this mode is its log.
            let mut changes = Changes::since(None);
            changes.add(place.path().join("accounts.db-wal"), Reach::Entry);
            changes.add(place.path().join("accounts.db-journal"), Reach::Entry);
            changes
        });
        let expected = if told.is_some() {
            Looked::AtChanges
        } else {
            Looked::AtEverything
        };
        let done = place.back_up(told);
        let summary = done.snapshot.summary.clone().unwrap();
        assert_eq!(
            (summary.errors, done.looked),
            (0, expected),
            "{:?}",
            summary.unreadable
        );
        let (names, _target, database) = place.restored(&done);
        assert_eq!(names, ["accounts.db"]);
        last = rounds(&database);
        assert!(last >= before, "{last} of {before} rounds");
    }
}

#[test]
fn a_database_with_a_write_ahead_log_is_right_every_time_under_a_busy_writer() {
    is_right_every_time_under_a_busy_writer("wal");
}

#[test]
fn a_database_with_a_rollback_journal_is_right_every_time_under_a_busy_writer() {
    is_right_every_time_under_a_busy_writer("delete");
}

#[test]
fn what_a_program_that_died_left_in_its_log_is_in_the_backup() {
    let place = Place::new("wal");
    let writing = Writing::to(&place.database());
    let before = wait_beyond(&place.database(), 0);
    drop(writing);
    assert!(
        place
            .path()
            .join("accounts.db-wal")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
    let done = place.back_up(None);
    assert_eq!(done.snapshot.summary.clone().unwrap().errors, 0);
    let (names, _target, database) = place.restored(&done);
    assert_eq!(names, ["accounts.db"]);
    assert!(rounds(&database) >= before);
    // And the original was only read.
    assert!(
        place
            .path()
            .join("accounts.db-wal")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
}

#[test]
fn a_database_that_stays_locked_is_stored_as_it_lies_and_called_that() {
    let place = Place::new("delete");
    let locking = Connection::open(place.database()).unwrap();
    locking
        .execute_batch("BEGIN EXCLUSIVE; UPDATE total SET rounds = 1")
        .unwrap();
    let done = place.back_up(None);
    let summary = done.snapshot.summary.clone().unwrap();
    assert_eq!(summary.errors, 1);
    assert!(
        summary.unreadable[0].contains("keeps it locked"),
        "{:?}",
        summary.unreadable
    );
    let (names, _target, _) = place.restored(&done);
    assert_eq!(names, ["accounts.db", "accounts.db-journal"]);
    locking.execute_batch("COMMIT").unwrap();
    drop(locking);
    // It is tried again although nobody tells of it.
    let done = place.back_up(Some(Changes::since(None)));
    let summary = done.snapshot.summary.clone().unwrap();
    assert_eq!((done.looked, summary.errors), (Looked::AtChanges, 0));
    let (names, _target, database) = place.restored(&done);
    assert_eq!(
        (names, seen(&database)),
        (vec!["accounts.db".to_owned()], 1)
    );
}

#[test]
fn a_transaction_that_died_half_way_is_kept_with_the_journal_that_undoes_it() {
    let place = Place::new("delete");
    let journal = place.path().join("accounts.db-journal");
    // As a power cut leaves it: both files in the middle of a transaction that is larger than SQLite's memory.
    let (half, undo) = {
        let dying = Connection::open(place.database()).unwrap();
        dying
            .execute_batch(
                "PRAGMA cache_size=1; BEGIN; UPDATE account SET money = 1, filling = randomblob(400)",
            )
            .unwrap();
        let read = |path: &Path| std::fs::read(path).unwrap();
        (read(&place.database()), read(&journal))
    };
    std::fs::write(place.database(), &half).unwrap();
    std::fs::write(&journal, &undo).unwrap();
    let done = place.back_up(None);
    // To undo it where it lies is not for us, so the two stay side by side, and that is told.
    assert_eq!(done.snapshot.summary.clone().unwrap().errors, 1);
    assert!(std::fs::read(place.database()).unwrap() == half);
    assert!(std::fs::read(&journal).unwrap() == undo);
    let (names, _target, database) = place.restored(&done);
    assert_eq!(names, ["accounts.db", "accounts.db-journal"]);
    assert_eq!(rounds(&database), 0);
    assert!(
        !database.with_file_name("accounts.db-journal").exists(),
        "it was needed"
    );
}

#[test]
fn an_encrypted_database_is_kept_byte_by_byte_with_its_log() {
    let place = Place::new("delete");
    // Nothing in it says what it is (SQLCipher's files are noise from the first byte on).
    let noise = |seed: u32| -> Vec<u8> {
        let numbers = (0..75_000_u32).map(|at| at.wrapping_mul(2_654_435_761) ^ seed);
        numbers
            .flat_map(|number| number.rotate_left(13).to_le_bytes())
            .collect()
    };
    std::fs::write(place.database(), noise(1)).unwrap();
    std::fs::write(place.path().join("accounts.db-wal"), noise(2)).unwrap();
    let done = place.back_up(None);
    assert_eq!(done.snapshot.summary.clone().unwrap().errors, 0);
    let (names, _target, database) = place.restored(&done);
    assert_eq!(names, ["accounts.db", "accounts.db-wal"]);
    assert!(std::fs::read(&database).unwrap() == noise(1));
    assert!(std::fs::read(database.with_file_name("accounts.db-wal")).unwrap() == noise(2));
}

#[test]
fn a_damaged_database_is_kept_byte_by_byte_with_all_that_lies_beside_it() {
    let place = Place::new("delete");
    let mut bytes = std::fs::read(place.database()).unwrap();
    bytes[16..100].fill(0xee);
    std::fs::write(place.database(), &bytes).unwrap();
    std::fs::write(place.path().join("accounts.db-wal"), "a log").unwrap();
    let done = place.back_up(None);
    assert_eq!(done.snapshot.summary.clone().unwrap().errors, 0);
    let (names, _target, database) = place.restored(&done);
    assert_eq!(names, ["accounts.db", "accounts.db-wal"]);
    assert_eq!(std::fs::read(database).unwrap(), bytes);
}

#[test]
fn root_copies_a_database_with_its_owners_rights_and_no_others() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become somebody else");
        return;
    }
    let place = Place::new("wal");
    let open = Connection::open(place.database()).unwrap();
    open.execute("UPDATE total SET rounds = 0", []).unwrap();
    let own = |name: &str, uid| {
        std::os::unix::fs::chown(place.path().join(name), Some(uid), Some(uid)).unwrap();
    };
    let names = ["", "accounts.db", "accounts.db-wal", "accounts.db-shm"];
    names.iter().for_each(|name| own(name, 12_345));
    let done = place.back_up(None);
    let summary = done.snapshot.summary.clone().unwrap();
    assert_eq!(summary.errors, 0, "{:?}", summary.unreadable);
    // A log that is not the owner's is read by nobody on the owner's behalf.
    own("accounts.db-wal", 0);
    let log = place.path().join("accounts.db-wal");
    std::fs::set_permissions(log, std::fs::Permissions::from_mode(0o600)).unwrap();
    let summary = place.back_up(None).snapshot.summary.unwrap();
    assert_eq!(summary.errors, 1);
    assert!(
        summary.unreadable[0].contains("database in use"),
        "{:?}",
        summary.unreadable
    );
    assert_eq!(rustix::process::geteuid().as_raw(), 0);
}
