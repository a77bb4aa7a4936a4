//! Exit codes and how an error leaves the process; it must not print more than one line per fault.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::error::Error;

/// How a process of ours ends. The numbers are those of `sysexits.h`; the unit files name them in
/// `RestartPreventExitStatus=`, so that a supervisor restarts what may heal and leaves alone what cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// A fault of this program (`EX_SOFTWARE`).
    Bug = 70,
    /// A file, socket or device could not be read or written (`EX_IOERR`).
    Io = 74,
    /// The user that runs this process may not do what was asked (`EX_NOPERM`).
    Permission = 77,
    /// The configuration is wrong or missing (`EX_CONFIG`).
    Config = 78,
}

impl ExitStatus {
    /// The status for a failed system call: permission when the kernel said so, I/O otherwise.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Permission
        } else {
            Self::Io
        }
    }

    /// The number that the parent process sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a subcommand ends without success: a status for the supervisor and clear sentences for the reader.
#[derive(Debug, PartialEq, Eq)]
pub struct ExitError {
    status: ExitStatus,
    sentences: Vec<String>,
}

impl ExitError {
    /// An end with one sentence.
    #[must_use]
    pub fn new(status: ExitStatus, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentences: vec![sentence.into()],
        }
    }

    /// The status that the parent process will see.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Writes every sentence to stderr as `homingd: …`, one a line, and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        for sentence in &self.sentences {
            eprintln!("homingd: {}", one_line(sentence));
        }
        ExitCode::from(self.status.code())
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("; "))
    }
}

impl From<Error> for ExitError {
    fn from(error: Error) -> Self {
        let status = error.exit_status();
        let sentences = match error {
            Error::Config(faults) => faults.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        };
        Self { status, sentences }
    }
}

/// Makes a panic one line on stderr and exit code 70, also where unwinding is off.
pub fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("no further words");
        eprintln!(
            "homingd: a fault of this program at {place}: {}",
            one_line(said)
        );
        std::process::exit(i32::from(ExitStatus::Bug.code()));
    }));
}

/// A sentence may quote a file or another program; a line break in it must not look like a second report.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_permission_is_77_and_any_other_fault_of_a_file_74() {
        assert_eq!(
            ExitStatus::of_io(&io::ErrorKind::PermissionDenied.into()).code(),
            77
        );
        assert_eq!(
            ExitStatus::of_io(&io::ErrorKind::NotFound.into()).code(),
            74
        );
    }

    #[test]
    fn a_panic_is_one_line_and_70() {
        const IN_CHILD: &str = "HOMING_TEST_PANIC";
        if std::env::var_os(IN_CHILD).is_some() {
            report_bugs();
            panic!("first\nsecond");
        }
        // The hook ends the process, so a child of this very test takes it.
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "exit::tests::a_panic_is_one_line_and_70",
                "--nocapture",
            ])
            .env(IN_CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.code(), Some(70));
        let said = String::from_utf8(child.stderr).unwrap();
        let bug: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("homingd: "))
            .collect();
        assert_eq!(bug.len(), 1, "{said}");
        assert!(bug[0].ends_with("first second"), "{said}");
    }

    #[test]
    fn a_sentence_with_line_breaks_is_reported_as_one_line() {
        assert_eq!(one_line("first\n  second\r\n"), "first second");
    }
}
