//! A copy of a repository, or of chosen snapshots of it, somewhere else: same key, same password. Changes nothing where it copies from.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{self, Index};
use crate::lock::{Lock, Sharing};
use crate::pack::{BlobKind, Entry};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::store::{Class, Kind, Name, Store};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Packs in one index file of a copy; as many blobs as fit in some megabytes.
const PACKS_AN_INDEX: usize = 1_000;

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Every file.
    Everything,
    /// These snapshots, and the packs that they need.
    Snapshots(Vec<Id>),
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Snapshots that the copy now holds of those asked for.
    pub snapshots: usize,
    /// Files copied now.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that an earlier, perhaps interrupted, export had copied.
    pub already_there: u64,
    /// Files of the copy that were read back, and hold what their names say.
    pub verified: u64,
    /// What is wrong, here or there, each in a sentence.
    pub damage: Vec<String>,
}

/// Copies to another store, in an order that leaves a valid repository there at any moment, and reads everything back.
/// `watch` gets files done and files to do, and stops by saying `true`; the next export goes on.
///
/// # Errors
/// Another repository is there, either store fails, a chosen snapshot's trees cannot be read, or `watch` stopped it. Damaged
/// files are no error: they are named, and not copied.
pub fn export<S: Store, T: Store>(
    from: &Repository<S>,
    to: T,
    chosen: &Chosen,
    clock: &dyn Clock,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Exported> {
    let lock = lock(from, clock)?;
    let mut copying = Copying {
        from,
        to: at(from, to)?,
        clock,
        lock,
        exported: Exported::default(),
        watch,
        done: 0,
        total: 0,
    };
    let result = match chosen {
        Chosen::Everything => copying.everything(),
        Chosen::Snapshots(ids) => copying.snapshots(ids),
    };
    let exported = copying.exported;
    if let Some(lock) = copying.lock {
        lock.release()?;
    }
    result.map(|()| exported)
}

/// Keeps a prune away. A source that cannot be written to, such as a mounted image, has no prune to fear.
fn lock<'r, S: Store>(from: &'r Repository<S>, clock: &dyn Clock) -> Result<Option<Lock<'r, S>>> {
    match Lock::take(from, Sharing::Shared, clock, None) {
        Ok(taken) => Ok(Some(taken.lock)),
        Err(Error::Store(error)) if error.class != Class::Temporary => Ok(None),
        Err(error) => Err(error),
    }
}

/// The copy as a repository: either nothing is there yet, or a copy of the same repository.
fn at<S: Store, T: Store>(from: &Repository<S>, to: T) -> Result<Repository<T>> {
    match to.get(Name::Config) {
        Ok(there) if there == from.store().get(Name::Config)? => {}
        Ok(_) => return Err(Error::AlreadyARepository),
        Err(error) if error.class == Class::Missing => to.prepare()?,
        Err(error) => return Err(error.into()),
    }
    from.copied_to(to)
}

struct Copying<'a, S, T> {
    from: &'a Repository<S>,
    to: Repository<T>,
    clock: &'a dyn Clock,
    lock: Option<Lock<'a, S>>,
    exported: Exported,
    watch: &'a mut dyn FnMut(u64, u64) -> bool,
    done: u64,
    total: u64,
}

