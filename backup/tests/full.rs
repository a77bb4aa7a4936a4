//! File systems of their own, and full ones: eight megabytes of memory, mounted for one child process alone. Says SKIPPED where that may not be done.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod victim;

use homing_backup::archiver::{self, FileSystems, Options, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched, Watcher};
use homing_backup::store::{Class, Kind, LocalStore};
use homing_backup::verify::{self, Depth};
use homing_backup::{Error, prune};
use oracle::PASSWORD;
use std::path::Path;

/// Runs one of the children below in a namespace of its own, where `small` is a full-sized disk of 8 MiB.
fn on_a_small_disk(child: &str, small: &Path, other: &Path) {
    let script = r#"mount -t tmpfs -o size=8m none "$ARCHIVE_TEST_REPOSITORY" && exec "$@""#;
    let may = std::process::Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none"])
        .arg(small)
        .output();
    if !may.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: nothing may be mounted here");
        return;
    }
    let before = ["unshare", "-rm", "sh", "-c", script, "sh"];
    let done = victim::command(&before, child, small, other)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

fn back_up(ours: &Repository<LocalStore>, path: &Path) -> Result<archiver::Done, Error> {
    let options = Options {
        pack_bytes: 1 << 20,
        ..forest::options()
    };
    archiver::backup(ours, &[path], &options, &SystemClock, &mut Unobserved)
}

#[test]
fn a_child_backs_up_beside_another_file_system() {
    let Some((mounted, folder)) = victim::told() else {
        return;
    };
    std::fs::write(mounted.join("inside"), "on the other one").unwrap();
    let place = tempfile::tempdir().unwrap();
    let store = LocalStore::new(place.path());
    let ours = Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap();
    for (file_systems, files) in [(FileSystems::One, 1), (FileSystems::All, 2)] {
        let options = Options {
            file_systems,
            ..forest::options()
        };
        let clock = SystemClock;
        let done = archiver::backup(&ours, &[&folder], &options, &clock, &mut Unobserved).unwrap();
        let summary = done.snapshot.summary.unwrap();
        assert_eq!((summary.total_files_processed, summary.errors), (files, 0));
        let mut reader = Reader::new(&ours).unwrap();
        let tree = forest::subtree(&mut reader, done.snapshot.tree, &folder);
        let nodes = reader.tree(&tree).unwrap();
        let names: Vec<_> = nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(names, [&b"file"[..], b"mounted"]);
        // The folder is there either way, so that it can be mounted on again.
        let inside = reader.tree(&nodes[1].subtree.unwrap()).unwrap();
        assert_eq!(inside.len() as u64, files - 1);
    }
}

#[test]
fn another_file_system_is_backed_up_or_left_out_as_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    std::fs::write(path.join("file"), "on this one").unwrap();
    std::fs::create_dir(path.join("mounted")).unwrap();
    let child = "a_child_backs_up_beside_another_file_system";
    on_a_small_disk(child, &path.join("mounted"), &path);
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.class == Class::Full)
}

