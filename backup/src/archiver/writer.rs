//! Blobs on their way into the repository: deduplicated, packed, indexed. Never indexes what is not stored.

use crate::clock::Clock;
use crate::error::Result;
use crate::id::Id;
use crate::index::{Index, PackNumber};
use crate::lock::Lock;
use crate::pack::{BlobKind, Entry, PackWriter};
use crate::repository::Repository;
use crate::sealer::Sealer;
use crate::store::{Kind, Name, Store};
use crate::tree::{self, Node};

/// Bytes stored before the index is written, so that what is on the server is soon known to be.
const INDEX_EVERY_BYTES: u64 = 64 << 20;
/// Blobs stored before the index is written, so that its entries do not pile up in memory.
const INDEX_EVERY_BLOBS: usize = 10_000;

/// What a run stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Pieces of files that were new.
    pub data_blobs: u64,
    /// Folders that were new.
    pub tree_blobs: u64,
    /// Plain bytes of both.
    pub plain_bytes: u64,
    /// Sealed bytes of both.
    pub sealed_bytes: u64,
    /// Packs stored.
    pub packs: u64,
    /// Packs of an earlier, interrupted run that were found stored and are used.
    pub adopted_packs: u64,
}

/// A pack that is being filled.
struct Open {
    pack: PackWriter,
    number: PackNumber,
}

/// Takes blobs and stores them.
pub(crate) struct Writer<'r, S> {
    repository: &'r Repository<S>,
    clock: &'r dyn Clock,
    lock: Lock<'r, S>,
    pub(crate) index: Index,
    sealer: Sealer,
    data: Open,
    tree: Open,
    pack_bytes: usize,
    unindexed: Vec<(Id, Vec<Entry>)>,
    unindexed_bytes: u64,
    pub(crate) stored: Stored,
}

impl<'r, S: Store> Writer<'r, S> {
    /// Stands ready with the repository's index as it is now. Packs get about `pack_bytes` bytes.
    pub(crate) fn new(
        repository: &'r Repository<S>,
        clock: &'r dyn Clock,
        lock: Lock<'r, S>,
        mut index: Index,
        pack_bytes: usize,
    ) -> Result<Self> {
        let mut open = |kind| Open {
            pack: PackWriter::new(kind),
            number: index.add_pack(Id::default()),
        };
        let (data, tree) = (open(BlobKind::Data), open(BlobKind::Tree));
        Ok(Self {
            repository,
            clock,
            lock,
            index,
            sealer: Sealer::new()?,
            data,
            tree,
            pack_bytes,
            unindexed: Vec::new(),
            unindexed_bytes: 0,
            stored: Stored::default(),
        })
    }

    /// Takes over packs that are stored but in no index: the work of a run that was killed. Damaged ones are left alone.
    pub(crate) fn adopt(&mut self) -> Result<()> {
        let adopted = self.adopt_all();
        if adopted.is_err() {
            // The locks that told of them are gone: ours tells it to the next.
            self.lock.leave();
        }
        adopted
    }

    fn adopt_all(&mut self) -> Result<()> {
        let mut known = self.index.packs().to_vec();
        known.extend_from_slice(self.index.marked());
        known.sort_unstable();
        let mut lost = self.repository.list(Kind::Pack)?;
        lost.retain(|(id, _)| known.binary_search(id).is_err());
        for (id, size) in lost {
            let Ok(entries) = self.repository.pack_entries(id, size) else {
                continue;
            };
            // Whoever stored it may have died before its name was durable, and an index must not outlive it.
            self.repository.store().settle(Name::File(Kind::Pack, id))?;
            let number = self.index.add_pack(id);
            for entry in &entries {
                self.index.insert(number, entry);
            }
            self.stored.adopted_packs += 1;
            self.note(id, entries, size)?;
        }
        Ok(())
    }

