//! What goes wrong in hardware, classified for the layers above, and the two values every driver gets: where the system lives and when to give up. No driver code, no retries.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

/// Why a capability could not do what it was asked; each carries one sentence for the log and `homingd doctor`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The device, daemon or file is not there.
    #[error("not there: {0}")]
    Absent(String),
    /// Somebody else holds it.
    #[error("busy: {0}")]
    Busy(String),
    /// The system refused access.
    #[error("denied: {0}")]
    Denied(String),
    /// It is there and does not work, or speaks nonsense.
    #[error("broken: {0}")]
    Broken(String),
    /// The deadline passed first.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// The caller cancelled.
    #[error("cancelled: {0}")]
    Cancelled(String),
}

impl Fault {
    /// Classifies an I/O error that happened while `doing` (a gerund with its object, such as "opening /dev/x").
    #[must_use]
    pub fn from_io(doing: &str, error: &io::Error) -> Self {
        let detail = format!("{doing}: {error}");
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::Absent(detail),
            io::ErrorKind::PermissionDenied => Self::Denied(detail),
            io::ErrorKind::ResourceBusy | io::ErrorKind::AddrInUse => Self::Busy(detail),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut(detail),
            _ => Self::Broken(detail),
        }
    }

    /// Classifies a system call's error number, see [`Fault::from_io`].
    #[must_use]
    pub fn from_errno(doing: &str, errno: Errno) -> Self {
        Self::from_io(doing, &io::Error::from(errno))
    }
}

/// What a driver says about this phone before it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Probe {
    /// It would work; the detail names what was found.
    Ready {
        /// One phrase, such as `gpsd 3.22 at 127.0.0.1:2947`.
        detail: String,
    },
    /// It would not; the reason is for the person reading `homingd doctor`.
    Unsupported {
        /// One phrase.
        reason: String,
    },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { detail } => f.write_str(detail),
            Self::Unsupported { reason } => write!(f, "unsupported: {reason}"),
        }
    }
}

/// Where the system lives. Every driver takes its paths from here, so that a test hands it a folder of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The kernel's device tree, `/sys`.
    pub sys: PathBuf,
    /// The kernel's process tree, `/proc`.
    pub proc: PathBuf,
    /// Device nodes, `/dev`.
    pub dev: PathBuf,
    /// Runtime sockets, `/run`.
    pub run: PathBuf,
    /// System identification, `/etc` (os-release).
    pub etc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
            run: "/run".into(),
            etc: "/etc".into(),
        }
    }
}

/// How often a wait looks at the flag where no pipe could be had (out of descriptors): quick for a person, cheap for the bounded waits it serves.
const FLAG_INTERVAL: Duration = Duration::from_millis(250);

/// A flag that ends blocking calls. Clones share it; once raised it stays raised.
///
/// It carries a pipe, so that a waiting call sleeps in `poll(2)` on its own descriptor and this one: no wake-up is spent on looking.
#[derive(Clone)]
pub struct Cancel(Arc<Shared>);

struct Shared {
    raised: AtomicBool,
    pipe: Option<(PipeReader, PipeWriter)>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// A flag that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            raised: AtomicBool::new(false),
            pipe: io::pipe().ok(),
        }))
    }

    /// Raises the flag: every call that watches it returns [`Fault::Cancelled`] promptly.
    pub fn cancel(&self) {
        if !self.0.raised.swap(true, Ordering::SeqCst)
            && let Some((_, writer)) = &self.0.pipe
        {
            // The one byte is never read: the pipe stays readable for every present and future wait.
            let mut writer = writer;
            if let Err(error) = writer.write_all(&[1]) {
                tracing::debug!(%error, "waking cancelled waits");
            }
        }
    }

    /// Whether it was raised.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// Waits until `fd` can be read (or has failed, which a read will tell).
    ///
    /// # Errors
    /// [`Fault::TimedOut`] at `until`, [`Fault::Cancelled`] when raised, [`Fault::Broken`] when the kernel refuses to poll.
    pub fn wait_readable(&self, fd: BorrowedFd<'_>, until: Instant) -> Result<(), Fault> {
        self.wait(Some((fd, PollFlags::POLLIN)), until)
    }

    /// Waits until `fd` can be written, see [`Cancel::wait_readable`].
    ///
    /// # Errors
    /// As [`Cancel::wait_readable`].
    pub fn wait_writable(&self, fd: BorrowedFd<'_>, until: Instant) -> Result<(), Fault> {
        self.wait(Some((fd, PollFlags::POLLOUT)), until)
    }

    /// Rests until `until`.
    ///
    /// # Errors
    /// [`Fault::Cancelled`] when raised meanwhile, [`Fault::Broken`] when the kernel refuses to poll.
    pub fn rest(&self, until: Instant) -> Result<(), Fault> {
        match self.wait(None, until) {
            Err(Fault::TimedOut(_)) => Ok(()),
            other => other,
        }
    }

    fn wait(&self, fd: Option<(BorrowedFd<'_>, PollFlags)>, until: Instant) -> Result<(), Fault> {
        loop {
            if self.is_cancelled() {
                return Err(Fault::Cancelled("the caller gave up".into()));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::TimedOut("the deadline passed".into()));
            }
            let slice = match self.0.pipe {
                Some(_) => left,
                None => left.min(FLAG_INTERVAL),
            };
            // One millisecond more, because poll counts whole ones and would else spin at the end.
            let timeout = PollTimeout::try_from(slice.as_millis().saturating_add(1))
                .unwrap_or(PollTimeout::MAX);
            let wake = self.0.pipe.as_ref().map(|(reader, _)| reader.as_fd());
            let mut fds: Vec<PollFd<'_>> = fd
                .iter()
                .map(|(fd, flags)| PollFd::new(*fd, *flags))
                .chain(wake.map(|fd| PollFd::new(fd, PollFlags::POLLIN)))
                .collect();
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Fault::from_errno("waiting for the device", errno)),
            }
            if fd.is_some() && fds.first().is_some_and(|first| first.any() == Some(true)) {
                return match self.is_cancelled() {
                    true => Err(Fault::Cancelled("the caller gave up".into())),
                    false => Ok(()),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_at_its_deadline() {
        let began = Instant::now();
        Cancel::new()
            .rest(began + Duration::from_millis(30))
            .unwrap();
        assert!(began.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_raised_flag_ends_a_wait_at_once_and_for_good() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let waiter = std::thread::spawn(move || {
            let (silent, _keep) = std::os::unix::net::UnixStream::pair().unwrap();
            other.wait_readable(silent.as_fd(), Instant::now() + Duration::from_secs(60))
        });
        let began = Instant::now();
        cancel.cancel();
        assert!(matches!(waiter.join().unwrap(), Err(Fault::Cancelled(_))));
        assert!(matches!(
            cancel.rest(Instant::now() + Duration::from_secs(60)),
            Err(Fault::Cancelled(_))
        ));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn system_errors_are_classified_by_what_the_caller_can_do() {
        let kinds = [
            (Errno::ENOENT, "not there"),
            (Errno::EACCES, "denied"),
            (Errno::EPERM, "denied"),
            (Errno::EBUSY, "busy"),
            (Errno::EIO, "broken"),
            (Errno::ECONNREFUSED, "not there"),
        ];
        for (errno, word) in kinds {
            let text = Fault::from_errno("trying", errno).to_string();
            assert!(text.starts_with(word), "{text}");
        }
    }
}
