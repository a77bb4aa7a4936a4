//! What is written but does not have its name yet: it gets it once it is on the disk. Must not name anything that a power cut could still halve.

use super::Conflicts;
use crate::os::target::Found;
use crate::os::{source, target};
use crate::tree::Node;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::path::PathBuf;
use std::rc::Rc;

/// Entries that wait for one another, at most: waiting for the disk is dear, and killed work is done again.
const ENTRIES: usize = 1024;
/// Bytes of them.
const BYTES: u64 = 64 << 20;
/// Folders that they lie in; each is an open file.
const FOLDERS: usize = 128;

/// How the names of unfinished files begin; random digits of the run, `-` and a number follow.
const UNFINISHED: &str = ".homing-restore-";
/// Digits of the run.
const DIGITS: usize = 16;

/// A folder that is being restored.
pub(super) struct Folder {
    pub(super) open: OwnedFd,
    /// Its file system.
    pub(super) device: u64,
    pub(super) found: Found,
}

impl Folder {
    pub(super) fn new(open: OwnedFd, found: Found) -> Result<Rc<Self>, Errno> {
        let device = source::number(rustix::fs::fstat(&open)?.st_dev);
        Ok(Rc::new(Self {
            open,
            device,
            found,
        }))
    }

    /// Metadata of what is there already. In a folder that this restore has made nothing is; what somebody puts there
    /// meanwhile is met when a finished entry gets its name.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Stat, Errno> {
        match self.found {
            Found::Made => Err(Errno::NOENT),
            Found::There => source::stat(&self.open, name),
        }
    }
}

/// The first of several hard links.
pub(super) type LinkKey = (u64, u64);

/// A step that waits.
pub(super) struct Step {
    pub(super) folder: Rc<Folder>,
    /// Where it is, for people.
    pub(super) path: PathBuf,
    pub(super) deed: Deed,
}

/// What is to be done.
pub(super) enum Deed {
    /// An entry gets its name.
    Name {
        unfinished: Vec<u8>,
        name: Vec<u8>,
        /// Bytes, for a file that was written; `None` for another name of one.
        bytes: Option<u64>,
        link: Option<LinkKey>,
    },
    /// A folder that all of its entries lie in gets its mode and times.
    Dress(Box<Node>),
}

/// Steps that wait, in their order.
pub(super) struct Pending {
    steps: Vec<Step>,
    bytes: u64,
    folders: usize,
    /// What this run's unfinished files are called, up to their number.
    prefix: String,
    next: u64,
}

impl Pending {
    pub(super) fn new() -> crate::Result<Self> {
        let mut random = [0; 8];
        crate::crypto::fill_random(&mut random)?;
        Ok(Self {
            steps: Vec::new(),
            bytes: 0,
            folders: 0,
            prefix: format!("{UNFINISHED}{:016x}-", u64::from_le_bytes(random)),
            next: 0,
        })
    }

    /// A name that nothing else has.
    pub(super) fn unfinished(&mut self) -> Vec<u8> {
        self.next += 1;
        format!("{}{:x}", self.prefix, self.next).into_bytes()
    }

    /// Is it the name of an unfinished file of this run or of one that died?
    pub(super) fn is_unfinished(name: &[u8]) -> bool {
        let Some(rest) = name.strip_prefix(UNFINISHED.as_bytes()) else {
            return false;
        };
        let hex = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_hexdigit);
        rest.split_at_checked(DIGITS)
            .is_some_and(|(run, number)| hex(run) && number.strip_prefix(b"-").is_some_and(hex))
    }

    /// Adds a step; `true` when enough of them wait.
    pub(super) fn add(&mut self, step: Step) -> bool {
        let new = self
            .steps
            .last()
            .is_none_or(|last| !Rc::ptr_eq(&last.folder, &step.folder));
        self.folders += usize::from(new);
        if let Deed::Name { bytes, .. } = &step.deed {
            self.bytes += bytes.unwrap_or(0);
        }
        self.steps.push(step);
        self.steps.len() >= ENTRIES || self.bytes >= BYTES || self.folders >= FOLDERS
    }

    /// Takes all steps, after everything they are about has reached the disk; an error says that it may not have.
    pub(super) fn take(&mut self) -> (Vec<Step>, Result<(), Errno>) {
        (self.bytes, self.folders) = (0, 0);
        let steps = std::mem::take(&mut self.steps);
        let mut devices: Vec<u64> = Vec::new();
        let mut synced = Ok(());
        for step in &steps {
            let names = matches!(step.deed, Deed::Name { .. });
            if names && !devices.contains(&step.folder.device) {
                devices.push(step.folder.device);
                synced = synced.and(target::sync(&step.folder.open));
            }
        }
        (steps, synced)
    }
}

impl Step {
    /// Does it. An entry that does not get its name is removed.
    pub(super) fn perform(
        &self,
        synced: Result<(), Errno>,
        conflicts: Conflicts,
    ) -> Result<(), Errno> {
        match &self.deed {
            Deed::Dress(node) => target::dress_open(self.folder.open.as_fd(), node),
            Deed::Name {
                unfinished, name, ..
            } => {
                let settling = match conflicts {
                    Conflicts::Keep => target::Settling::OnlyNew,
                    Conflicts::Replace => target::Settling::Replace,
                };
                let named = synced
                    .and_then(|()| target::settle(&self.folder.open, unfinished, name, settling));
                if named.is_err() {
                    // The first failure is the one to report.
                    let _ = target::remove(&self.folder.open, unfinished);
                }
                named
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_names_are_told_from_all_others_and_are_never_the_same() {
        let (mut one, mut two) = (Pending::new().unwrap(), Pending::new().unwrap());
        let names = [one.unfinished(), one.unfinished(), two.unfinished()];
        assert!(names.iter().all(|name| Pending::is_unfinished(name)));
        assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2]);
        for other in [
            ".homing-restore-",
            ".homing-restore-unfinished",
            ".homing-restore-0123456789abcdef",
            ".homing-restore-0123456789abcdef-",
            ".homing-restore-0123456789abcdef-1.txt",
            ".homing-restore-0123456789abcdeg-1",
            "my.homing-restore-0123456789abcdef-1",
        ] {
            assert!(!Pending::is_unfinished(other.as_bytes()), "{other}");
        }
    }
}
