//! Backing up a folder: packs first, then the index, then the snapshot, which alone makes it count. Deletes nothing.

mod content;
mod options;
mod pattern;
mod walk;
mod writer;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::lock::{Lock, Sharing};
use crate::os::identity::{Names, own_ids};
use crate::os::source::{self, Attributes};
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::snapshot::{Snapshot, Summary};
use crate::store::{Kind, Store};
use crate::tree::TreeWriter;
use content::Cutter;
use rustix::fd::OwnedFd;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use walk::Walk;
use writer::Writer;

pub use options::{
    Caches, FileSystems, Observer, Options, PACK_BYTES, Problem, Progress, Trouble, Unobserved,
};
pub use writer::Stored;

/// A finished backup.
#[derive(Clone, Debug)]
pub struct Done {
    /// The snapshot's name.
    pub id: Id,
    /// What was written; its summary counts errors.
    pub snapshot: Snapshot,
    /// What was stored for it.
    pub stored: Stored,
}

/// Backs up a folder, given by an absolute path without links in it.
///
/// # Errors
/// The repository cannot be written, is locked, or the observer stopped it ([`Error::Stopped`]). In each case what was stored
/// is indexed if the store still works, and the next run uses it. Items that cannot be read are no error here: they are
/// counted in the summary.
pub fn backup<S: Store>(
    repository: &Repository<S>,
    folder: &Path,
    options: &Options,
    clock: &dyn Clock,
    observer: &mut dyn Observer,
) -> Result<Done> {
    repository.writable()?;
    let start = clock.now();
    // A folder that is not there is noticed before anything is locked.
    source::open_root(folder).map_err(Error::file("opening", folder))?;
    let taken = Lock::take(repository, Sharing::Shared, clock)?;
    let mut writer = Writer::new(repository, clock, taken.lock, options.pack_bytes)?;
    if taken.abandoned > 0 {
        writer.adopt()?;
    }
    let paths = vec![folder.to_string_lossy().into_owned()];
    let parent = newest(repository, options, &paths)?;
    let mut walk = Walk {
        writer,
        cutter: Cutter::new(repository.chunker()?),
        names: Names::read(Path::new("/")),
        attributes: Attributes::new(),
        options,
        observer,
        progress: Progress::default(),
        summary: Summary {
            backup_start: start,
            ..Summary::default()
        },
        path: PathBuf::from("/"),
        device: 0,
    };
    let tree = root(
        &mut walk,
        folder,
        parent.as_ref().map(|(_, snapshot)| snapshot.tree),
    );
    let Walk {
        mut writer,
        mut summary,
        ..
    } = walk;
    // What is stored must be findable, however the walk ended.
    let flushed = writer.flush();
    let tree = match tree.and_then(|tree| flushed.map(|()| tree)) {
        Ok(tree) => tree,
        Err(error) => {
            // The first error is the one to report; a lock that stays is recognised later.
            let _ = writer.write_index();
            let _ = writer.release();
            return Err(error);
        }
    };
    let stored = writer.stored;
    summary.backup_end = clock.now();
    summary.data_blobs = i64::try_from(stored.data_blobs).unwrap_or(i64::MAX);
    summary.tree_blobs = i64::try_from(stored.tree_blobs).unwrap_or(i64::MAX);
    summary.data_added = stored.plain_bytes;
    summary.data_added_packed = stored.sealed_bytes;
    let snapshot = describe(
        options,
        start,
        tree,
        parent.map(|(id, _)| id),
        paths,
        summary,
    );
    let id = repository.save_file(Kind::Snapshot, &snapshot.to_json()?);
    let stored = writer.release();
    Ok(Done {
        id: id?,
        snapshot,
        stored: stored?,
    })
}

/// The newest snapshot of the same folder on the same machine.
fn newest<S: Store>(
    repository: &Repository<S>,
    options: &Options,
    paths: &[String],
) -> Result<Option<(Id, Snapshot)>> {
    let snapshots = repository.snapshots()?;
    Ok(snapshots
        .into_iter()
        .rfind(|(_, snapshot)| snapshot.hostname == options.hostname && snapshot.paths == paths))
}

fn describe(
    options: &Options,
    time: crate::Timestamp,
    tree: Id,
    parent: Option<Id>,
    paths: Vec<String>,
    summary: Summary,
) -> Snapshot {
    let (uid, gid) = own_ids();
    Snapshot {
        time,
        parent,
        tree,
        paths,
        hostname: options.hostname.clone(),
        username: Names::read(Path::new("/")).user(uid).to_owned(),
        uid,
        gid,
        excludes: options.excludes.clone(),
        tags: options.tags.clone(),
        original: None,
        program_version: options.program_version.clone(),
        summary: Some(summary),
        unknown: serde_json::Map::new(),
    }
}

/// Stores the folder and, around it, one tree for each folder on the way to it, as restic does for an absolute path.
fn root<S: Store>(walk: &mut Walk<'_, S>, folder: &Path, parent: Option<Id>) -> Result<Id> {
    let parts: Vec<OsString> = folder
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect();
    let top = source::open_root(Path::new("/")).map_err(Error::file("opening", "/"))?;
    walk.device = device(folder)?;
    below(walk, &top, &parts, parent)
}

fn device(folder: &Path) -> Result<u64> {
    let stat = rustix::fs::stat(folder).map_err(Error::file("looking at", folder))?;
    Ok(source::number(stat.st_dev))
}

fn below<S: Store>(
    walk: &mut Walk<'_, S>,
    within: &OwnedFd,
    parts: &[OsString],
    parent: Option<Id>,
) -> Result<Id> {
    let Some((first, rest)) = parts.split_first() else {
        return walk.folder(within, parent);
    };
    let name = first.as_bytes();
    walk.path.push(first);
    let path = walk.path.clone();
    let failed = |errno| Error::file("opening", path.clone())(errno);
    let opened = source::open_folder(within, name).map_err(failed)?;
    let stat = rustix::fs::fstat(&opened).map_err(failed)?;
    let nodes = parent
        .and_then(|id| walk.writer.load_tree(&id).ok())
        .unwrap_or_default();
    let old = nodes
        .into_iter()
        .find(|node| node.name == name)
        .and_then(|node| node.subtree);
    let mut node = walk.folder_node(name, &stat, &opened);
    node.subtree = Some(below(walk, &opened, rest, old)?);
    match old {
        None => walk.summary.dirs_new += 1,
        Some(_) if node.subtree == old => walk.summary.dirs_unmodified += 1,
        Some(_) => walk.summary.dirs_changed += 1,
    }
    walk.path.pop();
    let mut tree = TreeWriter::default();
    tree.push(&node);
    walk.writer.add(BlobKind::Tree, &tree.finish())
}
