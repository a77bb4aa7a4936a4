//! What a backup is asked to do, and what it says on the way. Holds values only.

use std::path::PathBuf;
use std::time::Duration;

/// What to do where another file system begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystems {
    /// Go on into it.
    All,
    /// Keep the folder, not what is in it.
    One,
}

/// What to do with folders that declare themselves caches (bford.info/cachedir).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caches {
    /// Back them up.
    Keep,
    /// Keep the folder and its tag, not what is in it.
    Skip,
}

/// How to back up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine's name in the snapshot; the parent is looked for under it.
    pub hostname: String,
    /// Marks in the snapshot.
    pub tags: Vec<String>,
    /// Patterns with `*` and `?`: without a slash they are compared with names, else with whole paths.
    pub excludes: Vec<String>,
    /// Whether to cross into other file systems.
    pub file_systems: FileSystems,
    /// Whether to back up caches.
    pub caches: Caches,
    /// Size of a pack in bytes, 4–16 MiB.
    pub pack_bytes: usize,
    /// What the snapshot says wrote it.
    pub program_version: String,
    /// A folder for what the next run need not find out again, one for each set of folders and repository. Without it every
    /// tree is opened, and packs of a run that died are found only while its process number is free.
    pub state: Option<PathBuf>,
    /// How often the run's lock is renewed: [`crate::lock::RENEWAL`].
    pub lock_renewal: Duration,
}

/// The size of packs unless somebody wants another: small enough to send again.
pub const PACK_BYTES: usize = 8 << 20;

/// How a run found what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It looked at everything, as it was asked to.
    AtEverything,
    /// It looked at the changes it was given and at nothing else; its summary counts only these.
    AtChanges,
    /// It looked at everything although it was given changes, and why.
    AtEverythingInstead(&'static str),
}

/// What is wrong with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be read and is missing in the snapshot.
    Unreadable,
    /// It was there when its folder was read and gone when it was its turn.
    Vanished,
    /// It changed while it was read, twice; the snapshot may hold a mixture.
    Changing,
    /// It is a database in use that could not be copied in one piece; the snapshot may hold a mixture.
    Inconsistent,
}

/// An item that is missing or doubtful in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub path: PathBuf,
    /// What is wrong.
    pub trouble: Trouble,
    /// What the system says.
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.trouble {
            Trouble::Unreadable => "cannot be read",
            Trouble::Vanished => "vanished",
            Trouble::Changing => "changed while it was read",
            Trouble::Inconsistent => "is a database in use and was only copied as it lies",
        };
        write!(formatter, "{} {what}: {}", self.path.display(), self.reason)
    }
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries of all kinds looked at.
    pub entries: u64,
    /// Bytes of files looked at, unchanged ones included.
    pub bytes: u64,
    /// Plain bytes stored anew.
    pub stored_bytes: u64,
}

/// Somebody who watches a backup.
pub trait Observer {
    /// Called often; `true` stops the backup in good order.
    fn progress(&mut self, progress: &Progress) -> bool;
    /// Called for each item that cannot be backed up properly.
    fn problem(&mut self, problem: &Problem);
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn progress(&mut self, _: &Progress) -> bool {
        false
    }

    fn problem(&mut self, _: &Problem) {}
}
