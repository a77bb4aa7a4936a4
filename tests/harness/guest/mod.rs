//! An emulated phone: QEMU with Debian's arm64 kernel and the ARM homingd, a disk that outlives a power cut, a serial receiver and a shell to type into. It must not know what a story expects.

mod archive;
mod kit;
mod panel;
mod receiver;
mod recording;
mod shell;
mod system;

pub use kit::Kit;
pub use panel::Panel;
pub use receiver::SerialReceiver;
pub use recording::Recording;
pub use shell::Said;
pub use system::{Firmware, SystemKit};

use crate::wait::{PATIENCE, wait_until};
use crate::{Answer, Proc};
use archive::Archive;
use serde_json::Value;
use shell::Shell;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take in the guest: emulated, on a shared machine, some fifty times slower than a phone. A whole
/// system needs 70 s of a core to start.
pub const GUEST_PATIENCE: Duration = Duration::from_secs(600);

/// What a guest has beyond disk, network and receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fittings {
    /// The body that homingd drives.
    pub body: Body,
    /// Its sound card.
    pub sound: Sound,
    /// Its panel and keys; only a whole system has any.
    pub panel: Panel,
    /// What its time goes by.
    pub clock: Clock,
    /// When its system sees the boot partition.
    pub boot_partition: BootPartition,
    /// Where its system lies.
    pub root: Root,
}

/// Where a whole system lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// On its card.
    #[default]
    Card,
    /// On its card, with an empty volume beside, `/dev/vdb`.
    CardBesideVolume,
    /// On that volume, which asks for a passphrase: `/dev/mapper/luksroot` by the initial RAM disk of the card's boot partition.
    Volume,
}

/// When a whole system sees its boot partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootPartition {
    /// As soon as the kernel does.
    #[default]
    AtOnce,
    /// When the story says so: [`Guest::show_boot_partition`].
    Held,
}

/// What a guest's time goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// This machine's clock: while QEMU waits for a core, the guest's seconds pass too.
    #[default]
    Host,
    /// The instructions it carries out, 2 ns each, and this machine's clock only while it waits for something: 500
    /// million a second, fewer than a PinePhone's Cortex-A53 at 1.15 GHz carries out.
    Instructions,
}

/// The body that homingd drives in the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// The guest's own devices.
    #[default]
    Devices,
    /// `homing-sim` in the guest, but for the position, which comes from gpsd either way.
    Simulated,
}

/// The guest's sound card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sound {
    /// None.
    #[default]
    Absent,
    /// A USB card; what it plays is in [`Guest::recording`].
    Usb,
}

/// The file that shows a boot partition that was held.
const SHOWN: &str = "/run/story-partition";

/// A running guest. Dropping it kills QEMU, which is a power cut.
#[derive(Debug)]
pub struct Guest {
    process: Proc,
    shell: Shell,
    folder: PathBuf,
}

impl Guest {
    /// Switches it on with what lies in `folder`: the disk of an earlier start, or a new one. `files` go into its
    /// RAM disk, as path without leading slash and content.
    ///
    /// # Panics
    /// When QEMU does not start or the guest's shell does not answer; with the kernel's words.
    #[track_caller]
    #[must_use]
    pub fn boot(kit: &Kit, folder: &Path, fittings: Fittings, files: &[(&str, Vec<u8>)]) -> Self {
        let disk = folder.join("disk.img");
        if !disk.is_file() {
            make_disk(&disk);
        }
        let initrd = folder.join("initrd.cpio");
        write(&initrd, &kit.initial_ram_disk(fittings.sound, files));
        start(folder, &mut qemu(kit, folder, &initrd, fittings)).awake()
    }

    /// The same, once its shell answers.
    ///
    /// # Panics
    /// When it does not in time; with the kernel's words.
    #[track_caller]
    #[must_use]
    pub fn awake(mut self) -> Self {
        self.shell.wait();
        self
    }

