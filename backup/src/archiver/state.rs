//! What the last run saw, so that the next one need not open a tree to know that a folder is unchanged. Only ever a hint:
//! a state that is lost, damaged, old or of another repository costs time and nothing else.

use super::remembered::Remembered;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::source;
use crate::timestamp::Timestamp;
use rustix::fs::Stat;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How a state file begins; the digit is the layout's version.
const MAGIC: &[u8; 8] = b"HOMINGS2";
/// Bytes of a folder's note: key, fingerprint, tree.
const NOTE_BYTES: usize = 16 + 16 + 32;
/// A clock that counts in steps cannot tell two changes within one apart: FAT's are 2 s (the coarsest of Linux).
const CLOCK_STEP_SECONDS: i64 = 2;

/// What was seen in one folder: names, and all metadata that any change of an entry must change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// What no folder has: one that must be looked at again.
    pub(super) const NEVER: Self = Self([0; 16]);
}

/// A fingerprint being taken.
pub(super) struct Taking {
    digest: Sha256,
    settled: bool,
    /// Files changed at or after this may change again without a trace.
    recent: Timestamp,
}

impl Taking {
    /// For a run that began at `start`.
    pub(super) fn new(start: Timestamp) -> Self {
        Self {
            digest: Sha256::new(),
            settled: true,
            recent: recent(start),
        }
    }

    /// Takes in an entry; a folder with the tree it has now.
    pub(super) fn add(&mut self, name: &[u8], stat: &Stat, subtree: Option<&Id>) {
        let numbers = [
            name.len() as u64,
            u64::from(stat.st_mode),
            u64::from(stat.st_uid) << 32 | u64::from(stat.st_gid),
            source::number(stat.st_ino),
            source::number(stat.st_dev),
            source::number(stat.st_rdev),
            source::number(stat.st_nlink),
            source::number(stat.st_size),
        ];
        let (changed, touched) = (source::mtime(stat), source::ctime(stat));
        let mut bytes = [0; 8 * 8 + 2 * 12 + 1];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        for (place, time) in bytes[64..88].chunks_exact_mut(12).zip([changed, touched]) {
            place[..8].copy_from_slice(&time.seconds.to_le_bytes());
            place[8..].copy_from_slice(&time.nanoseconds.to_le_bytes());
        }
        bytes[88] = u8::from(subtree.is_some());
        self.digest.update(bytes);
        self.digest.update(name);
        if let Some(tree) = subtree {
            self.digest.update(tree.bytes());
        } else if touched >= self.recent {
            self.settled = false;
        }
    }

    /// Something could not be looked at: this folder must be looked at again.
    pub(super) const fn doubt(&mut self) {
        self.settled = false;
    }

    /// The fingerprint, if it may be believed later.
    pub(super) fn finish(self) -> (Fingerprint, bool) {
        let digest = self.digest.finalize();
        let mut print = [0; 16];
        print.copy_from_slice(&digest[..16]);
        (Fingerprint(print), self.settled)
    }
}

/// The time from which on a change may hide behind another, for a run that began at `start`.
pub(super) const fn recent(start: Timestamp) -> Timestamp {
    Timestamp {
        seconds: start.seconds - CLOCK_STEP_SECONDS,
        nanoseconds: 0,
    }
}

/// What a state must agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The repository's id.
    pub(super) repository: Id,
    /// The snapshot that the state describes.
    pub(super) snapshot: Id,
    /// A digest of everything else that decides what a tree looks like: folders, patterns, names of users.
    pub(super) choices: Id,
}

/// Notes on folders, by their paths.
#[derive(Default)]
pub(super) struct Notes {
    /// Key, fingerprint, tree; sorted by key once read.
    known: Vec<([u8; 16], Fingerprint, Id)>,
    new: Vec<([u8; 16], Fingerprint, Id)>,
    /// What a set of changes cannot tell.
    pub(super) remembered: Remembered,
}

fn key(path: &Path) -> [u8; 16] {
    let digest = Id::of(path.as_os_str().as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.bytes()[..16]);
    key
}

impl Notes {
    /// What is known of a folder.
    pub(super) fn of(&self, path: &Path) -> Option<(Fingerprint, Id)> {
        let key = key(path);
        let at = self.known.binary_search_by_key(&key, |note| note.0).ok()?;
        self.known.get(at).map(|note| (note.1, note.2))
    }

    /// Notes a folder for the next run.
    pub(super) fn note(&mut self, path: &Path, print: Fingerprint, tree: Id) {
        self.new.push((key(path), print, tree));
    }

    /// Notes a folder that was not looked at as a whole: its tree is known, its fingerprint is not.
    pub(super) fn note_unseen(&mut self, path: &Path, tree: Id) {
        self.note(path, Fingerprint::NEVER, tree);
    }

    /// Forgets what this run noted.
    pub(super) fn begin_again(&mut self) {
        self.new.clear();
    }

    /// Keeps what was known of folders that this run did not come to.
    pub(super) fn keep_known(&mut self) {
        self.new.sort_by_key(|note| note.0);
        let noted = self.new.len();
        for note in std::mem::take(&mut self.known) {
            if self.new[..noted]
                .binary_search_by_key(&note.0, |new| new.0)
                .is_err()
            {
                self.new.push(note);
            }
        }
    }

    /// Bytes of a state file: the notes of this run, the scope, and the index files without which its trees may be gone.
    fn written(&mut self, scope: &Scope, indexes: &[Id]) -> Vec<u8> {
        self.new.sort_unstable_by_key(|note| note.0);
        let mut bytes = MAGIC.to_vec();
        for id in [&scope.repository, &scope.snapshot, &scope.choices] {
            bytes.extend_from_slice(id.bytes());
        }
        for count in [indexes.len(), self.new.len()] {
            bytes.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for id in indexes {
            bytes.extend_from_slice(id.bytes());
        }
        for (key, print, tree) in &self.new {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&print.0);
            bytes.extend_from_slice(tree.bytes());
        }
        self.remembered.write(&mut bytes);
        let sum = Id::of(&bytes);
        bytes.extend_from_slice(sum.bytes());
        bytes
    }

