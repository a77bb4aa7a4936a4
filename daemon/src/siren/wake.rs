//! What may end a wait of the siren: a signal, a change of its folder, a time; it must not decide what follows.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
use crate::folder::FolderWatch;
use crate::signal::{Signal, Signals};

/// The siren's sources of news.
#[derive(Debug)]
pub struct Wake {
    signals: Signals,
    watch: Option<FolderWatch>,
}

impl Wake {
    /// News by signals alone, until [`Wake::watch`].
    #[must_use]
    pub fn new(signals: Signals) -> Self {
        Self {
            signals,
            watch: None,
        }
    }

    /// Watches `folder` from now on, in place of the folder watched before.
    ///
    /// # Errors
    /// [`Error::Watch`] when it is missing.
    pub fn watch(&mut self, folder: &Path) -> Result<(), Error> {
        self.watch = Some(FolderWatch::new(folder)?);
        Ok(())
    }

    /// The next signal that has arrived, without waiting.
    pub fn signal(&mut self) -> Option<Signal> {
        self.signals.take()
    }

    /// Forgets the folder's changes so far; look at the folder after this, not before.
    ///
    /// # Errors
    /// [`Error::Watch`] when the folder itself is gone.
    pub fn forget_changes(&self) -> Result<(), Error> {
        self.watch.as_ref().map_or(Ok(()), FolderWatch::drain)
    }

    /// Stops watching the folder, so that a wait can rest although the folder is gone.
    pub fn ignore_folder(&mut self) {
        self.watch = None;
    }

    /// Waits for news, at most `patience` (for ever without it).
    ///
    /// # Errors
    /// [`Error::Kernel`] when the kernel refuses to wait.
    pub fn wait(&self, patience: Option<Duration>) -> Result<(), Error> {
        let timeout = match patience {
            None => PollTimeout::NONE,
            // One more millisecond: the kernel would wake a fraction before the time and the caller would spin.
            Some(patience) => {
                PollTimeout::try_from(patience.as_millis() + 1).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        sources.extend(
            self.watch
                .iter()
                .map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::Kernel {
                doing: "wait for the next intent",
                source: io::Error::from(errno),
            }),
        }
    }
}
