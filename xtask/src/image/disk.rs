//! The disk: a boot partition that UEFI firmware and U-Boot start from, and a root partition. It decides nothing about what is in them.

use super::root::{self, BOOT_LABEL, ROOT_LABEL};
use crate::debian::apt;
use crate::house;
use crate::tools::{self, Found, Tool};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;

/// What partitions a disk and makes file systems without root or a loop device.
static TOOLS: [Tool; 5] = [
    Tool {
        program: "sfdisk",
        variable: "HOMING_TEST_SFDISK",
        package: "fdisk",
    },
    Tool {
        program: "mkfs.vfat",
        variable: "HOMING_TEST_MKFS_VFAT",
        package: "dosfstools",
    },
    Tool {
        program: "mcopy",
        variable: "HOMING_TEST_MCOPY",
        package: "mtools",
    },
    Tool {
        program: "mke2fs",
        variable: "HOMING_TEST_MKE2FS",
        package: "e2fsprogs",
    },
    // For the stories, which put a shell into their copy.
    Tool {
        program: "debugfs",
        variable: "HOMING_TEST_DEBUGFS",
        package: "e2fsprogs",
    },
];

/// Bytes before the first partition. 1 MiB, as every tool aligns; U-Boot for Allwinner's processors finds room in it.
const BEFORE_BOOT: u64 = 1 << 20;
/// The boot partition: a kernel, an initial RAM disk and their successors.
const BOOT_BYTES: u64 = 256 << 20;
/// What the root file system has free until it grows over the card.
const FREE_BYTES: u64 = 192 << 20;
/// After the last partition: the second copy of the table.
const AFTER_ROOT: u64 = 1 << 20;
const MIB: u64 = 1 << 20;

/// Types of partitions (UEFI 2.10, table 5.7; The Discoverable Partitions Specification, root of 64-bit ARM).
const BOOT_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const ROOT_TYPE: &str = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE";

/// Device trees that U-Boot looks for on the boot partition, by the names it has for these phones.
const DEVICE_TREES: [&str; 6] = [
    "allwinner/sun50i-a64-pinephone-1.0.dtb",
    "allwinner/sun50i-a64-pinephone-1.1.dtb",
    "allwinner/sun50i-a64-pinephone-1.2.dtb",
    "freescale/imx8mq-librem5-r3.dtb",
    "freescale/imx8mq-librem5-r4.dtb",
    "rockchip/rk3399-pinephone-pro.dtb",
];

/// Finds or unpacks the programs that make a disk.
///
/// # Errors
/// One sentence.
pub(super) fn tools() -> Result<Found, String> {
    tools::provide(&TOOLS)
}

/// Writes the disk of a finished root, which gets its name when it is whole; `bundle` goes onto the boot partition, and then the
/// disk is for its owner alone.
///
/// # Errors
/// One sentence.
pub(super) fn write(
    tree: &Path,
    bundle: Option<&Path>,
    tools: &Found,
    disk: &Path,
) -> Result<(), String> {
    let root_at = BEFORE_BOOT + BOOT_BYTES;
    let root_bytes = used(tree)?.next_multiple_of(MIB) + FREE_BYTES;
    let whole = root_at + root_bytes + AFTER_ROOT;
    let part = &disk.with_extension("img.part");
    empty(part, whole, if bundle.is_some() { 0o600 } else { 0o644 })?;
    partition(part, root_bytes, tools)?;
    let files = disk.with_extension("boot");
    let filled =
        boot_files(tree, bundle, &files).and_then(|()| boot_partition(part, &files, tools));
    // It may hold a bundle: it goes however that ended.
    let _ = std::fs::remove_dir_all(&files);
    filled?;
    house::output(
        "making the root file system",
        Command::new(&tools["HOMING_TEST_MKE2FS"])
            .args(["-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-E"])
            .arg(format!("offset={root_at}"))
            .arg("-d")
            .args([tree, part])
            .arg(format!("{}k", root_bytes / 1024)),
    )?;
    std::fs::rename(part, disk)
        .map_err(|error| format!("could not name {}: {error}", disk.display()))
}

/// Makes a file of so many zero bytes in place of any that is there.
fn empty(path: &Path, bytes: u64, mode: u32) -> Result<(), String> {
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|file| file.set_len(bytes))
        .map_err(|error| format!("could not make {}: {error}", path.display()))
}

/// Where the root partition of a disk begins, bytes.
fn root_offset() -> u64 {
    BEFORE_BOOT + BOOT_BYTES
}

