//! Forgetting and pruning: what snapshots need stays, what nobody needs goes in its time, and restic is content after each step.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use forest::Forest;
use homing_backup::archiver::{self, Done, Options, Unobserved};
use homing_backup::clock::{Clock, FixedClock, SystemClock, Trust};
use homing_backup::prune::{self, Pruned, Repack};
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::retention::{self, Deed, Keep};
use homing_backup::store::{Fault, Kind, LocalStore, MemoryStore, Name, Store};
use homing_backup::verify::{self, Depth};
use homing_backup::{Error, Timestamp};
use oracle::{PASSWORD, Restic};

const DAY: i64 = 86_400;

fn back_up<S: Store>(repository: &Repository<S>, forest: &Forest) -> Done {
    let options = Options {
        pack_bytes: 1 << 20,
        ..forest::options()
    };
    archiver::backup(
        repository,
        &[forest.path()],
        &options,
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap()
}

/// A clock so many days ahead.
fn in_days(days: i64) -> FixedClock {
    let now = SystemClock.now();
    FixedClock(Timestamp::new(now.seconds + days * DAY, 0))
}

/// The days pass only here, not for the store.
fn prune<S: Store>(repository: &Repository<S>, repack: Repack, days: i64) -> Result<Pruned, Error> {
    let options = prune::Options {
        repack,
        trust: Trust::Believe,
        ..prune::Options::default()
    };
    prune::prune(repository, &options, &in_days(days), &mut || false)
}

fn forget_all_but_the_newest<S: Store>(repository: &Repository<S>) -> usize {
    let keep = Keep {
        last: 1,
        ..Keep::default()
    };
    let done = retention::forget(repository, &keep, Deed::Do, &SystemClock).unwrap();
    done.removed.len()
}

fn assert_whole<S: Store>(repository: &Repository<S>, what: &str) {
    let found = verify::verify(repository, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!(found.damage, Vec::<String>::new(), "{what}");
}

fn bytes_of_packs<S: Store>(repository: &Repository<S>) -> u64 {
    let packs = repository.list(Kind::Pack).unwrap();
    packs.iter().map(|(_, size)| size).sum()
}

#[test]
fn what_no_snapshot_needs_is_marked_and_after_a_day_removed_and_restic_is_content() {
    let folder = tempfile::tempdir().unwrap();
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    let restic = Restic::on(folder.path());
    let check = || restic.iter().for_each(Restic::check);
    let mut forest = Forest::grow(41);
    forest.add_large(6 << 20);
    back_up(&ours, &forest);
    std::fs::remove_file(forest.path().join("large")).unwrap();
    forest.change();
    back_up(&ours, &forest);
    assert_eq!(forget_all_but_the_newest(&ours), 1);
    let before = bytes_of_packs(&ours);
    let marked = prune(&ours, Repack::Above(20), 0).unwrap();
    assert!(
        marked.marked_packs > 0 && marked.removed_packs == 0,
        "{marked:?}"
    );
    assert!(
        bytes_of_packs(&ours) >= before,
        "nothing is removed at once"
    );
    assert_whole(&ours, "marked");
    check();
    let waiting = prune(&ours, Repack::Above(20), 0).unwrap();
    assert!(waiting.waiting_packs > 0 && waiting.removed_packs == 0);
    let removed = prune(&ours, Repack::Above(20), 2).unwrap();
    assert!(removed.removed_packs > 0, "{removed:?}");
    assert!(bytes_of_packs(&ours) + (5 << 20) < before);
    assert_whole(&ours, "removed");
    check();
    let again = prune(&ours, Repack::Above(20), 4).unwrap();
    assert_eq!((again.marked_packs, again.removed_packs), (0, 0));
    let (_, newest) = ours.snapshots().unwrap().pop().unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(&ours).unwrap();
    restore::execute(
        &mut reader,
        newest.tree,
        &Selection::default(),
        target.path(),
        Conflicts::Keep,
        &mut Unwatched,
    )
    .unwrap();
    let inside = target.path().join(forest.path().strip_prefix("/").unwrap());
    forest::assert_same(forest.path(), &inside);
}

#[test]
fn a_marked_pack_that_is_needed_again_is_taken_back() {
    let store = MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let forest = Forest::grow(42);
    let done = back_up(&ours, &forest);
    let name = Name::File(Kind::Snapshot, done.id);
    let snapshot = store.get(name).unwrap();
    store.remove(name).unwrap();
    let marked = prune(&ours, Repack::Never, 0).unwrap();
    assert!(marked.marked_packs > 0 && marked.kept_bytes == 0);
    // A client that knows nothing of marks held on to its blobs.
    store.put(name, &snapshot).unwrap();
    let back = prune(&ours, Repack::Never, 2).unwrap();
    assert_eq!(back.recovered_packs, marked.marked_packs);
    assert_eq!(back.removed_packs, 0);
    assert_whole(&ours, "taken back");
}

#[test]
fn a_prune_that_dies_at_any_change_loses_nothing_and_the_next_ends_it() {
    let empty = MemoryStore::default();
    let ours = forest::repository(empty.clone(), PASSWORD);
    let mut forest = Forest::grow(43);
    forest.add_large(3 << 20);
    back_up(&ours, &forest);
    std::fs::remove_file(forest.path().join("large")).unwrap();
    forest.change();
    back_up(&ours, &forest);
    forget_all_but_the_newest(&ours);
    let days = [0, 2];
    for phase in 0..2 {
        for at in 0..40 {
            let store = empty.fork();
            let ours = Repository::open(store.clone(), PASSWORD.as_bytes()).unwrap();
            for earlier in &days[..phase] {
                prune(&ours, Repack::Above(5), *earlier).unwrap();
            }
            store.inject(Fault::CrashAt(at));
            let died = prune(&ours, Repack::Above(5), days[phase]).is_err();
            store.inject(Fault::None);
            assert_whole(&ours, "after a death");
            for (id, _) in ours.list(Kind::Lock).unwrap() {
                store.remove(Name::File(Kind::Lock, id)).unwrap();
            }
            for day in [3, 6, 9] {
                prune(&ours, Repack::Above(5), day).unwrap();
            }
            assert_whole(&ours, "after the next prunes");
            let found = verify::verify(&ours, Depth::Structure, &mut |_, _| false).unwrap();
            assert_eq!(found.unindexed_packs, 0);
            if !died {
                assert!(at > 2, "it had no changes to make");
                break;
            }
        }
    }
}

#[test]
fn a_repository_that_lacks_a_needed_pack_is_not_pruned() {
    let store = MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let forest = Forest::grow(44);
    forest.add_large(3 << 20);
    back_up(&ours, &forest);
    let (pack, _) = ours.list(Kind::Pack).unwrap()[0];
    store.remove(Name::File(Kind::Pack, pack)).unwrap();
    let before = store.names().len();
    prune(&ours, Repack::Above(20), 9).unwrap_err();
    assert_eq!(store.names().len(), before);
}

#[test]
fn a_lost_index_is_rebuilt_from_the_packs() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let ours = forest::repository(store.clone(), PASSWORD);
    let forest = Forest::grow(45);
    back_up(&ours, &forest);
    for (id, _) in ours.list(Kind::Index).unwrap() {
        store.remove(Name::File(Kind::Index, id)).unwrap();
    }
    assert!(Reader::new(&ours).unwrap().index().is_empty());
    let rebuilt = prune::rebuild_index(&ours, &SystemClock, &mut || false).unwrap();
    assert!(rebuilt.packs > 0 && rebuilt.damaged.is_empty());
    assert_whole(&ours, "rebuilt");
    if let Some(restic) = Restic::on(folder.path()) {
        restic.check();
    }
}

#[test]
fn restic_forgets_and_prunes_in_our_repository_and_we_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    let mut forest = Forest::grow(46);
    back_up(&ours, &forest);
    forest.change();
    back_up(&ours, &forest);
    restic.run(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    assert_whole(&ours, "pruned by restic");
    forest.change();
    back_up(&ours, &forest);
    restic.run(&["rebuild-index"]);
    restic.check();
    assert_whole(&ours, "indexed by restic");
}

fn prune_at(ours: &Repository<MemoryStore>, now: Timestamp) -> Result<Pruned, Error> {
    let clock = FixedClock(now);
    prune::prune(ours, &prune::Options::default(), &clock, &mut || false)
}

#[test]
fn a_clock_that_the_repository_contradicts_marks_and_removes_nothing() {
    let store = MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let forest = Forest::grow(47);
    let done = back_up(&ours, &forest);
    let name = Name::File(Kind::Snapshot, done.id);
    let snapshot = store.get(name).unwrap();
    let now = SystemClock.now().seconds;
    // Nobody needs anything, but for one small snapshot of today.
    let empty = tempfile::tempdir().unwrap();
    archiver::backup(
        &ours,
        &[&empty.path().canonicalize().unwrap()],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
    store.remove(name).unwrap();
    let packs = ours.list(Kind::Pack).unwrap();
    for wrong in [0, now - 30 * DAY, now + 400 * DAY, now + 50 * 365 * DAY] {
        let before = store.names();
        let refused = prune_at(&ours, Timestamp::new(wrong, 0)).unwrap_err();
        assert!(matches!(refused, Error::ClockDoubtful { .. }), "{refused}");
        assert_eq!(store.names(), before, "at {wrong}");
    }
    // Marked by a right clock: one that is years ahead still removes nothing, and what is needed again is taken back.
    let marked = prune_at(&ours, Timestamp::new(now, 0)).unwrap();
    assert!(marked.marked_packs > 0);
    for wrong in [0, now + 50 * 365 * DAY] {
        prune_at(&ours, Timestamp::new(wrong, 0)).unwrap_err();
    }
    store.put(name, &snapshot).unwrap();
    assert_eq!(
        prune_at(&ours, Timestamp::new(now + 2 * DAY, 0))
            .unwrap()
            .removed_packs,
        0
    );
    let there = ours.list(Kind::Pack).unwrap();
    assert!(packs.iter().all(|pack| there.contains(pack)));
    assert_whole(&ours, "after clocks that were wrong");
}

#[test]
fn a_clock_that_the_store_contradicts_removes_nothing() {
    let store = MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let now = SystemClock.now().seconds;
    let forest = Forest::grow(48);
    let done = back_up(&ours, &forest);
    back_up(&ours, &Forest::grow(49));
    store.remove(Name::File(Kind::Snapshot, done.id)).unwrap();
    store.set_clock(Timestamp::new(now, 0));
    // Three days ahead: within what the repository itself could tell.
    let marked = prune_at(&ours, Timestamp::new(now, 0)).unwrap();
    assert!(marked.marked_packs + marked.repacked_packs > 0);
    let refused = prune_at(&ours, Timestamp::new(now + 3 * DAY, 0)).unwrap_err();
    assert!(matches!(refused, Error::ClockDoubtful { .. }), "{refused}");
    store.set_clock(Timestamp::new(now + 3 * DAY, 0));
    assert!(
        prune_at(&ours, Timestamp::new(now + 3 * DAY, 0))
            .unwrap()
            .removed_packs
            > 0
    );
}

#[test]
fn a_clock_that_was_ahead_while_it_backed_up_and_still_is_makes_no_true_snapshot_old() {
    let store = MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let forest = Forest::grow(54);
    let true_one = back_up(&ours, &forest);
    store.set_clock(SystemClock.now());
    let ahead = in_days(20_000);
    archiver::backup(
        &ours,
        &[forest.path()],
        &forest::options(),
        &ahead,
        &mut Unobserved,
    )
    .unwrap();
    let keep = Keep {
        within_seconds: Some(30 * DAY),
        last: 1,
    };
    let done = retention::forget(&ours, &keep, Deed::Do, &ahead).unwrap();
    assert_eq!(done.removed.len(), 0);
    assert!(done.kept.iter().any(|(id, _)| *id == true_one.id));
}

#[test]
fn marks_that_a_wrong_clock_made_count_from_now() {
    for wrong in [0, 100 * 365 * DAY] {
        let store = MemoryStore::default();
        let ours = forest::repository(store.clone(), PASSWORD);
        let done = back_up(&ours, &Forest::grow(50));
        store.remove(Name::File(Kind::Snapshot, done.id)).unwrap();
        let believing = |seconds: i64| {
            let options = prune::Options {
                trust: Trust::Believe,
                ..prune::Options::default()
            };
            let clock = FixedClock(Timestamp::new(seconds, 0));
            prune::prune(&ours, &options, &clock, &mut || false).unwrap()
        };
        let marked = believing(wrong).marked_packs;
        let now = SystemClock.now().seconds;
        assert_eq!(believing(now).removed_packs, 0, "marked at {wrong}");
        assert_eq!(believing(now + DAY / 2).removed_packs, 0);
        assert_eq!(believing(now + DAY).removed_packs, marked);
    }
}

#[test]
fn what_another_machine_is_just_uploading_is_marked_at_most_and_taken_back() {
    let store = MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    back_up(&ours, &Forest::grow(51));
    // A run of another machine without a lock: its packs are there, its index not yet.
    let forest = Forest::grow(52);
    let before = store.fork();
    let done = back_up(&ours, &forest);
    let new: Vec<Name> = store
        .names()
        .into_iter()
        .filter(|name| before.get(*name).is_err() && !matches!(name, Name::File(Kind::Pack, _)))
        .collect();
    let mut held = Vec::new();
    for name in new {
        held.push((name, store.get(name).unwrap()));
        store.remove(name).unwrap();
    }
    let marked = prune(&ours, Repack::Above(20), 0).unwrap();
    assert!(marked.marked_packs > 0 && marked.removed_packs == 0);
    for (name, bytes) in held {
        store.put(name, &bytes).unwrap();
    }
    assert_eq!(prune(&ours, Repack::Above(20), 2).unwrap().removed_packs, 0);
    assert!(
        ours.snapshots()
            .unwrap()
            .iter()
            .any(|(id, _)| *id == done.id)
    );
    assert_whole(&ours, "with the other machine's snapshot");
}

#[test]
fn remnants_of_uploads_that_were_cut_off_are_removed_by_who_is_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    back_up(&ours, &Forest::grow(53));
    let (pack, _) = ours.list(Kind::Pack).unwrap()[0];
    let hex = pack.to_string();
    let remnant = folder
        .path()
        .join(format!("data/{}/{hex}-tmp-1f", &hex[..2]));
    let own = folder.path().join("data/notes-tmp-1.txt");
    std::fs::write(&remnant, "half a pack").unwrap();
    std::fs::write(&own, "somebody's own").unwrap();
    prune(&ours, Repack::Never, 0).unwrap();
    assert!(!remnant.exists() && own.exists());
    assert_whole(&ours, "tidied");
}