#[test]
fn a_child_fills_its_repository() {
    let Some((small, folder)) = victim::told() else {
        return;
    };
    let ours = Repository::create(
        LocalStore::new(&small),
        PASSWORD.as_bytes(),
        &forest::maker(),
    )
    .unwrap();
    let done = back_up(&ours, &folder.join("fits")).unwrap();
    for _ in 0..2 {
        let full = back_up(&ours, &folder).unwrap_err();
        assert!(is_full(&full), "{full}");
        let snapshots = ours.snapshots().unwrap();
        assert_eq!(snapshots.len(), 1, "nothing is claimed that is not there");
        assert_eq!(snapshots[0].0, done.id);
        let found = verify::verify(&ours, Depth::All, &mut |_, _| false).unwrap();
        assert_eq!(found.damage, Vec::<String>::new());
    }
    // With room again the next run is complete, and says so.
    std::fs::remove_file(folder.join("too large")).unwrap();
    assert_eq!(ours.list(Kind::Lock).unwrap(), [], "a lock was left");
    let options = prune::Options {
        grace_seconds: 0,
        ..prune::Options::default()
    };
    for _ in 0..2 {
        prune::prune(&ours, &options, &SystemClock, &mut || false).unwrap();
    }
    let done = back_up(&ours, &folder).unwrap();
    assert_eq!(done.snapshot.summary.unwrap().errors, 0);
    let found = verify::verify(&ours, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!((found.damage, found.unindexed_packs), (Vec::new(), 0));
}

#[test]
fn a_repository_on_a_full_disk_claims_nothing_and_goes_on_when_there_is_room() {
    let (small, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder_path = folder.path().canonicalize().unwrap();
    std::fs::create_dir(folder_path.join("fits")).unwrap();
    let write = |name: &str, seed, bytes| {
        std::fs::write(folder_path.join(name), forest::noise(seed, bytes)).unwrap();
    };
    write("fits/a", 1, 100_000);
    write("fits/b", 2, 1_500_000);
    write("too large", 3, 12 << 20);
    on_a_small_disk("a_child_fills_its_repository", small.path(), &folder_path);
}

/// Collects what went wrong.
#[derive(Default)]
struct Told(Vec<String>);

impl Watcher for Told {
    fn restored(&mut self, _: u64) -> bool {
        false
    }

    fn trouble(&mut self, path: &Path, reason: &str) {
        self.0.push(format!("{}: {reason}", path.display()));
    }
}

#[test]
fn a_child_restores_onto_a_full_disk() {
    let Some((small, repository)) = victim::told() else {
        return;
    };
    let ours = Repository::open(LocalStore::new(repository), PASSWORD.as_bytes()).unwrap();
    let (_, snapshot) = ours.snapshots().unwrap().pop().unwrap();
    let mut reader = Reader::new(&ours).unwrap();
    let choice = Selection::default();
    let mut told = Told::default();
    let restored = restore::execute(
        &mut reader,
        snapshot.tree,
        &choice,
        &small,
        Conflicts::Keep,
        &mut told,
    )
    .unwrap();
    assert!(restored.errors > 0 && restored.errors == told.0.len() as u64);
    assert!(
        told.0.iter().all(|line| line.contains("space")),
        "{told:?}",
        told = told.0
    );
    // What is there is whole, nothing unfinished takes room, and with room again it goes on.
    let mut open = vec![small.clone()];
    let mut large = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let number: u64 = name.parse().unwrap();
            assert!(std::fs::read(&path).unwrap() == content(number), "{name}");
            large.push(path);
        }
    }
    assert_eq!(large.len() as u64, restored.files);
    assert!(restored.files > 2);
    let mounted = std::process::Command::new("mount")
        .args(["-o", "remount,size=40m"])
        .arg(&small)
        .status();
    assert!(mounted.unwrap().success());
    let rest = restore::execute(
        &mut reader,
        snapshot.tree,
        &choice,
        &small,
        Conflicts::Keep,
        &mut Unwatched,
    )
    .unwrap();
    assert_eq!((rest.errors, rest.already_there), (0, restored.files));
    assert_eq!(rest.files + restored.files, FILES);
}

const FILES: u64 = 12;

fn content(number: u64) -> Vec<u8> {
    forest::noise(number, 1_000_000)
}

#[test]
fn a_restore_onto_a_full_disk_names_what_is_missing_and_goes_on_when_there_is_room() {
    let (small, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = Repository::create(
        LocalStore::new(repository.path()),
        PASSWORD.as_bytes(),
        &forest::maker(),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    for number in 0..FILES {
        std::fs::write(path.join(number.to_string()), content(number)).unwrap();
    }
    back_up(&ours, &path).unwrap();
    on_a_small_disk(
        "a_child_restores_onto_a_full_disk",
        small.path(),
        repository.path(),
    );
}
