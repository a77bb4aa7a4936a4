//! How far something is, on one line of a terminal's standard error that is written over. Silent where there is no terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_millis(200);

/// The line.
#[derive(Debug)]
pub(crate) struct Meter {
    last: Option<Instant>,
    visible: bool,
    shown: bool,
}

impl Meter {
    /// A meter that shows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            last: None,
            visible: stderr().is_terminal(),
            shown: false,
        }
    }

    /// Shows a line if it is time; `line` is only made then.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        if self.visible && self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            self.last = Some(Instant::now());
            self.shown = true;
            // A terminal that went away must not end what is under way.
            let _ = write!(stderr(), "\r\x1b[K{}", line());
        }
    }

    /// Clears the line, so that something else can be written.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}
