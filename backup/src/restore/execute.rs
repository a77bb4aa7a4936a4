//! Doing a restore: each file is complete under its name or not there. Follows no link and trusts no name.

use super::pending::{Deed, Folder, LinkKey, Pending, Step};
use super::{Choice, Conflicts, Selection, Watcher};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::target::Found;
use crate::os::{source, target};
use crate::pack::BlobKind;
use crate::reader::Reader;
use crate::store::Store;
use crate::tree::{Node, NodeKind};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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
/// it is written, and a file gets its name when it is whole and on the disk; one that is there already is compared with the
/// snapshot chunk by chunk. So a restore that was interrupted, by a power cut too, goes on where it was. What an interrupted
/// one left unfinished is removed.
///
/// # Errors
/// The target cannot be made or another restore writes to it, a folder's tree cannot be loaded, or the watcher stopped it.
/// Single files that fail are counted.
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
    if !target::hold(&root) {
        return Err(Error::TargetBusy(to.into()));
    }
    let root = Folder::new(root, Found::There).map_err(Error::file("looking at", to))?;
    let mut work = Work {
        reader,
        selection,
        conflicts,
        watcher,
        root: Rc::clone(&root),
        path: PathBuf::from("/"),
        linked: HashMap::new(),
        pending: Pending::new()?,
        done: Restored::default(),
        seen_bytes: 0,
        buffer: Vec::new(),
    };
    let ended = work.folder(&root, tree);
    // However it ended: what is whole gets its name.
    work.commit();
    ended?;
    target::sync(&root.open).map_err(Error::file("syncing", to))?;
    Ok(work.done)
}

struct Work<'a, 'r, S> {
    reader: &'a mut Reader<'r, S>,
    selection: &'a Selection,
    conflicts: Conflicts,
    watcher: &'a mut dyn Watcher,
    root: Rc<Folder>,
    path: PathBuf,
    /// Where the first of several hard links was restored.
    linked: HashMap<LinkKey, Linked>,
    pending: Pending,
    done: Restored,
    seen_bytes: u64,
    buffer: Vec<u8>,
}

/// The first of several hard links.
struct Linked {
    /// Its path below the target.
    path: PathBuf,
    /// Where it lies while it does not have its name yet.
    unfinished: Option<(Rc<Folder>, Vec<u8>)>,
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
    fn folder(&mut self, folder: &Rc<Folder>, tree: Id) -> Result<()> {
        let nodes = super::nodes(self.reader, &tree, self.selection, &mut self.path)?;
        if folder.found == Found::There {
            sweep(folder, &nodes);
        }
        for node in nodes {
            self.path.push(OsStr::from_bytes(&node.name));
            let done = match self.selection.choice(&self.path) {
                Choice::Out => Ok(()),
                choice => self.entry(folder, node, choice),
            };
            self.path.pop();
            done?;
        }
        Ok(())
    }

    fn entry(&mut self, folder: &Rc<Folder>, node: Node, choice: Choice) -> Result<()> {
        let done = match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(subtree)) => return self.child(folder, node, subtree, choice),
            _ if choice != Choice::Whole => return Ok(()),
            (NodeKind::File, _) => self.file(folder, &node),
            _ => self.special(folder, &node),
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

    fn child(
        &mut self,
        folder: &Rc<Folder>,
        node: Node,
        subtree: Id,
        choice: Choice,
    ) -> Result<()> {
        let made = self.make_way(folder, &node).and_then(|()| {
            let (open, found) = target::folder(&folder.open, &node.name)?;
            Ok(Folder::new(open, found)?)
        });
        let inner = match made {
            Ok(made) => made,
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
        if choice == Choice::Whole {
            self.later(&inner, Deed::Dress(Box::new(node)));
        }
        Ok(())
    }

    /// Something of another kind in the place of a folder is removed, or stays and is an error.
    fn make_way(&self, folder: &Folder, node: &Node) -> Result<(), Failure> {
        match folder.stat(&node.name) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
            Ok(stat) if source::kind(&stat) == node.kind => Ok(()),
            Ok(_) if self.conflicts == Conflicts::Keep => Err(Failure::InTheWay),
            Ok(_) => Ok(target::remove(&folder.open, &node.name)?),
        }
    }

