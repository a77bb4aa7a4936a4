//! The root file system of an image: Debian's system, our package, and what makes a phone of it. It writes no disk.

use crate::debian::apt;
use crate::house;
use crate::translator::Translator;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The partition with the kernel and, at the first start, the owner's bundle: FAT, so that any computer can put it there.
pub(super) const BOOT_LABEL: &str = "HOMING";
/// The name of the root file system's partition, by which the kernel finds it on any kind of disk.
pub(super) const ROOT_LABEL: &str = "homing-root";

/// What is written into every image, by its path. A boot partition may take as long as it likes to show itself: nothing waits for it
/// but the phone's joining.
const FILES: [(&str, &str); 6] = [
    ("etc/hostname", "phone\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 phone\n"),
    (
        "etc/fstab",
        "PARTLABEL=homing-root / ext4 rw,relatime,x-systemd.growfs 0 1\n\
         LABEL=HOMING /boot/efi vfat rw,umask=0077,nofail,x-systemd.device-timeout=infinity 0 0\n",
    ),
    // Empty: each phone gives itself an identity at its first start.
    ("etc/machine-id", ""),
    // The root partition takes what the card has left, at the first start.
    (
        "etc/repart.d/50-root.conf",
        "[Partition]\nType=root-arm64\n",
    ),
    // A new kernel of Debian's starts from the boot partition too.
    (
        "etc/initramfs/post-update.d/homing-boot-partition",
        "#!/bin/sh\n# The boot partition has the newest kernel with its initial RAM disk.\nset -e\n\
         mountpoint -q /boot/efi || exit 0\ncp -L /vmlinuz /boot/efi/vmlinuz\ncp -L /initrd.img /boot/efi/initrd.img\n",
    ),
];

/// Units that an image starts and Debian or our package does not by itself: unit, what wants it.
const ENABLED: [(&str, &str); 1] = [("homingd-enrol.service", "multi-user.target")];

/// Units of Debian's that have nothing to do on a phone's card (they check ext4 in LVM's snapshots) and take part of its start.
const MASKED: [&str; 2] = ["e2scrub_reap.service", "e2scrub_all.timer"];

/// Unpacks the base into `root`, installs `package` there and makes a phone of it.
///
/// # Errors
/// One sentence.
pub(super) fn make(
    root: &Path,
    base: &Path,
    package: &Path,
    translator: &Translator,
) -> Result<(), String> {
    let installing = Installing::begin(base, root)?;
    install(&installing, package, translator)?;
    installing.end()?;
    for (path, text) in FILES {
        let to = root.join(path);
        to.parent().map_or(Ok(()), apt::make_folder)?;
        std::fs::write(&to, text)
            .map_err(|error| format!("could not write {}: {error}", to.display()))?;
        if text.starts_with("#!") {
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&to, executable)
                .map_err(|error| format!("could not make {} executable: {error}", to.display()))?;
        }
    }
    for (unit, wanted_by) in ENABLED {
        let wants = root.join(format!("etc/systemd/system/{wanted_by}.wants"));
        apt::make_folder(&wants)?;
        link(
            &Path::new("/usr/lib/systemd/system").join(unit),
            &wants.join(unit),
        )?;
    }
    for unit in MASKED {
        link(
            Path::new("/dev/null"),
            &root.join("etc/systemd/system").join(unit),
        )?;
    }
    apt::make_folder(&root.join("boot/efi"))?;
    // The phone collects every driver for its next kernel's initial RAM disk.
    let few = root.join("etc/initramfs-tools/conf.d/homing");
    std::fs::remove_file(&few)
        .map_err(|error| format!("could not remove {}: {error}", few.display()))?;
    for folder in ["var/cache/apt", "var/lib/apt/lists"] {
        remove(&root.join(folder))?;
        apt::make_folder(&root.join(folder))?;
    }
    Ok(())
}

/// A system that is being made: unpacked, with nothing running in it, and nothing that a package starts.
pub(super) struct Installing(PathBuf);

/// What Debian's scripts ask before they start a service.
const POLICY: &str = "usr/sbin/policy-rc.d";

impl Installing {
    /// Unpacks the archive `base` into `root`, where nothing of an earlier run stays.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn begin(base: &Path, root: &Path) -> Result<Self, String> {
        // What an interrupted run left there is no system.
        remove(root)?;
        apt::make_folder(root)?;
        house::output(
            "unpacking the system",
            Command::new("tar")
                .args(["--numeric-owner", "--xattrs", "-xf"])
                .arg(base)
                .arg("-C")
                .arg(root),
        )?;
        let policy = root.join(POLICY);
        std::fs::write(&policy, "#!/bin/sh\nexit 101\n")
            .map_err(|error| format!("could not write {}: {error}", policy.display()))?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&policy, executable)
            .map_err(|error| format!("could not make {} executable: {error}", policy.display()))?;
        Ok(Self(root.to_path_buf()))
    }

    /// Its folder.
    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// Runs a program of the system in it.
    ///
    /// # Errors
    /// With the program's words.
    pub(super) fn run(&self, what: &str, line: &[&str]) -> Result<(), String> {
        house::output(
            what,
            Command::new("chroot")
                .arg(&self.0)
                .args(line)
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/root")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("LC_ALL", "C"),
        )
        .map(drop)
    }

    /// From now on it is a system like any: its services may be started.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn end(self) -> Result<(), String> {
        let policy = self.0.join(POLICY);
        std::fs::remove_file(&policy)
            .map_err(|error| format!("could not remove {}: {error}", policy.display()))
    }
}

/// With its own scripts, as on a phone; no supervisor runs in there and none is started.
fn install(installing: &Installing, package: &Path, translator: &Translator) -> Result<(), String> {
    let inside = installing.root().join("tmp/homingd.deb");
    std::fs::copy(package, &inside)
        .map_err(|error| format!("could not copy {}: {error}", package.display()))?;
    let line = ["dpkg", "--force-unsafe-io", "-i", "/tmp/homingd.deb"];
    translator.run(|| installing.run("installing homingd in the image", &line))?;
    std::fs::remove_file(&inside)
        .map_err(|error| format!("could not remove {}: {error}", inside.display()))
}

/// The newest kernel and its initial RAM disk in a root.
///
/// # Errors
/// There is none.
pub(super) fn kernel(root: &Path) -> Result<[PathBuf; 2], String> {
    let newest = |name: &str| {
        apt::files_of(&root.join("boot"))?
            .into_iter()
            .rfind(|path| {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                file.starts_with(name)
            })
            .ok_or_else(|| format!("the system has no {name}"))
    };
    Ok([newest("vmlinuz-")?, newest("initrd.img-")?])
}

fn link(target: &Path, at: &Path) -> Result<(), String> {
    std::os::unix::fs::symlink(target, at)
        .map_err(|error| format!("could not make {}: {error}", at.display()))
}

fn remove(folder: &Path) -> Result<(), String> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("could not remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
