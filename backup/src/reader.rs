//! Blobs on their way out of the repository, neighbours read together. Changes nothing.

use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Index, PackNumber};
use crate::pack::BlobKind;
use crate::repository::Repository;
use crate::store::{Kind, Name, Store};
use crate::tree::{self, Node};

/// Most bytes read ahead of what was asked for; files of one folder lie side by side in a pack.
const AHEAD_BYTES: usize = 2 << 20;
/// Bytes read ahead at first.
const FIRST_AHEAD: usize = 64 << 10;

/// Loads blobs of one repository.
pub struct Reader<'r, S> {
    repository: &'r Repository<S>,
    index: Index,
    /// A piece of a pack, sealed.
    window: Vec<u8>,
    pack: Option<PackNumber>,
    start: usize,
    ahead: usize,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl<S> std::fmt::Debug for Reader<'_, S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Reader({:?})", self.index)
    }
}

impl<'r, S: Store> Reader<'r, S> {
    /// Loads the repository's index.
    ///
    /// # Errors
    /// An index file cannot be loaded.
    pub fn new(repository: &'r Repository<S>) -> Result<Self> {
        Ok(Self::with_index(repository, repository.load_index()?))
    }

    /// With an index that was loaded otherwise.
    #[must_use]
    pub const fn with_index(repository: &'r Repository<S>, index: Index) -> Self {
        Self {
            repository,
            index,
            window: Vec::new(),
            pack: None,
            start: 0,
            ahead: FIRST_AHEAD,
            sealed: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// The repository.
    #[must_use]
    pub const fn repository(&self) -> &'r Repository<S> {
        self.repository
    }

    /// The index.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// A blob's checked content, valid until the next call.
    ///
    /// # Errors
    /// It is in no index, its pack cannot be read, or it is damaged.
    pub fn blob(&mut self, kind: BlobKind, id: &Id) -> Result<&[u8]> {
        let (number, entry) = self.index.find(kind, id).ok_or(Error::NoSuchBlob(*id))?;
        let (offset, length) = (entry.offset as usize, entry.length as usize);
        if !self.covers(number, offset, length) {
            self.load(number, offset, length)?;
        }
        let from = offset - self.start;
        let to = (from + length).min(self.window.len());
        self.sealed.clear();
        self.sealed
            .extend_from_slice(self.window.get(from..to).unwrap_or_default());
        let pack = self.index.pack(number);
        self.repository
            .open_blob(pack, &entry, &mut self.sealed, &mut self.plain)?;
        Ok(&self.plain)
    }

    /// A folder's entries.
    ///
    /// # Errors
    /// As [`Reader::blob`], or it is not a tree.
    pub fn tree(&mut self, id: &Id) -> Result<Vec<Node>> {
        tree::parse(self.blob(BlobKind::Tree, id)?)
    }

    /// Plain length of a blob in bytes, without loading it.
    #[must_use]
    pub fn plain_length(&self, id: &Id) -> Option<u64> {
        let (_, entry) = self.index.find(BlobKind::Data, id)?;
        let overhead = u32::try_from(crate::crypto::OVERHEAD_BYTES).unwrap_or(0);
        Some(u64::from(
            entry
                .uncompressed
                .unwrap_or(entry.length.saturating_sub(overhead)),
        ))
    }

    fn covers(&self, pack: PackNumber, offset: usize, length: usize) -> bool {
        self.pack == Some(pack)
            && offset >= self.start
            && offset + length <= self.start + self.window.len()
    }

    fn load(&mut self, pack: PackNumber, offset: usize, length: usize) -> Result<()> {
        // Reading on where the last piece ended pays for reading more; jumping about does not.
        let end = self.start + self.window.len();
        let goes_on = self.pack == Some(pack) && offset >= self.start && offset <= end + self.ahead;
        self.ahead = if goes_on {
            (self.ahead * 2).min(AHEAD_BYTES)
        } else {
            FIRST_AHEAD
        };
        // The beginning of what is wanted may be the end of what is there: it is not fetched once more.
        let kept = match self.pack == Some(pack) && (self.start..end).contains(&offset) {
            true => end - offset,
            false => 0,
        };
        self.pack = None;
        self.window.drain(..self.window.len() - kept);
        let name = Name::File(Kind::Pack, self.index.pack(pack));
        let (from, wanted) = (offset + kept, length + self.ahead - kept);
        self.repository
            .store()
            .get_range(name, from as u64, wanted, &mut self.sealed)?;
        self.window.extend_from_slice(&self.sealed);
        self.pack = Some(pack);
        self.start = offset;
        Ok(())
    }
}
