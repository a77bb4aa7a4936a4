//! homing and its peers as commands: how each is told to make a repository, back up, restore and verify. It must not favour one of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::ours;

use crate::error::{Error, written};

/// What opens every repository; it is no secret.
const PASSWORD: &str = "a benchmark's password";

/// A program that makes backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Ours.
    Homing,
    /// restic, whose format is ours.
    Restic,
    /// rustic, another program of that format.
    Rustic,
    /// borg, with its fastest cipher suite and zstd at the level of the others.
    Borg,
}

impl Program {
    const ALL: [Self; 4] = [Self::Homing, Self::Restic, Self::Rustic, Self::Borg];

    /// Those that are here.
    pub(crate) fn here() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|program| program.binary().is_some())
            .collect()
    }

    /// Its name, here and on the disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Homing => "homing",
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Borg => "borg",
        }
    }

    /// Where it is: ours beside this program, the others by `HOMING_TEST_NAME` or PATH.
    pub(crate) fn binary(self) -> Option<PathBuf> {
        if self == Self::Homing {
            return Some(ours("homing"));
        }
        let given = std::env::var_os(format!("HOMING_TEST_{}", self.name().to_uppercase()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = std::env::split_paths(&path).map(|folder| folder.join(self.name()));
        given
            .map(PathBuf::from)
            .into_iter()
            .chain(named)
            .find(|file| file.is_file())
    }

    /// Can it use a server of restic's protocol?
    pub(crate) const fn knows_rest(self) -> bool {
        !matches!(self, Self::Borg)
    }
}

/// One program with one repository, and a home of its own for what it remembers.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) program: Program,
    binary: PathBuf,
    repository: OsString,
    home: PathBuf,
    /// How many archives borg has made: it wants a name for each.
    made: u32,
}

impl Archive {
    /// A program and the place of its repository: a folder, or an address that begins with `rest:`.
    ///
    /// # Errors
    /// No room for its home.
    pub(crate) fn new(
        program: Program,
        repository: impl Into<OsString>,
        home: &Path,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(home).map_err(written(home))?;
        let password = home.join("password");
        std::fs::write(&password, PASSWORD).map_err(written(&password))?;
        let binary = program.binary().ok_or_else(|| Error::Start {
            what: program.name(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        Ok(Self {
            program,
            binary,
            repository: repository.into(),
            home: home.to_path_buf(),
            made: 0,
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        let password = self.home.join("password");
        command
            .env("HOME", &self.home)
            .env("XDG_CACHE_HOME", self.home.join("cache"));
        match self.program {
            Program::Homing => {
                command
                    .args(words)
                    .arg("--repository")
                    .arg(&self.repository);
                command.arg("--password-file").arg(password);
            }
            Program::Restic => {
                command.args(["--quiet", "--password-file"]).arg(password);
                command.arg("--repo").arg(&self.repository).args(words);
            }
            Program::Rustic => {
                command
                    .args(["--log-level", "error", "--no-progress", "--password-file"])
                    .arg(password);
                command
                    .arg("--repository")
                    .arg(&self.repository)
                    .args(words);
            }
            Program::Borg => {
                command.args(words).env("BORG_REPO", &self.repository);
                command
                    .env("BORG_PASSPHRASE", PASSWORD)
                    .env("BORG_BASE_DIR", &self.home);
            }
        }
        command
    }

    /// Makes the repository.
    pub(crate) fn init(&self) -> Command {
        match self.program {
            Program::Homing => self.command(&["init-repository"]),
            Program::Restic | Program::Rustic => self.command(&["init"]),
            Program::Borg => self.command(&["init", "--encryption=repokey-blake2"]),
        }
    }

    /// Backs a folder up; `changes` is a list of what changed, which only ours can use.
    pub(crate) fn backup(&mut self, folder: &Path, changes: Option<&Path>) -> Command {
        self.made += 1;
        let mut command = match self.program {
            Program::Borg => {
                let name = format!("::number-{}", self.made);
                self.command(&["create", "--compression", "zstd,3", &name])
            }
            _ => self.command(&["backup"]),
        };
        command.arg(folder);
        if let Some(changes) = changes {
            command.arg("--changes").arg(changes);
        }
        command
    }

    /// Restores the newest snapshot into a folder that is there and empty.
    pub(crate) fn restore(&self, to: &Path) -> Command {
        let mut command = match self.program {
            Program::Homing => {
                let mut command = self.command(&["restore", "latest"]);
                command.arg("--to");
                command
            }
            Program::Restic => self.command(&["restore", "latest", "--target"]),
            Program::Rustic => self.command(&["restore", "latest"]),
            Program::Borg => {
                let mut command = self.command(&["extract", &format!("::number-{}", self.made)]);
                command.current_dir(to);
                return command;
            }
        };
        command.arg(to);
        command
    }

    /// Reads and checks every byte.
    pub(crate) fn verify(&self) -> Command {
        match self.program {
            Program::Homing => self.command(&["verify", "--all"]),
            Program::Restic | Program::Rustic => self.command(&["check", "--read-data"]),
            Program::Borg => self.command(&["check", "--verify-data"]),
        }
    }

    /// Opens the repository and does next to nothing: what every command costs at the least.
    pub(crate) fn open(&self) -> Command {
        match self.program {
            Program::Borg => self.command(&["list"]),
            _ => self.command(&["snapshots"]),
        }
    }
}
