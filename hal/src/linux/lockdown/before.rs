//! What was found before the first change, remembered through crashes and power cuts until all of it is put back. It changes nothing else.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::doors::Doors;
use crate::fault::Fault;

const NAME: &str = "before.json";
/// While it is written.
const NEW: &str = "before.json.new";
/// Longest that is read, bytes: a phone has some two hundred units, whose names have some thirty.
const LONGEST: u64 = 256 * 1024;

/// The phone as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Before {
    /// What the system starts into: a target of systemd's, a runlevel of OpenRC's. Empty is the system's own default.
    pub(super) target: String,
    /// Units or services that ran.
    pub(super) running: Vec<String>,
    /// The side doors.
    pub(super) doors: Doors,
}

impl Before {
    /// What is remembered; `None` where nothing is owed. What cannot be read any more is as good as a phone with its defaults: it must
    /// not keep a phone from being given back.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, Fault> {
        let path = folder.join(NAME);
        let length = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken("looking for", &error)),
        };
        let text = match length <= LONGEST {
            true => fs::read(&path).map_err(|error| broken("reading", &error))?,
            false => Vec::new(),
        };
        Ok(Some(serde_json::from_slice(&text).unwrap_or_else(
            |error| {
                tracing::warn!(%error, "what was before the lockdown cannot be read");
                Self::default()
            },
        )))
    }

    /// Remembers it: on the disk when this returns.
    pub(super) fn store(&self, folder: &Path) -> Result<(), Fault> {
        let write = || -> io::Result<()> {
            let new = folder.join(NEW);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&new, folder.join(NAME))?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| broken("remembering", &error))
    }

    /// Nothing is owed any more.
    pub(super) fn forget(folder: &Path) -> Result<(), Fault> {
        match fs::remove_file(folder.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(broken("forgetting", &error))
            }
            _ => File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| broken("forgetting", &error)),
        }
    }
}

fn broken(doing: &str, error: &io::Error) -> Fault {
    Fault::from_io(&format!("{doing} what was before the lockdown"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_is_remembered_until_it_is_forgotten_and_nonsense_is_a_phone_with_its_defaults() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Before::load(folder.path()), Ok(None));
        Before::forget(folder.path()).unwrap();
        let before = Before {
            target: "graphical.target".into(),
            running: vec!["phosh.service".into()],
            doors: Doors::default(),
        };
        before.store(folder.path()).unwrap();
        assert_eq!(Before::load(folder.path()), Ok(Some(before)));
        fs::write(folder.path().join(NAME), "{\"target\":").unwrap();
        assert_eq!(Before::load(folder.path()), Ok(Some(Before::default())));
        Before::forget(folder.path()).unwrap();
        assert_eq!(Before::load(folder.path()), Ok(None));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("none");
        let refused = Before::default().store(&none);
        assert!(matches!(refused, Err(Fault::Absent(_))), "{refused:?}");
    }
}
