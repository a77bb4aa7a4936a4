//! The hand on the mixer of a guest with a sound card: Debian's amixer for arm64, unpacked under target/arm/guest/mixer. Starts nothing.

use crate::debian::apt::{self, Apt};
use std::collections::BTreeSet;
use std::path::Path;

/// Unpacks amixer, ALSA's library and its configuration into `store`/mixer where they are missing.
///
/// # Errors
/// One sentence: this is not Debian, or what apt said.
pub(crate) fn provide(store: &Path) -> Result<(), String> {
    let root = store.join("mixer");
    // Written last: without it the folder is not complete.
    let complete = root.join("complete");
    if complete.is_file() {
        return Ok(());
    }
    let apt = Apt::foreign("arm64", &root)?;
    let wanted = apt.needed(&BTreeSet::from(["alsa-utils"]), &|name| {
        name.starts_with("libasound2")
    })?;
    let archives = root.join("archives");
    apt.download(&wanted, &archives)?;
    for archive in apt::files_of(&archives)? {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        // The rest of alsa-utils needs libraries that a guest does not have.
        match name.starts_with("alsa-utils") {
            true => apt::unpack_only(&archive, &root, "./usr/bin/amixer")?,
            false => apt::unpack(&archive, &root)?,
        }
    }
    let _ = std::fs::remove_dir_all(&archives);
    let _ = std::fs::remove_dir_all(root.join("apt"));
    std::fs::write(&complete, "")
        .map_err(|error| format!("could not write {}: {error}", complete.display()))
}
