//! One look at every entry of a folder: the least that any search for changes costs. It must open no file.

use std::path::PathBuf;

use crate::error::{Error, unreadable};

/// The word that starts this process: `homing-bench lstat-walk FOLDER`.
pub(crate) const WORD: &str = "lstat-walk";

/// Walks, and says how much there is.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn walk(words: &[String]) -> Result<(), Error> {
    let [root] = words else {
        return Err(unreadable("the folder to walk"));
    };
    let mut open = vec![PathBuf::from(root)];
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    while let Some(folder) = open.pop() {
        let failed = |source| Error::Read {
            path: folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Relative to the open folder, and of a link itself.
            let data = entry.metadata().map_err(failed)?;
            entries += 1;
            bytes += data.len();
            if data.is_dir() {
                open.push(entry.path());
            }
        }
    }
    println!("{entries} {bytes}");
    Ok(())
}
