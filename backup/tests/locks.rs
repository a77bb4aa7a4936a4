//! Who is at work: locks of the living are honoured, those of the dead go, and no clock of ours decides. Backs up little.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use forest::Forest;
use homing_backup::archiver::{self, Observer, Problem, Progress, Unobserved};
use homing_backup::clock::{Clock, FixedClock, SystemClock};
use homing_backup::lock::{self, Lock, Sharing, Which};
use homing_backup::os::identity::hostname;
use homing_backup::repository::Repository;
use homing_backup::store::{Fault, Kind, LocalStore, MemoryStore, Name, Store};
use homing_backup::{Error, Id, Timestamp};
use oracle::{PASSWORD, Restic};
use std::cell::Cell;

const NOON: i64 = 1_790_000_000;
const MINUTE: i64 = 60;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 0)
}

/// A repository in a store whose own clock says noon.
fn repository() -> (MemoryStore, Repository<MemoryStore>) {
    let store = MemoryStore::default();
    store.set_clock(at(NOON));
    let ours = forest::repository(store.clone(), PASSWORD);
    (store, ours)
}

/// The lock of a program that says no more than restic does.
fn foreign(ours: &Repository<MemoryStore>, host: &str, pid: u32, exclusive: bool) -> Id {
    let json = format!(
        r#"{{"time":"2020-01-01T00:00:00Z","exclusive":{exclusive},"hostname":"{host}","username":"u","pid":{pid}}}"#
    );
    ours.save_file(Kind::Lock, json.as_bytes()).unwrap()
}

fn locks<S: Store>(repository: &Repository<S>) -> usize {
    repository.list(Kind::Lock).unwrap().len()
}

fn take<'r>(
    ours: &'r Repository<MemoryStore>,
    sharing: Sharing,
    clock: &dyn Clock,
) -> Result<lock::Taken<'r, MemoryStore>, Error> {
    Lock::take(ours, sharing, clock, None)
}

#[test]
fn a_foreign_lock_holds_until_it_is_half_an_hour_old_by_the_stores_clock_whatever_ours_says() {
    // Process numbers end below 2^22: here none of these is alive. A phone of our name may still be at work.
    for (host, limit) in [("elsewhere".to_owned(), 30), (hostname(), 10)] {
        for clock in [0, NOON, NOON + 50 * 365 * 86_400].map(|now| FixedClock(at(now))) {
            let (store, ours) = repository();
            foreign(&ours, &host, 4_194_304, true);
            store.set_clock(at(NOON + limit * MINUTE - 1));
            let refused = take(&ours, Sharing::Shared, &clock).unwrap_err();
            assert!(matches!(refused, Error::Locked { .. }), "{refused}");
            assert_eq!(locks(&ours), 1, "our own attempt leaves nothing");
            store.set_clock(at(NOON + limit * MINUTE));
            let taken = take(&ours, Sharing::Exclusive, &clock).unwrap();
            assert_eq!(taken.abandoned, 1);
            taken.lock.release().unwrap();
            assert_eq!(locks(&ours), 0);
        }
    }
}

#[test]
fn a_lock_of_this_process_is_never_taken_for_abandoned_however_old_it_is() {
    let (store, ours) = repository();
    let held = take(&ours, Sharing::Shared, &SystemClock).unwrap();
    store.set_clock(at(NOON + 365 * 86_400));
    let refused = take(&ours, Sharing::Exclusive, &SystemClock).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    let beside = take(&ours, Sharing::Shared, &SystemClock).unwrap();
    assert_eq!((beside.abandoned, locks(&ours)), (0, 2));
    drop((held, beside));
    assert_eq!(locks(&ours), 0, "a lock that is dropped is given back");
}

#[test]
fn a_process_number_that_another_process_has_by_now_protects_nobody() {
    let (_, ours) = repository();
    let mut held = take(&ours, Sharing::Exclusive, &SystemClock).unwrap().lock;
    held.leave();
    drop(held);
    // The same lock, but whoever wrote it began a moment before this process, which has its number now.
    let (id, _) = ours.list(Kind::Lock).unwrap()[0];
    let mut json: serde_json::Value =
        serde_json::from_slice(&ours.load_file(Kind::Lock, id).unwrap()).unwrap();
    assert_eq!(json["pid"], std::process::id());
    let started = json["homing"]["started"].as_u64().unwrap();
    json["homing"]["started"] = (started - 1).into();
    ours.store().remove(Name::File(Kind::Lock, id)).unwrap();
    ours.save_file(Kind::Lock, json.to_string().as_bytes())
        .unwrap();
    assert_eq!(
        take(&ours, Sharing::Exclusive, &SystemClock)
            .unwrap()
            .abandoned,
        1
    );
}

