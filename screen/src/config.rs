//! What the lost screen needs of homingd's configuration: which body, and where the privileged half is. What else stands there is not its concern.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use homing_hal::HalSettings;
use serde::Deserialize;
use toml::{Table, Value};

use crate::Error;
use crate::page::Emergency;

/// Where the configuration is when the command line names none; it may be missing.
pub const DEFAULT_PATH: &str = "/etc/homing/homingd.toml";

/// The packaged folders, whose actor has folders of its own beside them.
const STATE_DIR: &str = "/var/lib/homing";
const RUNTIME_DIR: &str = "/run/homing";

/// The part that counts here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    state_dir: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    actor_dir: Option<PathBuf>,
    actor_socket: Option<PathBuf>,
    lost: Lost,
    /// Whose drivers are used.
    pub hal: HalSettings,
}

/// `[lost]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Lost {
    /// Whether somebody was heard, and heard them, in a call without a session on this phone.
    call_audio_tested: bool,
}

impl Config {
    /// Reads the file, and the fragments of the folder beside it (`homingd.toml` → `homingd.d/*.toml`), the later over the earlier.
    ///
    /// # Errors
    /// [`Error::Config`] for a file that was named and is not there, or that cannot be read.
    pub fn read(named: Option<&Path>) -> Result<Self, Error> {
        let main = named.unwrap_or(Path::new(DEFAULT_PATH));
        let mut merged = Table::new();
        match (fs::read_to_string(main), named) {
            (Err(error), None) if error.kind() == ErrorKind::NotFound => {}
            (text, _) => merge(&mut merged, parsed(main, text)?),
        }
        for path in fragments(&main.with_extension("d")) {
            let text = fs::read_to_string(&path);
            merge(&mut merged, parsed(&path, text)?);
        }
        let config = Value::Table(merged).try_into();
        config.map_err(|error: toml::de::Error| Error::Config(error.to_string()))
    }

    /// The notice: its folder is the privileged half's, below a `state_dir` that was set.
    #[must_use]
    pub fn notice(&self) -> PathBuf {
        let dir = self.actor_dir.clone().unwrap_or_else(|| {
            let moved = self
                .state_dir
                .as_deref()
                .filter(|dir| *dir != Path::new(STATE_DIR));
            moved.map_or_else(|| "/var/lib/homing-actor".into(), |dir| dir.join("actor"))
        });
        dir.join("shown/notice.json")
    }

    /// Whether help is called from this phone: only where a call was heard on it.
    #[must_use]
    pub fn emergency(&self) -> Emergency {
        match self.lost.call_audio_tested {
            true => Emergency::Offered,
            false => Emergency::Impossible,
        }
    }

    /// The socket of the privileged half.
    #[must_use]
    pub fn actor_socket(&self) -> PathBuf {
        self.actor_socket.clone().unwrap_or_else(|| {
            let moved = self
                .runtime_dir
                .as_deref()
                .filter(|dir| *dir != Path::new(RUNTIME_DIR));
            moved.map_or_else(
                || "/run/homing-actor/actor.sock".into(),
                |dir| dir.join("actor.sock"),
            )
        })
    }
}

fn parsed(path: &Path, text: std::io::Result<String>) -> Result<Table, Error> {
    let named = |error: String| Error::Config(format!("{}: {error}", path.display()));
    let text = text.map_err(|error| named(error.to_string()))?;
    text.parse()
        .map_err(|error: toml::de::Error| named(error.to_string()))
}

fn fragments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            !name.as_encoded_bytes().starts_with(b".")
        })
        .collect();
    found.sort();
    found
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_hal::Backend;

    #[test]
    fn without_a_word_the_packaged_paths_are_meant() {
        let named = Config {
            state_dir: Some(STATE_DIR.into()),
            runtime_dir: Some(RUNTIME_DIR.into()),
            ..Config::default()
        };
        for config in [Config::default(), named] {
            assert_eq!(
                config.notice(),
                Path::new("/var/lib/homing-actor/shown/notice.json")
            );
            assert_eq!(
                config.actor_socket(),
                Path::new("/run/homing-actor/actor.sock")
            );
        }
    }

    #[test]
    fn the_daemon_s_file_and_its_fragments_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("homingd.toml");
        let fragments = folder.path().join("homingd.d");
        fs::create_dir(&fragments).unwrap();
        fs::write(
            &main,
            "state_dir = \"/s\"\nruntime_dir = \"/r\"\nlog = \"info\"\n[hal]\nbackend = \"linux\"\n[mqtt]\nkeep_alive_s = 240\n",
        )
        .unwrap();
        fs::write(
            fragments.join("10-sim.toml"),
            "actor_socket = \"/a.sock\"\n[hal]\nbackend = \"sim\"\n[hal.sim]\nsocket = \"/sim\"\n",
        )
        .unwrap();
        let config = Config::read(Some(&main)).unwrap();
        assert_eq!(config.notice(), Path::new("/s/actor/shown/notice.json"));
        assert_eq!(config.actor_socket(), Path::new("/a.sock"));
        assert_eq!(config.hal.backend, Backend::Sim);
        assert_eq!(config.emergency(), Emergency::Impossible);
        fs::write(
            fragments.join("20-calls.toml"),
            "[lost]\ncall_audio_tested = true\n",
        )
        .unwrap();
        let config = Config::read(Some(&main)).unwrap();
        assert_eq!(config.emergency(), Emergency::Offered);
        fs::write(&main, "[hal").unwrap();
        assert!(matches!(Config::read(Some(&main)), Err(Error::Config(_))));
        let missing = folder.path().join("none.toml");
        assert!(Config::read(Some(&missing)).is_err());
    }
}