    /// The processor time that QEMU has used so far: what an emulated phone needs, however busy this machine is.
    ///
    /// # Panics
    /// When the kernel does not say.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("could not read {path}: {error}"));
        ticks(&stat).map_or(Duration::ZERO, |ticks| Duration::from_millis(ticks * 10))
    }

    /// Runs a line of shell in the guest, as root.
    ///
    /// # Panics
    /// When it does not end in time; with the kernel's words.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Said {
        self.shell.run(line)
    }

    /// `homingd status --json` in the guest.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        let said = self.run("homingd status --json").expect_success();
        serde_json::from_str(&said.text)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", said.text))
    }

    /// Everything the kernel and the guest's daemons have said, each line with the seconds since the kernel began.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.folder.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a line with `text` on the console; returns the kernel's clock at that line, in seconds.
    ///
    /// # Panics
    /// When none comes in time; with the last lines.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str) -> f64 {
        let end = Instant::now() + GUEST_PATIENCE;
        loop {
            let console = self.console();
            if let Some(second) = console
                .lines()
                .find(|line| line.contains(text))
                .and_then(kernel_second)
            {
                return second;
            }
            assert!(
                Instant::now() < end && self.process.ended().is_none(),
                "the guest never said {text:?}:\n{}\n{}",
                last_lines(&console),
                self.process.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// A receiver at its serial port.
    ///
    /// # Panics
    /// When QEMU does not open it.
    #[track_caller]
    #[must_use]
    pub fn receiver(&self) -> SerialReceiver {
        SerialReceiver::plug_in(&self.serial_port())
    }

    /// The socket behind which its serial port is, for whoever types there.
    #[must_use]
    pub fn serial_port(&self) -> PathBuf {
        self.folder.join("receiver.sock")
    }

    /// Where QEMU writes what the sound card plays (WAV, 16 bit; its header is only finished by an orderly end).
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.folder.join("sound.wav")
    }

    /// From now on the system sees a boot partition that was [`BootPartition::Held`].
    ///
    /// # Panics
    /// When udev is not there.
    #[track_caller]
    pub fn show_boot_partition(&mut self) {
        let line =
            format!("touch {SHOWN} && udevadm trigger --action=change --subsystem-match=block");
        let _ = self.run(&line).expect_success();
    }

    /// SIGKILL to QEMU: what the guest had not written to its disk is gone. The folder keeps the disk.
    pub fn power_cut(mut self) {
        self.process.kill9();
    }
}

impl Guest {
    /// Whether it has switched itself off, as it also does instead of starting anew.
    pub fn is_off(&mut self) -> bool {
        self.process.ended().is_some()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- the last that the guest said\n{}",
                last_lines(&self.console())
            );
        }
    }
}

/// Starts QEMU; the guest's shell comes when its system is there.
#[track_caller]
fn start(folder: &Path, command: &mut Command) -> Guest {
    let mut process = Proc::start("qemu", folder, command.stdin(Stdio::null()));
    let socket = wait_until(PATIENCE, "QEMU to open the guest's console", || {
        assert!(
            process.ended().is_none(),
            "QEMU ended at once:\n{}",
            process.log()
        );
        UnixStream::connect(folder.join("shell.sock")).ok()
    });
    let console = folder.join("console.log");
    let shell = Shell::behind(socket, &console);
    Guest {
        process,
        shell,
        folder: folder.to_path_buf(),
    }
}

/// Console, network, randomness, shell and receiver.
fn peripherals(command: &mut Command, folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    command
        .args(["-serial", &format!("file:{}", path("console.log"))])
        .args([
            "-netdev",
            "user,id=n0",
            "-device",
            "virtio-net-pci,netdev=n0,romfile=",
        ])
        .args(["-device", "virtio-rng-pci"])
        .args([
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtconsole,chardev=shell",
        ])
        .args(["-chardev", &socket("shell", &path("shell.sock"))])
        .args(["-device", "pci-serial,chardev=receiver"])
        .args(["-chardev", &socket("receiver", &path("receiver.sock"))]);
}

