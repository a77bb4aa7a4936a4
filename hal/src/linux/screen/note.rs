//! What a panel's holder found before it changed anything, in a file that outlives it: another process can undo what it did.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// As it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// The virtual terminal that was seen, and the one that is ours.
    pub(super) terminals: Option<(u16, u16)>,
    /// How our terminal's keyboard was read (`KDGKBMODE`).
    pub(super) keyboard: Option<i64>,
    /// Backlights by name, with their brightness.
    pub(super) backlights: Vec<(String, u32)>,
}

/// The note's file; it needs no fsync, because what it tells of does not outlive the kernel either.
#[derive(Debug)]
pub(super) struct Note(PathBuf);

impl Note {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What an earlier holder found, if none has given it back; nonsense is none.
    pub(super) fn read(&self) -> Option<Found> {
        let text = fs::read_to_string(&self.0).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(super) fn write(&self, found: &Found) -> Result<(), Fault> {
        let doing = "noting what was found on the console";
        let text = serde_json::to_vec(found).map_err(|error| Fault::Broken(error.to_string()))?;
        if let Some(folder) = self.0.parent().filter(|folder| !folder.exists()) {
            fs::create_dir_all(folder).map_err(|error| Fault::from_io(doing, &error))?;
        }
        replace(&self.0, &text).map_err(|error| Fault::from_io(doing, &error))
    }

    pub(super) fn remove(&self) -> Result<(), Fault> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Fault::from_io("forgetting what was found", &error))
            }
            _ => Ok(()),
        }
    }
}

/// A reader finds the old text or none, never a part: a part is no JSON.
fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_known_to_another_process_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing-lost/found.json");
        let note = Note::new(path.clone());
        assert_eq!(note.read(), None);
        let found = Found {
            terminals: Some((7, 12)),
            keyboard: Some(3),
            backlights: vec![("backlight".into(), 900)],
        };
        note.write(&found).unwrap();
        assert_eq!(Note::new(path.clone()).read(), Some(found));
        fs::write(&path, "{").unwrap();
        assert_eq!(note.read(), None);
        note.remove().unwrap();
        note.remove().unwrap();
        assert!(!path.exists());
    }
}
