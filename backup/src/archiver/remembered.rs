//! What a set of changes cannot tell by itself: which names share a file, and what could not be read. Only ever a hint.

use crate::os::source;
use rustix::fs::Stat;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names kept; where there are more, sets of changes are not followed.
const MOST_NAMES: usize = 10_000;

/// A file, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode {
    device: u64,
    number: u64,
}

/// Names of files that have several, and of entries that were not read properly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    linked: BTreeMap<Inode, BTreeSet<PathBuf>>,
    doubtful: BTreeSet<PathBuf>,
    names: usize,
    /// Links that a file was seen to have; of this run only.
    links: BTreeMap<Inode, u64>,
}

/// What must be looked at beside a set of changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Besides {
    pub(super) paths: Vec<PathBuf>,
    /// Files of which every known name is looked at.
    inodes: BTreeSet<Inode>,
}

impl Remembered {
    /// Takes in what was seen at a path that is no folder.
    pub(super) fn see(&mut self, path: &Path, stat: &Stat) {
        let links = source::number(stat.st_nlink);
        if links < 2 {
            return;
        }
        let inode = Inode {
            device: source::number(stat.st_dev),
            number: source::number(stat.st_ino),
        };
        self.links.insert(inode, links);
        self.link(inode, path.into());
    }

    fn link(&mut self, inode: Inode, path: PathBuf) {
        if self.names >= MOST_NAMES {
            self.names = MOST_NAMES + 1;
        } else if self.linked.entry(inode).or_default().insert(path) {
            self.names += 1;
        }
    }

    /// Something at that path must be looked at again.
    pub(super) fn doubt(&mut self, path: &Path) {
        if self.names >= MOST_NAMES {
            self.names = MOST_NAMES + 1;
        } else if self.doubtful.insert(path.into()) {
            self.names += 1;
        }
    }

    /// Is everything kept that should be?
    pub(super) const fn is_whole(&self) -> bool {
        self.names <= MOST_NAMES
    }

    /// What could not be read, and all names of each file of which one may have changed.
    pub(super) fn besides(&self, covered: impl Fn(&Path) -> bool) -> Besides {
        let mut besides = Besides {
            paths: self.doubtful.iter().cloned().collect(),
            inodes: BTreeSet::new(),
        };
        for (inode, names) in &self.linked {
            if names.iter().any(|name| covered(name)) {
                besides.inodes.insert(*inode);
                besides.paths.extend(names.iter().cloned());
            }
        }
        besides
    }

    /// Was every name looked at of each file that was seen by a run that followed changes? A file that had one name when
    /// `before` was kept is not in it: its name is known only if as many were seen now as it has.
    pub(super) fn has_all_names(&self, before: &Self, besides: &Besides) -> bool {
        self.linked.iter().all(|(inode, seen)| {
            if before.linked.contains_key(inode) {
                besides.inodes.contains(inode)
            } else {
                self.links.get(inode) == Some(&(seen.len() as u64))
            }
        })
    }

    /// Keeps what was known of everything that a run did not come to.
    pub(super) fn keep(&mut self, before: &Self, besides: &Besides) {
        for (inode, names) in &before.linked {
            if !besides.inodes.contains(inode) {
                for name in names {
                    self.link(*inode, name.clone());
                }
            }
        }
    }

    /// Appends it to a state file.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self.is_whole()));
        write_paths(bytes, &self.doubtful);
        bytes.extend_from_slice(&(self.linked.len() as u64).to_le_bytes());
        for (inode, names) in &self.linked {
            bytes.extend_from_slice(&inode.device.to_le_bytes());
            bytes.extend_from_slice(&inode.number.to_le_bytes());
            write_paths(bytes, names);
        }
    }

    /// Reads it from the end of a state file; `None` when it is not whole.
    pub(super) fn read(mut rest: &[u8]) -> Option<Self> {
        let mut remembered = Self::default();
        let (whole, after) = rest.split_first()?;
        rest = after;
        for path in read_paths(&mut rest)? {
            remembered.doubt(&path);
        }
        for _ in 0..number(&mut rest)? {
            let inode = Inode {
                device: number(&mut rest)?,
                number: number(&mut rest)?,
            };
            for path in read_paths(&mut rest)? {
                remembered.link(inode, path);
            }
        }
        if *whole == 0 {
            remembered.names = MOST_NAMES + 1;
        }
        rest.is_empty().then_some(remembered)
    }
}

fn write_paths(bytes: &mut Vec<u8>, paths: &BTreeSet<PathBuf>) {
    bytes.extend_from_slice(&(paths.len() as u64).to_le_bytes());
    for path in paths {
        let path = path.as_os_str().as_bytes();
        bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
        bytes.extend_from_slice(path);
    }
}

fn read_paths(rest: &mut &[u8]) -> Option<Vec<PathBuf>> {
    let count = number(rest)?;
    let mut paths = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(number(rest)?).ok()?;
        let (path, after) = rest.split_at_checked(length)?;
        *rest = after;
        paths.push(OsStr::from_bytes(path).into());
    }
    Some(paths)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_file_are_looked_at_when_one_may_have_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "x").unwrap();
        std::fs::hard_link(path("a"), path("b")).unwrap();
        let stat = rustix::fs::stat(path("a")).unwrap();
        let mut before = Remembered::default();
        before.see(&path("a"), &stat);
        let mut half = Remembered::default();
        half.see(&path("b"), &stat);
        let none = Remembered::default();
        assert!(
            !half.has_all_names(&none, &Besides::default()),
            "the other name is unknown"
        );
        before.see(&path("b"), &stat);
        assert!(before.has_all_names(&none, &Besides::default()));
        assert!(!half.has_all_names(&before, &Besides::default()));
        let besides = before.besides(|at| at == path("b"));
        assert_eq!(besides.paths, [path("a"), path("b")]);
        assert!(half.has_all_names(&before, &besides));
        assert!(before.besides(|_| false).paths.is_empty());

        before.doubt(Path::new("/\u{fffd}"));
        let mut bytes = Vec::new();
        before.write(&mut bytes);
        let back = Remembered::read(&bytes).unwrap();
        assert_eq!(
            (&back.linked, &back.doubtful),
            (&before.linked, &before.doubtful)
        );
        for length in 0..bytes.len() {
            assert!(Remembered::read(&bytes[..length]).is_none());
        }
    }

    #[test]
    fn too_many_names_are_known_to_be_too_many_in_the_next_run_too() {
        let mut remembered = Remembered::default();
        for number in 0..=MOST_NAMES {
            remembered.doubt(Path::new(&number.to_string()));
        }
        let mut bytes = Vec::new();
        remembered.write(&mut bytes);
        assert!(!remembered.is_whole() && !Remembered::read(&bytes).unwrap().is_whole());
    }
}
