//! What phone this is, as a trait. Attributes only: the device id of the account is random and lives elsewhere.

use crate::fault::{Fault, Probe};

/// What the phone says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The maker's name of the model, such as `Pine64 PinePhone (1.2)`.
    pub model: Option<String>,
    /// Device-tree `compatible` strings, most specific first; empty on machines without a device tree.
    pub compatible: Vec<String>,
    /// The system's name as in os-release `PRETTY_NAME`.
    pub system: Option<String>,
    /// The kernel's release, as `uname -r`.
    pub kernel: Option<String>,
    /// The kernel's random identifier of this boot.
    pub boot_id: Option<String>,
}

/// Something that knows what phone this is.
pub trait Identity: Send {
    /// The driver's name for `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether anything is known.
    fn probe(&self) -> Probe;

    /// Reads it. Parts that the system does not state are `None`.
    ///
    /// # Errors
    /// [`Fault::Absent`] when nothing at all can be read.
    fn identity(&mut self) -> Result<DeviceIdentity, Fault>;
}
