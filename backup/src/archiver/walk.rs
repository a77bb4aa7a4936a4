//! The walk through a folder tree: what changed is read, what did not is taken from the parent. Stores through the writer only.

use super::changes::Change;
use super::content::Cutter;
use super::database;
use super::options::{Caches, FileSystems, Observer, Options, Problem, Progress, Trouble};
use super::pattern;
use super::remembered::Remembered;
use super::state::{Fingerprint, Notes, Taking};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::identity::Names;
use crate::os::source::{self, Attributes};
use crate::pack::BlobKind;
use crate::snapshot::Summary;
use crate::store::Store;
use crate::timestamp::Timestamp;
use crate::tree::{Node, NodeKind, TreeWriter};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Problems kept by name in the snapshot; all are counted.
const NAMED_PROBLEMS: usize = 100;
/// How a folder's tag must begin (bford.info/cachedir).
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The state of a walk.
pub(super) struct Walk<'a, S> {
    pub(super) writer: Writer<'a, S>,
    pub(super) cutter: Cutter,
    pub(super) names: Names,
    pub(super) attributes: Attributes,
    pub(super) options: &'a Options,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) progress: Progress,
    pub(super) summary: Summary,
    /// Where the walk is, for patterns and for people.
    pub(super) path: PathBuf,
    /// The file system it began on.
    pub(super) device: u64,
    /// What belongs to databases that were copied without it.
    pub(super) aside: HashSet<PathBuf>,
    /// What to look at, sorted, if not at everything.
    pub(super) changes: Option<&'a [Change]>,
    /// What the last run saw.
    pub(super) notes: Notes,
    /// What a set of changes could not tell the next run.
    pub(super) seen: Remembered,
    /// Files changed since then may have changed once more, in the same step of the clock, after the parent had read them.
    pub(super) recent: Timestamp,
}

/// An entry as it was found.
struct Seen {
    name: Box<[u8]>,
    stat: Stat,
    /// A folder's tree, which is stored already.
    subtree: Option<Id>,
}

