//! The intent file by which the agent orders the siren; it must not be trusted further than its checks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_hal::fault::Roots;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Access};
use crate::error::Error;
use crate::siren::reader;

/// The order to sound, as it stands in `{state_dir}/siren/intent.json`. Its presence is the order, its removal the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The id of the command that ordered it, 32 lower-case hexadecimal digits.
    pub command: String,
    /// The boot during which the times hold, as in `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When the siren was ordered, milliseconds since boot.
    pub started_boottime_ms: u64,
    /// When it must be silent, milliseconds since boot.
    pub deadline_boottime_ms: u64,
}

/// What the siren found in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No intent: be silent.
    Nothing,
    /// A readable intent, not yet checked.
    Intent(Intent),
    /// A file that is no intent, with the fault in one phrase.
    Unreadable(String),
}

/// The siren's folder below the state directory.
#[must_use]
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("siren")
}

/// The phone's present boot, as the kernel names it.
///
/// # Errors
/// [`Error::Read`] when `/proc` is not there.
pub fn boot_id(roots: &Roots) -> Result<String, Error> {
    let path = roots.proc.join("sys/kernel/random/boot_id");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(Error::Read { path, source }),
    }
}

impl Intent {
    /// Orders the siren. The disk is not waited for: an intent holds for this start of the phone alone, and after a
    /// power cut the agent orders again from its journal.
    ///
    /// # Errors
    /// [`Error::Replace`] when the siren's folder is missing or cannot be written.
    pub fn store(&self, folder: &Path) -> Result<(), Error> {
        let path = path(folder);
        clear_folder(&path)?;
        let text = serde_json::to_vec(self).map_err(|error| Error::Replace {
            path: path.clone(),
            source: error.into(),
        })?;
        durable::show(&path, &text, Access::GroupWrites)
    }

    /// How long the siren still has to sound at `now` (since boot).
    ///
    /// # Errors
    /// The reason in one phrase why this intent orders nothing: another boot, a passed deadline,
    /// a time longer than `longest`, or a command id that is none.
    pub fn remaining(
        &self,
        boot_id: &str,
        now: Duration,
        longest: Duration,
    ) -> Result<Duration, String> {
        let id = self.command.as_bytes();
        if id.len() != 32 || !id.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("the command id is not 32 hexadecimal digits".into());
        }
        if self.boot_id != boot_id {
            return Err("it was ordered before the phone's last start".into());
        }
        let remaining = self.deadline().saturating_sub(now);
        if remaining.is_zero() {
            return Err("deadline".into());
        }
        if remaining > longest {
            return Err(format!(
                "it asks for more than the {} s that ring.longest_s allows",
                longest.as_secs()
            ));
        }
        Ok(remaining)
    }

    /// When the siren must be silent, since boot.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_boottime_ms)
    }
}

/// Reads the present intent.
///
/// # Errors
/// [`Error::Read`] when the file is there and the system refuses it; the order is then unknown.
pub fn load(folder: &Path) -> Result<Found, Error> {
    load_file(&path(folder))
}

