//! What is on the disk before something relies on it, as the system calls of a traced process tell. Says SKIPPED where nothing may be traced.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod victim;

use forest::Forest;
use homing_backup::archiver::{self, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::LocalStore;
use oracle::PASSWORD;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_child_makes_a_repository_and_backs_up() {
    let Some((repository, folder)) = victim::told() else {
        return;
    };
    let store = LocalStore::new(repository.join("made"));
    let ours = Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap();
    // As a person leaves a repository who tidied away what is empty: packs need folders that are made for them.
    for byte in 0..=u8::MAX {
        std::fs::remove_dir(repository.join(format!("made/data/{byte:02x}"))).unwrap();
    }
    let (options, clock) = (forest::options(), SystemClock);
    archiver::backup(&ours, &[&folder], &options, &clock, &mut Unobserved).unwrap();
}

#[test]
fn a_child_restores_what_its_parent_backed_up() {
    let Some((repository, folder)) = victim::told() else {
        return;
    };
    let store = LocalStore::new(repository.join("made"));
    let ours = Repository::open(store, PASSWORD.as_bytes()).unwrap();
    let (_, snapshot) = ours.snapshots().unwrap().pop().unwrap();
    let mut reader = Reader::new(&ours).unwrap();
    let (all, keep) = (Selection::default(), Conflicts::Keep);
    let to = folder.join("restored");
    let tree = snapshot.tree;
    let done = restore::execute(&mut reader, tree, &all, &to, keep, &mut Unwatched).unwrap();
    assert_eq!(done.errors, 0);
}

/// A system call that succeeded.
#[derive(Debug)]
enum Call {
    /// A folder was made.
    Made(PathBuf),
    /// Something got this name.
    Named(PathBuf),
    /// A file or folder was synced.
    Synced(PathBuf),
    /// A whole file system was.
    SyncedAll,
}

/// Runs a child and tells what it did to names; `None` where nothing may be traced.
fn traced(child: &str, repository: &Path, folder: &Path) -> Option<Vec<Call>> {
    let strace = std::env::var("HOMING_TEST_STRACE").unwrap_or_else(|_| "strace".into());
    let tried = Command::new(&strace).args(["-f", "true"]).output();
    if !tried.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: there is no strace here that may trace a child");
        return None;
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let calls = "trace=mkdir,mkdirat,rename,renameat,renameat2,link,linkat,fsync,syncfs";
    // With the paths of open files.
    let before = [
        &strace,
        "-f",
        "-y",
        "-e",
        calls,
        "-o",
        log.path().to_str().unwrap(),
    ];
    let done = victim::command(&before, child, repository, folder).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = std::fs::read_to_string(log.path()).unwrap();
    // A call during which another thread did something stands in two pieces.
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (thread, said) = line.split_once(' ').unwrap();
        if let Some(begins) = said.strip_suffix("<unfinished ...>") {
            begun.insert(thread, begins);
            continue;
        }
        let whole = match said.split_once(" resumed>") {
            Some((_, ends)) => format!("{}{ends}", begun.remove(thread).unwrap_or_default()),
            None => said.to_owned(),
        };
        if whole.ends_with(" = 0") {
            calls.extend(call(whole.trim_start()));
        }
    }
    Some(calls)
}

/// Reads `NAME(ARGUMENTS) = 0`.
fn call(line: &str) -> Option<Call> {
    let (name, arguments) = line.split_once('(')?;
    let opened = || {
        Some(PathBuf::from(
            arguments.split_once('<')?.1.split_once('>')?.0,
        ))
    };
    // The last name in quotes, within the folder before it.
    let named = || {
        let (before, last) = arguments.rsplit_once('"')?.0.rsplit_once('"')?;
        let folder = before
            .rsplit_once('<')
            .and_then(|(_, it)| it.split_once('>'));
        Some(
            folder
                .map_or_else(PathBuf::new, |(folder, _)| folder.into())
                .join(last),
        )
    };
    Some(match name {
        "mkdir" | "mkdirat" => Call::Made(named()?),
        "fsync" => Call::Synced(opened()?),
        "syncfs" => Call::SyncedAll,
        _ => Call::Named(named()?),
    })
}

#[test]
fn new_folders_and_packs_of_a_repository_are_on_the_disk_before_anything_names_them() {
    let (place, forest) = (tempfile::tempdir().unwrap(), Forest::grow(71));
    let at = place.path().canonicalize().unwrap();
    let Some(calls) = traced(
        "a_child_makes_a_repository_and_backs_up",
        &at,
        forest.path(),
    ) else {
        return;
    };
    let root = at.join("made");
    let relied_on = ["index", "snapshots"].map(|folder| root.join(folder));
    let (mut open, mut folders, mut relied) = (BTreeSet::new(), 0, 0);
    for call in calls {
        match call {
            Call::Made(path) | Call::Named(path) if !path.starts_with(&at) => {
                panic!("{} is none of its business", path.display())
            }
            Call::Made(path) => {
                folders += 1;
                open.insert(path.parent().unwrap().to_path_buf());
            }
            Call::Named(path) => {
                let relies = path == root.join("config")
                    || relied_on.iter().any(|folder| path.starts_with(folder));
                if relies {
                    relied += 1;
                    assert_eq!(
                        open,
                        BTreeSet::new(),
                        "not on the disk before {}",
                        path.display()
                    );
                }
                open.insert(path.parent().unwrap().to_path_buf());
            }
            Call::Synced(path) => {
                open.remove(&path);
            }
            Call::SyncedAll => open.clear(),
        }
    }
    assert_eq!(open, BTreeSet::new(), "not on the disk at the end");
    // All that a repository has at first, and those that the packs needed again.
    assert!(folders > 6 + 256, "{folders}");
    assert!(relied >= 3, "config, index and snapshot");
}

#[test]
fn new_folders_and_names_of_a_restore_are_on_the_disk_when_it_says_that_it_is_done() {
    let (place, forest) = (tempfile::tempdir().unwrap(), Forest::grow(72));
    let at = place.path().canonicalize().unwrap();
    let child = "a_child_makes_a_repository_and_backs_up";
    let made = victim::command(&[], child, &at, forest.path()).output();
    assert!(made.unwrap().status.success());
    let target = tempfile::tempdir().unwrap();
    let to = target.path().canonicalize().unwrap();
    let Some(calls) = traced("a_child_restores_what_its_parent_backed_up", &at, &to) else {
        return;
    };
    let (mut open, mut folders, mut names) = (BTreeSet::new(), 0, 0);
    for call in calls {
        match call {
            Call::Made(path) => {
                folders += 1;
                open.insert(path);
            }
            Call::Named(path) => {
                names += 1;
                open.insert(path);
            }
            Call::SyncedAll => open.clear(),
            Call::Synced(_) => {}
        }
    }
    assert!(folders > 2 && names > 3, "{folders} folders, {names} names");
    assert_eq!(open, BTreeSet::new(), "not on the disk at the end");
}
