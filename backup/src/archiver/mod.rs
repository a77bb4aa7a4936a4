//! Backing up folders: packs first, then the index, then the snapshot, which alone makes it count. Deletes nothing.

mod cache;
mod changes;
mod content;
mod database;
mod options;
mod partial;
mod pattern;
mod plan;
mod regular;
mod remembered;
mod state;
mod walk;
mod writer;

use crate::clock::{AHEAD_SECONDS, Clock};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::lock::{Lock, Sharing};
use crate::os::identity::{Names, own_ids};
use crate::os::source::{self, Attributes};
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::snapshot::{Snapshot, Summary};
use crate::store::{Kind, Store};
use crate::timestamp::Timestamp;
use crate::tree::{Node, TreeWriter};
use changes::Within;
use content::Cutter;
use plan::Plan;
use remembered::Remembered;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use state::{Keeper, Scope};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use walk::Walk;
use writer::Writer;

pub use changes::{Changes, MOST_CHANGES, Reach};
pub use options::{
    Caches, FileSystems, Looked, Observer, Options, PACK_BYTES, Problem, Progress, Trouble,
    Unobserved,
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
    /// How what changed was found.
    pub looked: Looked,
}

/// Backs up folders, given by absolute paths without links in them. One that lies in another adds nothing.
///
/// # Errors
/// The repository cannot be written, is locked, or the observer stopped it ([`Error::Stopped`]). In each case what was stored
/// is indexed if the store still works, and the next run uses it. Items that cannot be read are no error here: they are
/// counted in the summary.
pub fn backup<S: Store>(
    repository: &Repository<S>,
    folders: &[&Path],
    options: &Options,
    clock: &dyn Clock,
    observer: &mut dyn Observer,
) -> Result<Done> {
    archive(repository, folders, None, options, clock, observer)
}

/// The same where it is known what may have changed: only the folders on the way to that are opened, and the rest is taken
/// from the snapshot before. What does not fit together (no state, another snapshot, too many changes) is told in
/// [`Done::looked`], and everything is looked at as by [`backup`].
///
/// # Errors
/// As [`backup`].
pub fn archive<S: Store>(
    repository: &Repository<S>,
    folders: &[&Path],
    changes: Option<Changes>,
    options: &Options,
    clock: &dyn Clock,
    observer: &mut dyn Observer,
) -> Result<Done> {
    repository.writable()?;
    let start = clock.now();
    // A folder that is not there is noticed before anything is locked.
    for folder in folders {
        source::open_root(folder).map_err(Error::file("opening", *folder))?;
    }
    let keeper = options.state.as_deref().map(Keeper::take).transpose()?;
    let dead = keeper.as_ref().and_then(|keeper| keeper.dead);
    let writer = writer(repository, options, clock, dead)?;
    let paths = names_of(folders);
    let parent = newest(repository, options, &paths, start)?;
    let names = Names::read(Path::new("/"));
    let scope = Scope {
        repository: repository.config().id,
        snapshot: parent.as_ref().map(|(id, _)| *id).unwrap_or_default(),
        choices: choices(options, &paths, &names),
    };
    let indexes = index_files(repository)?;
    let notes = keeper
        .as_ref()
        .and_then(|keeper| keeper.load(&scope, &indexes));
    let plan = Plan::new(changes, parent.as_ref().map(|(id, _)| *id), notes.as_ref());
    let walk = Walk {
        writer,
        cutter: Cutter::new(repository.chunker()?),
        names,
        attributes: Attributes::new(),
        options,
        observer,
        progress: Progress::default(),
        summary: begun(start),
        path: PathBuf::from("/"),
        device: 0,
        notes: notes.unwrap_or_default(),
        seen: Remembered::default(),
        aside: HashSet::new(),
        changes: plan.changes(),
        recent: parent
            .as_ref()
            .map_or(start, |(_, snapshot)| state::recent(snapshot.time)),
    };
    let run = Run {
        repository,
        options,
        clock,
        keeper,
        scope,
        parent,
        paths,
    };
    run.complete(walk, folders, &plan)
}

/// Takes the lock and stands ready to store, with what a run that died has left taken over.
fn writer<'r, S: Store>(
    repository: &'r Repository<S>,
    options: &Options,
    clock: &'r dyn Clock,
    dead: Option<u32>,
) -> Result<Writer<'r, S>> {
    let mut taken = Lock::take(repository, Sharing::Shared, clock, dead)?;
    taken.lock.renew_every(options.lock_renewal);
    let index = match &options.state {
        Some(folder) => cache::load(repository, &folder.join("index"))?,
        None => repository.load_index()?,
    };
    let mut writer = Writer::new(repository, clock, taken.lock, index, options.pack_bytes)?;
    if taken.abandoned > 0 || dead.is_some() {
        writer.adopt()?;
    }
    Ok(writer)
}

