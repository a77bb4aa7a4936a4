//! An emulated phone with a whole system: the image of `cargo xtask image` under a real systemd, on a disk of its own. It must not know what a story expects.

use super::kit::prepared;
use super::{
    BootPartition, Clock, Fittings, Guest, Panel, Root, SHOWN, Sound, panel, peripherals, socket,
    start,
};
use crate::Answer;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the image's partitions begin, bytes: xtask/src/image/disk.rs.
const BOOT_OFFSET: u64 = 1 << 20;
const ROOT_OFFSET: u64 = 257 << 20;
/// The card is larger than the image, as cards are.
const CARD_BYTES: u64 = 3 << 30;
/// How long the host may take to copy a disk.
const COPYING: Duration = Duration::from_secs(120);

/// What the stories need in the system beyond what phones have: a shell to type into, more patience than a phone's with
/// what starts (an emulated one takes minutes), the host under the name in the broker's certificate, and gpsd at the serial
/// port (at a fixed speed: its search for one takes minutes here).
const STORY_FILES: [(&str, &str); 4] = [
    (
        "etc/systemd/system.conf.d/story.conf",
        "[Manager]\nDefaultTimeoutStartSec=10min\nDefaultDeviceTimeoutSec=10min\n",
    ),
    (
        "etc/systemd/system/story-shell.service",
        "[Unit]\nDescription=The story types here\nBindsTo=dev-hvc0.device\nAfter=dev-hvc0.device\n\
         IgnoreOnIsolate=yes\n\
         [Service]\nEnvironment=HOME=/root\nKillMode=process\n\
         ExecStart=/bin/sh -c 'exec 3<>/dev/hvc0; stty -echo -onlcr <&3; echo ready >&3; \
         while :; do sh /dev/hvc0 <&3 >&3 2>&3; done'\n",
    ),
    ("etc/hosts", "10.0.2.2 localhost\n127.0.1.1 phone\n"),
    (
        "etc/default/gpsd",
        "DEVICES=\"/dev/ttyS0\"\nGPSD_OPTIONS=\"-b -s 9600\"\nUSBAUTO=\"false\"\n",
    ),
];

/// What starts the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// QEMU puts the image's own kernel into memory: quick.
    None,
    /// UEFI finds what to start on the boot partition, as on a phone.
    Uefi,
}

/// An image and what starts it.
#[derive(Clone, Debug)]
pub struct SystemKit {
    qemu: PathBuf,
    disk: PathBuf,
    uefi: PathBuf,
    debugfs: PathBuf,
    mcopy: PathBuf,
}

impl SystemKit {
    /// The kit, or the reason why there is none here; the test is then skipped, aloud.
    ///
    /// # Errors
    /// One sentence.
    pub fn find() -> Result<Self, String> {
        Self::of("HOMING_TEST_SYSTEM", "HOMING_TEST_SYSTEM_REASON")
    }

    /// Likewise, of the image that also has Phosh, an editor, an ssh server and disk encryption. Its phosh.service is not enabled
    /// for anybody yet.
    ///
    /// # Errors
    /// One sentence.
    pub fn find_phosh() -> Result<Self, String> {
        let plain = Self::find()?;
        let Self { disk, .. } = Self::of("HOMING_TEST_PHOSH", "HOMING_TEST_PHOSH_REASON")?;
        Ok(Self { disk, ..plain })
    }

    fn of(disk: &str, reason: &str) -> Result<Self, String> {
        let path = |variable: &str| {
            let nobody =
                "no system was prepared: `cargo xtask ci --full` and `cargo xtask qemu` do";
            prepared(variable, reason, nobody)
        };
        Ok(Self {
            qemu: path("HOMING_TEST_QEMU")?,
            disk: path(disk)?,
            uefi: path("HOMING_TEST_FIRMWARE")?,
            debugfs: path("HOMING_TEST_DEBUGFS")?,
            mcopy: path("HOMING_TEST_MCOPY")?,
        })
    }

