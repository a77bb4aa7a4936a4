//! `homingd siren`: a process of its own that sounds while an intent stands; it must not need the agent, a user session or a network.

mod calls;
pub mod intent;
mod mixer;
mod reader;
pub mod report;
mod rhythm;
mod sounder;
pub mod sweep;
#[cfg(test)]
mod tests;
mod wake;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_hal::capability::siren::{SirenOutput, SoundCard};
use homing_hal::{Fault, Hal, Probe, Roots};

pub use self::calls::{CallPatience, OpenCalls};
pub use self::sounder::{End, Residence, Sounder};
pub use self::wake::Wake;
use crate::config::{self, Source};
use crate::error::Error;
use crate::exit::ExitError;
use crate::notify;
use crate::signal::Signals;

/// Serves the intent file until told to end; a one-shot siren also ends when no intent is left.
///
/// # Errors
/// A named configuration with faults (78), a missing state directory or siren folder (74), missing rights (77). A sound card
/// that fails is not an error: the siren tries again until the intent's deadline.
pub fn run(source: &Source, residence: Residence) -> Result<(), ExitError> {
    let (mut loaded, fault) = in_doubt(source, config::load(source))?;
    crate::log::start(loaded.settings.log);
    if let Some(error) = fault {
        tracing::error!(%error, "the built-in configuration is used");
    }
    let mut wake = Wake::new(Signals::install()?);
    let roots = Roots::default();
    let boot_id = intent::boot_id(&roots)?;
    let mut ready = Some(notify::ready);
    loop {
        let settings = &loaded.settings;
        let folder = prepare_folder(&settings.state_dir)?;
        wake.watch(&folder)?;
        if let Some(ready) = ready.take() {
            ready();
        }
        let mut hal = Hal::open(&settings.hal, &roots);
        let attention = std::mem::take(&mut hal.attention);
        let card = hal.sound.get_or_insert_with(|| Box::new(Missing));
        let mut sounder = Sounder::new(
            card.as_mut(),
            &mut wake,
            folder,
            boot_id.clone(),
            settings.ring.longest,
        )
        .with_attention(attention)
        .with_calls(
            calls(settings.hal.clone(), roots.clone()),
            CallPatience::default(),
        );
        match sounder.serve(residence)? {
            End::Idle | End::Told => break,
            End::Reload => match config::load(source) {
                Ok(newer) => loaded = newer,
                Err(error) => tracing::warn!(%error, "the old configuration stays in force"),
            },
        }
    }
    notify::stopping();
    Ok(())
}

/// How the driver for calls is opened, beside each sound.
fn calls(hal: homing_hal::HalSettings, roots: Roots) -> OpenCalls {
    Box::new(move || Hal::open(&hal, &roots).calls)
}

/// In doubt the phone rings: a typing error in the system's configuration must not make it silent. A file that somebody
/// named by hand is theirs to mend.
fn in_doubt(
    source: &Source,
    loaded: Result<config::Loaded, Error>,
) -> Result<(config::Loaded, Option<Error>), Error> {
    match loaded {
        Ok(loaded) => Ok((loaded, None)),
        Err(error) if source.named.is_some() => Err(error),
        Err(error) => {
            let built_in = config::Loaded {
                settings: config::Settings::default(),
                files: Vec::new(),
            };
            Ok((built_in, Some(error)))
        }
    }
}

/// The siren's folder, made if only it is missing: its parent belongs to the package or the administrator.
fn prepare_folder(state_dir: &Path) -> Result<PathBuf, Error> {
    let unusable = |path: &Path, source| Error::Folder {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(state_dir)
        .map_err(|source| unusable(state_dir, source))?
        .is_dir()
    {
        return Err(unusable(state_dir, io::ErrorKind::NotADirectory.into()));
    }
    let folder = intent::folder(state_dir);
    // The packaged state directory lets the siren's user pass through and make nothing.
    if folder.is_dir() {
        return Ok(folder);
    }
    match fs::create_dir(&folder) {
        Ok(()) => Ok(folder),
        Err(source) => Err(unusable(&folder, source)),
    }
}

/// The sound card of a phone that has no driver for one: the order is answered with the reason.
struct Missing;

impl SoundCard for Missing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn probe(&self) -> Probe {
        Probe::Unsupported {
            reason: NO_DRIVER.into(),
        }
    }

    fn open(&mut self) -> Result<Box<dyn SirenOutput>, Fault> {
        Err(Fault::Absent(NO_DRIVER.into()))
    }

    fn put_back(&mut self, _mixer: &str) -> Result<(), Fault> {
        Err(Fault::Absent(NO_DRIVER.into()))
    }
}

const NO_DRIVER: &str = "there is no driver for this phone's sound card";

/// How long one block of sound is: intents are looked at between two blocks.
const BLOCK: Duration = Duration::from_millis(100);