impl<S: Store, T: Store> Copying<'_, S, T> {
    fn everything(&mut self) -> Result<()> {
        let kinds = [Kind::Key, Kind::Pack, Kind::Index, Kind::Snapshot];
        let mut lists = Vec::new();
        // Listed the other way round than they are copied: a backup may run meanwhile, and whatever a listed snapshot or index
        // names was stored before it, so that it is in a list taken later.
        for kind in kinds.into_iter().rev() {
            lists.push((kind, self.from.list(kind)?));
        }
        lists.reverse();
        // Each is copied, and read back.
        self.total = 2 * lists
            .iter()
            .map(|(_, files)| files.len() as u64)
            .sum::<u64>();
        for (kind, files) in &lists {
            self.copy_all(*kind, files)?;
            if *kind == Kind::Key {
                self.config()?;
            }
        }
        for (kind, files) in &lists {
            for (id, _) in files {
                self.read_back(Name::File(*kind, *id))?;
            }
        }
        let snapshots = lists.last().map_or(&[][..], |(_, files)| files);
        self.count_snapshots(snapshots.iter().map(|(id, _)| *id))
    }

    fn snapshots(&mut self, ids: &[Id]) -> Result<()> {
        let index = self.from.load_index()?;
        let packs = needed(self.from, index, ids)?;
        let mut files = self.from.list(Kind::Pack)?;
        files.retain(|(id, _)| packs.contains_key(id));
        let keys = self.from.list(Kind::Key)?;
        self.total = 2 * (keys.len() + packs.len() + ids.len()) as u64;
        self.copy_all(Kind::Key, &keys)?;
        self.config()?;
        self.copy_all(Kind::Pack, &files)?;
        let there: HashSet<Id> = files.iter().map(|(id, _)| *id).collect();
        for pack in packs.keys().filter(|pack| !there.contains(*pack)) {
            self.exported.damage.push(format!("pack {pack} is missing"));
        }
        self.index(&packs)?;
        let chosen: Vec<(Id, u64)> = self
            .from
            .list(Kind::Snapshot)?
            .into_iter()
            .filter(|(id, _)| ids.contains(id))
            .collect();
        self.copy_all(Kind::Snapshot, &chosen)?;
        for (kind, files) in [
            (Kind::Key, &keys),
            (Kind::Pack, &files),
            (Kind::Snapshot, &chosen),
        ] {
            for (id, _) in files {
                self.read_back(Name::File(kind, *id))?;
            }
        }
        self.count_snapshots(chosen.iter().map(|(id, _)| *id))
    }

    /// After the keys: where there is a config, there is a repository, and its password must open it.
    fn config(&mut self) -> Result<()> {
        let config = self.from.store().get(Name::Config)?;
        Ok(self.to.store().put(Name::Config, &config)?)
    }

    /// Indexes the packs that the copy's index lacks.
    fn index(&mut self, packs: &BTreeMap<Id, Vec<Entry>>) -> Result<()> {
        let known: HashSet<Id> = self.to.load_index()?.packs().iter().copied().collect();
        let missing: Vec<(Id, Vec<Entry>)> = packs
            .iter()
            .filter(|(id, _)| !known.contains(*id))
            .map(|(id, entries)| (*id, entries.clone()))
            .collect();
        for some in missing.chunks(PACKS_AN_INDEX) {
            let id = self.to.save_index(some, &[])?;
            self.read_back(Name::File(Kind::Index, id))?;
        }
        Ok(())
    }

    fn copy_all(&mut self, kind: Kind, files: &[(Id, u64)]) -> Result<()> {
        let there: HashSet<(Id, u64)> = self.to.list(kind)?.into_iter().collect();
        for (id, size) in files {
            self.step()?;
            if there.contains(&(*id, *size)) {
                self.exported.already_there += 1;
                continue;
            }
            let name = Name::File(kind, *id);
            let bytes = match self.from.store().get(name) {
                Ok(bytes) => bytes,
                Err(error) if error.class == Class::Missing => {
                    self.exported.damage.push(format!("{name} is gone"));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if Id::of(&bytes) != *id {
                let sentence = format!("{name} is damaged and was not copied");
                self.exported.damage.push(sentence);
                continue;
            }
            self.to.store().put(name, &bytes)?;
            self.exported.files += 1;
            self.exported.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn read_back(&mut self, name: Name) -> Result<()> {
        self.step()?;
        let Name::File(_, id) = name else {
            return Ok(());
        };
        match self.to.store().get(name) {
            Ok(bytes) if Id::of(&bytes) == id => self.exported.verified += 1,
            Ok(_) => {
                let sentence = format!("the copy of {name} is damaged: remove it and export again");
                self.exported.damage.push(sentence);
            }
            // It was named when it was not copied.
            Err(error) if error.class == Class::Missing => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn count_snapshots(&mut self, ids: impl Iterator<Item = Id>) -> Result<()> {
        let wanted: BTreeSet<Id> = ids.collect();
        let there = self.to.list(Kind::Snapshot)?;
        let found = there.iter().filter(|(id, _)| wanted.contains(id));
        self.exported.snapshots = found.count();
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.done += 1;
        if let Some(lock) = &mut self.lock {
            lock.refresh(self.clock)?;
        }
        if (self.watch)(self.done, self.total) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }
}

/// The packs that snapshots need, with all that is in them.
fn needed<S: Store>(
    from: &Repository<S>,
    index: Index,
    ids: &[Id],
) -> Result<BTreeMap<Id, Vec<Entry>>> {
    let mut reader = Reader::with_index(from, index);
    let mut blobs: HashSet<(BlobKind, Id)> = HashSet::new();
    let mut open = Vec::new();
    for id in ids {
        let json = from.load_file(Kind::Snapshot, *id)?;
        open.push(Snapshot::parse(&json)?.tree);
    }
    while let Some(tree) = open.pop() {
        if !blobs.insert((BlobKind::Tree, tree)) {
            continue;
        }
        for node in reader.tree_with_all_below(&tree)? {
            open.extend(node.subtree);
            let content = node.content.unwrap_or_default();
            blobs.extend(content.into_iter().map(|id| (BlobKind::Data, id)));
        }
    }
    let index = reader.index();
    let mut packs: BTreeMap<Id, Vec<Entry>> = BTreeMap::new();
    for (kind, id) in &blobs {
        let (number, _) = index.find(*kind, id).ok_or(Error::NoSuchBlob(*id))?;
        packs.entry(index.pack(number)).or_default();
    }
    // From the files themselves: a blob that lies in two packs is in the loaded index once.
    for (id, _) in from.list(Kind::Index)? {
        let json = from.load_file(Kind::Index, id)?;
        index::read_packs(&json, &mut |pack, entries, mark| {
            if let Some(of_pack) = packs.get_mut(&pack)
                && mark.is_none()
                && of_pack.is_empty()
            {
                *of_pack = entries;
            }
        })?;
    }
    Ok(packs)
}