    /// Takes the initial RAM disk that the phone has made for itself from its boot partition.
    #[track_caller]
    fn take_initrd(&self, folder: &Path) {
        let _ = Answer::of(
            "mcopy",
            folder,
            Command::new(&self.mcopy)
                .args(["-n", "-o", "-i"])
                .arg(format!(
                    "{}@@{BOOT_OFFSET}",
                    folder.join("card.img").display()
                ))
                .arg("::/initrd.img")
                .arg(folder.join("initrd.img")),
            "",
            COPYING,
        )
        .expect_success();
    }

    /// A card of this phone's own, with what the stories need and the bundle on its boot partition.
    #[track_caller]
    fn flash(&self, card: &Path, held: BootPartition, bundle: Option<&Path>) {
        let folder = card.parent().unwrap_or(Path::new("."));
        let run = |what: &str, command: &mut Command| {
            let _ = Answer::of(what, folder, command, "", COPYING).expect_success();
        };
        run(
            "cp",
            Command::new("cp")
                .arg("--sparse=always")
                .args([self.disk.as_path(), card]),
        );
        super::enlarge(card, CARD_BYTES);
        let mut script = "mkdir /etc/systemd/system.conf.d\n".to_owned();
        let text = STORY_FILES.map(|(path, text)| (path, text.as_bytes().to_vec()));
        let mut files: Vec<_> = text.into_iter().collect();
        files.push(("root-tone.wav", tone()));
        if held == BootPartition::Held {
            files.push(("etc/udev/rules.d/99-story.rules", hold().into_bytes()));
        }
        for (number, (path, content)) in files.into_iter().enumerate() {
            let from = folder.join(format!("story-file-{number}"));
            super::write(&from, &content);
            script.push_str(&format!("rm /{path}\nwrite {} /{path}\n", from.display()));
        }
        let unit = "/etc/systemd/system/story-shell.service";
        script.push_str("cd /etc/systemd/system\nmkdir multi-user.target.wants\n");
        script.push_str(&format!(
            "symlink multi-user.target.wants/story-shell.service {unit}\n\
             symlink serial-getty@hvc0.service /dev/null\n\
             mkdir homing-lost.target.wants\n\
             symlink homing-lost.target.wants/story-shell.service {unit}\n"
        ));
        let commands = folder.join("story-files");
        super::write(&commands, script.as_bytes());
        run(
            "debugfs",
            Command::new(&self.debugfs)
                .args(["-w", "-f"])
                .arg(&commands)
                .arg(format!("{}?offset={ROOT_OFFSET}", card.display())),
        );
        if let Some(bundle) = bundle {
            run(
                "mcopy",
                Command::new(&self.mcopy)
                    .arg("-i")
                    .arg(format!("{}@@{BOOT_OFFSET}", card.display()))
                    .arg(bundle)
                    .arg("::/phone.homing"),
            );
        }
    }
}

impl Guest {
    /// Switches on a phone with the card that lies in `folder`, or a freshly flashed one with `bundle` on its boot
    /// partition.
    ///
    /// # Panics
    /// When QEMU does not start or the system's shell does not answer; with the kernel's words.
    #[track_caller]
    #[must_use]
    pub fn boot_system(
        kit: &SystemKit,
        folder: &Path,
        fittings: Fittings,
        firmware: Firmware,
        bundle: Option<&Path>,
    ) -> Self {
        let card = folder.join("card.img");
        if !card.is_file() {
            kit.flash(&card, fittings.boot_partition, bundle);
        }
        Self::switch_on_system(kit, folder, fittings, firmware).awake()
    }

