//! The system of a phone with a graphical shell, for the stories about what somebody who holds it gets to see: the base and some more of Debian's packages as a second archive, kept by their list. It puts nothing of ours into it.

use super::base;
use super::root::Installing;
use crate::debian::apt;
use crate::house;
use crate::translator::Translator;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Phosh with the compositor that it brings and the settings that it takes for granted, an editor for a document to be open in, and what
/// else could let somebody in: an ssh server, and an encrypted root's passphrase.
const PACKAGES: [&str; 5] = [
    "cryptsetup-initramfs",
    "gnome-settings-daemon-common",
    "l3afpad",
    "openssh-server",
    "phosh",
];

/// The archive, made now where no earlier one was made of the same lists.
///
/// # Errors
/// One sentence: Debian's packages cannot be had or installed, or the result cannot be kept.
pub(super) fn provide(
    store: &Path,
    base: &Path,
    translator: &Translator,
) -> Result<PathBuf, String> {
    let archive = store.join("phosh.tar");
    let list = store.join("phosh.list");
    let wanted = format!("{}{}\n", base::list(), PACKAGES.join("\n"));
    if archive.is_file() && std::fs::read_to_string(&list).is_ok_and(|made| made == wanted) {
        return Ok(archive);
    }
    house::announce("adding Debian's Phosh to the arm64 system (some 50 MB, two minutes or more)");
    let tree = store.join("phosh.part");
    let installing = Installing::begin(base, &tree)?;
    translator.run(|| install(&installing))?;
    installing.end()?;
    let part = store.join("phosh.part.tar");
    house::output(
        "keeping the system with Phosh",
        Command::new("tar")
            .args(["--numeric-owner", "--xattrs", "-cf"])
            .arg(&part)
            .arg("-C")
            .arg(&tree)
            .arg("."),
    )?;
    std::fs::remove_dir_all(&tree)
        .map_err(|error| format!("could not remove {}: {error}", tree.display()))?;
    std::fs::rename(&part, &archive)
        .map_err(|error| format!("could not name {}: {error}", archive.display()))?;
    // Written last: without it the archive is made again.
    std::fs::write(&list, wanted)
        .map_err(|error| format!("could not write {}: {error}", list.display()))?;
    Ok(archive)
}

/// An initial RAM disk is left for the image: collecting one takes an emulated program longer than all the rest.
fn install(installing: &Installing) -> Result<(), String> {
    const COLLECTOR: &str = "/usr/sbin/update-initramfs";
    let root = installing.root();
    let divert = |how: &str| {
        installing.run(
            "setting the initial RAM disk aside",
            &["dpkg-divert", "--local", "--rename", how, COLLECTOR],
        )
    };
    divert("--add")?;
    let stand_in = root.join(COLLECTOR.trim_start_matches('/'));
    std::os::unix::fs::symlink("/bin/true", &stand_in)
        .map_err(|error| format!("could not make {}: {error}", stand_in.display()))?;
    installing.run(
        "reading Debian's package lists",
        &["apt-get", "-q", "update"],
    )?;
    let mut line = vec!["apt-get", "-q", "-y", "--no-install-recommends", "install"];
    line.extend(PACKAGES);
    installing.run("installing Phosh", &line)?;
    std::fs::remove_file(&stand_in)
        .map_err(|error| format!("could not remove {}: {error}", stand_in.display()))?;
    divert("--remove")?;
    for folder in ["var/cache/apt", "var/lib/apt/lists"] {
        let folder = root.join(folder);
        std::fs::remove_dir_all(&folder)
            .map_err(|error| format!("could not remove {}: {error}", folder.display()))?;
        apt::make_folder(&folder)?;
    }
    Ok(())
}
