//! A disk of a few MiB that a test fills and frees, in a mount name space that goes with the process. It must not be mounted where the machine sees it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set where a test has its own mount name space.
const ALONE: &str = "HOMING_TEST_OWN_MOUNTS";

/// A mounted file system of its own size.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Whether the calling test, named as by `--exact`, may mount. If not it is run again where it may, and is over when
    /// this returns; where the kernel forbids that, a line says that it is skipped.
    ///
    /// # Panics
    /// When the test fails there; with everything it said.
    #[track_caller]
    #[must_use]
    pub fn is_allowed(test: &str) -> bool {
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let program = std::env::current_exe()
            .unwrap_or_else(|error| panic!("this program has no path: {error}"));
        let begun = "the test begins in a name space of its own";
        let script = r#"mount -t tmpfs none /mnt && umount /mnt && echo "$0" && exec "$@""#;
        let output = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                begun,
            ])
            .arg(program)
            .args(["--exact", "--nocapture", test])
            .env(ALONE, "1")
            .output();
        let said = match output {
            Err(error) => error.to_string(),
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                assert!(output.status.success() || !said.contains(begun), "{said}");
                if output.status.success() {
                    return false;
                }
                said
            }
        };
        eprintln!("SKIPPED: nothing can be mounted here: {}", said.trim());
        false
    }

    /// Moves a folder with what is in it onto a disk of so many MiB. Nobody may have it open.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn under(folder: &Path, mib: u32) -> Self {
        let aside = folder.with_extension("aside");
        run(Command::new("cp").arg("-a").args([folder, &aside]));
        run(Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mib}m,mode=0700"),
                "none",
            ])
            .arg(folder));
        let disk = Self {
            at: folder.to_owned(),
        };
        run(Command::new("cp")
            .arg("-a")
            .arg(aside.join("."))
            .arg(folder));
        std::fs::remove_dir_all(&aside)
            .unwrap_or_else(|error| panic!("could not remove {}: {error}", aside.display()));
        disk
    }

    /// Fills it to the last byte.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[track_caller]
    pub fn fill(&self) {
        let path = self.filling();
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("could not make {}: {error}", path.display()));
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0x5a; size]).is_ok() {}
        }
    }

    /// Takes back what [`SmallDisk::fill`] has written.
    ///
    /// # Panics
    /// When it cannot be removed.
    #[track_caller]
    pub fn free(&self) {
        let path = self.filling();
        std::fs::remove_file(&path)
            .unwrap_or_else(|error| panic!("could not remove {}: {error}", path.display()));
    }

    fn filling(&self) -> PathBuf {
        self.at.join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: processes that are about to end may still have files there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
}
