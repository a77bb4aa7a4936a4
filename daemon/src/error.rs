//! What homingd was doing when it failed; it must not carry keys, positions or whole commands.

use std::io;
use std::path::PathBuf;

use crate::config::Fault;
use crate::exit::ExitStatus;

/// Every failure of the daemon; the variant says what was being done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading the command line.
    #[error("{0}")]
    Usage(String),
    /// Reading the configuration: every fault that was found, never empty.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Fault>),
    /// Reading a file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Replacing a file in one step.
    #[error("cannot write {}: {source}", path.display())]
    Replace {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Using a folder that the package or the administrator provides.
    #[error("cannot use the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Waiting for changes of a folder.
    #[error("cannot watch the folder {}: {source}", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Asking the kernel for a limit, a clock or a signal.
    #[error("cannot {doing}: {source}")]
    Kernel {
        /// What was asked, as a verb phrase.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Reading or writing the journal.
    #[error("cannot {doing} in the journal: {source}")]
    Journal {
        /// What was being done, as a verb phrase.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Reading what the journal, the identity or a bundle says.
    #[error("{what} is damaged: {source}")]
    Damaged {
        /// What it is, with its path where it has one.
        what: String,
        /// What is wrong with it.
        source: homing_protocol::Malformed,
    },
    /// Having the state directory alone.
    #[error("another agent, homingd enrol or homingd leave works on {}", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// Joining an account, or acting without having joined one.
    #[error("{0}")]
    Enrolment(String),
    /// Preparing the connection to the broker.
    #[error("cannot prepare the connection to the broker: {0}")]
    Link(#[from] homing_link::Error),
    /// Writing the answer to stdout.
    #[error("cannot write the answer: {0}")]
    Print(io::Error),
}

impl Error {
    /// Whether waiting may help: a full or read-only disk, a file that another process holds. What is lost when an
    /// fsync fails is never written again by itself, so that one does not pass; a new start reads what is really there.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Read { .. } | Self::Replace { .. } | Self::Folder { .. } => true,
            Self::Journal { source, .. } => match source.sqlite_error() {
                Some(error) if error.code == Code::SystemIoFailure => !matches!(
                    error.extended_code,
                    rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC
                ),
                Some(error) => matches!(
                    error.code,
                    Code::DiskFull
                        | Code::ReadOnly
                        | Code::CannotOpen
                        | Code::DatabaseBusy
                        | Code::DatabaseLocked
                ),
                None => false,
            },
            _ => false,
        }
    }

    /// The exit status a supervisor should see.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Usage(_) => ExitStatus::Usage,
            Self::Config(_) | Self::Enrolment(_) | Self::Link(_) => ExitStatus::Config,
            // The other one ends: a supervisor may try again.
            Self::Journal { .. } | Self::Damaged { .. } | Self::InUse { .. } => ExitStatus::Io,
            Self::Read { source, .. }
            | Self::Replace { source, .. }
            | Self::Folder { source, .. }
            | Self::Watch { source, .. }
            | Self::Kernel { source, .. }
            | Self::Print(source) => ExitStatus::of_io(source),
        }
    }
}
