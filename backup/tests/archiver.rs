//! Backups of ours under restic's eyes: restored, compared, diffed against restic's own. Restores nothing by itself.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use forest::Forest;
use homing_backup::archiver::{self, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::store::LocalStore;
use oracle::{PASSWORD, Restic};
use std::os::unix::fs::PermissionsExt;

fn restored_by_restic_is_identical(restic: &Restic, snapshot: &str, forest: &Forest) {
    let target = tempfile::tempdir().unwrap();
    restic.run(&[
        "restore",
        snapshot,
        "--target",
        target.path().to_str().unwrap(),
    ]);
    let inside = target.path().join(forest.path().strip_prefix("/").unwrap());
    forest::assert_same(forest.path(), &inside);
}

#[test]
fn random_trees_and_their_changes_are_restored_by_restic_identically() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    for seed in 0..4 {
        let mut forest = Forest::grow(seed);
        for _ in 0..3 {
            let done = archiver::backup(
                &ours,
                &[forest.path()],
                &forest::options(),
                &SystemClock,
                &mut Unobserved,
            )
            .unwrap();
            let summary = done.snapshot.summary.clone().unwrap();
            assert_eq!(summary.errors, 0, "{:?}", summary.unreadable);
            restored_by_restic_is_identical(&restic, &done.id.to_string(), &forest);
            forest.change();
        }
    }
    restic.check();
}

#[test]
fn restic_sees_no_difference_between_our_snapshot_and_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    let ours = forest::repository(LocalStore::new(folder.path()), PASSWORD);
    let forest = Forest::grow(77);
    forest.add_large(12 << 20);
    let done = archiver::backup(
        &ours,
        &[forest.path()],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
    restic.run(&["backup", "--host", "other", forest.path().to_str().unwrap()]);
    let theirs = ours
        .snapshots()
        .unwrap()
        .into_iter()
        .find(|(_, snapshot)| snapshot.hostname == "other")
        .unwrap();
    let diff = restic.run(&[
        "diff",
        "--metadata",
        &done.id.to_string(),
        &theirs.0.to_string(),
    ]);
    // Folders above the forest belong to everybody and may change between the two.
    let inside = forest.path().to_str().unwrap();
    let different: Vec<&str> = diff
        .lines()
        .filter(|line| line.starts_with(['+', '-', 'M', 'U', 'T']) && line.contains(inside))
        .collect();
    assert!(different.is_empty(), "{diff}");
    // Cuts are restic's cuts, or one of the two would have had something to add.
    assert!(
        diff.contains("Data Blobs:      0 new,     0 removed"),
        "{diff}"
    );
    assert!(theirs.1.parent.is_none());
}

