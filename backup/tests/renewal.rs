//! Locks that are renewed while their holder is busy with one long operation. Waits for renewals, never for time to pass.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
mod pass_on;

use forest::Forest;
use homing_backup::archiver::{self, Options, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::lock::{Lock, Sharing};
use homing_backup::store::{Kind, LocalStore, Name, Store, StoreError};
use homing_backup::{Error, Id};
use oracle::PASSWORD;
use std::cell::Cell;
use std::time::{Duration, Instant};

fn locks<S: Store>(store: &S) -> Vec<Id> {
    let mut found = Vec::new();
    store.list(Kind::Lock, &mut |id, _| found.push(id)).unwrap();
    found
}

/// A folder whose packs take until the lock was renewed while each of them was under way.
struct Slow {
    folder: LocalStore,
    packs: Cell<u32>,
}

impl Store for Slow {
    pass_on::pass_on!(folder: prepare, list, size, get, get_range, remove);

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        if matches!(name, Name::File(Kind::Pack, _)) {
            let deadline = Instant::now() + Duration::from_secs(30);
            let before = locks(&self.folder);
            while locks(&self.folder).iter().all(|id| before.contains(id)) {
                assert!(
                    Instant::now() < deadline,
                    "nobody renews the lock meanwhile"
                );
                std::thread::yield_now();
            }
            self.packs.set(self.packs.get() + 1);
        }
        self.folder.put(name, bytes)
    }

    fn beside(&self) -> Option<Box<dyn Store + Send>> {
        self.folder.beside()
    }
}

#[test]
fn a_lock_is_renewed_while_a_single_pack_is_under_way_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Slow {
        folder: LocalStore::new(folder.path()),
        packs: Cell::new(0),
    };
    let ours = forest::repository(slow, PASSWORD);
    let forest = Forest::grow(64);
    let options = Options {
        lock_renewal: Duration::from_millis(20),
        ..forest::options()
    };
    archiver::backup(
        &ours,
        &[forest.path()],
        &options,
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
    // One of data and one of trees at least.
    assert!(ours.store().packs.get() >= 2);
    assert_eq!(
        locks(ours.store()).len(),
        0,
        "of all these locks none stays when the run has ended"
    );
    assert_eq!(ours.snapshots().unwrap().len(), 1);
}

#[test]
fn a_lock_taken_away_is_noticed_by_whoever_renews_it_and_not_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    let mut held = Lock::take(&ours, Sharing::Shared, &SystemClock, None)
        .unwrap()
        .lock;
    for id in locks(ours.store()) {
        ours.store().remove(Name::File(Kind::Lock, id)).unwrap();
    }
    held.renew_every(Duration::from_millis(1));
    let deadline = Instant::now() + Duration::from_secs(30);
    // The holder hears of it at its next look, though by its clock nothing is due.
    while held.refresh(&SystemClock).is_ok() {
        assert!(Instant::now() < deadline, "nobody noticed");
        std::thread::yield_now();
    }
    assert!(matches!(held.confirm(), Err(Error::LockLost)));
    drop(held);
    assert_eq!(
        locks(ours.store()).len(),
        0,
        "what was taken away is not written anew"
    );
}
