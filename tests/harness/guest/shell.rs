//! The shell of a guest, typed into over a console of its own. It must not interpret what commands print.

use super::{GUEST_PATIENCE, last_lines};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a line of shell printed, both outputs together, and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// The line as typed.
    pub line: String,
    /// What it printed, without the last newline.
    pub text: String,
    /// Its exit code.
    pub code: i32,
}

impl Said {
    /// The same, which must be a success.
    ///
    /// # Panics
    /// When it is not; with what it printed.
    #[track_caller]
    #[must_use]
    pub fn expect_success(self) -> Self {
        assert!(
            self.code == 0,
            "in the guest, {:?} ended with {}:\n{}",
            self.line,
            self.code,
            self.text
        );
        self
    }
}

#[derive(Debug)]
pub(super) struct Shell {
    stream: UnixStream,
    console: PathBuf,
    heard: Vec<u8>,
    count: u32,
    is_there: bool,
}

impl Shell {
    /// The shell at the other end, which need not be there yet.
    #[track_caller]
    pub(super) fn behind(stream: UnixStream, console: &Path) -> Self {
        // Returns now and then, so that the deadline is looked at.
        let set = stream.set_read_timeout(Some(Duration::from_millis(200)));
        assert!(set.is_ok(), "a socket without a timeout: {set:?}");
        Self {
            stream,
            console: console.to_path_buf(),
            heard: Vec::new(),
            count: 0,
            is_there: false,
        }
    }

    /// Waits until the guest's shell says that it is there.
    #[track_caller]
    pub(super) fn wait(&mut self) {
        if !self.is_there {
            self.read_until("ready\n");
            self.is_there = true;
        }
    }

    #[track_caller]
    pub(super) fn run(&mut self, line: &str) -> Said {
        self.wait();
        self.count += 1;
        let mark = format!("<end of {}: ", self.count);
        // In halves, so that an echo of the typed line could not be taken for the answer.
        let typed = format!(
            "{line}\nprintf '\\n<end %s %s: %s>\\n' of {} $?\n",
            self.count
        );
        self.stream
            .write_all(typed.as_bytes())
            .unwrap_or_else(|error| panic!("the guest's shell is gone: {error}"));
        let before = self.read_until(&mark);
        let code = self.read_until(">\n");
        Said {
            line: line.to_owned(),
            text: before.trim_matches('\n').to_owned(),
            code: code.trim().parse().unwrap_or(-1),
        }
    }

    /// What was heard before `mark`; both are taken out.
    #[track_caller]
    fn read_until(&mut self, mark: &str) -> String {
        let end = Instant::now() + GUEST_PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = find(&self.heard, mark.as_bytes()) {
                let rest = self.heard.split_off(at + mark.len());
                self.heard.truncate(at);
                let before = std::mem::replace(&mut self.heard, rest);
                return String::from_utf8_lossy(&before).into_owned();
            }
            assert!(
                Instant::now() < end,
                "the guest's shell never said {mark:?}, but: {}\n{}",
                String::from_utf8_lossy(&self.heard),
                last_lines(&std::fs::read_to_string(&self.console).unwrap_or_default())
            );
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the guest's console was closed"),
                Ok(length) => self
                    .heard
                    .extend(buffer[..length].iter().filter(|byte| **byte != b'\r')),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock
                            | std::io::ErrorKind::TimedOut
                            | std::io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => panic!("the guest's console: {error}"),
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
