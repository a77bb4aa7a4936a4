//! What a service manager tells the resident client (signals) and is told by it (sd_notify). Without one every word is a quiet success; decides nothing.
use crate::error::Error;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::io::Interest;

/// The signals that end a resident client in order: a manager's, Ctrl-C, a terminal that is closed.
#[derive(Debug)]
pub(crate) struct Ending {
    woken: tokio::net::UnixStream,
}

impl Ending {
    /// Installs the handlers; inside a tokio runtime.
    pub(crate) fn install() -> Result<Self, Error> {
        let install = || {
            let (woken, waker) = UnixStream::pair()?;
            woken.set_nonblocking(true)?;
            for signal in [SIGTERM, SIGINT, SIGHUP] {
                signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
            }
            tokio::net::UnixStream::from_std(woken)
        };
        let woken = install().map_err(Error::Signals)?;
        Ok(Self { woken })
    }

    /// Waits until somebody asks for the end. Cancelled, nothing is lost: the byte stays in the socket.
    pub(crate) async fn asked(&self) -> Result<(), Error> {
        let ready = self.woken.ready(Interest::READABLE).await;
        ready.map(|_| ()).map_err(Error::Signals)
    }
}

/// What the manager was told, so that it is told each thing once.
#[derive(Debug, Default)]
pub(crate) struct Told {
    ready: bool,
    sentence: String,
}

impl Told {
    /// The client does its work from here on.
    pub(crate) fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            send(&[NotifyState::Ready]);
        }
    }

    /// What it is doing, in one sentence; `systemctl --user status` shows it.
    pub(crate) fn doing(&mut self, sentence: &str) {
        // A line break would start a new assignment of the manager's protocol.
        let sentence = crate::output::harmless(sentence);
        if sentence != self.sentence {
            send(&[NotifyState::Status(&sentence)]);
            self.sentence = sentence;
        }
    }

    /// The orderly end has begun.
    pub(crate) fn ending(&mut self) {
        send(&[NotifyState::Stopping]);
    }
}

/// The loop still turns.
pub(crate) fn alive() {
    if watchdog().is_some() {
        send(&[NotifyState::Watchdog]);
    }
}

/// How often [`alive`] has to be said at least: half of the manager's patience.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

fn send(states: &[NotifyState<'_>]) {
    // A manager that is gone cannot be told, and the work goes on.
    let _ = sd_notify::notify(states);
}
