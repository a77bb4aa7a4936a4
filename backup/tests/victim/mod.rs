//! This very test program as a process of its own, which can be killed. Leaves nothing running.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its process must stop"
)]

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where the process finds its repository, and the folder it works on.
pub(crate) const REPOSITORY: &str = "ARCHIVE_TEST_REPOSITORY";
pub(crate) const FOLDER: &str = "ARCHIVE_TEST_FOLDER";

/// What a parent has told this process, if it is a child.
pub(crate) fn told() -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    let told = |name| std::env::var_os(name).map(Into::into);
    Some((told(REPOSITORY)?, told(FOLDER)?))
}

/// A command that runs one test of this program, after the words of `before`.
pub(crate) fn command(before: &[&str], test: &str, repository: &Path, folder: &Path) -> Command {
    let program = std::env::current_exe().unwrap();
    let words = before.iter().map(OsStr::new).chain([program.as_os_str()]);
    let words: Vec<&OsStr> = words.collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(REPOSITORY, repository)
        .env(FOLDER, folder);
    command
}

/// A process that is killed when it is dropped.
pub(crate) struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Victim {
    pub(crate) fn start(test: &str, repository: &Path, folder: &Path) -> Self {
        let child = command(&[], test, repository, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Looks until something is so, at most 30 s or to the process's end.
    pub(crate) fn until(&mut self, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() && self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it never came to that");
            std::thread::yield_now();
        }
    }

    /// Kills it after that time; `true` when the kill ended it, `false` when it had ended by itself.
    pub(crate) fn kill_after(&mut self, time: Duration) -> bool {
        let mut output = self.0.stdout.take().unwrap();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            // Its output ends when it does.
            let _ = output.read_to_end(&mut Vec::new());
            let _ = ended.send(());
        });
        let _ = end.recv_timeout(time);
        let _ = self.0.kill();
        self.0.wait().unwrap().signal() == Some(9)
    }

    /// Waits for its own end.
    pub(crate) fn end(mut self) -> ExitStatus {
        let mut output = self.0.stdout.take().unwrap();
        output.read_to_end(&mut Vec::new()).unwrap();
        self.0.wait().unwrap()
    }
}

/// How long a campaign is, its first seed, and what it writes of its result; without a campaign the first number.
pub(crate) fn wanted(otherwise: u64) -> (u64, u64) {
    let told = |name, otherwise| {
        std::env::var(name).map_or(otherwise, |number| number.parse::<u64>().unwrap())
    };
    (
        told("HOMING_CAMPAIGN_COUNT", otherwise),
        told("HOMING_CAMPAIGN_SEED", 1),
    )
}

/// Writes a campaign's result where the one who asked for it wants it.
pub(crate) fn tell(json: &str) {
    eprintln!("{json}");
    if let Ok(result) = std::env::var("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(result, format!("{json}\n")).unwrap();
    }
}
