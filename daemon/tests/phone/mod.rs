//! A simulated phone with real homingd processes for the daemon's own tests; it must not leave a process or a file behind.
#![expect(dead_code, reason = "each test binary uses its own part")]
#![expect(
    clippy::unwrap_used,
    reason = "a phone that cannot be had fails the test, as an assertion does"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use homing_hal::Cancel;
use homing_hal::sim::serve::Simulator;
use homing_hal::sim::track::Place;
use homing_hal::sim::world::World;
use homingd::boottime;
use homingd::folder::FolderWatch;
use homingd::siren::intent::{self, Intent};
use homingd::siren::report::Report;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A simulated phone with a state directory and a configuration.
pub(crate) struct Phone {
    root: TempDir,
}

impl Phone {
    /// A phone whose world runs in a thread of the test.
    pub(crate) fn new() -> Self {
        let phone = Self {
            root: tempfile::tempdir().unwrap(),
        };
        let began = Instant::now();
        let world = World::new(1, Place::from([52.516_27, 13.377_70]), began);
        Simulator::new(world, began).serve(&phone.socket()).unwrap();
        fs::create_dir(phone.state_dir()).unwrap();
        fs::create_dir(phone.siren()).unwrap();
        phone.configure("");
        phone
    }

    /// Writes the configuration anew, with `more` at its end.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "state_dir = {:?}\nruntime_dir = {:?}\n[hal]\nbackend = \"sim\"\n[hal.sim]\nsocket = {:?}\n{more}",
            self.state_dir(),
            self.root.path(),
            self.socket()
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root.path().join("homingd.toml")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn siren(&self) -> PathBuf {
        intent::folder(&self.state_dir())
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("sim.sock")
    }

    /// A homingd command on this phone, not yet started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = homingd();
        command
            .args(words)
            .arg("--config")
            .arg(self.config())
            .arg("--allow-simulator");
        command
    }

    /// Starts a siren.
    pub(crate) fn start_siren(&self, words: &[&str]) -> Process {
        let mut command = self.command(&["siren"]);
        Process(command.args(words).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Asks the simulated world.
    pub(crate) fn ask(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.get("error").is_none(), "{line}: {answer}");
        answer
    }

    /// Waits until the ear beside the phone says this, and how long that took.
    pub(crate) fn listen_until(&self, wanted: impl Fn(&Value) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let heard = self.ask(r#"{"get":"siren"}"#);
            if wanted(&heard) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{heard}");
            pause();
        }
    }

    /// Milliseconds of sound that have come out of the phone.
    pub(crate) fn played_ms(&self) -> u64 {
        self.ask(r#"{"get":"siren"}"#)["played_ms"]
            .as_u64()
            .unwrap()
    }

    /// Milliseconds of it that nobody could hear.
    pub(crate) fn hushed_ms(&self) -> u64 {
        self.ask(r#"{"get":"siren"}"#)["hushed_ms"]
            .as_u64()
            .unwrap()
    }

    /// Orders the siren to sound from now on.
    pub(crate) fn order(&self, command: &str, lasting: Duration) {
        let now = boottime::now_ms().unwrap();
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        Intent {
            command: command.into(),
            boot_id: boot_id.trim().into(),
            started_boottime_ms: now,
            deadline_boottime_ms: now + u64::try_from(lasting.as_millis()).unwrap(),
        }
        .store(&self.siren())
        .unwrap();
    }

    /// Waits until the siren's report says this.
    pub(crate) fn read_report(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let watch = FolderWatch::new(&self.siren()).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            match Report::load(&self.siren()).unwrap() {
                Some(report) if wanted(&report) => return report,
                _ => {}
            }
            Cancel::new().wait_readable(watch.as_fd(), until).unwrap();
            watch.drain().unwrap();
        }
    }
}

/// The binary under test, free of what the environment of the test would tell it.
pub(crate) fn homingd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homingd"));
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// The breath between two looks at something that cannot be waited for.
pub(crate) fn pause() {
    Cancel::new()
        .rest(Instant::now() + Duration::from_millis(10))
        .unwrap();
}

/// A process that does not outlive its test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end; the exit code, `None` after a signal.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "the process does not end");
            pause();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The lines a command left on stderr.
pub(crate) fn said(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
