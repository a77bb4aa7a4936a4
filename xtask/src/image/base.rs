//! The system that an image is made of: Debian's arm64 packages as one archive, made once and kept by their list. It puts nothing of ours into it.

use crate::debian::apt;
use crate::house;
use crate::translator::Translator;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's release, the one whose kernel and packages the stories were written against.
const SUITE: &str = "bookworm";

/// What a phone's system is made of beyond Debian's minimum, by its names. Never gpsd-clients, which brings a desktop along.
const PACKAGES: [&str; 24] = [
    "alsa-utils",
    "ca-certificates",
    "dbus",
    "dbus-user-session",
    "e2fsprogs",
    "gpsd",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "linux-image-arm64",
    "login",
    "modemmanager",
    "network-manager",
    "passwd",
    "pipewire",
    "pipewire-bin",
    "polkitd",
    "procps",
    "systemd-boot-efi",
    "systemd-sysv",
    "udev",
    "wireplumber",
    "wpasupplicant",
];

/// What a kernel needs to find its root on a card, a disk or QEMU's disk. Not every driver there is: that many take an emulated
/// program half an hour to collect, and a new kernel's initial RAM disk is made on the phone itself.
const MODULES: [&str; 13] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "ext4",
    "mmc_block",
    "sunxi-mmc",
    "sunxi-rsb",
    "axp20x-rsb",
    "axp20x-regulator",
    "dw_mmc-rockchip",
    "sdhci-of-arasan",
    "sdhci-esdhc-imx",
    "usb-storage",
];

/// Left out: what nobody reads on a phone.
const UNREAD: [&str; 4] = ["man", "doc", "locale", "info"];

/// Whether the system can be made here; the reason why not, as one sentence.
pub(super) fn missing() -> Option<String> {
    let user = house::output("asking who this is", Command::new("id").arg("-u"));
    if user.as_deref() != Ok("0") {
        return Some("only root can make a system with other owners' files".into());
    }
    if !apt::is_debian() {
        return Some(
            "the system is made of Debian's packages, and apt and dpkg are not here".into(),
        );
    }
    ["mmdebstrap", "arch-test", "tar", "chroot"]
        .into_iter()
        .find(|name| house::program(name).is_none())
        .map(|name| format!("{name} is not here: `apt-get install mmdebstrap arch-test`"))
}

/// What it is made of, a line each.
pub(super) fn list() -> String {
    format!("{SUITE}\n{}\n{}\n", PACKAGES.join("\n"), MODULES.join("\n"))
}

/// The archive, made now where no earlier one was made of the same list.
///
/// # Errors
/// One sentence: mmdebstrap failed, or its result cannot be kept.
pub(super) fn provide(store: &Path, translator: &Translator) -> Result<PathBuf, String> {
    let archive = store.join("base.tar");
    let wanted = list();
    let list = store.join("base.list");
    if archive.is_file() && std::fs::read_to_string(&list).is_ok_and(|made| made == wanted) {
        return Ok(archive);
    }
    house::announce(
        "making an arm64 system of Debian's packages (some 250 MB of them, five minutes or more)",
    );
    apt::make_folder(store)?;
    let part = store.join("base.part.tar");
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--quiet", "--architectures=arm64"])
        .args(["--variant=minbase", "--mode=root", "--format=tar"])
        // The translator is registered with its file open, and was tried: nothing has to lie at a fixed place or be copied.
        .arg("--skip=check/qemu")
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg("--aptopt=Apt::Install-Recommends \"false\"")
        .arg("--aptopt=Acquire::Retries \"3\"")
        // It is made anew when the power goes meanwhile.
        .arg("--dpkgopt=force-unsafe-io");
    for folder in UNREAD {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    }
    let modules = format!(
        "mkdir -p \"$1/etc/initramfs-tools/conf.d\" && \
         echo MODULES=list >\"$1/etc/initramfs-tools/conf.d/homing\" && \
         mkdir -p \"$1/usr/share/initramfs-tools/modules.d\" && \
         printf '%s\\n' {} >\"$1/usr/share/initramfs-tools/modules.d/homing\"",
        MODULES.join(" ")
    );
    command
        .arg(format!("--essential-hook={modules}"))
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(SUITE)
        .arg(&part);
    translator.run(|| house::run("mmdebstrap", &mut command))?;
    std::fs::rename(&part, &archive)
        .map_err(|error| format!("could not name {}: {error}", archive.display()))?;
    // Written last: without it the archive is made again.
    std::fs::write(&list, wanted)
        .map_err(|error| format!("could not write {}: {error}", list.display()))?;
    Ok(archive)
}
