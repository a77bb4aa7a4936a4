//! What every guest is made of, prepared by `cargo xtask`. It must not download or build anything.

use super::{Archive, Sound};
use std::path::{Path, PathBuf};

/// The programs of busybox that a guest's scripts and stories use.
const APPLETS: &str = "[ awk cat chmod chown cp cut date dd df dmesg free grep head id insmod ip kill killall ln ls \
     mkdir mknod mount mv pidof poweroff printf ps rm sed seq sh sleep sort stat stty su sync tail test touch tr \
     umount uname wc";

/// Kernel, programs and libraries for guests.
#[derive(Clone, Debug)]
pub struct Kit {
    pub(crate) qemu: PathBuf,
    pub(crate) kernel: PathBuf,
    guest: PathBuf,
    homingd: PathBuf,
    /// The ARM homing-sim, for guests with a simulated body.
    sim: Option<PathBuf>,
}

/// A file that xtask has prepared and names in `variable`; else its reason why not, else `nobody`.
///
/// # Errors
/// One sentence.
pub(crate) fn prepared(variable: &str, reason: &str, nobody: &str) -> Result<PathBuf, String> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.exists())
        .ok_or_else(|| std::env::var(reason).unwrap_or_else(|_| nobody.to_owned()))
}

impl Kit {
    /// The kit, or the reason why there is none here; the test is then skipped, aloud.
    ///
    /// # Errors
    /// One sentence.
    pub fn find() -> Result<Self, String> {
        let path = |variable| {
            let nobody = "no emulated phone was prepared: `cargo xtask qemu` does";
            prepared(variable, "HOMING_TEST_GUEST_REASON", nobody)
        };
        let guest = path("HOMING_TEST_GUEST")?;
        Ok(Self {
            qemu: path("HOMING_TEST_QEMU")?,
            kernel: guest.join("vmlinuz"),
            guest,
            homingd: path("HOMING_TEST_GUEST_HOMINGD")?,
            sim: path("HOMING_TEST_GUEST_SIM").ok(),
        })
    }

    /// The ARM homingd.
    #[must_use]
    pub fn homingd(&self) -> &Path {
        &self.homingd
    }

    /// The initial RAM disk: busybox, modules, gpsd, homingd, with a sound card amixer, `files`, and
    /// tests/qemu/init.sh as the first process.
    #[track_caller]
    pub(crate) fn initial_ram_disk(&self, sound: Sound, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut disk = Archive::default();
        for folder in [
            "proc", "sys", "dev", "run", "tmp", "root", "var/lib", "boot",
        ] {
            disk.folder(folder);
        }
        disk.file("init", 0o755, include_bytes!("../../qemu/init.sh"));
        disk.file("bin/busybox", 0o755, &read(&self.guest.join("busybox")));
        for applet in APPLETS.split_whitespace() {
            disk.link(&format!("bin/{applet}"), "busybox");
        }
        for list in ["modules.first", "modules.sound"] {
            let names = read(&self.guest.join(list));
            disk.file(&format!("etc/{list}"), 0o644, &names);
            for name in String::from_utf8_lossy(&names).lines() {
                let content = read(&self.guest.join("modules").join(name));
                disk.file(&format!("lib/modules/{name}"), 0o644, &content);
            }
        }
        self.add_gpsd(&mut disk);
        if sound != Sound::Absent {
            self.add_mixer(&mut disk);
        }
        disk.file("usr/bin/homingd", 0o755, &read(&self.homingd));
        if let Some(sim) = &self.sim {
            disk.file("usr/bin/homing-sim", 0o755, &read(sim));
        }
        disk.file("etc/passwd", 0o644, PASSWD.as_bytes());
        disk.file("etc/group", 0o644, GROUP.as_bytes());
        // The host, as QEMU's network calls it; its name is the one in the broker's certificate.
        disk.file("etc/hosts", 0o644, b"10.0.2.2 localhost\n");
        disk.file("etc/homing/homingd.toml", 0o644, shipped_configuration());
        for (path, content) in files {
            disk.file(path, 0o644, content);
        }
        disk.finish()
    }

    /// amixer, ALSA's library, and the configuration without which it opens nothing.
    #[track_caller]
    fn add_mixer(&self, disk: &mut Archive) {
        let root = self.guest.join("mixer");
        disk.file("usr/bin/amixer", 0o755, &read(&root.join("usr/bin/amixer")));
        let library = read(&root.join("usr/lib/aarch64-linux-gnu/libasound.so.2"));
        disk.file("lib/aarch64-linux-gnu/libasound.so.2", 0o755, &library);
        for folder in ["", "cards", "ctl", "pcm"] {
            let folder = format!("usr/share/alsa/{folder}");
            let entries = std::fs::read_dir(root.join(&folder));
            for entry in entries.into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".conf") {
                    let path = format!("{folder}/{name}").replace("//", "/");
                    disk.file(&path, 0o644, &read(&entry.path()));
                }
            }
        }
    }

    /// gpsd and each library that lies beside it, all in one folder that its loader looks into.
    #[track_caller]
    fn add_gpsd(&self, disk: &mut Archive) {
        let root = self.guest.join("root");
        disk.file("usr/sbin/gpsd", 0o755, &read(&root.join("usr/sbin/gpsd")));
        for folder in ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"] {
            for entry in std::fs::read_dir(root.join(folder))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_library = name.contains(".so");
                let is_file = std::fs::metadata(entry.path()).is_ok_and(|data| data.is_file());
                if is_library && is_file {
                    disk.file(
                        &format!("lib/aarch64-linux-gnu/{name}"),
                        0o755,
                        &read(&entry.path()),
                    );
                }
            }
        }
        disk.link(
            "lib/ld-linux-aarch64.so.1",
            "aarch64-linux-gnu/ld-linux-aarch64.so.1",
        );
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    gpsd:x:103:20:gpsd:/run/gpsd:/bin/false\n\
    nobody:x:65534:65534:nobody:/:/bin/false\n\
    homing:x:101:101:Homing agent:/var/lib/homing:/bin/false\n\
    homing-siren:x:102:102:Homing siren:/var/lib/homing/siren:/bin/false\n";

const GROUP: &str = "root:x:0:\ndialout:x:20:\naudio:x:29:homing-siren\nnogroup:x:65534:\n\
    homing:x:101:\nhoming-siren:x:102:homing\n";

fn shipped_configuration() -> &'static [u8] {
    include_bytes!("../../../systemd/etc/homing/homingd.toml")
}

#[track_caller]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()))
}
