//! Everything that can stop a `homing` command: one clear sentence each, and its exit code. Carries no secret.
use crate::clock::UnixMs;
use crate::commands::resident::Report;
use crate::exit;
use rusqlite::ErrorCode;
use std::io;
use std::path::PathBuf;

/// What was being done when it stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Understanding the arguments.
    #[error("{0}")]
    Usage(String),
    /// Finding a device by name or id.
    #[error("no phone is called {asked:?}{}; `homing devices` lists them", nearest.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default())]
    UnknownDevice {
        /// What was asked for.
        asked: String,
        /// A name that is nearly the same.
        nearest: Option<String>,
    },
    /// Finding a device that was put out.
    #[error("{name:?} was put out of the account{}: nothing can be ordered from it any more", at.map(|at| format!(" on {}", at.dated())).unwrap_or_default())]
    RevokedDevice {
        /// Its name.
        name: String,
        /// When that was, if it is known.
        at: Option<UnixMs>,
    },
    /// Opening the state.
    #[error("there is no account in {}; start one with `homing init --broker mqtts://HOST:PORT`, or bring one back with `homing recover --kit FILE`", .0.display())]
    NoAccount(PathBuf),
    /// Opening the state that an interrupted `recover` left.
    #[error("`homing recover` was interrupted in {}, or is still at work; there is no account in it yet: repeat `homing recover --kit FILE`", .0.display())]
    HalfRecovered(PathBuf),
    /// Opening the keyring on a delegate's machine.
    #[error(
        "this machine is a delegate's: it may order what it was allowed to, and only the owner can change the account"
    )]
    Delegate,
    /// Changing the account on a machine that another one has put out.
    #[error(
        "this machine was put out of the account by another one; it changes nothing any more. If that was a mistake, let it join anew: homing client request in another --home"
    )]
    PutOut,
    /// Changing who may order what over a list that this machine has not seen.
    #[error(
        "{phone} follows authority list {theirs} of another machine, and this machine knows only its own list {ours}: whom that one put out must not come back, so nothing was changed. Run `homing status` on the other machine, then repeat this; if it is gone for good: `homing client revoke --all-others`"
    )]
    UnseenList {
        /// Which phone.
        phone: String,
        /// The version it follows.
        theirs: u64,
        /// The newest version here.
        ours: u64,
    },
    /// Starting an account.
    #[error("{} already holds an account; choose another folder with --home", .0.display())]
    AccountExists(PathBuf),
    /// Reading a file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing a file or folder.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Understanding a file's content.
    #[error("{} is not usable: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Working with the database in the state folder.
    #[error("the state in homing.db cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// Opening a state that a later version of this program has written.
    #[error("{} was written by a later version of homing (its state is version {found}, this one knows {known}); nothing was changed: use that version, or `homing recover` into another folder", path.display())]
    NewerState {
        /// Which file.
        path: PathBuf,
        /// The version it has.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Reading something back that this program stored.
    #[error(
        "the state holds a damaged {0}; bring the account back into an empty folder with `homing recover --kit FILE --home DIR`"
    )]
    Damaged(&'static str),
    /// Asking for the passphrase.
    #[error("cannot read the passphrase: {0}; give it on a terminal or with --passphrase-fd N")]
    Passphrase(io::Error),
    /// Checking a new passphrase.
    #[error("{0}")]
    WeakPassphrase(&'static str),
    /// Issuing a certificate.
    #[error("cannot issue a certificate: {0}")]
    Certificate(rcgen::Error),
    /// Forbidding core dumps.
    #[error("cannot forbid core dumps: {0}")]
    CoreDumps(io::Error),
    /// Listening for signals.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// Reading the clocks that nobody sets.
    #[error("cannot read the system's clocks: {0}")]
    Clock(io::Error),
    /// Staying while another process does.
    #[error("another `homing watch` runs for this account on this machine{}; one is enough", .0.as_ref().map(|report| format!(" (process {}, since {})", report.process, UnixMs(report.since_ms).dated())).unwrap_or_default())]
    WatchRuns(Option<Report>),
    /// Going on with a database that is not there any more.
    #[error("the state in {} was removed or replaced while it was in use", .0.display())]
    StateReplaced(PathBuf),
    /// Installing a unit where nobody would start it.
    #[error("{0}")]
    NoUserManager(String),
    /// Asking the user's service manager.
    #[error("`systemctl --user {asked}` failed: {said}")]
    UserManager {
        /// What it was asked.
        asked: String,
        /// What it said.
        said: String,
    },
    /// Drawing random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// Printing.
    #[error("cannot print: {0}")]
    Print(io::Error),
    /// Encoding for `--json` or a file.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Working with keys, signatures or the keyring.
    #[error("{0}")]
    Owner(#[from] homing_owner::Error),
    /// Setting up the connection to the broker.
    #[error("{0}")]
    Link(#[from] homing_link::Error),
    /// Reaching the broker where nothing can be done without it.
    #[error("{0}")]
    Broker(String),
    /// Starting the runtime that waits for the network.
    #[error("cannot wait for the network: {0}")]
    Runtime(io::Error),
    /// Waiting for the phone.
    #[error("{0}")]
    NoAnswerYet(String),
    /// Working with a repository of the archive.
    #[error("{0}")]
    Archive(#[from] homing_backup::Error),
    /// Opening a repository where there is none.
    #[error("{0} is not a repository: it has no config; `homing init-repository` makes a new one")]
    NoRepository(String),
    /// Making a repository where there is one.
    #[error("{0} is a repository already; nothing was changed")]
    RepositoryThere(String),
    /// Asking for the password of a repository.
    #[error(
        "cannot read the password: {0}; give it on a terminal, with --password-file FILE or with --passphrase-fd N"
    )]
    Password(io::Error),
    /// Backing up or restoring everything: some items were left out.
    #[error("{0}")]
    Incomplete(String),
    /// Verifying a repository.
    #[error("the repository is damaged in {0} places; what is named above cannot be trusted")]
    DamagedRepository(usize),
    /// Hearing from the phone that it cannot or will not.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Whether the same may succeed a little later without anybody's help: room on the disk, another process's transaction.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Database(rusqlite::Error::SqliteFailure(failure, _)) => matches!(
                failure.code,
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::CannotOpen
            ),
            Self::Write { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    /// The exit code that belongs to it (homing(1)).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::UnknownDevice { .. }
            | Self::RevokedDevice { .. }
            | Self::WeakPassphrase(_) => exit::USAGE,
            Self::NoAccount(_)
            | Self::HalfRecovered(_)
            | Self::AccountExists(_)
            | Self::File { .. }
            | Self::NewerState { .. }
            | Self::NoUserManager(_)
            | Self::Damaged(_) => exit::CONFIG,
            Self::Read { source, .. } | Self::Write { source, .. } => by_kind(source),
            Self::Database(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::PermissionDenied =>
            {
                exit::PERMISSION
            }
            Self::Database(_)
            | Self::Passphrase(_)
            | Self::Password(_)
            | Self::Print(_)
            | Self::Randomness
            | Self::CoreDumps(_)
            | Self::Broker(_)
            | Self::Signals(_)
            | Self::Clock(_)
            | Self::StateReplaced(_)
            | Self::UserManager { .. }
            | Self::Runtime(_) => exit::IO,
            Self::Certificate(_) | Self::Json(_) | Self::Owner(homing_owner::Error::Seal(_)) => {
                exit::BUG
            }
            Self::Delegate | Self::PutOut | Self::Owner(homing_owner::Error::WrongSecret) => {
                exit::PERMISSION
            }
            Self::Owner(homing_owner::Error::Mistyped(_)) => exit::USAGE,
            Self::Owner(_) | Self::Link(_) => exit::CONFIG,
            Self::Archive(error) => crate::archive::exit_code(error),
            Self::Incomplete(_) => exit::IO,
            Self::DamagedRepository(_) | Self::NoRepository(_) | Self::RepositoryThere(_) => {
                exit::CONFIG
            }
            Self::NoAnswerYet(_) | Self::WatchRuns(_) | Self::UnseenList { .. } => {
                exit::NO_ANSWER_YET
            }
            Self::Refused(_) => exit::REFUSED,
        }
    }
}

fn by_kind(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::PermissionDenied {
        exit::PERMISSION
    } else {
        exit::IO
    }
}
