//! One fault of the configuration, with its place; it must not quote values, which might be secrets.

use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong, in which file, on which line, at which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    file: PathBuf,
    line: Option<usize>,
    key: Option<String>,
    problem: String,
}

impl Fault {
    /// A fault of a whole file.
    #[must_use]
    pub fn of_file(file: &Path, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            key: None,
            problem: problem.into(),
        }
    }

    /// The same fault on a line, counted from 1.
    #[must_use]
    pub fn on_line(self, line: usize) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }

    /// Its line, counted from 1; 0 for a fault of the whole file.
    pub(super) fn line(&self) -> usize {
        self.line.unwrap_or(0)
    }

    /// The same fault at a key, dotted, such as `locate.deadline_s`.
    #[must_use]
    pub fn at_key(self, key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..self
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)
    }
}
