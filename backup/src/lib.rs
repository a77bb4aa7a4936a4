//! The archive: backups in the restic repository format, version 2. Knows no MQTT and no hardware; of networks only `store::rest` knows.
//!
//! A [`repository::Repository`] stands on a [`store::Store`]. Data is put in packs, packs are named by indexes, and a
//! snapshot, written last, is what makes a backup exist. See `docs/backup-format.md`.
#![forbid(unsafe_code)]

mod absent;
mod ahead;
pub mod archiver;
pub mod chunker;
pub mod clock;
pub mod config;
pub mod crypto;
mod error;
pub mod export;
pub mod gojson;
pub mod id;
pub mod index;
pub mod key;
pub mod lock;
pub mod lookup;
pub mod os;
pub mod pack;
pub mod polynomial;
pub mod prune;
pub mod reader;
pub mod repository;
pub mod restore;
pub mod retention;
mod sealer;
pub mod snapshot;
pub mod store;
pub mod timestamp;
pub mod tree;
pub mod verify;

pub use error::{Error, Result};
pub use id::Id;
pub use timestamp::Timestamp;
