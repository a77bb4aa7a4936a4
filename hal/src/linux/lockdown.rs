//! The lockdown of a Linux phone: its service manager is told to end the session and to close the ways around it. Which phones are lost is not known here.

mod before;
mod doors;
mod openrc;
mod sessions;
mod systemd;
mod units;

use std::path::Path;

pub use openrc::OpenRcLockdown;
pub use systemd::{CLOSED, SystemdLockdown};

use crate::capability::lockdown::{Lockdown, Standing};
use crate::fault::{Fault, Probe, Roots};
use crate::settings::HalSettings;

/// Where the actor keeps its state when nobody says: systemd/usr/lib/systemd/system/homingd-actor.service.
const FOLDER: &str = "/var/lib/homing-actor";

/// The driver for the service manager that runs here, told apart as sd_booted(3) and OpenRC's own scripts do.
#[must_use]
pub fn of_this_phone(settings: &HalSettings, roots: &Roots) -> Box<dyn Lockdown> {
    let folder = settings.actor_folder.as_deref();
    let folder = folder.unwrap_or(Path::new(FOLDER));
    if roots.run.join("systemd/system").is_dir() {
        Box::new(SystemdLockdown::new(roots, folder))
    } else if roots.run.join("openrc").is_dir() {
        Box::new(OpenRcLockdown::new(roots, folder))
    } else {
        Box::new(NoLockdown)
    }
}

/// A system whose service manager is unknown: nothing can be taken from anybody.
#[derive(Clone, Copy, Debug)]
pub struct NoLockdown;

const UNKNOWN: &str = "neither systemd nor OpenRC runs here";

impl Lockdown for NoLockdown {
    fn name(&self) -> &'static str {
        "none"
    }

    fn probe(&self) -> Probe {
        Probe::Unsupported {
            reason: UNKNOWN.into(),
        }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        Err(Fault::Absent(UNKNOWN.into()))
    }

    fn leave(&mut self) -> Result<(), Fault> {
        // Nothing was taken.
        Ok(())
    }

    fn standing(&mut self) -> Result<Standing, Fault> {
        Ok(Standing::Open)
    }
}

/// Steps of which each is taken whatever becomes of the others; the first fault is told.
#[derive(Debug, Default)]
struct Steps(Option<Fault>);

impl Steps {
    /// Takes one; `None` where it failed.
    fn take<T>(&mut self, done: Result<T, Fault>) -> Option<T> {
        match done {
            Ok(value) => Some(value),
            Err(fault) => {
                tracing::warn!(%fault, "a step of the lockdown failed");
                self.0.get_or_insert(fault);
                None
            }
        }
    }

    fn end(self) -> Result<(), Fault> {
        self.0.map_or(Ok(()), Err)
    }
}
