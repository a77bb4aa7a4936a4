//! Everything that can go wrong in the archive, one variant for what was being done. Carries no key and no file content.

use crate::id::{Id, NotAnId};
use crate::store::{Name, StoreError};
use std::path::PathBuf;

/// The archive's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done when it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealed bytes do not open with this key: damaged, or sealed by another.
    #[error("the bytes were not sealed with this key, or are damaged")]
    Forged,
    /// No key file opens with this password.
    #[error("{}", wrong_password(*keys))]
    WrongPassword {
        /// How many key files were tried.
        keys: usize,
    },
    /// A key file asks for more memory than is granted for reading one.
    #[error(
        "key {key} wants scrypt parameters N={n}, r={r}, p={p}, which is more than this program grants"
    )]
    KeyTooCostly {
        /// The key file.
        key: Id,
        /// Its cost.
        n: u64,
        /// Its block size.
        r: u32,
        /// Its parallelism.
        p: u32,
    },
    /// There is no repository here.
    #[error("this is not a repository: it has no config")]
    NotARepository,
    /// There is a repository here already.
    #[error("there is a repository here already")]
    AlreadyARepository,
    /// The repository is of a version this program does not know.
    #[error("the repository has format version {0}; this program reads versions 1 and 2")]
    UnknownVersion(u32),
    /// Writing is only done in version 2.
    #[error(
        "the repository has format version 1, which is only read; migrate it with `restic migrate upgrade_repo_v2`"
    )]
    OldVersion,
    /// Somebody else holds the repository for themselves.
    #[error("the repository is locked by process {pid} of {user} on {host} since {since}")]
    Locked {
        /// Its process id.
        pid: u32,
        /// Its user's name.
        user: String,
        /// Its machine's name.
        host: String,
        /// When it took the lock, RFC 3339.
        since: String,
    },
    /// A lock tells nothing of who holds it.
    #[error(
        "lock {lock} cannot be read ({how}), so somebody may be at work; half an hour after it was written it is removed"
    )]
    UnreadableLock {
        /// Which lock.
        lock: Id,
        /// Why it tells nothing.
        how: String,
    },
    /// Somebody removed our lock while we were at work.
    #[error(
        "somebody removed this run's lock while it was at work, and may have removed data too; the same command goes on"
    )]
    LockLost,
    /// The machine's clock is contradicted, and what is removed depends on it.
    #[error("this machine's clock says {now}, but {why}; nothing was removed")]
    ClockDoubtful {
        /// What it says, RFC 3339.
        now: String,
        /// What speaks against it.
        why: String,
    },
    /// Another process backs up the same folders into the same repository.
    #[error("another backup with the state in {} is under way", .0.display())]
    Busy(PathBuf),
    /// Another process restores into the same folder.
    #[error("another restore into {} is under way", .0.display())]
    TargetBusy(PathBuf),
    /// A stored file is damaged.
    #[error("{name} is damaged: {how}")]
    Damaged {
        /// Which file.
        name: Name,
        /// In which way.
        how: String,
    },
    /// A blob is damaged.
    #[error("blob {blob} in pack {pack} is damaged: {how}")]
    DamagedBlob {
        /// Which blob.
        blob: Id,
        /// Its pack.
        pack: Id,
        /// In which way.
        how: String,
    },
    /// No index names the blob.
    #[error("blob {0} is in no index")]
    NoSuchBlob(Id),
    /// A text that should be an id is none.
    #[error(transparent)]
    NotAnId(#[from] NotAnId),
    /// No or several snapshots fit what was asked for.
    #[error("{0}")]
    NoSuchSnapshot(String),
    /// A name was asked for that the snapshot lacks.
    #[error("the snapshot holds no {}", .0.display())]
    NoSuchPath(PathBuf),
    /// A JSON text is not what the format says.
    #[error("reading {what}: {source}")]
    Json {
        /// Which text.
        what: &'static str,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// Bytes are not what the format says.
    #[error("{0}")]
    Malformed(&'static str),
    /// Compressing or decompressing failed.
    #[error("{what}: {source}")]
    Compression {
        /// Which of the two.
        what: &'static str,
        /// What zstd says.
        source: std::io::Error,
    },
    /// The system has no randomness to give.
    #[error("the system has no random numbers to give")]
    NoRandomness,
    /// What was just sealed does not open to what it was: the memory or the processor is at fault.
    #[error(
        "a sealed blob did not open to what was sealed; nothing of it was stored (faulty memory?)"
    )]
    SealedWrongly,
    /// A file or folder of the machine could not be worked on.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody asked to stop; everything stored so far is indexed.
    #[error("stopped on request; the same command goes on")]
    Stopped,
}

fn wrong_password(keys: usize) -> String {
    match keys {
        0 => "the repository has no key file left, so that no password opens it".into(),
        1 => "wrong password: it does not open the repository's key".into(),
        keys => format!("wrong password: it opens none of the repository's {keys} keys"),
    }
}

impl Error {
    /// For `map_err`: a failed step on a file of the machine.
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |errno| Self::File {
            what,
            path,
            source: errno.into(),
        }
    }
}
