//! Removing what no snapshot needs, in two steps: marked in the index first, removed only after days. Forgets no snapshot.
//!
//! What is removed depends on the clock, so a clock that the repository or its store contradicts removes and marks nothing.
//!
//! Order, so that a process may die anywhere: repacked blobs are stored, then the new index, then the old index goes, and only
//! then are packs removed that the old index had marked long enough ago.

mod plan;
mod rebuild;

use crate::clock::{self, Clock, Trust};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{self, Mark};
use crate::lock::{Lock, Sharing};
use crate::pack::{BlobKind, Entry, PackWriter};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::retention::Deed;
use crate::sealer::Sealer;
use crate::store::{Class, Kind, Name, Store};
use plan::{Fate, Plan};
use std::collections::HashMap;

pub use rebuild::{Rebuilt, rebuild_index};

/// Blobs in one index file, so that nobody needs much memory to read it.
const INDEX_BLOBS: usize = 50_000;
/// Packs are filled to about this size when blobs move.
const PACK_BYTES: usize = crate::archiver::PACK_BYTES;

/// Whether packs that are needed in part are written anew without the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repack {
    /// Never: nothing is read or sent but the index. For phones.
    Never,
    /// Where more than so many hundredths of a pack are needed by nobody.
    Above(u64),
}

/// How to prune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What happens to packs that are needed in part.
    pub repack: Repack,
    /// Marked packs are removed after so many seconds.
    pub grace_seconds: i64,
    /// Whether it is done.
    pub deed: Deed,
    /// Whether a clock is believed that is contradicted.
    pub trust: Trust,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            repack: Repack::Above(20),
            // As rustic: a day, less an hour for a nightly job that is early.
            grace_seconds: 23 * 3600,
            deed: Deed::Do,
            trust: Trust::Check,
        }
    }
}

/// What a prune did or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Blobs that snapshots need.
    pub used_blobs: u64,
    /// Bytes of packs that stay.
    pub kept_bytes: u64,
    /// Packs marked for removal by this run.
    pub marked_packs: u64,
    /// Bytes of them.
    pub marked_bytes: u64,
    /// Packs written anew in part.
    pub repacked_packs: u64,
    /// Marked packs that are needed again and were taken back.
    pub recovered_packs: u64,
    /// Packs removed.
    pub removed_packs: u64,
    /// Bytes of them.
    pub removed_bytes: u64,
    /// Packs that are marked and wait for their time.
    pub waiting_packs: u64,
}

/// Prunes. `watch` is asked now and then; `true` stops before anything is removed.
///
/// # Errors
/// The repository is locked or damaged, or [`Error::ClockDoubtful`] (nothing is changed then), the store fails, or `watch`
/// stopped it.
pub fn prune<S: Store>(
    repository: &Repository<S>,
    options: &Options,
    clock: &dyn Clock,
    watch: &mut dyn FnMut() -> bool,
) -> Result<Pruned> {
    repository.writable()?;
    let sharing = match options.deed {
        Deed::Do => Sharing::Exclusive,
        Deed::Tell => Sharing::Shared,
    };
    let lock = Lock::take(repository, sharing, clock, None)?.lock;
    let mut work = Work {
        repository,
        clock,
        lock,
        watch,
    };
    let done = work.run(options);
    let released = work.lock.release();
    let done = done?;
    released.map(|()| done)
}

struct Work<'a, S> {
    repository: &'a Repository<S>,
    clock: &'a dyn Clock,
    lock: Lock<'a, S>,
    watch: &'a mut dyn FnMut() -> bool,
}

