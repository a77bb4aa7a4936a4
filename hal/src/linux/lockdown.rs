//! The lockdown of a Linux phone: its service manager is told to end the session and to close the ways around it. Which phones are lost is not known here.

use crate::capability::lockdown::{Lockdown, Standing};
use crate::fault::{Fault, Probe, Roots};
use crate::settings::HalSettings;

/// The driver for the service manager that runs here.
#[must_use]
pub fn of_this_phone(_settings: &HalSettings, _roots: &Roots) -> Box<dyn Lockdown> {
    Box::new(NoLockdown)
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
