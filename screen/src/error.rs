//! What goes wrong on the lost screen. It decides nothing.

use std::io;

use homing_hal::Fault;

/// Why the screen cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The notice is there and cannot be read.
    #[error("reading the notice: {0}")]
    Notice(String),
    /// The configuration cannot be read.
    #[error("reading the configuration: {0}")]
    Config(String),
    /// The panel, touch or keys.
    #[error("the body: {0}")]
    Body(#[from] Fault),
    /// The system.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}
