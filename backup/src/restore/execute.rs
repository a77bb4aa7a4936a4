//! Doing a restore: each file is complete under its name or not there. Follows no link and trusts no name.

use super::{Choice, Conflicts, Selection, Watcher};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::{source, target};
use crate::pack::BlobKind;
use crate::reader::Reader;
use crate::store::Store;
use crate::tree::{Node, NodeKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The name of a file until it is complete.
const UNFINISHED: &[u8] = b".homing-restore-unfinished";

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files written.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that were there already, compared by content.
    pub already_there: u64,
    /// What was there, differs and was kept; counted as errors too.
    pub kept: u64,
    /// Entries that could not be restored properly.
    pub errors: u64,
}

/// Restores the chosen part of a tree below `to`, which is made if it is not there. Every chunk is checked by its name before
/// it is written; a file that is there already is compared with the snapshot chunk by chunk, so a restore that was interrupted
/// goes on where it was.
///
/// # Errors
/// The target cannot be made, a folder's tree cannot be loaded, or the watcher stopped it. Single files that fail are counted.
pub fn execute<S: Store>(
    reader: &mut Reader<'_, S>,
    tree: Id,
    selection: &Selection,
    to: &Path,
    conflicts: Conflicts,
    watcher: &mut dyn Watcher,
) -> Result<Restored> {
    match rustix::fs::mkdir(to, rustix::fs::Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::file("making", to)(errno)),
    }
    let root = source::open_root(to).map_err(Error::file("opening", to))?;
    let mut work = Work {
        reader,
        selection,
        conflicts,
        watcher,
        root: root.try_clone().map_err(|source| Error::File {
            what: "opening",
            path: to.into(),
            source,
        })?,
        path: PathBuf::from("/"),
        linked: HashMap::new(),
        done: Restored::default(),
        seen_bytes: 0,
        buffer: Vec::new(),
    };
    work.folder(&root, tree)?;
    Ok(work.done)
}

struct Work<'a, 'r, S> {
    reader: &'a mut Reader<'r, S>,
    selection: &'a Selection,
    conflicts: Conflicts,
    watcher: &'a mut dyn Watcher,
    root: OwnedFd,
    path: PathBuf,
    /// Where the first of several hard links was restored.
    linked: HashMap<(u64, u64), PathBuf>,
    done: Restored,
    seen_bytes: u64,
    buffer: Vec<u8>,
}

/// Why one file was not restored.
enum Failure {
    /// Something else has its name, and stays.
    InTheWay,
    /// The target said no.
    Target(Errno),
    /// The repository cannot give it.
    Repository(Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Target(errno)
    }
}