#[test]
fn a_second_run_without_changes_stores_nothing_but_a_snapshot() {
    let store = homing_backup::store::MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let forest = Forest::grow(5);
    let run = || {
        archiver::backup(
            &ours,
            &[forest.path()],
            &forest::options(),
            &SystemClock,
            &mut Unobserved,
        )
        .unwrap()
    };
    let first = run();
    let second = run();
    assert_eq!(second.snapshot.parent, Some(first.id));
    // Folders above the forest are in the snapshot too, and others change their times meanwhile.
    let above = forest.path().components().count() as u64 - 1;
    assert_eq!(second.stored.data_blobs, 0);
    assert!(second.stored.tree_blobs <= above, "{:?}", second.stored);
    let mut reader = Reader::new(&ours).unwrap();
    let mut inner = |tree| forest::subtree(&mut reader, tree, forest.path());
    assert_eq!(inner(second.snapshot.tree), inner(first.snapshot.tree));
    let summary = second.snapshot.summary.unwrap();
    assert_eq!((summary.files_new, summary.files_changed), (0, 0));
    assert!(summary.dirs_changed <= above);
    assert!(
        ours.list(homing_backup::store::Kind::Lock)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_gigabyte_of_holes_costs_one_chunk() {
    let store = homing_backup::store::MemoryStore::default();
    let ours = forest::repository(store, PASSWORD);
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("sparse")).unwrap();
    file.set_len(5 << 30).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"end", (5 << 30) - 3).unwrap();
    let path = folder.path().canonicalize().unwrap();
    let done = archiver::backup(
        &ours,
        &[&path],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
    let summary = done.snapshot.summary.unwrap();
    assert_eq!(summary.total_bytes_processed, 5 << 30);
    assert!(done.stored.data_blobs <= 2, "{:?}", done.stored);
}

#[test]
fn a_database_is_cut_on_blocks_and_an_overwritten_part_costs_only_itself() {
    let store = homing_backup::store::MemoryStore::default();
    let ours = forest::repository(store.clone(), PASSWORD);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let mut content = forest::noise(1, 20 << 20);
    content[..16].copy_from_slice(b"SQLite format 3\0");
    std::fs::write(path.join("db"), &content).unwrap();
    let run = || {
        archiver::backup(
            &ours,
            &[&path],
            &forest::options(),
            &SystemClock,
            &mut Unobserved,
        )
        .unwrap()
    };
    run();
    content[7 << 20..8 << 20].copy_from_slice(&forest::noise(2, 1 << 20));
    std::fs::write(path.join("db"), &content).unwrap();
    let stored = run().stored;
    assert!(stored.plain_bytes < 1_200_000, "{stored:?}");
}

#[test]
fn what_cannot_be_read_is_counted_and_named_in_the_snapshot() {
    let store = homing_backup::store::MemoryStore::default();
    let ours = forest::repository(store, PASSWORD);
    // /proc has files that root may list but nobody may read.
    let path = std::path::Path::new("/proc/self/attr");
    if std::fs::read(path.join("exec")).is_ok() {
        eprintln!("SKIPPED: this kernel lets /proc/self/attr be read");
        return;
    }
    let path = path.canonicalize().unwrap();
    let done = archiver::backup(
        &ours,
        &[&path],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
    let summary = done.snapshot.summary.unwrap();
    assert!(summary.errors > 0);
    assert!(
        summary
            .unreadable
            .iter()
            .any(|line| line.contains("/attr/")),
        "{:?}",
        summary.unreadable
    );
}

#[test]
fn a_folder_on_the_way_may_be_closed_to_readers() {
    let folder = tempfile::tempdir().unwrap();
    let way = folder.path().canonicalize().unwrap().join("way");
    let path = way.join("mine");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("file"), "content").unwrap();
    let mode = |mode| std::fs::set_permissions(&way, std::fs::Permissions::from_mode(mode));
    mode(0o311).unwrap();
    if std::fs::read_dir(&way).is_ok() {
        eprintln!("SKIPPED: root may read every folder");
        return;
    }
    let store = homing_backup::store::MemoryStore::default();
    let ours = forest::repository(store, PASSWORD);
    let done = archiver::backup(
        &ours,
        &[&path],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    );
    mode(0o700).unwrap();
    let summary = done.unwrap().snapshot.summary.unwrap();
    assert_eq!((summary.errors, summary.files_new), (0, 1));
}

#[test]
fn patterns_and_declared_caches_are_left_out() {
    let store = homing_backup::store::MemoryStore::default();
    let ours = forest::repository(store, PASSWORD);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    std::fs::create_dir(path.join("cache")).unwrap();
    std::fs::write(
        path.join("cache/CACHEDIR.TAG"),
        b"Signature: 8a477f597d28d172789f06886806bc55\n",
    )
    .unwrap();
    for name in ["cache/big", "a.tmp", "kept"] {
        std::fs::write(path.join(name), name).unwrap();
    }
    let mut options = forest::options();
    options.excludes.push("*.tmp".into());
    options.caches = archiver::Caches::Skip;
    let done = archiver::backup(&ours, &[&path], &options, &SystemClock, &mut Unobserved).unwrap();
    assert_eq!(done.snapshot.summary.unwrap().total_files_processed, 2);
}
