//! The owner at a keyboard: runs `homing` with a state folder of its own and reads what it says. It must not look inside that state, but for the broker's folder.

use crate::wait::PATIENCE;
use crate::{Proc, ours};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The command as typed.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Runs a command to its end with `input` on its standard input; kills it after `deadline`.
    #[track_caller]
    pub(crate) fn of(
        name: &str,
        folder: &Path,
        command: &mut Command,
        input: &str,
        deadline: Duration,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Files, not pipes: a command that prints more than a pipe holds must not block.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let out = folder.join(format!("{name}-{number}.out"));
        let typed = typed(command);
        command.stdin(Stdio::piped());
        let mut process = Proc::start_with_output(name, folder, command, || create(&out));
        process.type_in(input);
        let status = process.wait(deadline);
        let answer = Self {
            command: typed,
            status,
            stdout: read(&out),
            stderr: process.log(),
        };
        process.forget_log();
        let _ = std::fs::remove_file(&out);
        answer
    }

    /// The same answer, which must be a success.
    ///
    /// # Panics
    /// When it is not; with everything it said.
    #[track_caller]
    #[must_use]
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// The same answer, which must have this exit code.
    ///
    /// # Panics
    /// When it has another; with everything it said.
    #[track_caller]
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.status.code() == Some(code),
            "not exit code {code}: {self}"
        );
        self
    }

    /// The one sentence of `program` on standard error with which it ended, without `program: `; with this exit code.
    ///
    /// # Panics
    /// When it ended otherwise, said more or less, or panicked; with everything it said.
    #[track_caller]
    #[must_use]
    pub fn sentence(&self, program: &str, code: i32) -> String {
        assert!(
            self.status.code() == Some(code),
            "not exit code {code}: {self}"
        );
        let sentence = self
            .stderr
            .strip_prefix(&format!("{program}: "))
            .and_then(|rest| rest.strip_suffix('\n'))
            .filter(|sentence| !sentence.contains('\n') && !sentence.contains("panicked"));
        sentence
            .unwrap_or_else(|| panic!("not one sentence of {program}: {self}"))
            .to_owned()
    }

    /// Standard output as one JSON object.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// Standard output as one JSON object a line.
    ///
    /// # Panics
    /// When a line is none.
    #[track_caller]
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
            })
            .collect()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({})\n{}{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// An owner with an account (after [`Owner::init`]) on one machine.
#[derive(Clone, Debug)]
pub struct Owner {
    home: PathBuf,
    work: PathBuf,
    passphrase: String,
    environment: Vec<(String, PathBuf)>,
}

impl Owner {
    /// An owner whose machine is `folder`: state in `folder/owner`, kit and logs beside it.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[track_caller]
    #[must_use]
    pub fn new(folder: &Path, passphrase: &str) -> Self {
        std::fs::create_dir_all(folder)
            .unwrap_or_else(|error| panic!("could not make {}: {error}", folder.display()));
        Self {
            home: folder.join("owner"),
            work: folder.to_path_buf(),
            passphrase: passphrase.to_owned(),
            environment: Vec::new(),
        }
    }

    /// From now on commands run with this variable set: another home, another runtime folder.
    pub fn set_variable(&mut self, name: &str, value: &Path) {
        self.environment
            .push((name.to_owned(), value.to_path_buf()));
    }

    /// What follows `--home`.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder in which commands run.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The folder from which mosquitto is to be started, written by [`Owner::init`].
    #[must_use]
    pub fn broker_folder(&self) -> PathBuf {
        self.home.join("broker")
    }

    /// `homing init` for a household broker on this port of 127.0.0.1.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[expect(
        clippy::must_use_candidate,
        reason = "most scenarios only need it to succeed"
    )]
    pub fn init(&self, port: u16) -> Answer {
        self.homing(&["init", "--broker", &format!("mqtts://127.0.0.1:{port}")])
            .expect_success()
    }

    /// Runs `homing` with these arguments to its end; the passphrase goes through a pipe.
    ///
    /// # Panics
    /// When it does not end within two minutes, longer than any `--wait` a scenario uses.
    #[track_caller]
    #[must_use]
    pub fn homing(&self, arguments: &[&str]) -> Answer {
        let input = format!("{}\n", self.passphrase);
        Answer::of(
            "homing",
            &self.work,
            &mut self.command(arguments),
            &input,
            PATIENCE * 4,
        )
    }

    /// The same with `--json`, which must succeed; returns the one object.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let with_json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        self.homing(&with_json).expect_success().json()
    }

    /// Starts a command that stays, such as `homing watch` or `homing log NAME --follow`; `name` is that of its log.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(&self, name: &str, arguments: &[&str]) -> Proc {
        let mut command = self.command(arguments);
        let mut process = Proc::start(name, &self.work, command.stdin(Stdio::piped()));
        process.type_in(&format!("{}\n", self.passphrase));
        process
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ours("homing"));
        // Standard input is the one descriptor that can be handed over without unsafe code.
        command
            .arg("--home")
            .arg(&self.home)
            .args(["--passphrase-fd", "0"])
            .args(arguments);
        // What is only remembered goes with the story, too.
        command
            .current_dir(&self.work)
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", self.work.join("cache"));
        let variables = self.environment.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
        command
    }
}

fn typed(command: &Command) -> String {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn create(path: &Path) -> File {
    File::create(path).unwrap_or_else(|error| panic!("could not make {}: {error}", path.display()))
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

impl Proc {
    /// Writes to its standard input and closes it. A process that does not want it is not an error.
    fn type_in(&mut self, input: &str) {
        if let Some(mut pipe) = self.take_stdin() {
            let _ = pipe.write_all(input.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn a_command_is_given_its_input_and_both_outputs_are_kept_apart() {
        let scratch = Scratch::new();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "read word; echo \"{\\\"word\\\":\\\"$word\\\"}\"; echo trouble >&2; exit 78",
        ]);
        let answer =
            Answer::of("sh", scratch.path(), &mut command, "secret\n", PATIENCE).expect_code(78);
        assert_eq!(answer.json()["word"], "secret");
        assert_eq!(answer.stderr, "trouble\n");
        assert!(std::fs::read_dir(scratch.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_command_that_prints_more_than_a_pipe_holds_does_not_block() {
        let scratch = Scratch::new();
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 300000 /dev/zero | tr '\\0' x"]);
        let answer = Answer::of("sh", scratch.path(), &mut command, "", PATIENCE).expect_success();
        assert_eq!(answer.stdout.len(), 300_000);
    }
}
