//! Restores of ours: identical, resumed, and never outside the target. Judges repositories of ours and of restic.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod forest;
mod oracle;

use forest::Forest;
use homing_backup::archiver::{self, Done, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Restored, Selection, Unwatched, Watcher};
use homing_backup::store::{LocalStore, MemoryStore, Store};
use homing_backup::{Error, Id};
use oracle::{PASSWORD, Restic};
use std::path::{Path, PathBuf};

fn repository() -> Repository<MemoryStore> {
    Repository::create(
        MemoryStore::default(),
        PASSWORD.as_bytes(),
        &forest::maker(),
    )
    .unwrap()
}

fn back_up<S: Store>(repository: &Repository<S>, path: &Path) -> Done {
    archiver::backup(
        repository,
        &[path],
        &forest::options(),
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap()
}

fn restore<S: Store>(
    repository: &Repository<S>,
    tree: Id,
    to: &Path,
    conflicts: Conflicts,
) -> Restored {
    let mut reader = Reader::new(repository).unwrap();
    restore::execute(
        &mut reader,
        tree,
        &Selection::default(),
        to,
        conflicts,
        &mut Unwatched,
    )
    .unwrap()
}

fn inside(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

#[test]
fn random_trees_come_back_identical() {
    let repository = repository();
    for seed in 100..108 {
        let mut forest = Forest::grow(seed);
        for _ in 0..2 {
            let done = back_up(&repository, forest.path());
            let target = tempfile::tempdir().unwrap();
            let restored = restore(
                &repository,
                done.snapshot.tree,
                target.path(),
                Conflicts::Keep,
            );
            assert_eq!((restored.errors, restored.already_there), (0, 0));
            forest::assert_same(forest.path(), &inside(target.path(), forest.path()));
            forest.change();
        }
    }
}

#[test]
fn what_restic_backed_up_comes_back_identical() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    restic.run(&["init", "--repository-version", "2"]);
    let forest = Forest::grow(42);
    forest.add_large(9 << 20);
    restic.run(&["backup", forest.path().to_str().unwrap()]);
    let theirs = Repository::open(LocalStore::new(folder.path()), PASSWORD.as_bytes()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let tree = theirs.snapshots().unwrap()[0].1.tree;
    assert_eq!(
        restore(&theirs, tree, target.path(), Conflicts::Keep).errors,
        0
    );
    forest::assert_same(forest.path(), &inside(target.path(), forest.path()));
}

struct StopAfter(u64);

impl Watcher for StopAfter {
    fn restored(&mut self, _: u64) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 == 0
    }

    fn trouble(&mut self, path: &Path, reason: &str) {
        panic!("{}: {reason}", path.display());
    }
}

#[test]
fn a_restore_that_was_interrupted_goes_on_where_it_was() {
    let repository = repository();
    let forest = Forest::grow(7);
    forest.add_large(5 << 20);
    let tree = back_up(&repository, forest.path()).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(&repository).unwrap();
    let mut stopped = 0;
    for steps in [3, 20, 40] {
        let run = restore::execute(
            &mut reader,
            tree,
            &Selection::default(),
            target.path(),
            Conflicts::Keep,
            &mut StopAfter(steps),
        );
        stopped += u32::from(matches!(run, Err(Error::Stopped)));
    }
    assert!(stopped > 0);
    let plan = restore::plan(&mut reader, tree, &Selection::default(), target.path()).unwrap();
    assert_eq!(plan.conflicts, 0, "{plan:?}");
    let restored = restore(&repository, tree, target.path(), Conflicts::Keep);
    assert!(
        restored.already_there > 0 && restored.errors == 0,
        "{restored:?}"
    );
    forest::assert_same(forest.path(), &inside(target.path(), forest.path()));
}

#[test]
fn a_file_that_differs_is_kept_unless_told_otherwise_and_the_plan_says_so() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    std::fs::write(path.join("a"), "from the backup").unwrap();
    std::fs::write(path.join("b"), "b").unwrap();
    std::os::unix::fs::symlink("elsewhere", path.join("link")).unwrap();
    let tree = back_up(&repository, &path).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let there = inside(target.path(), &path);
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("a"), "somebody's own").unwrap();
    std::os::unix::fs::symlink("own", there.join("link")).unwrap();
    let mut reader = Reader::new(&repository).unwrap();
    let plan = restore::plan(&mut reader, tree, &Selection::default(), target.path()).unwrap();
    assert_eq!(
        (plan.files, plan.conflicts, plan.conflicting.clone()),
        (2, 2, vec![path.join("a"), path.join("link")])
    );
    let restored = restore(&repository, tree, target.path(), Conflicts::Keep);
    assert_eq!((restored.kept, restored.errors, restored.files), (2, 2, 1));
    assert_eq!(std::fs::read(there.join("a")).unwrap(), b"somebody's own");
    let leads = || std::fs::read_link(there.join("link")).unwrap();
    assert_eq!(leads(), Path::new("own"));
    assert_eq!(
        restore(&repository, tree, target.path(), Conflicts::Replace).errors,
        0
    );
    assert_eq!(std::fs::read(there.join("a")).unwrap(), b"from the backup");
    assert_eq!(leads(), Path::new("elsewhere"));
}

#[test]
fn a_planted_link_does_not_lead_a_restore_out_of_its_target() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    std::fs::create_dir(path.join("folder")).unwrap();
    std::fs::write(path.join("folder/file"), "content").unwrap();
    std::fs::write(path.join("top"), "content").unwrap();
    let tree = back_up(&repository, &path).snapshot.tree;
    for conflicts in [Conflicts::Keep, Conflicts::Replace] {
        let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        let there = inside(target.path(), &path);
        std::fs::create_dir_all(&there).unwrap();
        std::os::unix::fs::symlink(outside.path(), there.join("folder")).unwrap();
        std::os::unix::fs::symlink(&victim, there.join("top")).unwrap();
        restore(&repository, tree, target.path(), conflicts);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
        if conflicts == Conflicts::Replace {
            forest::assert_same(&path, &there);
        }
    }
}

#[test]
fn only_what_was_chosen_is_restored_and_an_absent_path_is_named() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    std::fs::create_dir_all(path.join("photos/2026")).unwrap();
    for name in ["photos/2026/a", "photos/b", "c"] {
        std::fs::write(path.join(name), name).unwrap();
    }
    let tree = back_up(&repository, &path).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(&repository).unwrap();
    let choose = |name: &str| Selection {
        paths: vec![path.join(name)],
    };
    let restored = restore::execute(
        &mut reader,
        tree,
        &choose("photos/2026"),
        target.path(),
        Conflicts::Keep,
        &mut Unwatched,
    )
    .unwrap();
    assert_eq!(restored.files, 1);
    assert!(inside(target.path(), &path).join("photos/2026/a").exists());
    assert!(!inside(target.path(), &path).join("photos/b").exists());
    assert!(matches!(
        restore::plan(&mut reader, tree, &choose("absent"), target.path()),
        Err(Error::NoSuchPath(_))
    ));
}
