//! Everything that can stop a `homing` command: one clear sentence each, and its exit code. Carries no secret.
use crate::exit;
use std::io;
use std::path::PathBuf;

/// What was being done when it stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Understanding the arguments.
    #[error("{0}")]
    Usage(String),
    /// Finding a device by name or id.
    #[error("no device is called {0:?}; `homing devices` lists them")]
    UnknownDevice(String),
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
    /// Hearing from the phone that it cannot or will not.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The exit code that belongs to it (homing(1)).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::UnknownDevice(_) | Self::WeakPassphrase(_) => exit::USAGE,
            Self::NoAccount(_)
            | Self::HalfRecovered(_)
            | Self::AccountExists(_)
            | Self::File { .. }
            | Self::Damaged(_) => exit::CONFIG,
            Self::Read { source, .. } | Self::Write { source, .. } => by_kind(source),
            Self::Database(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::PermissionDenied =>
            {
                exit::PERMISSION
            }
            Self::Database(_)
            | Self::Passphrase(_)
            | Self::Print(_)
            | Self::Randomness
            | Self::CoreDumps(_)
            | Self::Broker(_)
            | Self::Runtime(_) => exit::IO,
            Self::Certificate(_) | Self::Json(_) | Self::Owner(homing_owner::Error::Seal(_)) => {
                exit::BUG
            }
            Self::Delegate | Self::Owner(homing_owner::Error::WrongSecret) => exit::PERMISSION,
            Self::Owner(homing_owner::Error::Mistyped(_)) => exit::USAGE,
            Self::Owner(_) | Self::Link(_) => exit::CONFIG,
            Self::NoAnswerYet(_) => exit::NO_ANSWER_YET,
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
