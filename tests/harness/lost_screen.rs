//! The lost screen as a supervisor would run it: `homing-lost-screen --resident` on a simulated body. It must not look at what is shown; the simulator says that.

use crate::wait::PATIENCE;
use crate::{Proc, ours};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Command, Stdio};

/// A running `homing-lost-screen`.
#[derive(Debug)]
pub struct LostScreen {
    process: Proc,
}

impl LostScreen {
    /// Starts it with a handset's configuration, its log in `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(folder: &Path, config: &Path) -> Self {
        let mut command = Command::new(ours("homing-lost-screen"));
        command
            .args(["--resident", "--locale", "en_GB.UTF-8", "--config"])
            .arg(config)
            .stdin(Stdio::null());
        Self {
            process: Proc::start("lost-screen", folder, &mut command),
        }
    }

    /// SIGKILL, as a crash. Whoever looks sees nothing until the next one starts.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.terminate(PATIENCE);
    }
}