#[test]
fn a_lock_that_cannot_be_read_is_named_and_blocks_for_half_an_hour_at_most() {
    for content in [&b"no lock at all"[..], b"\x02"] {
        let (store, ours) = repository();
        let name = Id::of(content);
        store.put(Name::File(Kind::Lock, name), content).unwrap();
        let refused = take(&ours, Sharing::Shared, &SystemClock).unwrap_err();
        assert!(
            refused.to_string().contains(&name.to_string()),
            "which lock: {refused}"
        );
        assert_eq!(locks(&ours), 1);
        store.set_clock(at(NOON + 30 * MINUTE));
        take(&ours, Sharing::Shared, &SystemClock).unwrap();
        assert_eq!(locks(&ours), 0);
    }
    // An upload that was cut off says nothing at all, and blocks nobody.
    let (store, ours) = repository();
    store.put(Name::File(Kind::Lock, Id::of(b"")), b"").unwrap();
    take(&ours, Sharing::Exclusive, &SystemClock).unwrap();
}

#[test]
fn a_person_removes_the_locks_of_the_dead_or_all() {
    let (store, ours) = repository();
    foreign(&ours, "elsewhere", 1, true);
    let damaged = Id::of(b"damaged");
    store
        .put(Name::File(Kind::Lock, damaged), b"damaged")
        .unwrap();
    let done = lock::unlock(&ours, Which::Abandoned, &SystemClock).unwrap();
    assert_eq!((done.removed.len(), done.left.len()), (0, 2), "{done:?}");
    store.set_clock(at(NOON + 31 * MINUTE));
    foreign(&ours, "there", 2, true);
    let done = lock::unlock(&ours, Which::Abandoned, &SystemClock).unwrap();
    assert_eq!((done.removed.len(), done.left.len()), (2, 1), "{done:?}");
    assert!(done.left[0].contains("there"));
    let done = lock::unlock(&ours, Which::All, &SystemClock).unwrap();
    assert_eq!((done.removed.len(), locks(&ours)), (1, 0));
}

/// A clock that goes on by some seconds with every look at it.
struct Hurrying {
    now: Cell<i64>,
    step: i64,
}

impl Clock for Hurrying {
    fn now(&self) -> Timestamp {
        self.now.set(self.now.get() + self.step);
        at(self.now.get())
    }
}

/// Looks at the locks whenever the run tells how far it is.
struct Looking<'r> {
    ours: &'r Repository<MemoryStore>,
    seen: Vec<Id>,
    most: usize,
}

impl Observer for Looking<'_> {
    fn progress(&mut self, _: &Progress) -> bool {
        let there = self.ours.list(Kind::Lock).unwrap();
        assert!(!there.is_empty(), "the run holds no lock");
        self.most = self.most.max(there.len());
        for (id, _) in there {
            if !self.seen.contains(&id) {
                self.seen.push(id);
            }
        }
        false
    }

    fn problem(&mut self, problem: &Problem) {
        panic!("{problem}");
    }
}

#[test]
fn a_run_that_takes_hours_renews_its_lock_even_where_nothing_is_stored() {
    let (_, ours) = repository();
    let forest = Forest::grow(61);
    let run = |observer: &mut dyn Observer| {
        let clock = Hurrying {
            now: Cell::new(SystemClock.now().seconds),
            step: 2 * MINUTE,
        };
        archiver::backup(
            &ours,
            &[forest.path()],
            &forest::options(),
            &clock,
            observer,
        )
        .unwrap();
    };
    run(&mut Unobserved);
    let mut looking = Looking {
        ours: &ours,
        seen: Vec::new(),
        most: 0,
    };
    run(&mut looking);
    assert!(looking.seen.len() > 5, "{} locks", looking.seen.len());
    assert_eq!((looking.most, locks(&ours)), (1, 0));
}

/// Removes the run's lock once, as somebody does who takes it for dead.
struct Robber<'r>(&'r Repository<MemoryStore>, Cell<bool>);

impl Observer for Robber<'_> {
    fn progress(&mut self, _: &Progress) -> bool {
        if !self.1.replace(true) {
            for (id, _) in self.0.list(Kind::Lock).unwrap() {
                self.0.store().remove(Name::File(Kind::Lock, id)).unwrap();
            }
        }
        false
    }

    fn problem(&mut self, problem: &Problem) {
        panic!("{problem}");
    }
}

#[test]
fn a_run_whose_lock_was_taken_away_writes_neither_index_nor_snapshot() {
    let (_, ours) = repository();
    let forest = Forest::grow(62);
    let lost = archiver::backup(
        &ours,
        &[forest.path()],
        &forest::options(),
        &SystemClock,
        &mut Robber(&ours, Cell::new(false)),
    )
    .unwrap_err();
    assert!(matches!(lost, Error::LockLost), "{lost}");
    for kind in [Kind::Index, Kind::Snapshot, Kind::Lock] {
        assert_eq!(ours.list(kind).unwrap(), [], "{kind:?}");
    }
}

