//! Lets this machine run the programs of arm64 for a while, through QEMU and the kernel's binfmt_misc. What was registered is taken out again.

use crate::house;
use crate::tools::{self, Tool};
use std::path::{Path, PathBuf};
use std::process::Command;

static TRANSLATOR: [Tool; 1] = [Tool {
    program: "qemu-aarch64-static",
    variable: "HOMING_TEST_QEMU_USER",
    package: "qemu-user-static",
}];

/// Where the kernel is told which program runs which files (Documentation/admin-guide/binfmt-misc.rst).
const REGISTRY: &str = "/proc/sys/fs/binfmt_misc";
/// Our entry there.
const NAME: &str = "homing-arm64";
/// The first 20 bytes of a 64-bit little-endian ELF file for machine 183, AArch64 (elf.h), executable or shared object.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
/// Which bits of them count: not the system's name, and a shared object is as good.
const MASK: &str =
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// A way to run arm64 programs.
pub(super) enum Translator {
    /// The machine does already.
    System,
    /// QEMU's static program, to be registered meanwhile.
    Ours(PathBuf),
}

impl Translator {
    /// Finds one, or unpacks QEMU's.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn find() -> Result<Self, String> {
        if arm64_runs() {
            return Ok(Self::System);
        }
        let found = tools::provide(&TRANSLATOR)?;
        let path = found.into_values().next().unwrap_or_default();
        // An unpacked tool is a script that becomes it; the kernel needs the program itself.
        let inside = house::target().join("tools/root/usr/bin/qemu-aarch64-static");
        Ok(Self::Ours(match path.starts_with(house::target()) {
            true => inside,
            false => path,
        }))
    }

    /// Does something during which arm64 programs run.
    ///
    /// # Errors
    /// The kernel does not take the entry; else what `work` says.
    pub(super) fn run<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        let Self::Ours(program) = self else {
            return work();
        };
        let _entry = Entry::register(program)?;
        work()
    }
}

fn arm64_runs() -> bool {
    let mut asked = Command::new("arch-test");
    house::output("asking for arm64", asked.arg("arm64")).is_ok()
}

/// Registered while it lives.
struct Entry(PathBuf);

impl Entry {
    fn register(program: &Path) -> Result<Self, String> {
        let registry = Path::new(REGISTRY);
        if !registry.join("register").exists() {
            house::output(
                "mounting binfmt_misc",
                Command::new("mount").args(["-t", "binfmt_misc", "none", REGISTRY]),
            )?;
        }
        // F: the kernel opens the program now, so that it need not lie inside the other root.
        let line = format!(":{NAME}:M::{MAGIC}:{MASK}:{}:F", program.display());
        std::fs::write(registry.join("register"), line)
            .map_err(|error| format!("the kernel does not take an entry for arm64 ({error})"))?;
        Ok(Self(registry.join(NAME)))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // -1 takes the entry out.
        let _ = std::fs::write(&self.0, "-1");
    }
}
