//! The socket on which a service manager listens for a process that it starts on demand (sd_listen_fds(3)). It asks no environment: whoever knows that there is one says so.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;

/// The first descriptor that a service manager hands over (`SD_LISTEN_FDS_START`).
const FIRST: libc::c_int = 3;

/// The first inherited socket, once in the life of the process; `None` where descriptor 3 is not open.
#[must_use]
pub fn first_socket() -> Option<UnixListener> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    // SAFETY: fcntl with F_GETFD reads the flags of a descriptor and changes nothing, whether or not it is open.
    let is_open = unsafe { libc::fcntl(FIRST, libc::F_GETFD) } >= 0;
    if !is_open || TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: the service manager opened descriptor 3 for this process before it began, nothing of ours owns it, and the
    // flag above lets it be taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    Some(UnixListener::from(socket))
}
