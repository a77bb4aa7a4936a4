//! What a search has switched on in the modem, for whoever comes after a crash; it must not outlive that purpose.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest note that is read, bytes.
const LONGEST: u64 = 1024;

/// The note. It holds only for the ModemManager that had its unique name, on the same start of the bus: a new one starts with
/// everything off.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The number that the bus gave itself at its start; a note of before it was written holds for none.
    #[serde(default)]
    pub(super) bus: String,
    /// ModemManager's unique name on the bus.
    pub(super) owner: String,
    /// The modem's object.
    pub(super) path: String,
    /// The bits of the source mask that were added.
    pub(super) added: u32,
    /// Whether positions were signalled before.
    #[serde(default)]
    pub(super) signals: bool,
}

impl Note {
    /// The note in this file; `None` where there is none that can be read.
    pub(super) fn load(path: &Path) -> Option<Self> {
        let length = fs::metadata(path).ok()?.len();
        let text = (length <= LONGEST).then(|| fs::read(path).ok()).flatten()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether it is about this ModemManager on this bus.
    pub(super) fn is_of(&self, bus: &str, owner: &str) -> bool {
        !bus.is_empty() && self.bus == bus && self.owner == owner
    }

    /// Writes the note. A power cut that leaves half of it has switched the receiver off too.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        File::create(path)?.write_all(&text)
    }

    /// Removes it.
    pub(super) fn remove(path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, "a note about the modem's receiver stays");
            }
            _ => {}
        }
    }
}
