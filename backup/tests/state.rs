//! Runs that remember what the last one saw: the same trees as without, less work, and no harm from a state that lies.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use forest::Forest;
use homing_backup::archiver::{self, Done, Options, Unobserved};
use homing_backup::clock::{Clock, FixedClock, SystemClock};
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::store::{Fault, Kind, MemoryStore};
use homing_backup::verify::{self, Depth};
use homing_backup::{Error, Id, Timestamp};
use oracle::PASSWORD;
use std::path::Path;

/// The clock runs ahead: what was made a moment ago is old enough for a fingerprint to be believed.
fn later(seconds: i64) -> FixedClock {
    let now = SystemClock.now();
    FixedClock(Timestamp::new(now.seconds + seconds, 0))
}

fn run(
    repository: &Repository<MemoryStore>,
    forest: &Forest,
    state: Option<&Path>,
    at: i64,
) -> Result<Done, Error> {
    let options = Options {
        hostname: if state.is_some() { "with" } else { "without" }.into(),
        pack_bytes: 1 << 20,
        state: state.map(Into::into),
        ..forest::options()
    };
    archiver::backup(
        repository,
        &[forest.path()],
        &options,
        &later(at),
        &mut Unobserved,
    )
}

fn create() -> Repository<MemoryStore> {
    Repository::create(
        MemoryStore::default(),
        PASSWORD.as_bytes(),
        &forest::maker(),
    )
    .unwrap()
}

fn inner(repository: &Repository<MemoryStore>, done: &Done, forest: &Forest) -> Id {
    let mut reader = Reader::new(repository).unwrap();
    forest::subtree(&mut reader, done.snapshot.tree, forest.path())
}

/// A run with that state finds the same as one without.
fn assert_same(repository: &Repository<MemoryStore>, forest: &Forest, state: &Path, at: i64) {
    let with = run(repository, forest, Some(state), at).unwrap();
    let without = run(repository, forest, None, at).unwrap();
    assert_eq!(
        inner(repository, &with, forest),
        inner(repository, &without, forest)
    );
    let counts = |done: &Done| {
        let of = done.snapshot.summary.clone().unwrap();
        let files = (of.files_new, of.files_changed, of.files_unmodified);
        (files, of.total_files_processed, of.total_bytes_processed)
    };
    assert_eq!(counts(&with), counts(&without));
}

#[test]
fn a_run_with_a_state_makes_the_same_trees_as_one_without() {
    for seed in 200..204 {
        let (repository, state) = (create(), tempfile::tempdir().unwrap());
        let mut forest = Forest::grow(seed);
        for round in 0..5 {
            assert_same(&repository, &forest, state.path(), 10 * round + 10);
            if round != 2 {
                forest.change();
            }
        }
    }
}

#[test]
fn where_nothing_changed_no_tree_inside_is_opened() {
    let (repository, state) = (create(), tempfile::tempdir().unwrap());
    let forest = Forest::grow(205);
    run(&repository, &forest, Some(state.path()), 10).unwrap();
    let reads = || {
        let before = repository.store().ranges_read();
        let done = run(&repository, &forest, Some(state.path()), 20).unwrap();
        assert_eq!(done.stored.data_blobs, 0);
        repository.store().ranges_read() - before
    };
    let above = forest.path().components().count() as u64 - 1;
    assert!(reads() <= above);
    std::fs::remove_file(state.path().join("state")).unwrap();
    assert!(reads() > above, "without a state the trees are opened");
}

#[test]
fn a_state_that_is_lost_damaged_old_or_of_another_repository_costs_only_time() {
    let (repository, state) = (create(), tempfile::tempdir().unwrap());
    let (other, elsewhere) = (create(), tempfile::tempdir().unwrap());
    let mut forest = Forest::grow(206);
    let file = state.path().join("state");
    assert_same(&repository, &forest, state.path(), 10);
    run(&other, &forest, Some(elsewhere.path()), 10).unwrap();
    let first = std::fs::read(&file).unwrap();
    let foreign = std::fs::read(elsewhere.path().join("state")).unwrap();
    let mut damaged = first.clone();
    damaged[first.len() / 2] ^= 1;
    for (round, content) in [
        &foreign[..],
        &damaged,
        &first[..first.len() - 1],
        b"",
        &first,
    ]
    .into_iter()
    .enumerate()
    {
        forest.change();
        std::fs::write(&file, content).unwrap();
        let at = 20 + 10 * i64::try_from(round).unwrap();
        assert_same(&repository, &forest, state.path(), at);
    }
}

#[test]
fn a_run_that_died_is_taken_up_by_its_state_whoever_carries_its_number_now() {
    let repository = create();
    let forest = Forest::grow(207);
    forest.add_large(6 << 20);
    let store = repository.store().clone();
    let state = tempfile::tempdir().unwrap();
    // The lock, a pack, and then nothing more.
    store.inject(Fault::CrashAt(2));
    run(&repository, &forest, Some(state.path()), 10).unwrap_err();
    assert!(store.pack_bytes_sent() > 0);
    // This process is alive and carries the number that the lock names.
    store.inject(Fault::None);
    let done = run(&repository, &forest, Some(state.path()), 20).unwrap();
    assert!(done.stored.adopted_packs > 0);
    assert!(repository.list(Kind::Lock).unwrap().is_empty());
    let found = verify::verify(&repository, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!((found.damage, found.unindexed_packs), (Vec::new(), 0));
    let entries: usize = repository
        .list(Kind::Pack)
        .unwrap()
        .iter()
        .map(|(id, size)| repository.pack_entries(*id, *size).unwrap().len())
        .sum();
    let known = repository.load_index().unwrap().len();
    assert_eq!(entries, known, "nothing was sent twice");
}
