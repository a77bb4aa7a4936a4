//! SIGTERM, SIGINT and SIGHUP as plain values, for blocking loops and for tokio; it must not act on them.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::error::Error;

/// What the supervisor or the administrator asked for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End in good order (SIGTERM, SIGINT).
    Stop,
    /// Read the configuration again (SIGHUP).
    Reload,
}

/// The process's signals. Poll [`AsFd`] for readability, then call [`Signals::take`] until it gives `None`.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers for the whole process; they stay until it ends.
    ///
    /// # Errors
    /// [`Error::Kernel`] when no socket pair or handler can be had.
    pub fn install() -> Result<Self, Error> {
        Self::try_install().map_err(|source| Error::Kernel {
            doing: "listen for signals",
            source,
        })
    }

    fn try_install() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Self {
            wake,
            stop: Arc::default(),
            reload: Arc::default(),
        };
        for (number, flag) in [
            (SIGTERM, &signals.stop),
            (SIGINT, &signals.stop),
            (SIGHUP, &signals.reload),
        ] {
            // The flag first: whoever is woken must find it set.
            signal_hook::flag::register(number, Arc::clone(flag))?;
            pipe::register(number, waker.try_clone()?)?;
        }
        Ok(signals)
    }

    /// The next signal that has arrived, without waiting; a stop goes before a reload.
    pub fn take(&mut self) -> Option<Signal> {
        self.drain();
        if self.stop.swap(false, Ordering::SeqCst) {
            Some(Signal::Stop)
        } else if self.reload.swap(false, Ordering::SeqCst) {
            Some(Signal::Reload)
        } else {
            None
        }
    }

    fn drain(&mut self) {
        let mut bytes = [0; 64];
        loop {
            match self.wake.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// The same signals for an async loop.
    ///
    /// # Errors
    /// [`Error::Kernel`] when called outside a tokio runtime with I/O.
    pub fn into_async(self) -> Result<AsyncSignals, Error> {
        let ready = self
            .wake
            .try_clone()
            .and_then(tokio::net::UnixStream::from_std)
            .map_err(|source| Error::Kernel {
                doing: "listen for signals",
                source,
            })?;
        Ok(AsyncSignals {
            signals: self,
            ready,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// [`Signals`] inside a tokio runtime.
#[derive(Debug)]
pub struct AsyncSignals {
    signals: Signals,
    ready: tokio::net::UnixStream,
}

impl AsyncSignals {
    /// Waits for the next signal; nothing is lost when the wait is cancelled.
    ///
    /// # Errors
    /// [`Error::Kernel`] when the runtime can no longer wait.
    pub async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if let Some(signal) = self.signals.take() {
                return Ok(signal);
            }
            let drained = self.ready.ready(tokio::io::Interest::READABLE).await;
            drained.map_err(|source| Error::Kernel {
                doing: "wait for signals",
                source,
            })?;
            // Reading through tokio clears its readiness; the flags, not the bytes, say what came.
            let mut bytes = [0; 64];
            while self.ready.try_read(&mut bytes).is_ok_and(|count| count > 0) {}
        }
    }
}