    /// Switches on a phone with the card that lies in `folder`, and leaves it to what its start asks for.
    ///
    /// # Panics
    /// When QEMU does not start.
    #[track_caller]
    #[must_use]
    pub fn switch_on_system(
        kit: &SystemKit,
        folder: &Path,
        fittings: Fittings,
        firmware: Firmware,
    ) -> Self {
        if fittings.root == Root::Volume {
            kit.take_initrd(folder);
        }
        start(folder, &mut qemu(kit, folder, fittings, firmware))
    }
}

fn qemu(kit: &SystemKit, folder: &Path, fittings: Fittings, firmware: Firmware) -> Command {
    let mut command = Command::new(&kit.qemu);
    command
        .args(["-machine", "virt", "-accel", "tcg", "-cpu", "cortex-a53"])
        .args(["-smp", "2", "-m", "1024", "-display", "none", "-no-reboot"])
        .args(["-nodefaults", "-monitor", "none"]);
    peripherals(&mut command, folder);
    command
        .args([
            "-chardev",
            &socket("qmp", &folder.join("qmp.sock").display().to_string()),
        ])
        .args(["-mon", "chardev=qmp,mode=control"])
        .args(["-device", "virtio-blk-pci,drive=d0", "-drive"])
        .arg(format!(
            "if=none,id=d0,format=raw,cache=writeback,file={}",
            folder.join("card.img").display()
        ));
    if fittings.root != Root::Card {
        let volume = folder.join("volume.img");
        if !volume.is_file() {
            super::enlarge(&volume, CARD_BYTES);
        }
        command
            .args(["-device", "virtio-blk-pci,drive=d1", "-drive"])
            .arg(format!(
                "if=none,id=d1,format=raw,cache=writeback,file={}",
                volume.display()
            ));
    }
    if fittings.sound == Sound::Usb {
        super::sound_card(&mut command, folder);
    }
    if fittings.panel == Panel::Virtio {
        panel::add(&mut command);
    }
    if fittings.clock == Clock::Instructions {
        command.args(["-icount", "shift=1,sleep=on"]);
    }
    match firmware {
        Firmware::Uefi => {
            command.arg("-bios").arg(&kit.uefi);
        }
        Firmware::None => {
            let beside = kit.disk.parent().unwrap_or(Path::new("."));
            let (initrd, root) = match fittings.root {
                Root::Volume => (
                    folder,
                    "/dev/mapper/luksroot rw console=ttyAMA0 console=tty0",
                ),
                _ => (beside, "PARTLABEL=homing-root rw console=ttyAMA0"),
            };
            command
                .arg("-kernel")
                .arg(beside.join("vmlinuz"))
                .arg("-initrd")
                .arg(initrd.join("initrd.img"))
                .arg("-append")
                .arg(format!(
                    "root={root} panic=-1 cryptomgr.notests systemd.journald.forward_to_console=1 systemd.show_status=0"
                ));
        }
    }
    command
}

/// Keeps the boot partition from systemd (systemd.device(5), `SYSTEMD_READY`) until a file is there, as a slow card does.
fn hold() -> String {
    format!(
        "SUBSYSTEM==\"block\", ENV{{ID_FS_LABEL}}==\"HOMING\", TEST!=\"{SHOWN}\", ENV{{SYSTEMD_READY}}=\"0\"\n"
    )
}

/// A second of 1 kHz at half of full scale: WAV, 48 kHz, one channel, 16 bits.
fn tone() -> Vec<u8> {
    const RATE: u32 = 48_000;
    let length = RATE * 2;
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((length + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1_u16, 1].map(u16::to_le_bytes).concat());
    wav.extend([RATE, RATE * 2].map(u32::to_le_bytes).concat());
    wav.extend([2_u16, 16].map(u16::to_le_bytes).concat());
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    for sample in 0..RATE {
        let turn = f64::from(sample) * 1_000.0 / f64::from(RATE) * std::f64::consts::TAU;
        #[expect(clippy::cast_possible_truncation, reason = "half of full scale fits")]
        let value = (turn.sin() * 16_383.0) as i16;
        wav.extend(value.to_le_bytes());
    }
    wav
}
