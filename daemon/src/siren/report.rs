//! The siren's report file, which the agent watches; it must not hold more than the agent needs for a receipt.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::{self, Access};
use crate::error::Error;
use crate::siren::reader;

/// What the siren last did, as it stands in `{state_dir}/siren/state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The command served, 32 hexadecimal digits; `None` when the intent file was unreadable.
    pub command: Option<String>,
    /// Whether it sounds.
    pub phase: Phase,
    /// Why it does not sound: `deadline`, `stopped`, `interrupted`, or a fault in one phrase; `None` while it sounds.
    pub reason: Option<String>,
    /// What another program can do against this sound, or could at some time during it, in one phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// When this was written, milliseconds since boot.
    pub boottime_ms: u64,
    /// The siren's process.
    pub pid: u32,
    /// When that started, as [`crate::process::started`]; 0 when that is not known.
    #[serde(default)]
    pub started: u64,
    /// The boot during which this was written, as in `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// The siren's phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// At least one block of sound was played and the loudspeaker was made loud.
    Sounding,
    /// Silent for good: the deadline passed or the intent was withdrawn.
    Ended,
    /// Silent now; while the intent stands and its deadline has not passed the siren tries again,
    /// so [`Phase::Sounding`] may follow.
    Failed,
}

/// [`Report::reason`] of an end at the deadline.
pub const DEADLINE: &str = "deadline";
/// [`Report::reason`] of an end because the intent was withdrawn.
pub const STOPPED: &str = "stopped";
/// [`Report::reason`] when the siren's process was told to end while the intent stands: its next start carries on.
pub const INTERRUPTED: &str = "interrupted";

impl Report {
    /// Writes the report in one step. The disk is not waited for: what the siren did before a power cut is over.
    ///
    /// # Errors
    /// [`Error::Replace`] when the folder cannot be written or is full.
    pub fn store(&self, folder: &Path) -> Result<(), Error> {
        let path = path(folder);
        let text = serde_json::to_vec(self).map_err(|error| Error::Replace {
            path: path.clone(),
            source: error.into(),
        })?;
        durable::show(&path, &text, Access::GroupReads)
    }

    /// Reads the last report; `None` before the first.
    ///
    /// # Errors
    /// [`Error::Read`] when the file cannot be read or is damaged.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = path(folder);
        match reader::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(report) => Ok(Some(report)),
                Err(error) => Err(Error::Read {
                    path,
                    source: error.into(),
                }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_report_is_read_back_and_has_the_documented_fields() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Report::load(folder.path()).unwrap(), None);
        let report = Report {
            command: Some("00112233445566778899aabbccddeeff".into()),
            phase: Phase::Ended,
            reason: Some(DEADLINE.into()),
            warning: Some("w".into()),
            boottime_ms: 5,
            pid: 7,
            started: 9,
            boot_id: "b".into(),
        };
        report.store(folder.path()).unwrap();
        assert_eq!(Report::load(folder.path()).unwrap(), Some(report));
        assert_eq!(
            fs::read_to_string(path(folder.path())).unwrap(),
            r#"{"command":"00112233445566778899aabbccddeeff","phase":"ended","reason":"deadline","warning":"w","boottime_ms":5,"pid":7,"started":9,"boot_id":"b"}"#
        );
    }

    #[test]
    fn a_damaged_report_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path()), "{").unwrap();
        assert!(
            Report::load(folder.path())
                .unwrap_err()
                .to_string()
                .contains("state.json")
        );
    }
}
