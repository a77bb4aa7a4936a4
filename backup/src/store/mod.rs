//! Where a repository's files lie. One trait, one set of rules for all stores; knows nothing of what the files hold.

pub mod conformance;
mod local;
mod memory;
mod patient;
mod place;
pub mod rest;

use crate::id::Id;
use crate::timestamp::Timestamp;
use std::fmt;

pub use local::LocalStore;
pub use memory::{Fault, MemoryStore};
pub use patient::{Going, Patience, PatientStore};
pub use place::{Place, PlaceStore};
pub use rest::{RestOptions, RestStore};

/// The kinds of files in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Blobs.
    Pack,
    /// Master keys under passwords.
    Key,
    /// Which blob lies where.
    Index,
    /// What was backed up.
    Snapshot,
    /// Who is at work.
    Lock,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Pack,
        Self::Key,
        Self::Index,
        Self::Snapshot,
        Self::Lock,
    ];

    /// The folder that holds the kind, as in the restic format.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Pack => "data",
            Self::Key => "keys",
            Self::Index => "index",
            Self::Snapshot => "snapshots",
            Self::Lock => "locks",
        }
    }
}

/// One file of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// The one config.
    Config,
    /// A file named by its content.
    File(Kind, Id),
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => formatter.write_str("config"),
            Self::File(kind, id) => write!(formatter, "{}/{id}", kind.folder()),
        }
    }
}

/// What a failure means for the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Trying again later may help: a network, a busy server.
    Temporary,
    /// The file is not there.
    Missing,
    /// The store refuses us.
    Denied,
    /// There is no room left.
    Full,
    /// Anything else that trying again does not mend.
    Permanent,
}

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{what} {subject}: {reason}")]
pub struct StoreError {
    /// What it was doing, "reading".
    pub what: &'static str,
    /// To which file or folder.
    pub subject: String,
    /// Why it failed.
    pub reason: String,
    /// What that means.
    pub class: Class,
}

/// A place for a repository's files. Every operation is complete when it returns: what `put` took survives a power cut.
pub trait Store {
    /// Makes the place ready for a new repository. Harmless where it is ready.
    ///
    /// # Errors
    /// The place cannot be made.
    fn prepare(&self) -> Result<(), StoreError>;

    /// Calls `each` with name and size in bytes of every file of a kind, in any order. Files that carry no id are skipped.
    ///
    /// # Errors
    /// The listing is not complete.
    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError>;

    /// Size of a file in bytes.
    ///
    /// # Errors
    /// [`Class::Missing`] when there is none.
    fn size(&self, name: Name) -> Result<u64, StoreError>;

    /// The whole file.
    ///
    /// # Errors
    /// [`Class::Missing`] when there is none.
    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError>;

    /// Replaces `buffer` with up to `length` bytes from `offset`; fewer only where the file ends.
    ///
    /// # Errors
    /// [`Class::Missing`] when there is none.
    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError>;

    /// When a file was written, by the clock of whoever keeps it. It is compared with other times of the same store, and with
    /// our own clock to doubt that; a store that does not know says `None`.
    ///
    /// # Errors
    /// [`Class::Missing`] when there is none.
    fn written(&self, name: Name) -> Result<Option<Timestamp>, StoreError> {
        self.size(name).map(|_| None)
    }

    /// Stores a file: afterwards it is there wholly and durably, or not at all. A file that is there already stays as it is,
    /// unless its size differs, which marks a remnant. [`Name::Config`] is made once: of several who store it at the same time
    /// one wins, and the others find that out by reading it.
    ///
    /// # Errors
    /// Nothing, or only a remnant without a valid name, is left.
    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes sure that a file which was found, and which another may have put a moment before it died, survives a power cut.
    /// Where nothing is found before it is durable there is nothing to do.
    ///
    /// # Errors
    /// It may be gone after a power cut.
    fn settle(&self, _name: Name) -> Result<(), StoreError> {
        Ok(())
    }

    /// Removes what uploads that were cut off have left. Only for who holds the repository alone.
    ///
    /// # Errors
    /// Not all of it could be removed.
    fn tidy(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`Class::Missing`] when there is none.
    fn remove(&self, name: Name) -> Result<(), StoreError>;

    /// Another way to the same files, for a thread of its own. It tries nothing again. Without one, what is to be done while
    /// an operation is under way waits for its end.
    fn beside(&self) -> Option<Box<dyn Store + Send>> {
        None
    }

    /// The same where answers take time rather than work, so that it pays to ask before an answer is needed.
    fn ahead(&self) -> Option<Box<dyn Store + Send>> {
        None
    }
}
