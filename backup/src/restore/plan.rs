//! What a restore would do: how much, and what stands in its way. Writes nothing.

use super::{Choice, Selection};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::source;
use crate::os::target;
use crate::pack::BlobKind;
use crate::reader::Reader;
use crate::store::Store;
use crate::tree::NodeKind;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Conflicts kept by name; all are counted.
const NAMED: usize = 100;

/// What would be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Folders.
    pub folders: u64,
    /// Regular files.
    pub files: u64,
    /// Links, pipes, sockets, devices.
    pub others: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Entries that something else stands in the place of.
    pub conflicts: u64,
    /// The first of them, as paths below the target.
    pub conflicting: Vec<PathBuf>,
    /// Pieces of files that no index names: these files cannot be restored.
    pub missing_blobs: u64,
}

/// Walks the chosen part of a tree and looks at what is in the target already. The reader is told what a restore will want.
///
/// # Errors
/// A tree cannot be loaded, or a chosen path is not in the snapshot.
pub fn plan<S: Store>(
    reader: &mut Reader<'_, S>,
    tree: Id,
    selection: &Selection,
    target: &Path,
) -> Result<Plan> {
    let mut plan = Plan::default();
    let folder = match source::open_root(target) {
        Ok(folder) => Some(folder),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(Error::file("opening", target)(errno)),
    };
    let mut found = vec![false; selection.paths.len()];
    walk(
        reader,
        tree,
        selection,
        &mut PathBuf::from("/"),
        folder.as_ref(),
        &mut plan,
        &mut found,
    )?;
    match found.iter().position(|found| !found) {
        Some(absent) => Err(Error::NoSuchPath(selection.paths[absent].clone())),
        None => Ok(plan),
    }
}

fn walk<S: Store>(
    reader: &mut Reader<'_, S>,
    tree: Id,
    selection: &Selection,
    path: &mut PathBuf,
    folder: Option<&OwnedFd>,
    plan: &mut Plan,
    found: &mut [bool],
) -> Result<()> {
    mark(selection, path, found);
    for node in super::nodes(reader, &tree, selection, path)? {
        path.push(OsStr::from_bytes(&node.name));
        let choice = selection.choice(path);
        if choice == Choice::Out {
            path.pop();
            continue;
        }
        mark(selection, path, found);
        let there = folder.and_then(|folder| source::stat(folder, &node.name).ok());
        let mut conflict = there.is_some();
        match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(subtree)) => {
                plan.folders += 1;
                let inner = folder.and_then(|folder| source::open_folder(folder, &node.name).ok());
                conflict &= inner.is_none();
                walk(
                    reader,
                    subtree,
                    selection,
                    path,
                    inner.as_ref(),
                    plan,
                    found,
                )?;
            }
            (NodeKind::File, _) if choice == Choice::Whole => {
                plan.files += 1;
                plan.bytes += node.size;
                let finished = there.is_some_and(|stat| target::looks_finished(&stat, &node));
                conflict &= !finished;
                for id in node.content.iter().flatten() {
                    // What is there already is compared, not fetched.
                    let known = match finished {
                        true => reader.index().contains(BlobKind::Data, id),
                        false => reader.want(BlobKind::Data, id),
                    };
                    plan.missing_blobs += u64::from(!known);
                }
            }
            _ if choice == Choice::Whole => {
                plan.others += 1;
                conflict &= !there
                    .zip(folder)
                    .is_some_and(|(stat, folder)| target::is_same_special(folder, &stat, &node));
            }
            _ => conflict = false,
        }
        if conflict {
            plan.conflicts += 1;
            if plan.conflicting.len() < NAMED {
                plan.conflicting.push(path.clone());
            }
        }
        path.pop();
    }
    Ok(())
}

fn mark(selection: &Selection, path: &Path, found: &mut [bool]) {
    for (wanted, found) in selection.paths.iter().zip(found) {
        *found |= wanted == path;
    }
}
