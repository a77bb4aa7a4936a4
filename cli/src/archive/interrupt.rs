//! Ctrl-C as a wish, not a death: what is under way ends in good order. A second one ends the process at once.

use crate::error::Error;
use nix::sys::signal::{SigSet, Signal, raise};
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Said on a terminal, on a line of its own: the meter's may be under way.
const STOPPING: &str = "\r\x1b[Khoming: stopping in good order; Ctrl-C again ends it at once";

/// Whether somebody asked to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes SIGINT and SIGTERM from now on, and lets SIGHUP pass, for the calling thread, which alone may wait. To be called before any other
    /// thread is started, and after the last question to the user: whoever presses Ctrl-C there wants to leave at once.
    pub(crate) fn watch(&self) -> Result<(), Error> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals
            .thread_block()
            .map_err(|errno| Error::Signals(errno.into()))?;
        // restic asks whether the process of a lock lives by sending it this, which it ignores itself; it must not end us.
        let mut asked = SigSet::empty();
        asked.add(Signal::SIGHUP);
        asked
            .thread_block()
            .map_err(|errno| Error::Signals(errno.into()))?;
        let shared = self.clone();
        let waiting = std::thread::current();
        // It waits for the life of the process and holds nothing.
        std::thread::spawn(move || {
            if signals.wait().is_ok() {
                // First, so that it never stands below the last word of the command.
                if stderr().is_terminal() {
                    let _ = writeln!(stderr(), "{STOPPING}");
                }
                shared.ask(&waiting);
            }
            if let Ok(again) = signals.wait() {
                // The default action ends the process.
                let _ = signals.thread_unblock();
                let _ = raise(again);
            }
        });
        Ok(())
    }

    fn ask(&self, waiting: &Thread) {
        self.0.store(true, Ordering::Release);
        waiting.unpark();
    }

    /// Did somebody ask to stop?
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits so long, or until somebody asks to stop; returns whether somebody did.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let began = Instant::now();
        // A thread may also be unparked for nothing.
        while !self.is_asked() {
            let Some(rest) = time
                .checked_sub(began.elapsed())
                .filter(|rest| !rest.is_zero())
            else {
                return false;
            };
            std::thread::park_timeout(rest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_stop_ends_every_wait() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.wait(Duration::from_millis(1)) && !interrupt.is_asked());
        let (other, waiting) = (interrupt.clone(), std::thread::current());
        let asking = std::thread::spawn(move || other.ask(&waiting));
        assert!(interrupt.wait(Duration::from_secs(60)) && interrupt.is_asked());
        asking.join().expect("joined");
    }
}
