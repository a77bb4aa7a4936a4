//! The walk along a set of changes: only the folders on the way to them are opened, everything else is taken from the parent.

use super::changes::{Reach, Within};
use super::database;
use super::options::{Caches, FileSystems};
use super::walk::{Walk, is_cache};
use crate::error::Result;
use crate::id::Id;
use crate::os::source;
use crate::pack::BlobKind;
use crate::store::Store;
use crate::tree::{Node, NodeKind, TreeWriter};
use rustix::fd::OwnedFd;
use rustix::fs::Stat;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What a folder's own tag is called (bford.info/cachedir).
const TAG: &str = "CACHEDIR.TAG";

impl<'a, S: Store> Walk<'a, S> {
    /// Stores the tree of a folder that was backed up before as `parent`, of which only `within` may have changed.
    pub(super) fn follow(
        &mut self,
        folder: &OwnedFd,
        parent: Id,
        within: Within<'a>,
    ) -> Result<Id> {
        if within.is_empty() {
            return Ok(parent);
        }
        // What a tag says of a folder changes everything in it.
        let tagged = within.entries().any(|(name, _)| name == TAG);
        let by_tag = self.options.caches == Caches::Skip && (tagged || is_cache(folder));
        let old = match self.writer.load_tree(&parent) {
            Ok(old) if !by_tag && within.own != Some(Reach::Below) => old,
            _ => return self.folder(folder, Some(parent)),
        };
        let mut entries: BTreeMap<&[u8], (Option<Within<'a>>, Option<&Node>)> = BTreeMap::new();
        for node in &old {
            entries.insert(&node.name, (None, Some(node)));
        }
        let listed = self.listed(folder, within)?;
        let related = related(within);
        for name in &listed {
            entries.entry(&name.bytes).or_default().0 = Some(Within::nothing());
        }
        if within.own.is_some() {
            // Names that are in the list no more.
            entries.retain(|_, (found, _)| found.is_some());
        }
        for name in &related {
            entries.entry(name).or_default().0 = Some(Within::nothing());
        }
        for (name, below) in within.entries() {
            entries.entry(name.as_bytes()).or_default().0 = Some(below);
        }
        let mut tree = TreeWriter::default();
        for (name, (found, node)) in entries {
            match (found, node) {
                (None, Some(node)) => tree.push(node),
                (None, None) => {}
                (Some(below), node) => {
                    self.path.push(OsStr::from_bytes(name));
                    let node = self.entry(folder, name, node, below);
                    self.path.pop();
                    if let Some(node) = node? {
                        tree.push(&node);
                    }
                }
            }
        }
        let tree = self.writer.add(BlobKind::Tree, &tree.finish())?;
        self.notes.note_unseen(&self.path, tree);
        Ok(tree)
    }

    /// The folder's list of entries, if that may have changed.
    fn listed(&mut self, folder: &OwnedFd, within: Within<'a>) -> Result<Vec<source::Name>> {
        if within.own.is_none() {
            return Ok(Vec::new());
        }
        match source::names(folder) {
            Ok(names) => Ok(names),
            Err(errno) => {
                self.lost::<()>(errno);
                Ok(Vec::new())
            }
        }
    }

    /// One entry that may have changed; `None` when it is not there, is left out, or cannot be read, which is noted.
    fn entry(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        old: Option<&Node>,
        within: Within<'a>,
    ) -> Result<Option<Node>> {
        if self.aside.remove(&self.path) || self.excluded(name) {
            return Ok(None);
        }
        self.progress.entries += 1;
        self.step(0)?;
        let stat = match source::stat(folder, name) {
            Ok(stat) => stat,
            // That is what may have changed.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Ok(self.lost(errno)),
        };
        match source::kind(&stat) {
            NodeKind::Dir => self.followed_child(folder, name, old, within),
            NodeKind::Other => Ok(self.lost(Errno::NOTSUP)),
            kind => {
                self.seen.see(&self.path, &stat);
                match kind {
                    NodeKind::File => {
                        let logged = database::has_log(folder, name);
                        self.file(folder, name, &stat, old.cloned(), logged)
                    }
                    _ => Ok(self.special(folder, name, &stat)),
                }
            }
        }
    }

    fn followed_child(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        old: Option<&Node>,
        within: Within<'a>,
    ) -> Result<Option<Node>> {
        let opened = source::open_folder(folder, name)
            .and_then(|opened| Ok((rustix::fs::fstat(&opened)?, opened)));
        let (stat, opened) = match opened {
            Ok(opened) => opened,
            Err(errno) => return Ok(self.lost(errno)),
        };
        let old = old.filter(|node| node.kind == NodeKind::Dir);
        let before = old.and_then(|node| node.subtree);
        let elsewhere = source::number(stat.st_dev) != self.device;
        let subtree = if elsewhere && self.options.file_systems == FileSystems::One {
            self.writer
                .add(BlobKind::Tree, &TreeWriter::default().finish())?
        } else {
            match before {
                Some(tree) if old.is_some_and(|old| is_same(old, &stat)) => {
                    self.follow(&opened, tree, within)?
                }
                _ => self.folder(&opened, before)?,
            }
        };
        self.count_folder(before, subtree);
        let mut node = self.folder_node(name, &stat, &opened);
        node.subtree = Some(subtree);
        node.unknown = old.map(|node| node.unknown.clone()).unwrap_or_default();
        Ok(Some(node))
    }
}

/// A database and what SQLite keeps beside it change together.
fn related(within: Within<'_>) -> Vec<Vec<u8>> {
    let names = within.entries().map(|(name, _)| name.as_bytes());
    names
        .flat_map(|name| {
            let base = database::base_of(name).unwrap_or(name);
            database::companions(base).chain([base.to_vec()])
        })
        .collect()
}

/// Is it the folder that the parent knows, and not another of its name?
fn is_same(old: &Node, stat: &Stat) -> bool {
    old.inode == source::number(stat.st_ino) && old.device_id == source::number(stat.st_dev)
}