fn begun(start: Timestamp) -> Summary {
    Summary {
        backup_start: start,
        ..Summary::default()
    }
}

/// A run whose walk is about to begin.
struct Run<'r, S> {
    repository: &'r Repository<S>,
    options: &'r Options,
    clock: &'r dyn Clock,
    keeper: Option<Keeper>,
    scope: Scope,
    parent: Option<(Id, Snapshot)>,
    paths: Vec<String>,
}

impl<S: Store> Run<'_, S> {
    /// Walks, and commits what the walk found.
    fn complete(mut self, mut walk: Walk<'_, S>, folders: &[&Path], plan: &Plan) -> Result<Done> {
        let tree = self.trees(&mut walk, folders, plan);
        let Walk {
            mut writer,
            mut summary,
            mut notes,
            changes,
            ..
        } = walk;
        // What is stored must be findable, however the walk ended.
        let flushed = writer.flush();
        let (tree, remembered) = match tree.and_then(|tree| flushed.map(|()| tree)) {
            Ok(tree) => tree,
            Err(error) => {
                // The first error is the one to report; a lock that stays is recognised later.
                let indexed = writer.write_index();
                if writer.release().is_ok() && indexed.is_ok() {
                    self.keeper.iter().for_each(Keeper::ended);
                }
                return Err(error);
            }
        };
        let looked = plan.looked(changes.is_some());
        let stored = writer.stored;
        let start = summary.backup_start;
        summary.backup_end = self.clock.now();
        count(&mut summary, &stored);
        let parent = self.parent.map(|(id, _)| id);
        let snapshot = describe(self.options, start, tree, parent, self.paths, summary);
        let repository = self.repository;
        let id = writer
            .confirm()
            .and_then(|()| repository.save_file(Kind::Snapshot, &snapshot.to_json()?));
        let stored = writer.release();
        let (id, stored) = (id?, stored?);
        if let Some(keeper) = &self.keeper {
            self.scope.snapshot = id;
            notes.remembered = remembered;
            if looked == Looked::AtChanges {
                notes.keep_known();
            }
            keeper.save(&mut notes, &self.scope, &index_files(repository)?);
            keeper.ended();
        }
        Ok(Done {
            id,
            snapshot,
            stored,
            looked,
        })
    }

    /// Stores all trees, along the changes if that leads to all that changed. Returns the root's, and what to remember.
    fn trees(
        &self,
        walk: &mut Walk<'_, S>,
        folders: &[&Path],
        plan: &Plan,
    ) -> Result<(Id, Remembered)> {
        let parent = self.parent.as_ref().map(|(_, snapshot)| snapshot.tree);
        let mut tree = root(walk, folders, parent)?;
        let mut seen = std::mem::take(&mut walk.seen);
        if walk.changes.is_some() {
            let before = &walk.notes.remembered;
            if seen.has_all_names(before, &plan.besides) {
                seen.keep(before, &plan.besides);
            } else {
                // A file has another name somewhere, and that entry must change too.
                walk.changes = None;
                walk.notes.begin_again();
                walk.summary = begun(walk.summary.backup_start);
                tree = root(walk, folders, parent)?;
                seen = std::mem::take(&mut walk.seen);
            }
        }
        Ok((tree, seen))
    }
}

fn count(summary: &mut Summary, stored: &Stored) {
    summary.data_blobs = i64::try_from(stored.data_blobs).unwrap_or(i64::MAX);
    summary.tree_blobs = i64::try_from(stored.tree_blobs).unwrap_or(i64::MAX);
    summary.data_added = stored.plain_bytes;
    summary.data_added_packed = stored.sealed_bytes;
}

fn index_files<S: Store>(repository: &Repository<S>) -> Result<Vec<Id>> {
    let files = repository.list(Kind::Index)?;
    Ok(files.into_iter().map(|(id, _)| id).collect())
}

/// Everything but the folders' content that decides what their trees look like.
fn choices(options: &Options, paths: &[String], names: &Names) -> Id {
    let Options {
        hostname,
        excludes,
        file_systems,
        caches,
        ..
    } = options;
    let names = names.digest();
    Id::of(
        format!("{hostname:?} {excludes:?} {file_systems:?} {caches:?} {paths:?} {names}")
            .as_bytes(),
    )
}

