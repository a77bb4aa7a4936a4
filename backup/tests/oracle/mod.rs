//! restic as the judge of our repositories. Starts the real program; without it, a test says SKIPPED and ends.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its judge must stop"
)]

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Output};

/// The password of every repository in these tests.
pub(crate) const PASSWORD: &str = "correct horse";

/// restic on one repository.
pub(crate) struct Restic {
    repository: OsString,
    cache: tempfile::TempDir,
}

/// The restic that `./test` found or unpacked, else the one on PATH.
fn program() -> Command {
    Command::new(std::env::var_os("HOMING_TEST_RESTIC").unwrap_or_else(|| "restic".into()))
}

impl Restic {
    /// restic for that repository, or `None`, said loudly, where the program is missing.
    pub(crate) fn on(repository: &Path) -> Option<Self> {
        Self::start(repository.as_os_str())
    }

    /// The same for a repository on a server.
    pub(crate) fn at(address: &str) -> Option<Self> {
        Self::start(OsStr::new(address))
    }

    fn start(repository: &OsStr) -> Option<Self> {
        let found = program().arg("version").output().is_ok();
        if !found {
            eprintln!("SKIPPED: there is no restic, this test proves nothing here");
            return None;
        }
        Some(Self {
            repository: repository.to_owned(),
            cache: tempfile::tempdir().unwrap(),
        })
    }

    /// Runs restic and returns everything, whether it worked or not.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        program()
            .arg("--repo")
            .arg(&self.repository)
            .arg("--cache-dir")
            .arg(self.cache.path())
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("TZ", "UTC")
            .output()
            .unwrap()
    }

    /// Runs restic, which must succeed, and returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        assert!(
            output.status.success(),
            "restic {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same while locks of dead processes are still there, which our next run would remove.
    pub(crate) fn check_beside_locks(&self) {
        let said = self.run(&["check", "--read-data", "--no-lock"]);
        assert!(said.contains("no errors were found"), "{said}");
    }

    /// `restic check --read-data` finds nothing, not even something to mend.
    pub(crate) fn check(&self) {
        let said = self.run(&["check", "--read-data"]);
        assert!(said.contains("no errors were found"), "{said}");
    }
}