fn used(tree: &Path) -> Result<u64, String> {
    let said = house::output(
        "measuring the system",
        Command::new("du").args(["-s", "--block-size=1"]).arg(tree),
    )?;
    let bytes: u64 = said
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("du said {said:?}"))?;
    // The file system's own tables: inodes, bitmaps, journal.
    Ok(bytes + bytes / 16 + 64 * MIB)
}

fn partition(disk: &Path, root_bytes: u64, tools: &Found) -> Result<(), String> {
    let table = format!(
        "label: gpt\n\
         start={}, size={}, type={BOOT_TYPE}, name=boot\n\
         start={}, size={}, type={ROOT_TYPE}, name={ROOT_LABEL}\n",
        BEFORE_BOOT / 512,
        BOOT_BYTES / 512,
        root_offset() / 512,
        root_bytes / 512,
    );
    let script = disk.with_extension("table");
    std::fs::write(&script, table)
        .map_err(|error| format!("could not write {}: {error}", script.display()))?;
    let input = std::fs::File::open(&script)
        .map_err(|error| format!("could not read {}: {error}", script.display()))?;
    let made = house::output(
        "partitioning the disk",
        Command::new(&tools["HOMING_TEST_SFDISK"])
            .arg("--quiet")
            .arg(disk)
            .stdin(input),
    );
    let _ = std::fs::remove_file(&script);
    made.map(drop)
}

/// systemd-boot as the program that firmware starts when it knows no other, and what it starts.
fn boot_files(tree: &Path, bundle: Option<&Path>, into: &Path) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(into);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(into)
        .map_err(|error| format!("could not make {}: {error}", into.display()))?;
    let [kernel, initrd] = root::kernel(tree)?;
    let loader = tree.join("usr/lib/systemd/boot/efi/systemd-bootaa64.efi");
    let mut copies = vec![
        (loader, "EFI/BOOT/BOOTAA64.EFI".to_owned()),
        (kernel.clone(), "vmlinuz".to_owned()),
        (initrd, "initrd.img".to_owned()),
    ];
    copies.extend(bundle.map(|bundle| (bundle.to_path_buf(), "phone.homing".to_owned())));
    let version = kernel.file_name().unwrap_or_default().to_string_lossy();
    let version = version.trim_start_matches("vmlinuz-");
    for name in DEVICE_TREES {
        let from = tree.join(format!("usr/lib/linux-image-{version}/{name}"));
        // A kernel that does not know a phone has no tree for it.
        if from.is_file() {
            copies.push((from, format!("dtb/{name}")));
        }
    }
    for (from, to) in copies {
        let to = into.join(to);
        to.parent().map_or(Ok(()), apt::make_folder)?;
        std::fs::copy(&from, &to)
            .map_err(|error| format!("could not copy {}: {error}", from.display()))?;
    }
    for (path, text) in [
        ("loader/loader.conf", "timeout 0\n".to_owned()),
        (
            "loader/entries/homing.conf",
            format!(
                "title Homing\nlinux /vmlinuz\ninitrd /initrd.img\n\
                 options root=PARTLABEL={ROOT_LABEL} rw rootwait panic=10\n"
            ),
        ),
    ] {
        let to = into.join(path);
        to.parent().map_or(Ok(()), apt::make_folder)?;
        std::fs::write(&to, text)
            .map_err(|error| format!("could not write {}: {error}", to.display()))?;
    }
    Ok(())
}

/// Made in a file of its own: mkfs.vfat cannot make one within another file that mtools then reads.
fn boot_partition(disk: &Path, files: &Path, tools: &Found) -> Result<(), String> {
    let part = disk.with_extension("vfat");
    empty(&part, BOOT_BYTES, 0o600)?;
    house::output(
        "making the boot file system",
        Command::new(&tools["HOMING_TEST_MKFS_VFAT"])
            .args(["-F", "32", "-n", BOOT_LABEL])
            .arg(&part),
    )?;
    house::output(
        "filling the boot file system",
        Command::new(&tools["HOMING_TEST_MCOPY"])
            .args(["-s", "-i"])
            .arg(&part)
            .args(apt::files_of(files)?)
            .arg("::/"),
    )?;
    house::output(
        "writing the boot partition",
        Command::new("dd")
            .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
            .arg(format!("seek={}", BEFORE_BOOT / MIB))
            .arg(format!("if={}", part.display()))
            .arg(format!("of={}", disk.display())),
    )?;
    std::fs::remove_file(&part)
        .map_err(|error| format!("could not remove {}: {error}", part.display()))
}
