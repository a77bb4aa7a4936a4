//! Restores of ours: identical, resumed, and never outside the target. Judges repositories of ours and of restic.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
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
fn pipes_and_devices_that_are_there_are_not_touched_unless_they_may_be_replaced() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    let pipe = |at: &Path, mode: u32| {
        let (kind, fifo) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(kind, at, fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    pipe(&path.join("same"), 0o640);
    pipe(&path.join("other"), 0o600);
    std::os::unix::fs::symlink("elsewhere", path.join("link")).unwrap();
    let tree = back_up(&repository, &path).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let there = inside(target.path(), &path);
    std::fs::create_dir_all(&there).unwrap();
    pipe(&there.join("same"), 0o640);
    pipe(&there.join("other"), 0o666);
    std::os::unix::fs::symlink("elsewhere", there.join("link")).unwrap();
    let looks = || {
        ["same", "other", "link"].map(|name| {
            let stat = there.join(name).symlink_metadata().unwrap();
            (
                stat.ino(),
                stat.mode(),
                stat.mtime_nsec(),
                stat.ctime_nsec(),
            )
        })
    };
    let before = looks();
    let kept = restore(&repository, tree, target.path(), Conflicts::Keep);
    assert_eq!((kept.kept, kept.errors, kept.already_there), (1, 1, 2));
    assert_eq!(looks(), before);
    assert_eq!(
        restore(&repository, tree, target.path(), Conflicts::Replace).errors,
        0
    );
    forest::assert_same(&path, &there);
}

#[test]
fn a_file_that_may_be_replaced_gets_mode_and_times_of_the_snapshot_even_where_its_content_is_the_same()
 {
    use std::os::unix::fs::PermissionsExt;
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    std::fs::write(path.join("key"), "secret").unwrap();
    std::fs::set_permissions(path.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let tree = back_up(&repository, &path).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let there = inside(target.path(), &path);
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("key"), "secret").unwrap();
    std::fs::set_permissions(there.join("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let restored = restore(&repository, tree, target.path(), Conflicts::Replace);
    assert_eq!((restored.already_there, restored.errors), (1, 0));
    forest::assert_same(&path, &there);
}

#[test]
fn names_of_unfinished_files_collide_with_nothing_and_remnants_are_swept_away() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    // Somebody backed up what an interrupted restore had left.
    let backed_up = ".homing-restore-0123456789abcdef-1";
    for name in [backed_up, ".homing-restore-unfinished", "a"] {
        std::fs::write(path.join(name), name).unwrap();
    }
    let tree = back_up(&repository, &path).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let there = inside(target.path(), &path);
    std::fs::create_dir_all(&there).unwrap();
    let remnant = there.join(".homing-restore-fedcba9876543210-7");
    std::fs::write(&remnant, "half").unwrap();
    let own = there.join(".homing-restore-mine");
    std::fs::write(&own, "somebody's own").unwrap();
    let restored = restore(&repository, tree, target.path(), Conflicts::Keep);
    assert_eq!((restored.files, restored.errors), (3, 0));
    assert!(!remnant.exists());
    std::fs::remove_file(&own).unwrap();
    let again = restore(&repository, tree, target.path(), Conflicts::Keep);
    assert_eq!((again.already_there, again.errors), (3, 0));
    forest::assert_same(&path, &there);
}

/// Puts a link in the place of a folder while it is being restored.
struct Attacker {
    folder: PathBuf,
    outside: PathBuf,
    swapped: bool,
}

impl Watcher for Attacker {
    fn restored(&mut self, _: u64) -> bool {
        if !self.swapped && self.folder.exists() {
            let away = self.folder.with_extension("away");
            std::fs::rename(&self.folder, away).unwrap();
            std::os::unix::fs::symlink(&self.outside, &self.folder).unwrap();
            self.swapped = true;
        }
        false
    }

    fn trouble(&mut self, _: &Path, _: &str) {}
}

#[test]
fn a_folder_that_becomes_a_link_while_it_is_restored_leads_nowhere() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    std::fs::create_dir_all(path.join("folder/inner")).unwrap();
    for name in ["folder/a", "folder/inner/b", "folder/z", "last"] {
        std::fs::write(path.join(name), name).unwrap();
    }
    // Another name of a file that lies in the folder: it is found again by its path.
    std::fs::hard_link(path.join("folder/z"), path.join("zz")).unwrap();
    let tree = back_up(&repository, &path).snapshot.tree;
    for conflicts in [Conflicts::Keep, Conflicts::Replace] {
        let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("z"), "untouched").unwrap();
        let there = inside(target.path(), &path);
        let mut attacker = Attacker {
            folder: there.join("folder"),
            outside: outside.path().into(),
            swapped: false,
        };
        let mut reader = Reader::new(&repository).unwrap();
        let choice = Selection::default();
        let to = target.path();
        restore::execute(&mut reader, tree, &choice, to, conflicts, &mut attacker).unwrap();
        assert!(attacker.swapped);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(
            std::fs::read(outside.path().join("z")).unwrap(),
            b"untouched"
        );
        assert_eq!(std::fs::read(there.join("zz")).unwrap(), b"folder/z");
    }
}

/// Starts another restore into the same folder.
struct Beside<'r>(&'r Repository<MemoryStore>, Id, PathBuf, u32);

impl Watcher for Beside<'_> {
    fn restored(&mut self, _: u64) -> bool {
        let mut reader = Reader::new(self.0).unwrap();
        let second = restore::execute(
            &mut reader,
            self.1,
            &Selection::default(),
            &self.2,
            Conflicts::Keep,
            &mut Unwatched,
        );
        assert!(matches!(second, Err(Error::TargetBusy(_))));
        self.3 += 1;
        false
    }

    fn trouble(&mut self, path: &Path, reason: &str) {
        panic!("{}: {reason}", path.display());
    }
}

#[test]
fn two_restores_into_one_folder_do_not_mix() {
    let repository = repository();
    let forest = Forest::grow(8);
    let tree = back_up(&repository, forest.path()).snapshot.tree;
    let target = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(&repository).unwrap();
    let mut beside = Beside(&repository, tree, target.path().into(), 0);
    restore::execute(
        &mut reader,
        tree,
        &Selection::default(),
        target.path(),
        Conflicts::Keep,
        &mut beside,
    )
    .unwrap();
    assert!(beside.3 > 0);
    forest::assert_same(forest.path(), &inside(target.path(), forest.path()));
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
