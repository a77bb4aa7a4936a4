//! Having the state directory alone: the agent while it runs, and whoever joins or leaves. It must not say what is done with it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::durable;
use crate::error::Error;

/// The state directory, as long as a copy of this lives. Two agents on one state would give the same numbers twice, and
/// an agent beside `homingd leave` would write keys into a folder that was just emptied.
#[derive(Clone, Debug)]
pub(crate) struct Alone {
    path: PathBuf,
    _held: Arc<File>,
}

impl Alone {
    /// Takes it, without waiting.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it; [`Error::Kernel`].
    pub(crate) fn take(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join("agent.lock");
        loop {
            let held = lock(&path, state_dir)?;
            if is_at(&held, &path)? {
                return Ok(Self {
                    path,
                    _held: Arc::new(held),
                });
            }
            // Whoever left the account took the file away between our opening and locking it.
        }
    }

    /// Takes it for a command that a person typed, who can end what is in its way.
    ///
    /// # Errors
    /// [`Error::Enrolment`] with what to do when another process has it; [`Error::Kernel`].
    pub(crate) fn take_for_command(state_dir: &Path) -> Result<Self, Error> {
        Self::take(state_dir).map_err(|error| match error {
            Error::InUse { path } => Error::Enrolment(format!(
                "stop the agent first (systemctl stop homingd-agent): it, or another homingd enrol or leave, works on {}; \
                 nothing was changed",
                path.display()
            )),
            other => other,
        })
    }

    /// Ends it and takes its file away, the last thing of a phone that has left its account.
    ///
    /// # Errors
    /// [`Error::Replace`].
    pub(crate) fn remove(self) -> Result<(), Error> {
        durable::remove(&self.path)
    }
}

fn kernel(source: io::Error) -> Error {
    Error::Kernel {
        doing: "have the state directory alone",
        source,
    }
}

fn lock(path: &Path, state_dir: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(kernel)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: state_dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(kernel(source)),
    }
}

/// Whether the open file is still the one under that name.
fn is_at(file: &File, path: &Path) -> Result<bool, Error> {
    let ours = file.metadata().map_err(kernel)?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(kernel(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it_until_its_last_copy_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Alone::take(folder.path()).unwrap();
        let copy = first.clone();
        drop(first);
        let told = Alone::take_for_command(folder.path()).unwrap_err();
        assert!(told.to_string().contains("stop the agent first"), "{told}");
        drop(copy);
        drop(Alone::take(folder.path()).unwrap());
    }

    #[test]
    fn a_file_that_was_taken_away_is_no_hold_on_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let leaving = Alone::take(folder.path()).unwrap();
        let opened = lock(&folder.path().join("agent.lock"), folder.path());
        assert!(matches!(opened, Err(Error::InUse { .. })));
        let early = File::open(folder.path().join("agent.lock")).unwrap();
        leaving.remove().unwrap();
        assert!(!is_at(&early, &folder.path().join("agent.lock")).unwrap());
        drop(Alone::take(folder.path()).unwrap());
    }
}
