//! What a guest of QEMU is put together from: Debian's arm64 kernel, busybox and gpsd, unpacked under target/arm/guest. Starts nothing.

use super::modules;
use crate::arm;
use crate::debian::apt::{self, Apt};
use crate::house;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What every guest loads at once: its disk and its network.
const FIRST: [&str; 7] = [
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
];

/// What a guest with a sound card loads too. Of QEMU's cards only this one has a driver in Debian's arm64 kernel.
const SOUND: [&str; 2] = ["xhci_pci", "snd_usb_audio"];

/// Unpacks what is missing; returns the folder. In it: `vmlinuz`, `busybox`, `modules/` with the lists
/// `modules.first` and `modules.sound` in the order of loading, and `root/` with gpsd and its libraries.
///
/// # Errors
/// One sentence: this is not Debian, or what apt said.
pub(crate) fn provide() -> Result<PathBuf, String> {
    let store = arm::folder().join("guest");
    // Written last: without it the folder is not complete.
    let complete = store.join("complete");
    if complete.is_file() {
        return Ok(store);
    }
    if !apt::is_debian() {
        return Err(
            "the guest is made of Debian's arm64 packages, and apt and dpkg are not here".into(),
        );
    }
    house::announce("unpacking Debian's arm64 kernel, busybox and gpsd");
    let apt = Apt::foreign("arm64", &store)?;
    let kernel = apt
        .dependencies("linux-image-arm64")?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .ok_or("Debian's linux-image-arm64 names no kernel")?;
    let mut wanted = apt.needed(&BTreeSet::from(["gpsd"]), &|name| name.starts_with("lib"))?;
    wanted.extend([kernel.clone(), "busybox-static".to_owned()]);
    let archives = store.join("archives");
    apt.download(&wanted, &archives)?;
    for archive in apt::files_of(&archives)? {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("linux-image") {
            unpack_kernel(&archive, &store)?;
        } else {
            apt::unpack(&archive, &store.join("root"))?;
        }
    }
    let busybox = store.join("root/bin/busybox");
    move_file(&busybox, &store.join("busybox"))?;
    let _ = std::fs::remove_dir_all(&archives);
    let _ = std::fs::remove_dir_all(store.join("apt"));
    let packages: Vec<&str> = wanted.iter().map(String::as_str).collect();
    write(&complete, &format!("{}\n", packages.join("\n")))?;
    Ok(store)
}

fn unpack_kernel(archive: &Path, store: &Path) -> Result<(), String> {
    let whole = store.join("kernel");
    apt::unpack(archive, &whole)?;
    let image = apt::files_of(&whole.join("boot"))?
        .into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        })
        .ok_or("the kernel's package holds no vmlinuz")?;
    move_file(&image, &store.join("vmlinuz"))?;
    let tree = whole.join("lib/modules");
    let chosen = store.join("modules");
    apt::make_folder(&chosen)?;
    let mut before = BTreeSet::new();
    for (list, wanted) in [("modules.first", &FIRST[..]), ("modules.sound", &SOUND[..])] {
        let mut names = String::new();
        for path in modules::load_order(&tree, wanted)? {
            let name = path.file_name().unwrap_or_default().to_os_string();
            if before.insert(name.clone()) {
                std::fs::copy(&path, chosen.join(&name))
                    .map_err(|error| format!("could not copy {}: {error}", path.display()))?;
                names.push_str(&name.to_string_lossy());
                names.push('\n');
            }
        }
        write(&store.join(list), &names)?;
    }
    std::fs::remove_dir_all(&whole)
        .map_err(|error| format!("could not remove {}: {error}", whole.display()))
}

fn move_file(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::rename(from, to).map_err(|error| format!("could not move {}: {error}", from.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text)
        .map_err(|error| format!("could not write {}: {error}", path.display()))
}
