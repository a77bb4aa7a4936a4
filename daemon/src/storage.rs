//! What the phone's files lie on, by the kernel's word: an encrypted device or a plain one. It reads sysfs and the mount table, and never a device.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use homing_hal::fault::Roots;
use nix::sys::stat::{major, minor};

/// More layers (partitions, volumes, arrays) than any phone has between a file system and its disk.
const MOST_LAYERS: usize = 8;

/// What a folder lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Somewhere below its file system is dm-crypt.
    Encrypted,
    /// A block device, and nothing of the kind below it.
    Plain,
    /// No block device that the kernel tells of: overlays, memory.
    Unknown,
}

impl Storage {
    /// Of a folder that there is.
    pub(crate) fn of(folder: &Path, roots: &Roots) -> Self {
        match block_device(folder, roots) {
            None => Self::Unknown,
            Some(device) if is_encrypted(&device, MOST_LAYERS) => Self::Encrypted,
            Some(_) => Self::Plain,
        }
    }
}

/// Whether a folder is a mounted file system of its own, neither the folder's above nor that of `other`.
pub(crate) fn is_mounted_apart(folder: &Path, other: &Path) -> bool {
    // Through `.`, so that what is mounted on demand is mounted.
    let device = |path: &Path| fs::metadata(path.join(".")).ok().map(|found| found.dev());
    let Some(own) = device(folder) else {
        return false;
    };
    let above = folder.parent().and_then(device);
    above.is_some_and(|above| above != own) && device(other) != Some(own)
}

/// The kernel's folder for the device below a folder.
fn block_device(folder: &Path, roots: &Roots) -> Option<PathBuf> {
    let device = fs::metadata(folder).ok()?.dev();
    let number = format!("{}:{}", major(device), minor(device));
    let block = roots.sys.join("dev/block").join(&number);
    if block.exists() {
        return Some(block);
    }
    // btrfs has a device number of its own for each of its trees; the mount table knows the device.
    let table = fs::read_to_string(roots.proc.join("self/mountinfo")).ok()?;
    named(&source(&table, &number)?, roots)
}

/// The source of the mount with this device number, as proc(5) tells of `mountinfo`: the second word after the lone dash.
fn source(table: &str, number: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (mount, device) = line.split_once(" - ")?;
        let found = mount.split(' ').nth(2) == Some(number);
        let source = device.split(' ').nth(1).filter(|_| found)?;
        Some(source.into())
    })
}

/// A device by its node's name: the kernel's own, or the one that was given to a mapped device.
fn named(node: &Path, roots: &Roots) -> Option<PathBuf> {
    let name = node.strip_prefix("/dev").ok()?;
    let Ok(mapped) = name.strip_prefix("mapper") else {
        return Some(roots.sys.join("class/block").join(name)).filter(|path| path.exists());
    };
    let devices = fs::read_dir(roots.sys.join("class/block")).ok()?;
    devices.flatten().map(|entry| entry.path()).find(|path| {
        let given = fs::read_to_string(path.join("dm/name"));
        given.is_ok_and(|given| Path::new(given.trim()) == mapped)
    })
}

fn is_encrypted(block: &Path, layers: usize) -> bool {
    let uuid = fs::read_to_string(block.join("dm/uuid"));
    if uuid.is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return true;
    }
    let below = fs::read_dir(block.join("slaves"))
        .into_iter()
        .flatten()
        .flatten();
    layers > 0
        && below
            .into_iter()
            .any(|entry| is_encrypted(&entry.path(), layers - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(root: &Path) -> Roots {
        Roots {
            sys: root.join("sys"),
            proc: root.join("proc"),
            ..Roots::default()
        }
    }

    fn number(folder: &Path) -> String {
        let device = fs::metadata(folder).unwrap().dev();
        format!("{}:{}", major(device), minor(device))
    }

    #[test]
    fn a_volume_on_an_encrypted_device_is_encrypted_and_a_partition_is_plain() {
        let root = tempfile::tempdir().unwrap();
        let roots = roots(root.path());
        assert_eq!(Storage::of(root.path(), &roots), Storage::Unknown);
        let block = roots.sys.join("dev/block").join(number(root.path()));
        fs::create_dir_all(block.join("dm")).unwrap();
        fs::write(block.join("dm/uuid"), "LVM-abc\n").unwrap();
        assert_eq!(Storage::of(root.path(), &roots), Storage::Plain);
        let below = block.join("slaves/dm-0/dm");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("uuid"), "CRYPT-LUKS2-0123-root\n").unwrap();
        assert_eq!(Storage::of(root.path(), &roots), Storage::Encrypted);
    }

    #[test]
    fn a_file_system_without_a_device_number_of_its_own_is_found_by_its_mount() {
        let root = tempfile::tempdir().unwrap();
        let roots = roots(root.path());
        let mapped = roots.sys.join("class/block/dm-3/dm");
        fs::create_dir_all(&mapped).unwrap();
        fs::write(mapped.join("name"), "luks-root\n").unwrap();
        fs::write(mapped.join("uuid"), "CRYPT-LUKS2-0123-root\n").unwrap();
        fs::create_dir_all(roots.sys.join("class/block/mmcblk2p2")).unwrap();
        fs::create_dir_all(roots.proc.join("self")).unwrap();
        for (source, expected) in [
            ("/dev/mapper/luks-root", Storage::Encrypted),
            ("/dev/mmcblk2p2", Storage::Plain),
            ("/dev/nothing", Storage::Unknown),
            ("tmpfs", Storage::Unknown),
        ] {
            let line = format!(
                "22 1 0:5 / /proc rw - proc proc rw\n29 1 {} /@ / rw,relatime shared:1 - btrfs {source} rw\nnonsense\n",
                number(root.path())
            );
            fs::write(roots.proc.join("self/mountinfo"), line).unwrap();
            assert_eq!(Storage::of(root.path(), &roots), expected, "{source}");
        }
    }

    #[test]
    fn a_folder_of_another_file_system_alone_is_mounted_apart() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_mounted_apart(root.path(), Path::new("/proc")));
        assert!(is_mounted_apart(Path::new("/proc"), root.path()));
        assert!(!is_mounted_apart(Path::new("/proc"), Path::new("/proc")));
        assert!(!is_mounted_apart(Path::new("/"), root.path()));
        assert!(!is_mounted_apart(&root.path().join("none"), root.path()));
    }
}
