//! Where the log goes: stderr, which the supervisor keeps; it must not be started twice or write to files.

use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

/// How much is logged. `error`: a person must act; `warn`: degraded; `info`: a record was committed or an
/// effect began or ended; `debug` and `trace`: for developers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A person must act.
    Error,
    /// Something works less well than it should.
    Warn,
    /// What was recorded and done.
    #[default]
    Info,
    /// For developers.
    Debug,
    /// For developers, with each step.
    Trace,
}

impl Level {
    /// All levels by the word used in the configuration.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Starts the process's log; a second start changes nothing.
pub fn start(level: Level) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level.filter())
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(
            io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        );
    // A journal stamps each line itself.
    let started = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => tracing::subscriber::set_global_default(builder.without_time().finish()),
        None => tracing::subscriber::set_global_default(builder.finish()),
    };
    drop(started);
}