impl<S: Store> Walk<'_, S> {
    /// Stores a folder's tree and returns its name. `parent` is the tree it had in the parent snapshot.
    pub(super) fn folder(&mut self, folder: &OwnedFd, parent: Option<Id>) -> Result<Id> {
        let known = self.notes.of(&self.path);
        // A folder that was noted is judged by its fingerprint; its old tree is opened only if that differs.
        let old = match known {
            Some(_) => None,
            None => Some(self.parent_nodes(parent)),
        };
        let mut taking = Taking::new(self.summary.backup_start);
        let seen = self.look(folder, old.as_deref(), &mut taking)?;
        let (print, mut settled) = taking.finish();
        if let Some((before, tree)) = known
            && before == print
            && self.writer.index.contains(BlobKind::Tree, &tree)
        {
            self.count_unchanged(&seen);
            self.notes.note(&self.path, print, tree);
            return Ok(tree);
        }
        let old = old.unwrap_or_else(|| self.parent_nodes(known.map(|(_, tree)| tree)));
        let errors = self.summary.errors;
        let tree = self.write(folder, seen, old)?;
        // What could not be read must be tried, and told, again.
        settled &= self.summary.errors == errors;
        let print = if settled { print } else { Fingerprint::NEVER };
        self.notes.note(&self.path, print, tree);
        Ok(tree)
    }

    /// The parent's entries, in order of their names. A tree that cannot be loaded is as good as none: all is read again.
    fn parent_nodes(&mut self, parent: Option<Id>) -> Vec<Node> {
        let Some(id) = parent else {
            return Vec::new();
        };
        let mut nodes = self.writer.load_tree(&id).unwrap_or_default();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// Looks at everything in a folder, its folders first and wholly, so that little time passes between the look at a file and
    /// its reading.
    fn look(
        &mut self,
        folder: &OwnedFd,
        old: Option<&[Node]>,
        taking: &mut Taking,
    ) -> Result<Vec<Seen>> {
        let mut names = match source::names(folder) {
            Ok(names) => names,
            Err(errno) => {
                self.problem(Trouble::Unreadable, errno);
                taking.doubt();
                Vec::new()
            }
        };
        if self.options.caches == Caches::Skip && is_cache(folder) {
            names.retain(|name| *name.bytes == *b"CACHEDIR.TAG");
        }
        let mut subtrees = vec![None; names.len()];
        let mut seen = Vec::with_capacity(names.len());
        for (name, subtree) in names.iter_mut().zip(&mut subtrees) {
            self.path.push(OsStr::from_bytes(&name.bytes));
            let kept = !self.excluded(&name.bytes);
            if kept && name.is_folder(folder) {
                *subtree = self.child(folder, &name.bytes, old)?;
            }
            self.path.pop();
            if !kept {
                name.bytes = Box::default();
            }
        }
        for (name, subtree) in names.into_iter().zip(subtrees) {
            if name.bytes.is_empty() {
                continue;
            }
            self.path.push(OsStr::from_bytes(&name.bytes));
            let found = self.look_at(folder, name.bytes, subtree);
            self.path.pop();
            match found? {
                Some(entry) => {
                    taking.add(&entry.name, &entry.stat, entry.subtree.as_ref());
                    seen.push(entry);
                }
                None => taking.doubt(),
            }
        }
        Ok(seen)
    }

    /// One entry's metadata; `None` when it cannot be had, which is noted.
    fn look_at(
        &mut self,
        folder: &OwnedFd,
        name: Box<[u8]>,
        subtree: Option<Id>,
    ) -> Result<Option<Seen>> {
        self.progress.entries += 1;
        self.step(0)?;
        let stat = match source::stat(folder, &name) {
            Ok(stat) => stat,
            // SQLite makes and removes these with each change.
            Err(Errno::NOENT) if database::is_companion(folder, &name) => return Ok(None),
            Err(errno) => return Ok(self.lost(errno)),
        };
        match (source::kind(&stat), subtree) {
            // It could not be opened, which is noted, or it was something else a moment ago.
            (NodeKind::Dir, None) => Ok(None),
            (NodeKind::Other, _) => Ok(self.lost(Errno::NOTSUP)),
            (kind, subtree) => {
                if kind != NodeKind::Dir {
                    self.seen.see(&self.path, &stat);
                }
                Ok(Some(Seen {
                    name,
                    stat,
                    subtree: subtree.filter(|_| kind == NodeKind::Dir),
                }))
            }
        }
    }

    /// Stores the tree of a folder within a folder; `None` when it cannot be opened, which is noted.
    fn child(&mut self, folder: &OwnedFd, name: &[u8], old: Option<&[Node]>) -> Result<Option<Id>> {
        let opened = source::open_folder(folder, name)
            .and_then(|opened| Ok((rustix::fs::fstat(&opened)?, opened)));
        let (stat, opened) = match opened {
            Ok(opened) => opened,
            Err(errno) => return Ok(self.lost(errno)),
        };
        let before = match old {
            Some(nodes) => nodes
                .binary_search_by(|node| (*node.name).cmp(name))
                .ok()
                .and_then(|at| nodes.get(at))
                .filter(|node| node.kind == NodeKind::Dir)
                .and_then(|node| node.subtree),
            None => self.notes.of(&self.path).map(|(_, tree)| tree),
        };
        let elsewhere = source::number(stat.st_dev) != self.device;
        let subtree = if elsewhere && self.options.file_systems == FileSystems::One {
            self.writer
                .add(BlobKind::Tree, &TreeWriter::default().finish())?
        } else {
            self.folder(&opened, before)?
        };
        self.count_folder(before, subtree);
        Ok(Some(subtree))
    }

    /// Counts a folder whose tree was `before`.
    pub(super) fn count_folder(&mut self, before: Option<Id>, now: Id) {
        match before {
            None => self.summary.dirs_new += 1,
            Some(before) if before == now => self.summary.dirs_unmodified += 1,
            Some(_) => self.summary.dirs_changed += 1,
        }
    }

    /// A folder is as it was: what a run that opened its tree would have counted.
    fn count_unchanged(&mut self, seen: &[Seen]) {
        for entry in seen {
            if source::kind(&entry.stat) == NodeKind::File {
                let size = source::number(entry.stat.st_size);
                self.summary.total_files_processed += 1;
                self.summary.files_unmodified += 1;
                self.summary.total_bytes_processed += size;
                self.progress.bytes += size;
            }
        }
    }

    /// Stores the tree of a folder that changed.
    fn write(&mut self, folder: &OwnedFd, seen: Vec<Seen>, old: Vec<Node>) -> Result<Id> {
        let mut old = old.into_iter().peekable();
        let mut tree = TreeWriter::default();
        let logged: Vec<Box<[u8]>> = seen
            .iter()
            .filter(|entry| database::is_log(&entry.name, &entry.stat))
            .filter_map(|entry| database::base_of(&entry.name).map(Into::into))
            .collect();
        for entry in seen {
            while old.next_if(|node| *node.name < *entry.name).is_some() {}
            let before = old.next_if(|node| *node.name == *entry.name);
            self.path.push(OsStr::from_bytes(&entry.name));
            if self.aside.remove(&self.path) {
                self.path.pop();
                continue;
            }
            let node = match source::kind(&entry.stat) {
                NodeKind::Dir => Ok(self.child_node(folder, &entry, before)),
                NodeKind::File => {
                    let logged = logged.contains(&entry.name);
                    self.file(folder, &entry.name, &entry.stat, before, logged)
                }
                _ => Ok(self.special(folder, &entry.name, &entry.stat)),
            };
            self.path.pop();
            if let Some(node) = node? {
                tree.push(&node);
            }
            self.step(0)?;
        }
        self.writer.add(BlobKind::Tree, &tree.finish())
    }

    fn child_node(&mut self, folder: &OwnedFd, entry: &Seen, before: Option<Node>) -> Option<Node> {
        let opened = match source::open_folder(folder, &entry.name) {
            Ok(opened) => opened,
            Err(errno) => return self.lost(errno),
        };
        let mut node = self.folder_node(&entry.name, &entry.stat, &opened);
        node.subtree = entry.subtree;
        let before = before.filter(|node| node.kind == NodeKind::Dir);
        node.unknown = before.map(|node| node.unknown).unwrap_or_default();
        Some(node)
    }

    /// A folder's entry, its tree still missing.
    pub(super) fn folder_node(&mut self, name: &[u8], stat: &Stat, opened: &OwnedFd) -> Node {
        let mut node = source::node(name, stat, &self.names);
        match self.attributes.of_open(opened.as_fd()) {
            Ok(pairs) => node.xattrs = pairs,
            Err(errno) => self.problem(Trouble::Unreadable, errno),
        }
        node
    }

    pub(super) fn special(&mut self, folder: &OwnedFd, name: &[u8], stat: &Stat) -> Option<Node> {
        let mut node = source::node(name, stat, &self.names);
        if node.kind == NodeKind::Symlink {
            match source::link_target(folder, name) {
                Ok(target) => node.link_target = target,
                Err(errno) => return self.lost(errno),
            }
        }
        match self.attributes.of_entry(folder.as_fd(), name) {
            Ok(pairs) => node.xattrs = pairs,
            Err(errno) => self.problem(Trouble::Unreadable, errno),
        }
        Some(node)
    }

    pub(super) fn excluded(&self, name: &[u8]) -> bool {
        let path = self.path.as_os_str().as_bytes();
        self.options.excludes.iter().any(|wanted| {
            let text = if wanted.contains('/') { path } else { name };
            pattern::fits(wanted.as_bytes(), text)
        })
    }

    pub(super) fn step(&mut self, bytes: u64) -> Result<()> {
        self.progress.bytes += bytes;
        self.progress.stored_bytes = self.writer.stored.plain_bytes;
        // A walk that finds nothing new to store can take hours too.
        self.writer.stay()?;
        if self.observer.progress(&self.progress) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Notes that the current item is missing in the snapshot.
    pub(super) fn lost<T>(&mut self, errno: Errno) -> Option<T> {
        let gone = errno == Errno::NOENT;
        self.problem(
            if gone {
                Trouble::Vanished
            } else {
                Trouble::Unreadable
            },
            errno,
        );
        None
    }

    pub(super) fn problem(&mut self, trouble: Trouble, errno: Errno) {
        self.doubtful(trouble, std::io::Error::from(errno).to_string());
    }

    /// Notes that the current item is missing or may be wrong in the snapshot.
    pub(super) fn doubtful(&mut self, trouble: Trouble, reason: String) {
        let problem = Problem {
            path: self.path.clone(),
            trouble,
            reason,
        };
        self.seen.doubt(&self.path);
        self.summary.errors += 1;
        if self.summary.unreadable.len() < NAMED_PROBLEMS {
            self.summary.unreadable.push(problem.to_string());
        }
        self.observer.problem(&problem);
    }
}

pub(super) fn is_cache(folder: &OwnedFd) -> bool {
    use std::os::unix::fs::FileExt;
    let mut start = [0; CACHE_TAG.len()];
    source::open_file(folder, b"CACHEDIR.TAG")
        .is_ok_and(|tag| File::from(tag).read_exact_at(&mut start, 0).is_ok() && start == CACHE_TAG)
}