impl<S: Store> Work<'_, '_, S> {
    fn folder(&mut self, folder: &OwnedFd, tree: Id) -> Result<()> {
        for node in self.reader.tree(&tree)? {
            self.path.push(OsStr::from_bytes(&node.name));
            let done = match self.selection.choice(&self.path) {
                Choice::Out => Ok(()),
                choice => self.entry(folder, &node, choice),
            };
            self.path.pop();
            done?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, node: &Node, choice: Choice) -> Result<()> {
        let done = match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(subtree)) => return self.child(folder, node, subtree, choice),
            _ if choice != Choice::Whole => return Ok(()),
            (NodeKind::File, _) => self.file(folder, node),
            _ => self.special(folder, node),
        };
        match done {
            Ok(()) => {}
            Err(Failure::InTheWay) => self.keep(),
            Err(Failure::Repository(Error::Stopped)) => return Err(Error::Stopped),
            Err(Failure::Repository(error)) => self.trouble(&error.to_string()),
            Err(Failure::Target(errno)) => self.refused(errno),
        }
        self.step(0)
    }

    fn child(&mut self, folder: &OwnedFd, node: &Node, subtree: Id, choice: Choice) -> Result<()> {
        let made = self
            .make_way(folder, node)
            .and_then(|()| Ok(target::folder(folder, &node.name)?));
        let inner = match made {
            Ok(inner) => inner,
            Err(Failure::Target(errno)) => {
                self.refused(errno);
                return Ok(());
            }
            Err(_) => {
                self.keep();
                return Ok(());
            }
        };
        self.folder(&inner, subtree)?;
        // Folders on the way to what was chosen keep what they have.
        if choice == Choice::Whole
            && let Err(errno) = target::dress_open(inner.as_fd(), node)
        {
            self.refused(errno);
        }
        Ok(())
    }

    /// Something of another kind in the place of an entry is removed, or stays and is an error. A full folder always stays.
    fn make_way(&self, folder: &OwnedFd, node: &Node) -> Result<(), Failure> {
        match source::stat(folder, &node.name) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
            Ok(stat) if source::kind(&stat) == node.kind => Ok(()),
            Ok(_) if self.conflicts == Conflicts::Keep => Err(Failure::InTheWay),
            Ok(_) => Ok(target::remove(folder, &node.name)?),
        }
    }

    fn file(&mut self, folder: &OwnedFd, node: &Node) -> Result<(), Failure> {
        self.make_way(folder, node)?;
        let key = (node.device_id, node.inode);
        if node.links > 1
            && let Some(first) = self.linked.get(&key).cloned()
            && self.link(&first, folder, node).is_ok()
        {
            return Ok(());
        }
        match source::stat(folder, &node.name) {
            Ok(_) if self.is_identical(folder, node)? => self.done.already_there += 1,
            Ok(_) if self.conflicts == Conflicts::Keep => return Err(Failure::InTheWay),
            Ok(_) | Err(Errno::NOENT) => self.write(folder, node)?,
            Err(errno) => return Err(errno.into()),
        }
        if node.links > 1 {
            self.linked.insert(key, self.path.clone());
        }
        Ok(())
    }

    /// Links to a file restored before; its folder is found again step by step from the target.
    fn link(&self, first: &Path, folder: &OwnedFd, node: &Node) -> Result<(), Errno> {
        let mut at = self.root.try_clone().map_err(|_| Errno::MFILE)?;
        for part in first
            .parent()
            .into_iter()
            .flat_map(Path::components)
            .skip(1)
        {
            at = source::open_folder(&at, part.as_os_str().as_bytes())?;
        }
        let name = first.file_name().unwrap_or_default().as_bytes();
        if self.conflicts == Conflicts::Replace {
            target::remove(folder, &node.name)?;
        }
        target::link((at.as_fd(), name), (folder.as_fd(), &node.name))
    }

    fn is_identical(&mut self, folder: &OwnedFd, node: &Node) -> Result<bool, Failure> {
        let file = File::from(source::open_file(folder, &node.name)?);
        let stat = rustix::fs::fstat(&file)?;
        if !target::looks_finished(&stat, node) {
            return Ok(false);
        }
        let mut position = 0;
        for id in node.content.iter().flatten() {
            let Some(length) = self.reader.plain_length(id) else {
                return Ok(false);
            };
            self.buffer.resize(usize::try_from(length).unwrap_or(0), 0);
            if file.read_exact_at(&mut self.buffer, position).is_err()
                || Id::of(&self.buffer) != *id
            {
                return Ok(false);
            }
            position += length;
            self.step(length).map_err(Failure::Repository)?;
        }
        Ok(position == node.size)
    }

    fn write(&mut self, folder: &OwnedFd, node: &Node) -> Result<(), Failure> {
        target::remove(folder, UNFINISHED)?;
        let file = target::new_file(folder, UNFINISHED)?;
        let written = self.fill(&file, node).and_then(|()| {
            target::dress_open(file.as_fd(), node)?;
            Ok(target::settle(folder, UNFINISHED, &node.name)?)
        });
        if written.is_err() {
            // The first failure is the one to report.
            let _ = target::remove(folder, UNFINISHED);
        } else {
            self.done.files += 1;
            self.done.bytes += node.size;
        }
        written
    }

    fn fill(&mut self, file: &File, node: &Node) -> Result<(), Failure> {
        let mut position = 0;
        for id in node.content.iter().flatten() {
            let chunk = self
                .reader
                .blob(BlobKind::Data, id)
                .map_err(Failure::Repository)?;
            let length = chunk.len() as u64;
            // Zeros become a hole: the file gets its length at the end.
            if chunk.iter().any(|byte| *byte != 0) {
                file.write_all_at(chunk, position)
                    .map_err(|error| errno(&error))?;
            }
            position += length;
            self.step(length).map_err(Failure::Repository)?;
        }
        rustix::fs::ftruncate(file, position)?;
        if position == node.size {
            Ok(())
        } else {
            Err(Failure::Repository(Error::Malformed(
                "a file whose pieces do not add up to its size",
            )))
        }
    }

    fn special(&mut self, folder: &OwnedFd, node: &Node) -> Result<(), Failure> {
        match source::stat(folder, &node.name) {
            Ok(stat) if target::is_same_special(folder, &stat, node) => {}
            Ok(_) if self.conflicts == Conflicts::Keep => return Err(Failure::InTheWay),
            Ok(_) | Err(Errno::NOENT) => {
                target::remove(folder, &node.name)?;
                target::special(folder, &node.name, node)?;
            }
            Err(errno) => return Err(errno.into()),
        }
        target::dress_entry(folder.as_fd(), &node.name, node)?;
        Ok(())
    }

    fn step(&mut self, bytes: u64) -> Result<()> {
        self.seen_bytes += bytes;
        if self.watcher.restored(self.seen_bytes) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    fn keep(&mut self) {
        self.done.kept += 1;
        self.trouble("something else is there, and stays");
    }

    fn refused(&mut self, errno: Errno) {
        self.trouble(&std::io::Error::from(errno).to_string());
    }

    fn trouble(&mut self, reason: &str) {
        self.done.errors += 1;
        self.watcher.trouble(&self.path, reason);
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
