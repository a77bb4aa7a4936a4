//! Exit codes of `homing`, after sysexits(3); documented in homing(1). Nothing else may leave the process.

/// Done.
pub(crate) const OK: u8 = 0;
/// The arguments make no sense, or name a device that is not known.
pub(crate) const USAGE: u8 = 64;
/// The phone answered that it cannot or will not.
pub(crate) const REFUSED: u8 = 69;
/// A fault of this program.
pub(crate) const BUG: u8 = 70;
/// Reading, writing or the network failed.
pub(crate) const IO: u8 = 74;
/// No answer yet; the order stays queued and will be delivered. Also: another `homing watch` runs.
pub(crate) const NO_ANSWER_YET: u8 = 75;
/// Wrong passphrase, or the system or broker denied access.
pub(crate) const PERMISSION: u8 = 77;
/// The state or a given file is missing, damaged or does not fit.
pub(crate) const CONFIG: u8 = 78;
