//! homingd's configuration: one file and its fragments become `Settings`; it must not guess: what it does not know is a fault.

mod fault;
mod keys;
mod read;
mod settings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use self::fault::Fault;
pub use self::keys::{KEYS, Key};
pub use self::settings::{Beacon, BootFolder, Locate, Lost, Mqtt, Ring, Settings, Track};
use crate::error::Error;

/// Where the configuration is when the command line names none.
pub const DEFAULT_PATH: &str = "/etc/homing/homingd.toml";

/// Whether this process may run on the simulated phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Simulator {
    /// Hardware only: a configuration that asks for the simulator is a fault.
    #[default]
    Refused,
    /// `--allow-simulator` was given.
    Allowed,
}

/// Where a process takes its configuration from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `--config FILE`; without it [`DEFAULT_PATH`], which may be missing.
    pub named: Option<PathBuf>,
    /// Whether the simulator may be asked for.
    pub simulator: Simulator,
}

impl Source {
    /// The main file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }
}

/// A configuration without faults.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The merged settings.
    pub settings: Settings,
    /// The files that were read, in the order in which they were merged; empty means built-in defaults.
    pub files: Vec<PathBuf>,
}

/// Reads the main file, then each `*.toml` of the folder beside it (`homingd.toml` → `homingd.d/`) in the
/// order of their names; a later value replaces an earlier one.
///
/// # Errors
/// [`Error::Config`] with every fault of every file.
pub fn load(source: &Source) -> Result<Loaded, Error> {
    let files = read::files(source).map_err(|fault| Error::Config(vec![fault]))?;
    let settings = read::settings(&files, source.simulator).map_err(Error::Config)?;
    Ok(Loaded { settings, files })
}

/// Reads one file alone, as `check-config FILE` does.
///
/// # Errors
/// [`Error::Config`] with every fault of the file.
pub fn load_file(path: &Path, simulator: Simulator) -> Result<Settings, Error> {
    read::settings(&[path.to_owned()], simulator).map_err(Error::Config)
}