#[test]
fn a_run_that_ends_early_for_any_reason_gives_its_lock_back() {
    let (store, ours) = repository();
    let forest = Forest::grow(63);
    let run = || {
        archiver::backup(
            &ours,
            &[forest.path()],
            &forest::options(),
            &SystemClock,
            &mut Unobserved,
        )
    };
    run().unwrap();
    // What every run reads after it has taken its lock.
    for kind in [Kind::Index, Kind::Snapshot] {
        let (id, _) = ours.list(kind).unwrap()[0];
        let name = Name::File(kind, id);
        let whole = store.get(name).unwrap();
        store.tamper(name, |mut bytes| {
            bytes[20] ^= 1;
            Some(bytes)
        });
        run().unwrap_err();
        assert_eq!(locks(&ours), 0, "{kind:?}");
        store.tamper(name, |_| Some(whole));
    }
    for sharing in [Sharing::Shared, Sharing::Exclusive] {
        let held = take(&ours, Sharing::Exclusive, &SystemClock).unwrap();
        take(&ours, sharing, &SystemClock).unwrap_err();
        assert_eq!(locks(&ours), 1, "that of the other");
        drop(held);
    }
    run().unwrap();
}

#[test]
fn a_dead_process_known_by_its_state_file_leaves_no_lock_behind() {
    let (_, ours) = repository();
    foreign(&ours, &hostname(), 77, true);
    let taken = Lock::take(&ours, Sharing::Exclusive, &SystemClock, Some(77)).unwrap();
    assert_eq!(taken.abandoned, 1);
}

#[test]
fn restic_honours_our_locks_and_we_honour_those_of_restic() {
    let folder = tempfile::tempdir().unwrap();
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    let held = Lock::take(&ours, Sharing::Exclusive, &SystemClock, None).unwrap();
    let refused = restic.try_run(&["snapshots"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("locked"),
        "{said}"
    );
    held.lock.release().unwrap();
    let held = Lock::take(&ours, Sharing::Shared, &SystemClock, None).unwrap();
    restic.run(&["snapshots"]);
    assert!(!restic.try_run(&["prune"]).status.success());
    held.lock.release().unwrap();
    restic.run(&["prune"]);
}

#[test]
fn of_two_who_make_one_repository_at_once_one_succeeds_and_the_others_key_harms_nothing() {
    use std::sync::{Arc, Barrier};
    for round in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let barrier = Arc::new(Barrier::new(3));
        let makers: Vec<_> = (0..3)
            .map(|_| {
                let (barrier, path) = (Arc::clone(&barrier), folder.path().to_path_buf());
                std::thread::spawn(move || {
                    let store = LocalStore::new(path);
                    store.prepare().unwrap();
                    barrier.wait();
                    Repository::create(store, PASSWORD.as_bytes(), &forest::maker())
                        .map(|made| made.config().id)
                })
            })
            .collect();
        let made: Vec<_> = makers
            .into_iter()
            .map(|maker| maker.join().unwrap())
            .collect();
        let winners: Vec<Id> = made
            .iter()
            .filter_map(|made| made.as_ref().ok())
            .copied()
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {made:?}");
        let opened = Repository::open(LocalStore::new(folder.path()), PASSWORD.as_bytes()).unwrap();
        assert_eq!(opened.config().id, winners[0]);
        assert_eq!(opened.list(Kind::Key).unwrap().len(), 1, "round {round}");
    }
}

#[test]
fn the_key_of_a_maker_who_died_too_late_does_not_hide_the_one_that_fits() {
    let store = MemoryStore::default();
    forest::repository(store.clone(), PASSWORD);
    // Four keys that open nothing: whichever is tried first, the right one is found.
    for _ in 0..4 {
        let other = MemoryStore::default();
        forest::repository(other.clone(), PASSWORD);
        for name in other.names() {
            if matches!(name, Name::File(Kind::Key, _)) {
                store.put(name, &other.get(name).unwrap()).unwrap();
            }
        }
    }
    Repository::open(store, PASSWORD.as_bytes()).unwrap();
}

#[test]
fn a_second_maker_who_looked_too_early_is_told_and_takes_its_key_away() {
    let (first, second) = (MemoryStore::default(), MemoryStore::default());
    let made = forest::repository(first.clone(), PASSWORD);
    drop(made);
    // The second one's look came before the config, its writing after it.
    second.inject(Fault::None);
    let config = first.get(Name::Config).unwrap();
    second.appear_later(Name::Config, config);
    let late = Repository::create(second.clone(), PASSWORD.as_bytes(), &forest::maker());
    assert!(matches!(late, Err(Error::AlreadyARepository)));
    assert_eq!(second.names(), [Name::Config]);
}