fn load_file(path: &Path) -> Result<Found, Error> {
    match reader::read(path) {
        Ok(text) => Ok(match serde_json::from_slice(&text) {
            Ok(intent) => Found::Intent(intent),
            Err(error) => Found::Unreadable(format!("the intent file is damaged: {error}")),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) if !is_passing(&error) => Ok(Found::Unreadable(format!(
            "there is no intent file: {error}"
        ))),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether what stands in the intent's place may be a good intent that cannot be read now.
fn is_passing(error: &io::Error) -> bool {
    // A link is ELOOP with O_NOFOLLOW, a socket ENXIO.
    let odd = [Errno::ELOOP, Errno::ENXIO, Errno::ENODEV].map(|errno| errno as i32);
    error.kind() != io::ErrorKind::InvalidData
        && !error.raw_os_error().is_some_and(|code| odd.contains(&code))
}

/// Makes room for a file where somebody put a folder.
fn clear_folder(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).map_err(|source| Error::Replace {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Withdraws whatever intent there is; none is a success too.
///
/// # Errors
/// [`Error::Replace`] when the folder cannot be written.
pub fn withdraw(folder: &Path) -> Result<(), Error> {
    clear_folder(&path(folder))?;
    durable::hide(&path(folder))
}

/// Removes an intent that has been served or refused, and only that one: a newer intent that the agent has
/// put in its place meanwhile stays. Without this a path unit would start the siren again at once.
///
/// # Errors
/// [`Error::Replace`] when the folder cannot be written.
pub fn discard(folder: &Path, served: &Found) -> Result<(), Error> {
    let path = path(folder);
    let aside = folder.join(".intent.json.served");
    let failed = |source| Error::Replace {
        path: path.clone(),
        source,
    };
    clear_folder(&aside)?;
    // Looking first and removing second would race with the agent; moving first does not.
    match fs::rename(&path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved.map_err(failed)?,
    }
    if load_file(&aside).is_ok_and(|moved| moved != *served) {
        // A hard link does not overwrite: an intent newer still keeps its place.
        match fs::hard_link(&aside, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => linked.map_err(failed)?,
        }
    }
    clear_folder(&aside)?;
    durable::hide(&aside)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("intent.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "7b0f4a3e-0000-4000-8000-000000000001";
    const HOUR: Duration = Duration::from_secs(3600);

    fn intent() -> Intent {
        Intent {
            command: "00112233445566778899aabbccddeeff".into(),
            boot_id: BOOT.into(),
            started_boottime_ms: 1_000,
            deadline_boottime_ms: 61_000,
        }
    }

    #[test]
    fn an_intent_of_this_boot_sounds_until_its_deadline() {
        let left = intent().remaining(BOOT, Duration::from_secs(21), HOUR);
        assert_eq!(left, Ok(Duration::from_secs(40)));
    }

    #[test]
    fn an_intent_of_another_boot_or_past_or_too_long_or_without_command_orders_nothing() {
        let now = Duration::from_secs(21);
        assert!(
            intent()
                .remaining("another", now, HOUR)
                .unwrap_err()
                .contains("last start")
        );
        assert_eq!(
            intent()
                .remaining(BOOT, Duration::from_secs(61), HOUR)
                .unwrap_err(),
            "deadline"
        );
        assert!(
            intent()
                .remaining(BOOT, now, Duration::from_secs(39))
                .unwrap_err()
                .contains("39 s")
        );
        let endless = Intent {
            deadline_boottime_ms: u64::MAX,
            ..intent()
        };
        assert!(endless.remaining(BOOT, now, HOUR).is_err());
        let nameless = Intent {
            command: "../../etc".into(),
            ..intent()
        };
        assert!(
            nameless
                .remaining(BOOT, now, HOUR)
                .unwrap_err()
                .contains("32")
        );
    }

    #[test]
    fn an_intent_is_read_back_as_it_was_stored_and_gone_once_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Nothing);
        intent().store(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Intent(intent()));
        withdraw(folder.path()).unwrap();
        withdraw(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Nothing);
    }

    #[test]
    fn the_file_has_the_documented_fields() {
        let text = serde_json::to_string(&intent()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"command":"00112233445566778899aabbccddeeff","boot_id":"{BOOT}","started_boottime_ms":1000,"deadline_boottime_ms":61000}}"#
            )
        );
    }

    #[test]
    fn a_damaged_endless_or_binary_file_is_no_intent() {
        let folder = tempfile::tempdir().unwrap();
        for content in [
            &b"{"[..],
            b"",
            &[0xff; 100],
            &[b' '; 10_000],
            b"{\"command\":1}",
        ] {
            fs::write(path(folder.path()), content).unwrap();
            assert!(matches!(load(folder.path()).unwrap(), Found::Unreadable(_)));
        }
    }

    #[test]
    fn a_folder_in_the_intents_place_is_no_intent_and_gives_way_to_one() {
        let folder = tempfile::tempdir().unwrap();
        let odd = || {
            fs::create_dir_all(path(folder.path()).join("within")).unwrap();
            load(folder.path()).unwrap()
        };
        let found = odd();
        assert!(matches!(found, Found::Unreadable(_)), "{found:?}");
        discard(folder.path(), &found).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Nothing);
        odd();
        withdraw(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Nothing);
        odd();
        intent().store(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Intent(intent()));
    }

    #[test]
    fn discarding_a_served_intent_leaves_a_newer_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let newer = Intent {
            command: "ffeeddccbbaa99887766554433221100".into(),
            ..intent()
        };
        newer.store(folder.path()).unwrap();
        discard(folder.path(), &Found::Intent(intent())).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Intent(newer.clone()));
        discard(folder.path(), &Found::Intent(newer)).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Found::Nothing);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_boot_id_comes_from_the_given_root() {
        let root = tempfile::tempdir().unwrap();
        let random = root.path().join("sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        fs::write(random.join("boot_id"), format!("{BOOT}\n")).unwrap();
        let roots = Roots {
            proc: root.path().into(),
            ..Roots::default()
        };
        assert_eq!(boot_id(&roots).unwrap(), BOOT);
        let nowhere = Roots {
            proc: root.path().join("nowhere"),
            ..Roots::default()
        };
        assert!(boot_id(&nowhere).is_err());
    }
}
