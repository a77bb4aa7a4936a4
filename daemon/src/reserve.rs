//! `homingd reserve`: in a user's session, the sound server gives a card up while the siren claims it. It reads no key, has no network and sounds nothing.

use homing_hal::{Fault, Roots, linux};

use crate::config::{self, Source};
use crate::exit::{ExitError, ExitStatus};

/// Runs until the siren claims no card any more.
///
/// # Errors
/// 74 without a session bus, or when it ends.
pub(crate) fn run(source: &Source) -> Result<(), ExitError> {
    // What is wrong with the configuration is for the siren to say.
    let settings = config::load(source)
        .map(|loaded| loaded.settings)
        .unwrap_or_default();
    crate::log::start(settings.log);
    linux::reserve::serve(&Roots::default()).map_err(|fault| {
        let status = match fault {
            Fault::Denied(_) => ExitStatus::Permission,
            _ => ExitStatus::Io,
        };
        ExitError::new(status, fault.to_string())
    })
}