/// The one card of QEMU's that Debian's arm64 kernel has a driver for, recorded into the folder.
fn sound_card(command: &mut Command, folder: &Path) {
    let wav = folder.join("sound.wav");
    command
        .args(["-device", "qemu-xhci", "-device", "usb-audio,audiodev=a0"])
        .arg("-audiodev")
        .arg(format!(
            "wav,id=a0,out.frequency=48000,path={}",
            wav.display()
        ));
}

/// A machine with one slow core, as an old phone has; always emulated, so that it is the same on every host.
fn qemu(kit: &Kit, folder: &Path, initrd: &Path, fittings: Fittings) -> Command {
    let path = |name: &str| folder.join(name).display().to_string();
    // The self-tests of the kernel's ciphers are a second of emulated time at each start. Linux leaves them out unless a
    // distribution asks for them, as Debian does; phones' kernels mostly do not.
    let mut kernel =
        "console=ttyAMA0 printk.devkmsg=on loglevel=7 panic=-1 cryptomgr.notests".to_owned();
    let mut command = Command::new(&kit.qemu);
    command
        .args(["-machine", "virt", "-accel", "tcg", "-cpu", "cortex-a53"])
        .args(["-smp", "1", "-m", "256", "-display", "none", "-no-reboot"])
        .args(["-nodefaults", "-monitor", "none"])
        .arg("-kernel")
        .arg(&kit.kernel)
        .arg("-initrd")
        .arg(initrd);
    peripherals(&mut command, folder);
    command
        .args(["-device", "virtio-blk-pci,drive=d0", "-drive"])
        // Written through to the host's file in the guest's order; a kill of QEMU loses what the guest had not flushed.
        .arg(format!(
            "if=none,id=d0,format=raw,cache=writeback,file={}",
            path("disk.img")
        ));
    if fittings.sound == Sound::Usb {
        kernel.push_str(" sound");
        sound_card(&mut command, folder);
    }
    if fittings.clock == Clock::Instructions {
        command.args(["-icount", "shift=1,sleep=on"]);
    }
    if fittings.body == Body::Simulated {
        kernel.push_str(" simulator");
    }
    command.args(["-append", &kernel]);
    command
}

fn socket(name: &str, path: &str) -> String {
    format!("socket,id={name},path={path},server=on,wait=off")
}

/// 64 MiB of ext4, as Debian's installer makes it.
#[track_caller]
fn make_disk(path: &Path) {
    std::fs::File::create(path)
        .and_then(|file| file.set_len(64 << 20))
        .unwrap_or_else(|error| panic!("could not make {}: {error}", path.display()));
    let mut command = Command::new(crate::foreign("mke2fs"));
    command.args(["-q", "-F", "-t", "ext4"]).arg(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let _ = Answer::of("mke2fs", folder, &mut command, "", PATIENCE).expect_success();
}

#[track_caller]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes)
        .unwrap_or_else(|error| panic!("could not write {}: {error}", path.display()));
}

/// Makes the file where it is not there, and its end zeroes up to so many bytes.
#[track_caller]
fn enlarge(path: &Path, bytes: u64) {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .and_then(|file| file.set_len(bytes))
        .unwrap_or_else(|error| panic!("could not enlarge {}: {error}", path.display()));
}

/// `[    1.234567] text` → 1.234567.
fn kernel_second(line: &str) -> Option<f64> {
    let (second, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    second.trim().parse().ok()
}

/// utime and stime of /proc/PID/stat (proc(5)), in hundredths of a second: USER_HZ is 100 on every Linux.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_is_that_of_user_and_kernel_together() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 1 0 5 0 0";
        assert_eq!(ticks(stat), Some(281));
    }

    #[test]
    fn the_kernels_clock_is_read_from_its_lines_only() {
        assert_eq!(kernel_second("[    1.500000] virtio_net: up"), Some(1.5));
        assert_eq!(kernel_second("ready"), None);
    }
}