    fn file(&mut self, folder: &Rc<Folder>, node: &Node) -> Result<(), Failure> {
        let there = match folder.stat(&node.name) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        let key = (node.device_id, node.inode);
        let may_link = there.is_none() || self.conflicts == Conflicts::Replace;
        if node.links > 1 && may_link && self.link(key, folder, node).is_ok() {
            return Ok(());
        }
        let is_file = there.is_some_and(|stat| source::kind(&stat) == NodeKind::File);
        if is_file && self.is_identical(folder, node)? {
            self.done.already_there += 1;
            self.note_link(key, node, None);
            return Ok(());
        }
        if there.is_some() && self.conflicts == Conflicts::Keep {
            return Err(Failure::InTheWay);
        }
        self.write(folder, node)
    }

    fn note_link(&mut self, key: LinkKey, node: &Node, unfinished: Option<(Rc<Folder>, Vec<u8>)>) {
        if node.links > 1 {
            let path = self.path.clone();
            self.linked.insert(key, Linked { path, unfinished });
        }
    }

    /// Links to a file restored before. One that has its name is found again step by step from the target.
    fn link(&mut self, key: LinkKey, folder: &Rc<Folder>, node: &Node) -> Result<(), Errno> {
        let first = self.linked.get(&key).ok_or(Errno::NOENT)?;
        let unfinished = self.pending.unfinished();
        let to = (folder.open.as_fd(), &unfinished[..]);
        match &first.unfinished {
            Some((within, name)) => target::link((within.open.as_fd(), name), to)?,
            None => {
                let mut at = self.root.open.try_clone().map_err(|_| Errno::MFILE)?;
                let parent = first.path.parent();
                for part in parent.into_iter().flat_map(Path::components).skip(1) {
                    at = source::open_folder(&at, part.as_os_str().as_bytes())?;
                }
                let name = first.path.file_name().unwrap_or_default().as_bytes();
                target::link((at.as_fd(), name), to)?;
            }
        }
        let itself = source::stat(&folder.open, &unfinished)?;
        let there = source::stat(&folder.open, &node.name);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (itself.st_dev, itself.st_ino)) {
            // It is the same file by now: a rename would do nothing and leave both names.
            return target::remove(&folder.open, &unfinished);
        }
        self.name_later(folder, unfinished, node);
        Ok(())
    }

    /// Has the file that is there the snapshot's content? Its mode and times are brought to the snapshot's where it may be
    /// replaced.
    fn is_identical(&mut self, folder: &Folder, node: &Node) -> Result<bool, Failure> {
        let file = File::from(source::open_file(&folder.open, &node.name)?);
        let stat = rustix::fs::fstat(&file)?;
        if source::kind(&stat) != NodeKind::File || source::number(stat.st_size) != node.size {
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
        let identical = position == node.size;
        if identical && self.conflicts == Conflicts::Replace {
            target::dress_open(file.as_fd(), node)?;
        }
        Ok(identical)
    }

    fn write(&mut self, folder: &Rc<Folder>, node: &Node) -> Result<(), Failure> {
        let unfinished = self.pending.unfinished();
        let file = target::new_file(&folder.open, &unfinished)?;
        let written = self
            .fill(&file, node)
            .and_then(|()| Ok(target::dress_open(file.as_fd(), node)?));
        if let Err(failed) = written {
            // The first failure is the one to report.
            let _ = target::remove(&folder.open, &unfinished);
            return Err(failed);
        }
        let key = (node.device_id, node.inode);
        let lies = (Rc::clone(folder), unfinished.clone());
        self.note_link(key, node, Some(lies));
        self.later(
            folder,
            Deed::Name {
                unfinished,
                name: node.name.clone(),
                bytes: Some(node.size),
                link: (node.links > 1).then_some(key),
            },
        );
        Ok(())
    }

    /// Does something when all that was written before it is on the disk.
    fn later(&mut self, folder: &Rc<Folder>, deed: Deed) {
        let step = Step {
            folder: Rc::clone(folder),
            path: self.path.clone(),
            deed,
        };
        if self.pending.add(step) {
            self.commit();
        }
    }

    /// Gives everything that waits its name.
    fn commit(&mut self) {
        let (steps, synced) = self.pending.take();
        let here = std::mem::take(&mut self.path);
        for step in steps {
            let done = step.perform(synced, self.conflicts);
            self.path = step.path;
            match (&done, &step.deed) {
                (Ok(()), Deed::Name { bytes, link, .. }) => {
                    self.done.files += u64::from(bytes.is_some());
                    self.done.bytes += bytes.unwrap_or(0);
                    if let Some(linked) = link.and_then(|key| self.linked.get_mut(&key)) {
                        linked.unfinished = None;
                    }
                }
                (Ok(()), Deed::Dress(_)) => {}
                (Err(failed), deed) => {
                    if let Deed::Name {
                        link: Some(key), ..
                    } = deed
                    {
                        self.linked.remove(key);
                    }
                    match *failed {
                        Errno::EXIST => self.keep(),
                        errno => self.refused(errno),
                    }
                }
            }
        }
        self.path = here;
    }

    fn fill(&mut self, file: &File, node: &Node) -> Result<(), Failure> {
        let (mut position, mut end) = (0, 0);
        for id in node.content.iter().flatten() {
            let chunk = self
                .reader
                .blob(BlobKind::Data, id)
                .map_err(Failure::Repository)?;
            let length = chunk.len() as u64;
            // Zeros become a hole; a file that ends in one gets its length at the end.
            if chunk.iter().any(|byte| *byte != 0) {
                file.write_all_at(chunk, position)
                    .map_err(|error| errno(&error))?;
                end = position + length;
            }
            position += length;
            self.step(length).map_err(Failure::Repository)?;
        }
        if end != position {
            rustix::fs::ftruncate(file, position)?;
        }
        if position == node.size {
            Ok(())
        } else {
            Err(Failure::Repository(Error::Malformed(
                "a file whose pieces do not add up to its size",
            )))
        }
    }

    /// A link, pipe, socket or device; it gets its name when it is complete, and one that is there and stays is not touched.
    fn special(&mut self, folder: &Rc<Folder>, node: &Node) -> Result<(), Failure> {
        match folder.stat(&node.name) {
            Ok(stat) if self.conflicts == Conflicts::Keep => {
                return if target::is_same_special(&folder.open, &stat, node) {
                    self.done.already_there += 1;
                    Ok(())
                } else {
                    Err(Failure::InTheWay)
                };
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let unfinished = self.pending.unfinished();
        target::special(&folder.open, &unfinished, node)?;
        if let Err(errno) = target::dress_entry(folder.open.as_fd(), &unfinished, node) {
            // The first failure is the one to report.
            let _ = target::remove(&folder.open, &unfinished);
            return Err(errno.into());
        }
        self.name_later(folder, unfinished, node);
        Ok(())
    }

    /// Gives something without content of its own its name, when it is on the disk.
    fn name_later(&mut self, folder: &Rc<Folder>, unfinished: Vec<u8>, node: &Node) {
        let deed = Deed::Name {
            unfinished,
            name: node.name.clone(),
            bytes: None,
            link: None,
        };
        self.later(folder, deed);
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

/// Removes what a restore that died has left in a folder. A file of the snapshot with such a name is none of that.
fn sweep(folder: &Folder, nodes: &[Node]) {
    for name in source::names(&folder.open).unwrap_or_default() {
        if Pending::is_unfinished(&name.bytes)
            && !nodes.iter().any(|node| *node.name == *name.bytes)
        {
            // What cannot be removed stands in nobody's way.
            let _ = target::remove(&folder.open, &name.bytes);
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}
