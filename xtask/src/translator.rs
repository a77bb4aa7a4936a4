//! Lets this machine run the programs of a phone's processor for a while, through QEMU and the kernel's binfmt_misc. What was registered is taken out again.

use crate::house;
use crate::tools::{self, Tool};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What translates for one of Debian's architectures.
pub(crate) struct Machine {
    architecture: &'static str,
    tool: [Tool; 1],
    /// Our entry in the kernel's registry.
    entry: &'static str,
    /// The first 20 bytes of its executable files (elf.h).
    magic: &'static str,
}

static MACHINES: [Machine; 2] = [
    Machine {
        architecture: "arm64",
        tool: [Tool {
            program: "qemu-aarch64-static",
            variable: "HOMING_TEST_QEMU_USER",
            package: "qemu-user-static",
        }],
        entry: "homing-arm64",
        // 64 bits, little endian, machine 183: AArch64.
        magic: r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    },
    Machine {
        architecture: "armhf",
        tool: [Tool {
            program: "qemu-arm-static",
            variable: "HOMING_TEST_QEMU_USER_32",
            package: "qemu-user-static",
        }],
        entry: "homing-armhf",
        // 32 bits, little endian, machine 40: ARM.
        magic: r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00",
    },
];

/// Where the kernel is told which program runs which files (Documentation/admin-guide/binfmt-misc.rst).
const REGISTRY: &str = "/proc/sys/fs/binfmt_misc";
/// Which bits of a file's beginning count: not the system's name, and a shared object is as good.
const MASK: &str =
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// A way to run programs of another architecture.
#[derive(Clone)]
pub(crate) enum Translator {
    /// The machine does already.
    System,
    /// QEMU's static program, to be registered meanwhile.
    Ours(&'static Machine, PathBuf),
}

impl Translator {
    /// Finds one for an architecture by Debian's name, or unpacks QEMU's.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn find(architecture: &str) -> Result<Self, String> {
        if cfg!(target_arch = "x86_64") && architecture == "amd64" || runs(architecture) {
            return Ok(Self::System);
        }
        let machine = MACHINES
            .iter()
            .find(|machine| machine.architecture == architecture)
            .ok_or_else(|| format!("nothing here runs programs of {architecture}"))?;
        let found = tools::provide(&machine.tool)?;
        let path = found.into_values().next().unwrap_or_default();
        // An unpacked tool is a script that becomes it; the kernel needs the program itself.
        let inside = house::target().join("tools/root/usr/bin");
        Ok(Self::Ours(
            machine,
            match path.starts_with(house::target()) {
                true => inside.join(machine.tool[0].program),
                false => path,
            },
        ))
    }

    /// Does something during which the architecture's programs run.
    ///
    /// # Errors
    /// The kernel does not take the entry; else what `work` says.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let Self::Ours(machine, program) = self else {
            return work();
        };
        let _entry = Entry::register(machine, program)?;
        work()
    }
}

fn runs(architecture: &str) -> bool {
    let mut asked = Command::new("arch-test");
    house::output("asking what runs here", asked.arg(architecture)).is_ok()
}

/// Registered while it lives, and no longer than this process, however that ends.
struct Entry {
    _keeper: Keeper,
}

impl Entry {
    fn register(machine: &Machine, program: &Path) -> Result<Self, String> {
        let registry = Path::new(REGISTRY);
        let is_mounted = registry.join("register").exists();
        // One for each process: two that build at a time do not take each other's away.
        let entry = format!("{}-{}", machine.entry, std::process::id());
        let keeper = Keeper::of(
            &registry.join(&entry),
            (!is_mounted).then_some(Path::new(REGISTRY)),
        )?;
        if !is_mounted {
            house::output(
                "mounting binfmt_misc",
                Command::new("mount").args(["-t", "binfmt_misc", "none", REGISTRY]),
            )?;
        }
        // F: the kernel opens the program now, so that it need not lie inside the other root.
        let magic = machine.magic;
        let line = format!(":{entry}:M::{magic}:{MASK}:{}:F", program.display());
        std::fs::write(registry.join("register"), line).map_err(|error| {
            format!(
                "the kernel does not take an entry for {} ({error})",
                machine.architecture
            )
        })?;
        Ok(Self { _keeper: keeper })
    }
}

/// A shell that waits for the end of its input, which comes when this is dropped or this process ends, by Ctrl-C or a kill too; then it
/// takes an entry out of the kernel's registry, and the registry's mount with it where that is ours.
struct Keeper(Child);

/// -1 takes an entry out.
const KEEPER: &str =
    "cat >/dev/null; [ ! -e \"$1\" ] || echo -1 >\"$1\"; [ -z \"$2\" ] || umount \"$2\"";

impl Keeper {
    fn of(entry: &Path, mount: Option<&Path>) -> Result<Self, String> {
        Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(entry)
            .arg(mount.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            // What a terminal's Ctrl-C ends is this process's group.
            .process_group(0)
            .spawn()
            .map(Self)
            .map_err(|error| format!("could not start sh: {error}"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_registered_is_taken_out_when_its_keepers_input_ends() {
        let registry = tempfile::tempdir().unwrap();
        let entry = registry.path().join("homing-arm64-1");
        std::fs::write(&entry, "enabled").unwrap();
        let keeper = Keeper::of(&entry, None).unwrap();
        drop(keeper);
        assert_eq!(std::fs::read_to_string(&entry).unwrap(), "-1\n");
        // Where nothing was registered after all, nothing is made.
        let none = registry.path().join("homing-armhf-1");
        drop(Keeper::of(&none, None).unwrap());
        assert!(!none.exists());
    }
}
