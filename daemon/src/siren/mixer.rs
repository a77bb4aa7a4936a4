//! What the siren remembers of the user's mixer while it makes it loud, so that a killed siren's successor can put it back. It must not say how a mixer is read or set.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_hal::capability::siren::SirenOutput;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Access};
use crate::error::Error;
use crate::siren::reader;

/// The user's mixer, as it stands in `{state_dir}/siren/mixer.json` while the siren has the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The boot during which it was found: at the next one the system sets its mixer anew.
    boot_id: String,
    /// The driver that found it.
    driver: String,
    /// What it found, in its own words.
    found: String,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("mixer.json")
}

/// Whether a siren of this boot died before it could put the mixer back.
pub(super) fn is_owed(folder: &Path, boot_id: &str) -> bool {
    load(folder).is_some_and(|remembered| remembered.boot_id == boot_id)
}

fn load(folder: &Path) -> Option<Remembered> {
    let text = reader::read(&path(folder)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Before anything is made loud: hands a dead siren's memory to the card, else writes down what the card found. Neither
/// may keep the phone from ringing, so what fails is only logged.
pub(super) fn remember(folder: &Path, boot_id: &str, driver: &str, output: &mut dyn SirenOutput) {
    let owed = load(folder)
        .filter(|remembered| remembered.boot_id == boot_id && remembered.driver == driver);
    if let Some(remembered) = owed {
        if let Err(fault) = output.take_over(&remembered.found) {
            tracing::warn!(%fault, "the mixer of a siren that was killed cannot be put back");
        }
        return;
    }
    let Some(found) = output.found() else { return };
    let remembered = Remembered {
        boot_id: boot_id.to_owned(),
        driver: driver.to_owned(),
        found,
    };
    if let Err(error) = store(folder, &remembered) {
        tracing::warn!(%error, "a killed siren would leave the mixer loud");
    }
}

/// The disk is not waited for: a process that is killed leaves the kernel's pages, and a power cut ends the mixer too.
fn store(folder: &Path, remembered: &Remembered) -> Result<(), Error> {
    let path = path(folder);
    let text = serde_json::to_vec(remembered).map_err(|error| Error::Replace {
        path: path.clone(),
        source: error.into(),
    })?;
    durable::show(&path, &text, Access::Private)
}

/// The mixer is as the user had it.
pub(super) fn forget(folder: &Path) {
    match fs::remove_file(path(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the next siren will set this mixer again");
        }
        _ => {}
    }
}
