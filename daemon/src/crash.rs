//! Crash points: where a test ends the agent as abruptly as a power cut. It must do nothing unless a test asked for it.

use crate::error::Error;

/// Where a test cuts the power: before (odd) or after (even) a commit, counted from 1.
#[derive(Debug, Default)]
pub(crate) struct CrashPoint {
    at: Option<u64>,
    passed: u64,
    #[cfg(test)]
    fate: Fate,
}

/// How a crash point ends its agent: as a whole process, or, where several share one, by an error that nothing outlasts.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Killed,
    Told,
}

impl CrashPoint {
    /// Ends the whole process at this point, if any.
    pub(crate) fn at(at: Option<u64>) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// Ends the agent by an error at the so-manieth point from here.
    #[cfg(test)]
    pub(crate) fn told_at(points: u64) -> Self {
        Self {
            at: Some(points),
            passed: 0,
            fate: Fate::Told,
        }
    }

    /// Whether the agent's end has come.
    #[cfg(test)]
    pub(crate) fn has_struck(&self) -> bool {
        self.at.is_some_and(|at| self.passed >= at)
    }

    /// Goes through one point, or ends the agent here.
    ///
    /// # Errors
    /// None, but for tests in which several agents share a process.
    pub(crate) fn pass(&mut self) -> Result<(), Error> {
        self.passed += 1;
        #[cfg(test)]
        if self.fate == Fate::Told {
            if self.has_struck() {
                return Err(Error::Kernel {
                    doing: "outlive a crash point",
                    source: std::io::ErrorKind::Interrupted.into(),
                });
            }
            return Ok(());
        }
        if self.at == Some(self.passed) {
            // As abrupt as a power cut: nothing of ours runs after it.
            let _ =
                nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        }
        Ok(())
    }
}
