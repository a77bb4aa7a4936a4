//! What can go wrong while measuring, each with what was being done. It must not carry a secret.

use std::path::{Path, PathBuf};

/// Why a benchmark gives no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("cannot start {what}: {source}")]
    Start {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{what} cannot be understood")]
    Parse { what: String },
    #[error("after {seconds} s still waiting for {what}")]
    Late { what: &'static str, seconds: u64 },
    #[error("{what} ended: {reason}")]
    Cut { what: &'static str, reason: String },
    #[error("an order ended as {state} instead of {wanted}")]
    Ended {
        state: &'static str,
        wanted: &'static str,
    },
    #[error("the owner's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the link: {0}")]
    Link(#[from] homing_link::Error),
    #[error("a database of the set: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the owner's keys: {0}")]
    Owner(#[from] homing_owner::Error),
    #[error("a message of the protocol: {0}")]
    Message(#[from] homing_protocol::Malformed),
}

/// [`Error::Write`] as a closure for `map_err`.
pub(crate) fn written(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Write {
        path: path.clone(),
        source,
    }
}

/// [`Error::Parse`] as a closure for `ok_or_else` and `map_err`.
pub(crate) fn unreadable(what: &str) -> Error {
    Error::Parse {
        what: what.to_owned(),
    }
}
