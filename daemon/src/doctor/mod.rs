//! `homingd doctor`: what this phone can do, driver by driver, and what is weak; it must not change anything.

mod checks;
mod diagnosis;
mod passphrase;
mod print;

use homing_hal::fault::Roots;

pub use self::diagnosis::{Diagnosis, Driver, Feature, Found, Weakness};
use crate::args::Switch;
use crate::config::{self, Source};
use crate::error::Error;
use crate::exit::ExitError;

/// Asks every driver, looks at the phone, and prints the answer, as JSON when `json` is on.
///
/// # Errors
/// Exit status 78 with every fault of the configuration, without which no driver can be chosen. What is weak
/// is the answer and no error.
pub fn run(source: &Source, json: Switch) -> Result<(), ExitError> {
    let loaded = config::load(source)?;
    let roots = Roots::default();
    let drivers = diagnosis::ask(&loaded.settings, &roots);
    let diagnosis = Diagnosis::new(drivers, &loaded, &roots);
    let text = match json {
        Switch::On => {
            serde_json::to_string(&diagnosis).map_err(|error| Error::Print(error.into()))? + "\n"
        }
        Switch::Off => print::text(&diagnosis),
    };
    Ok(crate::print(&text)?)
}
