//! A child process that cannot be lost: a group of its own, output kept in a file, killed and reaped on drop or with the test process. It must not be used for what should outlive a test.

use crate::wait::wait_until;
use crate::warden;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::time::Duration;

/// A running (or ended) child process.
#[derive(Debug)]
pub struct Proc {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Proc {
    /// Starts `command`; everything it prints is added to `NAME.log` in `logs`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(name: &str, logs: &Path, command: &mut Command) -> Self {
        let output = log_path(logs, name);
        Self::start_with_output(name, logs, command, || open_log(&output))
    }

    /// The same, but only standard error goes to the log and standard output to `output`.
    #[track_caller]
    pub(crate) fn start_with_output(
        name: &str,
        logs: &Path,
        command: &mut Command,
        output: impl FnOnce() -> File,
    ) -> Self {
        let log = log_path(logs, name);
        let child = warden::start_guarded(|| {
            command
                .stdout(output())
                .stderr(open_log(&log))
                .process_group(0)
                .spawn()
                .unwrap_or_else(|error| {
                    panic!("could not start {:?}: {error}", command.get_program())
                })
        });
        Self {
            name: name.to_owned(),
            child,
            log,
            ended: None,
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far, by this process and by those of the same name before it.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self
                .child
                .try_wait()
                .unwrap_or_else(|error| panic!("could not ask after {}: {error}", self.name));
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(deadline, &what, || self.ended())
    }

    /// Sends a signal to the process alone, as a supervisor does.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // Ended a moment ago is as good as told.
            let _ = kill(Pid::from_raw(self.group().as_raw()), signal);
        }
    }

    /// SIGKILL to it and everything it started, then reaps it: the same as a crash.
    pub fn kill9(&mut self) {
        if self.ended.is_none() {
            let _ = killpg(self.group(), Signal::SIGKILL);
            self.ended = self.child.wait().ok();
        }
    }

    /// SIGTERM, then waits: the orderly end.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(deadline)
    }

    /// Waits until it has printed `text`.
    ///
    /// # Panics
    /// When it has ended without, or after `deadline`; both with what it printed instead.
    #[track_caller]
    pub fn wait_for_output(&mut self, deadline: Duration, text: &str) {
        self.wait_ready(deadline, text, |log| log.contains(text));
    }

    /// Waits until `ready` holds for what it printed.
    ///
    /// # Panics
    /// As [`Proc::wait_for_output`].
    #[track_caller]
    pub(crate) fn wait_ready(
        &mut self,
        deadline: Duration,
        what: &str,
        ready: impl Fn(&str) -> bool,
    ) {
        let sentence = format!("{} to reach: {what}", self.name);
        wait_until(deadline, &sentence, || {
            if ready(&self.log()) {
                return Some(());
            }
            if let Some(status) = self.ended() {
                panic!(
                    "{} ended ({status}) before: {what}\n{}",
                    self.name,
                    self.log()
                );
            }
            None
        });
    }

    /// The writing end of its standard input, if that was to be a pipe; whoever takes it closes it.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Removes its log once everything in it has been read.
    pub(crate) fn forget_log(&self) {
        let _ = std::fs::remove_file(&self.log);
    }

    fn group(&self) -> Pid {
        // Process ids of Linux fit in 22 bits; the conversion cannot fail.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

fn log_path(logs: &Path, name: &str) -> PathBuf {
    logs.join(format!("{name}.log"))
}

fn open_log(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("could not open {}: {error}", path.display()))
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.kill9();
        // What the process started and left behind is still in its group.
        let _ = killpg(self.group(), Signal::SIGKILL);
        warden::release_group(self.group().as_raw());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(40);
            eprintln!(
                "---- the last that {} printed\n{}",
                self.name,
                lines[tail..].join("\n")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PATIENCE, Scratch};

    fn alive(pid: i32) -> bool {
        // A zombie that nobody has reaped yet is no longer alive.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            !stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .trim_start()
                .starts_with('Z')
        })
    }

    #[test]
    fn a_dropped_process_takes_what_it_started_with_it() {
        let scratch = Scratch::new();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo child=$!; wait"]);
        let mut shell = Proc::start("shell", scratch.path(), &mut command);
        shell.wait_ready(PATIENCE, "its child's number", |log| {
            log.contains("child=") && log.ends_with('\n')
        });
        let child: i32 = shell
            .log()
            .trim()
            .trim_start_matches("child=")
            .parse()
            .unwrap();
        assert!(alive(child));
        drop(shell);
        wait_until(PATIENCE, "the child's end", || {
            (!alive(child)).then_some(())
        });
    }

    #[test]
    fn nothing_survives_a_test_process_that_is_killed() {
        let scratch = Scratch::new();
        // The test below, in a process of its own that is killed while it holds a process and a folder.
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "proc::tests::the_victim_of_the_test_above",
                "--nocapture",
            ])
            .env("HOMING_TEST_VICTIM", "1");
        let mut victim = Proc::start("victim", scratch.path(), &mut command);
        victim.wait_ready(PATIENCE, "its child and folder", |log| {
            log.contains("end of words")
        });
        let log = victim.log();
        let word = |name: &str| {
            log.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
                .unwrap()
                .to_owned()
        };
        let (child, folder) = (
            word("child=").parse().unwrap(),
            PathBuf::from(word("folder=")),
        );
        assert!(alive(child) && folder.is_dir());
        let _ = kill(victim.group(), Signal::SIGKILL);
        victim.wait(PATIENCE);
        wait_until(PATIENCE, "the warden's work", || {
            (!alive(child) && !folder.exists()).then_some(())
        });
    }

    #[test]
    fn the_victim_of_the_test_above() {
        if std::env::var_os("HOMING_TEST_VICTIM").is_none() {
            return;
        }
        let scratch = Scratch::new();
        let mut held = Proc::start("held", scratch.path(), Command::new("sleep").arg("1000"));
        println!(
            "child={} folder={} end of words",
            held.id(),
            scratch.path().display()
        );
        held.wait(Duration::from_secs(900));
    }

    #[test]
    fn a_killed_and_a_terminated_process_are_told_apart() {
        use std::os::unix::process::ExitStatusExt;
        let scratch = Scratch::new();
        let mut first = Proc::start("first", scratch.path(), Command::new("sleep").arg("1000"));
        assert!(first.ended().is_none());
        assert_eq!(first.terminate(PATIENCE).signal(), Some(15));
        let mut second = Proc::start("second", scratch.path(), Command::new("sleep").arg("1000"));
        second.kill9();
        assert_eq!(second.ended().and_then(|status| status.signal()), Some(9));
    }
}
