//! One operation of the archive in a process of its own, so that its CPU time and memory can be measured. Not for users.
//!
//! `measure init|backup|restore|verify REPOSITORY [FOLDER [STATE [CHANGES]]]`, with a fixed password; prints one JSON object.
#![forbid(unsafe_code)]

use homing_backup::archiver::{
    self, Caches, Changes, FileSystems, Looked, Options, PACK_BYTES, Reach, Unobserved,
};
use homing_backup::clock::{Clock, SystemClock};
use homing_backup::key::Maker;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::LocalStore;
use homing_backup::verify::{self, Depth};
use std::path::Path;

const PASSWORD: &[u8] = b"measure";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["init", repository] => {
            let maker = Maker {
                user: "measure".into(),
                host: "measure".into(),
                at: SystemClock.now(),
            };
            Repository::create(LocalStore::new(repository), PASSWORD, &maker)?;
        }
        ["backup", repository, folder] => backup(repository, folder, None, None)?,
        ["backup", repository, folder, state] => backup(repository, folder, Some(state), None)?,
        ["backup", repository, folder, state, changes] => {
            backup(repository, folder, Some(state), Some(changes))?;
        }
        ["restore", repository, folder] => {
            let repository = Repository::open(LocalStore::new(repository), PASSWORD)?;
            let (_, newest) = repository.snapshots()?.pop().ok_or("no snapshot")?;
            let mut reader = Reader::new(&repository)?;
            let restored = restore::execute(
                &mut reader,
                newest.tree,
                &Selection::default(),
                Path::new(folder),
                Conflicts::Keep,
                &mut Unwatched,
            )?;
            println!(
                "{{\"files\":{},\"bytes\":{},\"errors\":{}}}",
                restored.files, restored.bytes, restored.errors
            );
        }
        ["verify", repository] => {
            let repository = Repository::open(LocalStore::new(repository), PASSWORD)?;
            let found = verify::verify(&repository, Depth::All, &mut |_, _| false)?;
            println!(
                "{{\"packs\":{},\"damage\":{}}}",
                found.packs_read,
                found.damage.len()
            );
        }
        _ => {
            return Err(
                "measure init|backup|restore|verify REPOSITORY [FOLDER [STATE [CHANGES]]]".into(),
            );
        }
    }
    Ok(())
}

/// `changes` is a file with one path a line.
fn backup(
    repository: &str,
    folder: &str,
    state: Option<&str>,
    changes: Option<&str>,
) -> Result<(), Box<dyn std::error::Error>> {
    let repository = Repository::open(LocalStore::new(repository), PASSWORD)?;
    let options = Options {
        hostname: "measure".into(),
        tags: Vec::new(),
        excludes: Vec::new(),
        file_systems: FileSystems::All,
        caches: Caches::Keep,
        pack_bytes: PACK_BYTES,
        lock_renewal: homing_backup::lock::RENEWAL,
        program_version: "measure".into(),
        state: state.map(Into::into),
    };
    let told = match changes {
        None => None,
        Some(file) => {
            let mut told = Changes::since(None);
            for path in std::fs::read_to_string(file)?.lines() {
                told.add(path.into(), Reach::Entry);
            }
            Some(told)
        }
    };
    let folders = [Path::new(folder)];
    let observer = &mut Unobserved;
    let done = archiver::archive(
        &repository,
        &folders,
        told,
        &options,
        &SystemClock,
        observer,
    )?;
    println!("{}", String::from_utf8_lossy(&done.snapshot.to_json()?));
    match done.looked {
        Looked::AtEverythingInstead(why) => Err(why.into()),
        Looked::AtEverything | Looked::AtChanges => Ok(()),
    }
}