    /// Stores a blob unless it is stored already; returns its name. It may rest in an open pack until [`Writer::flush`].
    pub(crate) fn add(&mut self, kind: BlobKind, content: &[u8]) -> Result<Id> {
        let id = Id::of(content);
        self.stay()?;
        if self.index.contains(kind, &id) {
            return Ok(id);
        }
        let open = self.open(kind);
        let would_be = open.pack.len() + content.len();
        // A pack that is nearly full goes before it grows far beyond its size: memory is bounded by this.
        if !open.pack.is_empty() && would_be > self.pack_bytes + self.pack_bytes / 4 {
            self.store_pack(kind)?;
        }
        let (key, sealer) = (self.repository.key(), &mut self.sealer);
        let open = match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.tree,
        };
        let entry = open.pack.add(key, sealer, id, content)?;
        let full = open.pack.len() >= self.pack_bytes;
        self.index.insert(open.number, &entry);
        match kind {
            BlobKind::Data => self.stored.data_blobs += 1,
            BlobKind::Tree => self.stored.tree_blobs += 1,
        }
        self.stored.plain_bytes += content.len() as u64;
        self.stored.sealed_bytes += u64::from(entry.length);
        if full {
            self.store_pack(kind)?;
        }
        Ok(id)
    }

    /// A tree of an earlier snapshot.
    pub(crate) fn load_tree(&self, id: &Id) -> Result<Vec<Node>> {
        let (mut sealed, mut plain) = (Vec::new(), Vec::new());
        let repository = self.repository;
        repository.load_blob(&self.index, BlobKind::Tree, id, &mut sealed, &mut plain)?;
        tree::parse(&plain)
    }

    const fn open(&self, kind: BlobKind) -> &Open {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.tree,
        }
    }

    fn store_pack(&mut self, kind: BlobKind) -> Result<()> {
        let open = match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.tree,
        };
        let (id, bytes) = open.pack.finish(self.repository.key())?;
        let size = bytes.len() as u64;
        self.repository
            .store()
            .put(Name::File(Kind::Pack, id), bytes)?;
        self.index.name_pack(open.number, id);
        open.number = self.index.add_pack(Id::default());
        let entries = open.pack.restart();
        self.stored.packs += 1;
        self.note(id, entries, size)?;
        // It may have taken long.
        self.lock.refresh(self.clock)
    }

    /// Remembers a stored pack for the next index.
    fn note(&mut self, id: Id, entries: Vec<Entry>, size: u64) -> Result<()> {
        self.unindexed.push((id, entries));
        self.unindexed_bytes += size;
        let blobs: usize = self
            .unindexed
            .iter()
            .map(|(_, entries)| entries.len())
            .sum();
        if self.unindexed_bytes >= INDEX_EVERY_BYTES || blobs >= INDEX_EVERY_BLOBS {
            self.write_index()?;
        }
        Ok(())
    }

    /// Writes an index of the packs that are stored and in none yet.
    pub(crate) fn write_index(&mut self) -> Result<()> {
        if self.unindexed.is_empty() {
            return Ok(());
        }
        self.lock.confirm()?;
        self.repository.save_index(&self.unindexed, &[])?;
        self.unindexed.clear();
        self.unindexed_bytes = 0;
        Ok(())
    }

    /// Stores the open packs and indexes everything: packs first, then the index.
    pub(crate) fn flush(&mut self) -> Result<()> {
        for kind in [BlobKind::Data, BlobKind::Tree] {
            if !self.open(kind).pack.is_empty() {
                self.store_pack(kind)?;
            }
        }
        self.write_index()
    }

    /// Gives the lock back. With stored packs that are in no index it stays: whoever finds it abandoned looks for them.
    pub(crate) fn release(mut self) -> Result<Stored> {
        if self.unindexed.is_empty() {
            self.lock.release()?;
        } else {
            self.lock.leave();
        }
        Ok(self.stored)
    }

    /// Renews the lock when it is due.
    pub(crate) fn stay(&mut self) -> Result<()> {
        self.lock.refresh(self.clock)
    }

    /// Makes sure that nobody took this run for dead.
    pub(crate) fn confirm(&self) -> Result<()> {
        self.lock.confirm()
    }
}