/// The folders as a snapshot names them: sorted, so that their order on a command line does not hide the parent.
fn names_of(folders: &[&Path]) -> Vec<String> {
    let mut names: Vec<String> = folders
        .iter()
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The newest snapshot of the same folders on the same machine.
fn newest<S: Store>(
    repository: &Repository<S>,
    options: &Options,
    paths: &[String],
    now: Timestamp,
) -> Result<Option<(Id, Snapshot)>> {
    let mut snapshots = repository.snapshots()?;
    snapshots
        .retain(|(_, snapshot)| snapshot.hostname == options.hostname && snapshot.paths == paths);
    // One of a clock that was ahead would stay the newest for years; where our own is behind, any is better than none.
    let is_past =
        |(_, snapshot): &(Id, Snapshot)| snapshot.time.seconds_since(now) <= AHEAD_SECONDS;
    let place = snapshots.iter().rposition(is_past);
    Ok(match place {
        Some(place) => Some(snapshots.swap_remove(place)),
        None => snapshots.pop(),
    })
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

/// Stores the folders and, around them, one tree for each folder on the way to them, as restic does for absolute paths.
fn root<S: Store>(walk: &mut Walk<'_, S>, folders: &[&Path], parent: Option<Id>) -> Result<Id> {
    let mut routes: Vec<Vec<&OsStr>> = folders.iter().map(|folder| route(folder)).collect();
    routes.sort();
    routes.dedup();
    let routes: Vec<&[&OsStr]> = routes.iter().map(Vec::as_slice).collect();
    let top = source::open_root(Path::new("/")).map_err(Error::file("opening", "/"))?;
    below(walk, &top, &routes, parent.map(Known::same))
}

/// The tree that a folder had in the parent snapshot.
#[derive(Clone, Copy)]
struct Known {
    tree: Id,
    /// Is it the same folder still, and not another of its name?
    is_same: bool,
}

impl Known {
    const fn same(tree: Id) -> Self {
        Self {
            tree,
            is_same: true,
        }
    }
}

/// The names that lead from `/` to a folder.
fn route(folder: &Path) -> Vec<&OsStr> {
    folder
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Stores the tree of a folder that is wanted itself (an empty route) or lies on the way to others. Routes are sorted.
fn below<S: Store>(
    walk: &mut Walk<'_, S>,
    within: &OwnedFd,
    routes: &[&[&OsStr]],
    parent: Option<Known>,
) -> Result<Id> {
    if routes.iter().any(|route| route.is_empty()) {
        let stat = rustix::fs::fstat(within).map_err(Error::file("looking at", &walk.path))?;
        walk.device = source::number(stat.st_dev);
        return match (walk.changes, parent) {
            (
                Some(changes),
                Some(Known {
                    tree,
                    is_same: true,
                }),
            ) => {
                let changes = Within::of(changes, &walk.path);
                walk.follow(within, tree, changes)
            }
            _ => walk.folder(within, parent.map(|known| known.tree)),
        };
    }
    let nodes = parent
        .and_then(|known| walk.writer.load_tree(&known.tree).ok())
        .unwrap_or_default();
    let mut tree = TreeWriter::default();
    for group in routes.chunk_by(|a, b| a[0] == b[0]) {
        let name = group[0][0];
        let rest: Vec<&[&OsStr]> = group.iter().map(|route| &route[1..]).collect();
        let old = nodes.iter().find(|node| node.name == name.as_bytes());
        walk.path.push(name);
        tree.push(&on_the_way(walk, within, name, &rest, old)?);
        walk.path.pop();
    }
    walk.writer.add(BlobKind::Tree, &tree.finish())
}

fn on_the_way<S: Store>(
    walk: &mut Walk<'_, S>,
    within: &OwnedFd,
    name: &OsStr,
    rest: &[&[&OsStr]],
    old: Option<&Node>,
) -> Result<Node> {
    let path = walk.path.clone();
    let failed = |errno| Error::file("opening", path.clone())(errno);
    let name = name.as_bytes();
    let look = |opened: &OwnedFd| rustix::fs::fstat(opened).map_err(&failed);
    let (opened, mut node) = match source::open_folder(within, name) {
        Err(Errno::ACCESS) => {
            let opened = source::pass_folder(within, name).map_err(&failed)?;
            let node = source::node(name, &look(&opened)?, &walk.names);
            (opened, node)
        }
        opened => {
            let opened = opened.map_err(&failed)?;
            let node = walk.folder_node(name, &look(&opened)?, &opened);
            (opened, node)
        }
    };
    let before = old.and_then(|old| {
        let is_same = (old.inode, old.device_id) == (node.inode, node.device_id);
        let tree = old.subtree?;
        Some(Known { tree, is_same })
    });
    let tree = below(walk, &opened, rest, before)?;
    node.subtree = Some(tree);
    walk.count_folder(before.map(|known| known.tree), tree);
    Ok(node)
}
