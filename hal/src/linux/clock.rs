//! Whether the kernel's wall clock was set from outside. It reads, never sets.

use nix::libc;

/// Whether `adjtimex(2)` says that the clock is synchronised (NTP, or a daemon that disciplines it). Right after a boot without network it is not.
#[must_use]
pub fn is_synchronised() -> bool {
    // SAFETY: `timex` is a plain C structure for which all zero bytes are valid; with `modes == 0` adjtimex(2) only writes into it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}
