//! A new index from the packs themselves, when the old one is lost or damaged. Trusts a pack's header only if its seal fits.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::lock::{Lock, Sharing};
use crate::pack::Entry;
use crate::repository::Repository;
use crate::store::{Kind, Name, Store};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Packs that are in the new index.
    pub packs: usize,
    /// Blobs in them.
    pub blobs: usize,
    /// Packs whose header cannot be read, each with the reason.
    pub damaged: Vec<String>,
}

/// Reads the header of every pack, writes a new index and removes the old one.
///
/// # Errors
/// The repository is locked, the store fails, or `watch` stopped it: the old index is then still there.
pub fn rebuild_index<S: Store>(
    repository: &Repository<S>,
    clock: &dyn Clock,
    watch: &mut dyn FnMut() -> bool,
) -> Result<Rebuilt> {
    repository.writable()?;
    let mut lock = Lock::take(repository, Sharing::Exclusive, clock, None)?.lock;
    let done = rebuild(repository, &mut lock, clock, watch)?;
    lock.release()?;
    Ok(done)
}

fn rebuild<S: Store>(
    repository: &Repository<S>,
    lock: &mut Lock<'_, S>,
    clock: &dyn Clock,
    watch: &mut dyn FnMut() -> bool,
) -> Result<Rebuilt> {
    let old = repository.list(Kind::Index)?;
    let mut rebuilt = Rebuilt::default();
    let mut written = Vec::new();
    let mut packs: Vec<(Id, Vec<Entry>)> = Vec::new();
    let mut blobs = 0;
    for (id, size) in repository.list(Kind::Pack)? {
        lock.refresh(clock)?;
        if watch() {
            return Err(Error::Stopped);
        }
        match repository.pack_entries(id, size) {
            Ok(entries) => {
                blobs += entries.len();
                rebuilt.packs += 1;
                rebuilt.blobs += entries.len();
                packs.push((id, entries));
            }
            // What the store cannot give now is no damage, and an index without it would be wrong.
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => rebuilt.damaged.push(error.to_string()),
        }
        if blobs >= super::INDEX_BLOBS {
            written.push(repository.save_index(&packs, &[])?);
            packs.clear();
            blobs = 0;
        }
    }
    if !packs.is_empty() {
        written.push(repository.save_index(&packs, &[])?);
    }
    lock.confirm()?;
    for (id, _) in old {
        if !written.contains(&id) {
            repository.store().remove(Name::File(Kind::Index, id))?;
        }
    }
    Ok(rebuilt)
}
