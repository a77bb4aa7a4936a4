//! The archive's commands and flags, and nothing about how they are carried out.
use crate::duration::Span;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// The archive: backups of folders, without any phone.
#[derive(Subcommand)]
pub(crate) enum Archive {
    /// Make an empty repository for backups
    InitRepository(InitRepository),
    /// Back up folders of this machine
    Backup(Backup),
    /// List the snapshots of a repository
    Snapshots(Snapshots),
    /// List what a snapshot holds
    Ls(Ls),
    /// Bring files back from a snapshot
    Restore(Restore),
    /// Check that everything is there and whole
    Verify(Verify),
    /// Forget old snapshots
    Forget(Forget),
    /// Remove what no snapshot needs any more
    Prune(Prune),
    /// Make a lost or damaged index anew from the stored data
    RebuildIndex(RebuildIndex),
    /// Copy a repository, or some snapshots of it, to another place
    ExportRepository(ExportRepository),
    /// Remove the locks that dead processes left
    Unlock(Unlock),
}

/// Where the repository is and what opens it.
#[derive(Args)]
pub(crate) struct Repository {
    /// The repository: a folder, or rest:URL of a server
    #[arg(long, value_name = "R")]
    pub(crate) repository: OsString,
    /// File with the repository's password; without it the password is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with the password of the user named in rest:https://USER@HOST/
    #[arg(long, value_name = "FILE")]
    pub(crate) server_password_file: Option<PathBuf>,
    /// Certificate authority (PEM) of the server, instead of those of the web
    #[arg(long, value_name = "FILE")]
    pub(crate) server_ca: Option<PathBuf>,
    /// How long a server that fails is tried again
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub(crate) patience: Span,
    /// Stands before the flag of every other command, and hides it: the archive knows no account
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
}

/// `homing init-repository`.
#[derive(Args)]
pub(crate) struct InitRepository {
    #[command(flatten)]
    pub(crate) at: Repository,
}

/// `homing backup`.
#[derive(Args)]
pub(crate) struct Backup {
    /// Folders to back up
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) at: Repository,
    /// Leave out what fits: * and ? as in a shell; without a slash names are compared, else whole paths
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Leave out folders that hold a CACHEDIR.TAG, and the users' cache folders
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Stay on the file systems of the given folders
    #[arg(long)]
    pub(crate) one_file_system: bool,
    /// A mark for the snapshot
    #[arg(long, value_name = "WORD")]
    pub(crate) tag: Vec<String>,
    /// The machine's name in the snapshot [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Look only at the paths in this file (- is standard input) and take the rest from the last snapshot: one path a line, or each ended by a zero byte; a folder's name means its list of entries, with a slash at its end everything in it
    #[arg(long, value_name = "FILE")]
    pub(crate) changes: Option<PathBuf>,
    /// The snapshot since which these are the changes [default: the last one]
    #[arg(long, value_name = "SNAPSHOT", requires = "changes")]
    pub(crate) since: Option<String>,
}

/// `homing snapshots`.
#[derive(Args)]
pub(crate) struct Snapshots {
    #[command(flatten)]
    pub(crate) at: Repository,
}

/// `homing ls`.
#[derive(Args)]
pub(crate) struct Ls {
    /// The beginning of a snapshot's id, or latest
    pub(crate) snapshot: String,
    /// Path in the snapshot [default: the folders that were backed up]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) at: Repository,
    /// Everything below it too
    #[arg(long)]
    pub(crate) recursive: bool,
}

/// `homing restore`.
#[derive(Args)]
pub(crate) struct Restore {
    /// The beginning of a snapshot's id, or latest
    pub(crate) snapshot: String,
    /// Absolute paths in the snapshot [default: everything]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) at: Repository,
    /// Folder to restore into; nothing is written elsewhere
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Only say what would be restored and what stands in its way
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace what is there and differs; without it that stays
    #[arg(long)]
    pub(crate) replace: bool,
}

/// `homing verify`.
#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) at: Repository,
    /// Read one pack in N too, others with each day
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20", conflicts_with = "all",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: Option<u32>,
    /// Read every byte
    #[arg(long)]
    pub(crate) all: bool,
}

/// `homing forget`.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("keep").required(true).multiple(true))]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) at: Repository,
    /// Keep snapshots not older than this before the newest of the same machine and folders
    #[arg(long, value_name = "DURATION", group = "keep")]
    pub(crate) keep_within: Option<Span>,
    /// Keep so many of the newest
    #[arg(long, value_name = "N", group = "keep", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_last: Option<u32>,
    /// Only say what would be forgotten
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `homing prune`.
#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    pub(crate) at: Repository,
    /// Only mark and remove what is needed by nobody at all; read and send nothing again
    #[arg(long)]
    pub(crate) no_repack: bool,
    /// What was marked is removed after this time
    #[arg(long, value_name = "DURATION", default_value = "23h")]
    pub(crate) grace: Span,
    /// Believe this machine's clock although the repository or its server contradicts it
    #[arg(long)]
    pub(crate) trust_clock: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `homing rebuild-index`.
#[derive(Args)]
pub(crate) struct RebuildIndex {
    #[command(flatten)]
    pub(crate) at: Repository,
}

/// `homing export-repository`.
#[derive(Args)]
pub(crate) struct ExportRepository {
    /// Where the copy goes: a folder, or rest:URL of a server; the same password opens it, with plain restic too
    pub(crate) to: OsString,
    /// Beginnings of the ids of the snapshots to copy, or latest [default: the whole repository]
    pub(crate) snapshots: Vec<String>,
    #[command(flatten)]
    pub(crate) at: Repository,
    /// As --server-password-file, for the copy
    #[arg(long, value_name = "FILE")]
    pub(crate) to_server_password_file: Option<PathBuf>,
    /// As --server-ca, for the copy
    #[arg(long, value_name = "FILE")]
    pub(crate) to_server_ca: Option<PathBuf>,
}

/// `homing unlock`.
#[derive(Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    pub(crate) at: Repository,
    /// All locks, whoever is at work: a run that loses its lock ends without a snapshot
    #[arg(long)]
    pub(crate) all: bool,
}
