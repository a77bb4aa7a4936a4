//! A temporary folder that is gone when the value is, and also when the test process is killed. It must not be used for anything that should stay.

use crate::warden;
use std::path::{Path, PathBuf};

/// A temporary folder with a short path, so that Unix sockets in it stay below their limit of 108 bytes.
#[derive(Debug)]
pub struct Scratch {
    folder: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Scratch {
    /// A new, empty, private folder.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("homing-")
            .tempdir()
            .unwrap_or_else(|error| panic!("could not make a temporary folder: {error}"));
        warden::guard_folder(folder.path());
        let path = folder.path().to_path_buf();
        Self {
            folder: Some(folder),
            path,
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder inside.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        warden::undisturbed(|| std::fs::create_dir_all(&path))
            .unwrap_or_else(|error| panic!("could not make {}: {error}", path.display()));
        path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a process is still writing to may need a second removal; the warden does that one.
        if self
            .folder
            .take()
            .is_some_and(|folder| folder.close().is_ok())
        {
            warden::release_folder(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_gone_with_its_value() {
        let scratch = Scratch::new();
        let inside = scratch.folder("a");
        assert!(inside.is_dir());
        drop(scratch);
        assert!(!inside.exists());
    }
}
