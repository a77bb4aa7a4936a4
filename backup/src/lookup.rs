//! Finding snapshots and what is in them by the names that people give. Reads only.

use crate::error::{Error, Result};
use crate::id::Id;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree::{Node, NodeKind};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The word for the newest snapshot.
const LATEST: &str = "latest";

/// The one snapshot that a name means: `latest`, or the beginning of its id.
///
/// # Errors
/// [`Error::NoSuchSnapshot`] for none or several, or the store fails.
pub fn snapshot<S: Store>(repository: &Repository<S>, name: &str) -> Result<(Id, Snapshot)> {
    let mut snapshots = repository.snapshots()?;
    if name == LATEST {
        let newest = snapshots.pop();
        return newest
            .ok_or_else(|| Error::NoSuchSnapshot("the repository holds no snapshot yet".into()));
    }
    snapshots.retain(|(id, _)| !name.is_empty() && id.to_string().starts_with(name));
    match (snapshots.pop(), snapshots.len()) {
        (Some(found), 0) => Ok(found),
        (None, _) => Err(Error::NoSuchSnapshot(format!(
            "no snapshot's id begins with {name:?}"
        ))),
        (Some(_), others) => Err(Error::NoSuchSnapshot(format!(
            "the ids of {} snapshots begin with {name:?}: give more of it",
            others + 1
        ))),
    }
}

/// The entry at an absolute path of a snapshot; `None` for `/` itself, which has a tree but no entry.
///
/// # Errors
/// [`Error::NoSuchPath`], or a tree cannot be loaded.
pub fn node<S: Store>(reader: &mut Reader<'_, S>, root: Id, path: &Path) -> Result<Option<Node>> {
    let absent = || Error::NoSuchPath(path.to_path_buf());
    let mut found: Option<Node> = None;
    for part in path.components() {
        let name = match part {
            Component::RootDir => continue,
            Component::Normal(name) => name.as_bytes(),
            _ => return Err(absent()),
        };
        let tree = match &found {
            None => root,
            Some(node) => node.subtree.ok_or_else(absent)?,
        };
        let node = reader
            .tree(&tree)?
            .into_iter()
            .find(|node| node.name == name);
        found = Some(node.ok_or_else(absent)?);
    }
    Ok(found)
}

/// How far a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A folder's entries.
    Folder,
    /// And theirs.
    Everything,
}

/// Calls `each` with path and entry of what lies below a path; for a path that is no folder, with itself. `true` ends it.
///
/// # Errors
/// As [`node`].
pub fn list<S: Store>(
    reader: &mut Reader<'_, S>,
    root: Id,
    path: &Path,
    extent: Extent,
    each: &mut dyn FnMut(&Path, &Node) -> bool,
) -> Result<()> {
    let mut open = match node(reader, root, path)? {
        None => vec![(PathBuf::from("/"), root)],
        Some(node) => match node.subtree {
            Some(tree) => vec![(path.to_path_buf(), tree)],
            None => {
                each(path, &node);
                return Ok(());
            }
        },
    };
    while let Some((folder, tree)) = open.pop() {
        let mut below = Vec::new();
        let nodes = match extent {
            Extent::Folder => reader.tree(&tree)?,
            Extent::Everything => reader.tree_with_all_below(&tree)?,
        };
        for node in nodes {
            let path = folder.join(OsStr::from_bytes(&node.name));
            if each(&path, &node) {
                return Ok(());
            }
            if extent == Extent::Everything
                && node.kind == NodeKind::Dir
                && let Some(tree) = node.subtree
            {
                below.push((path, tree));
            }
        }
        // The first of them is looked at next.
        open.extend(below.into_iter().rev());
    }
    Ok(())
}