    /// Reads a state file; `None` when it is not whole, or not of this scope, or one of its index files is gone.
    fn from_bytes(bytes: &[u8], scope: &Scope, indexes: &[Id]) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk::<32>()?;
        if Id::of(bytes).bytes() != sum {
            return None;
        }
        let mut rest = bytes.strip_prefix(MAGIC)?;
        for wanted in [&scope.repository, &scope.snapshot, &scope.choices] {
            rest = rest.strip_prefix(wanted.bytes())?;
        }
        let mut counts = [0_usize; 2];
        for count in &mut counts {
            let (number, after) = rest.split_first_chunk::<8>()?;
            *count = usize::try_from(u64::from_le_bytes(*number)).ok()?;
            rest = after;
        }
        let (needed, notes) = rest.split_at_checked(counts[0].checked_mul(32)?)?;
        let all_there = needed.chunks_exact(32).all(|needed| {
            indexes
                .binary_search_by(|there| there.bytes()[..].cmp(needed))
                .is_ok()
        });
        let (notes, remembered) = notes.split_at_checked(counts[1].checked_mul(NOTE_BYTES)?)?;
        if !all_there {
            return None;
        }
        let known = notes.chunks_exact(NOTE_BYTES).map(|note| {
            let (mut key, mut print, mut tree) = ([0; 16], [0; 16], [0; 32]);
            key.copy_from_slice(&note[..16]);
            print.copy_from_slice(&note[16..32]);
            tree.copy_from_slice(&note[32..]);
            (key, Fingerprint(print), Id::from_bytes(tree))
        });
        Some(Self {
            known: known.collect(),
            new: Vec::new(),
            remembered: Remembered::read(remembered)?,
        })
    }
}

/// A folder for the state of one set of folders in one repository. Held by one process at a time.
#[derive(Debug)]
pub(super) struct Keeper {
    folder: PathBuf,
    running: File,
    /// Number of a process that held this state and did not end in order.
    pub(super) dead: Option<u32>,
}

impl Keeper {
    /// Takes the state for this process.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let failed = |what, path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::File { what, path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed("making", folder))?;
        let path = folder.join("running");
        let mut running = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("opening", &path))?;
        match running.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(folder.into())),
            Err(TryLockError::Error(source)) => return Err(failed("locking", &path)(source)),
        }
        let mut text = String::new();
        // What is no number was half written: nobody is known to be dead.
        let dead = match running.read_to_string(&mut text) {
            Ok(_) => text.trim().parse().ok(),
            Err(_) => None,
        };
        running
            .set_len(0)
            .and_then(|()| running.rewind())
            .and_then(|()| running.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .and_then(|()| running.sync_all())
            .map_err(failed("writing", &path))?;
        Ok(Self {
            folder: folder.into(),
            running,
            dead,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The notes of the last run, if they are of this scope.
    pub(super) fn load(&self, scope: &Scope, indexes: &[Id]) -> Option<Notes> {
        let bytes = std::fs::read(self.path()).ok()?;
        Notes::from_bytes(&bytes, scope, indexes)
    }

    /// Keeps the notes of this run. That it fails is no harm: the old ones are of another snapshot and not believed.
    pub(super) fn save(&self, notes: &mut Notes, scope: &Scope, indexes: &[Id]) {
        let unfinished = self.folder.join("state.new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| {
                file.write_all(&notes.written(scope, indexes))?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&unfinished, self.path()));
        if written.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
    }

    /// The run has ended in order: nobody need look for its remains.
    pub(super) fn ended(&self) {
        // A number that stays makes the next run look once for nothing.
        let _ = self
            .running
            .set_len(0)
            .and_then(|()| self.running.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(byte: u8) -> Scope {
        Scope {
            repository: Id::of(&[byte]),
            snapshot: Id::of(b"snapshot"),
            choices: Id::of(b"choices"),
        }
    }

    #[test]
    fn notes_come_back_and_any_damage_or_other_scope_is_noticed() {
        let path = Path::new("/home/anna");
        let print = Fingerprint([7; 16]);
        let mut notes = Notes::default();
        notes.note(path, print, Id::of(b"tree"));
        notes.note(Path::new("/home"), print, Id::of(b"other"));
        let index = [Id::of(b"index")];
        let bytes = notes.written(&scope(1), &index);
        let read =
            |bytes: &[u8], scope: &Scope, indexes: &[Id]| Notes::from_bytes(bytes, scope, indexes);
        let back = read(&bytes, &scope(1), &index).unwrap();
        assert_eq!(back.of(path), Some((print, Id::of(b"tree"))));
        assert_eq!(back.of(Path::new("/home/bob")), None);
        assert!(read(&bytes, &scope(2), &index).is_none());
        assert!(read(&bytes, &scope(1), &[]).is_none(), "its index is gone");
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], &scope(1), &index).is_none());
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged, &scope(1), &index).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn one_process_holds_a_state_and_one_that_died_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let held = Keeper::take(folder.path()).unwrap();
        assert_eq!(held.dead, None);
        assert!(matches!(Keeper::take(folder.path()), Err(Error::Busy(_))));
        drop(held);
        let next = Keeper::take(folder.path()).unwrap();
        assert_eq!(next.dead, Some(std::process::id()));
        next.ended();
        drop(next);
        assert_eq!(Keeper::take(folder.path()).unwrap().dead, None);
    }
}