impl<S: Store> Work<'_, S> {
    fn run(&mut self, options: &Options) -> Result<Pruned> {
        let now = self.clock.now();
        // At the same moment: a plan takes its time, and the lock's own date is a new one with each renewal.
        let stored = match options.trust {
            Trust::Check => self.lock.store_time()?,
            Trust::Believe => None,
        };
        let plan = Plan::make(self.repository, options, now, self.watch)?;
        if options.deed == Deed::Tell {
            return Ok(plan.outcome);
        }
        if options.trust == Trust::Check {
            clock::agrees(now, stored)?;
            clock::fits(now, plan.newest)?;
        }
        self.repository.store().tidy()?;
        if plan.changes_nothing() {
            return Ok(plan.outcome);
        }
        let moved = self.repack(&plan)?;
        self.step()?;
        let expired = self.write_index(&plan, moved, now)?;
        for id in expired {
            self.lock.refresh(self.clock)?;
            match self.repository.store().remove(Name::File(Kind::Pack, id)) {
                // Gone already: an earlier run died after removing it.
                Err(error) if error.class == Class::Missing => {}
                other => other?,
            }
        }
        Ok(plan.outcome)
    }

    fn step(&mut self) -> Result<()> {
        self.lock.refresh(self.clock)?;
        if (self.watch)() {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Writes the needed blobs of wasteful packs into new packs and returns what those hold.
    fn repack(&mut self, plan: &Plan) -> Result<Vec<(Id, Vec<Entry>)>> {
        let mut moved = Vec::new();
        if plan.outcome.repacked_packs == 0 {
            return Ok(moved);
        }
        let mut reader = Reader::new(self.repository)?;
        let mut sealer = Sealer::new()?;
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let mut open = PackWriter::new(kind);
            for entry in plan.blobs_to_move(kind) {
                reader.want(kind, &entry.id);
            }
            for entry in plan.blobs_to_move(kind) {
                let content = reader.blob(kind, &entry.id)?;
                open.add(self.repository.key(), &mut sealer, entry.id, content)?;
                if open.len() >= PACK_BYTES {
                    self.store(&mut open, &mut moved)?;
                }
            }
            if !open.is_empty() {
                self.store(&mut open, &mut moved)?;
            }
        }
        Ok(moved)
    }

    fn store(&mut self, open: &mut PackWriter, moved: &mut Vec<(Id, Vec<Entry>)>) -> Result<()> {
        self.step()?;
        let (id, bytes) = open.finish(self.repository.key())?;
        let name = Name::File(Kind::Pack, id);
        self.repository.store().put(name, bytes)?;
        moved.push((id, open.restart()));
        Ok(())
    }

    /// Writes the new index, then removes the old one; returns the packs whose time has come.
    fn write_index(
        &mut self,
        plan: &Plan,
        moved: Vec<(Id, Vec<Entry>)>,
        now: crate::Timestamp,
    ) -> Result<Vec<Id>> {
        let mut expired = Vec::new();
        let mut file = IndexFile::default();
        let mut written = Vec::new();
        let mut seen: HashMap<Id, ()> = HashMap::new();
        for (id, entries) in moved {
            file.packs.push((id, entries));
            self.write_if(&mut file, INDEX_BLOBS, &mut written)?;
        }
        for old in &plan.index_files {
            let json = self.repository.load_file(Kind::Index, *old)?;
            let mut packs = Vec::new();
            index::read_packs(&json, &mut |id, _, _| packs.push(id))?;
            for id in packs {
                if seen.insert(id, ()).is_some() {
                    continue;
                }
                let (entries, mark) = plan.known(&id);
                match plan.fate(&id) {
                    Fate::Keep => file.packs.push((id, entries)),
                    Fate::Mark => {
                        let mark = mark.filter(|mark| plan::is_credible(mark, now));
                        let mark = mark.unwrap_or(Mark { at: now });
                        file.marked.push((id, entries, mark));
                    }
                    Fate::Remove => expired.push(id),
                    Fate::Gone => {}
                }
                self.write_if(&mut file, INDEX_BLOBS, &mut written)?;
            }
        }
        for id in &plan.strays {
            file.marked.push((*id, Vec::new(), Mark { at: now }));
        }
        self.write_if(&mut file, 1, &mut written)?;
        self.lock.confirm()?;
        for old in &plan.index_files {
            if !written.contains(old) {
                self.repository
                    .store()
                    .remove(Name::File(Kind::Index, *old))?;
            }
        }
        Ok(expired)
    }

    fn write_if(
        &mut self,
        file: &mut IndexFile,
        least: usize,
        written: &mut Vec<Id>,
    ) -> Result<()> {
        if file.weight() >= least {
            written.push(self.repository.save_index(&file.packs, &file.marked)?);
            *file = IndexFile::default();
        }
        Ok(())
    }
}

/// An index file being filled.
#[derive(Default)]
struct IndexFile {
    packs: Vec<(Id, Vec<Entry>)>,
    marked: Vec<(Id, Vec<Entry>, Mark)>,
}

impl IndexFile {
    /// Packs and blobs in it.
    fn weight(&self) -> usize {
        let kept = self.packs.iter().map(|(_, entries)| entries.len() + 1);
        let marked = self.marked.iter().map(|(_, entries, _)| entries.len() + 1);
        kept.chain(marked).sum()
    }
}
