//! The copy of the notice on the unencrypted boot partition, for whoever starts a lost phone whose disk waits for its passphrase. It must never hinder locking or giving back, and says no more than the notice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_hal::Backend;
use homing_hal::fault::Roots;
use homing_policy::actor::Episode;

use super::notice;
use crate::config::{BootFolder, Settings};
use crate::durable::{self, Access};
use crate::error::Error;
use crate::storage::{Storage, is_mounted_apart};

/// Where phones mount what their boot loader reads: Debian's and postmarketOS's, and where UEFI's partition is.
const MOUNTED_AT: [&str; 4] = ["/boot", "/boot/efi", "/boot/firmware", "/efi"];
/// Our folder there. `systemd/` lets the actor write nowhere else on it, and the initial RAM disk reads it.
const FOLDER: &str = "homing";
/// What lies in it.
const FILE: &str = "lost.json";

/// The copy, and what was last said about it.
#[derive(Debug)]
pub(crate) struct BootCopy {
    settings: Settings,
    roots: Roots,
    said: Option<String>,
}

/// Our folder on the boot partition; `None` where nothing stands before a passphrase.
///
/// # Errors
/// One sentence: the disk asks for a passphrase, and there is no place to show a message from.
pub(crate) fn place(settings: &Settings, roots: &Roots) -> Result<Option<PathBuf>, String> {
    match &settings.lost.boot_folder {
        BootFolder::Nowhere => return Ok(None),
        BootFolder::At(folder) => return Ok(Some(folder.clone())),
        BootFolder::ByRule => {}
    }
    // A simulated phone's disk is the machine's that simulates it, whose boot partition is not ours.
    if settings.hal.backend != Backend::Linux
        || Storage::of(&settings.state_dir, roots) != Storage::Encrypted
    {
        return Ok(None);
    }
    let found = MOUNTED_AT.into_iter().map(Path::new).find(|folder| {
        is_mounted_apart(folder, &settings.state_dir)
            && Storage::of(folder, roots) == Storage::Plain
    });
    match found {
        Some(folder) => Ok(Some(folder.join(FOLDER))),
        None => Err("no boot partition that is not encrypted is mounted".into()),
    }
}

/// Whether a copy lies in our folder.
pub(crate) fn lies_in(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

impl BootCopy {
    /// Of this phone; nothing is touched yet.
    pub(crate) fn new(settings: &Settings, roots: &Roots) -> Self {
        Self {
            settings: settings.clone(),
            roots: roots.clone(),
            said: None,
        }
    }

    /// Brings an episode there, on the disk when this returns. What hinders that is said once.
    pub(crate) fn show(&mut self, episode: &Episode) {
        let done = place(&self.settings, &self.roots)
            .and_then(|place| place.map_or(Ok(()), |folder| write(&folder, episode)));
        self.say(
            done,
            "a restart would show no message before the passphrase",
        );
    }

    /// Takes it away; none is a success.
    pub(crate) fn hide(&mut self) {
        let done = place(&self.settings, &self.roots).and_then(|place| match place {
            Some(folder) if folder.exists() => {
                durable::remove(&folder.join(FILE)).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        });
        self.say(
            done,
            "the next start still shows the message of a lost phone",
        );
    }

    fn say(&mut self, done: Result<(), String>, so: &str) {
        let why = done.err();
        if let Some(why) = why.as_ref().filter(|_| self.said != why) {
            tracing::warn!("{so}: {why}");
        }
        self.said = why;
    }
}

fn write(folder: &Path, episode: &Episode) -> Result<(), String> {
    let path = folder.join(FILE);
    let text = notice::before_passphrase(&path, episode).map_err(|error| error.to_string())?;
    if fs::read(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    match fs::create_dir(folder) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(Error::Replace {
            path: folder.to_owned(),
            source,
        }),
        _ => durable::replace(&path, &text, Access::AsMounted),
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use homing_policy::tries::Tries;
    use homing_protocol::id::CommandId;
    use homing_protocol::lost::{CodeVerifier, UnlockCode};
    use nix::sys::stat::{major, minor};

    use super::*;
    use crate::keystore::randomness;

    fn episode(message: &str) -> Episode {
        let code = UnlockCode::read("12345678").unwrap();
        Episode {
            command: CommandId([7; 16]),
            message: message.into(),
            contact: Some("+49 30 901820".into()),
            code: Some(CodeVerifier::of(&code, &mut randomness())),
            since_unix_s: 1_790_000_000,
            began: None,
            place: None,
            tries: Tries::default(),
            standing: None,
        }
    }

    fn copy_in(folder: &Path) -> BootCopy {
        let mut settings = Settings::default();
        settings.lost.boot_folder = BootFolder::At(folder.into());
        BootCopy::new(&settings, &Roots::default())
    }

    fn shown(folder: &Path) -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join(FILE)).unwrap()).unwrap()
    }

    #[test]
    fn the_copy_has_the_owners_words_and_nothing_of_the_code_and_is_written_again_when_it_is_gone()
    {
        let boot = tempfile::tempdir().unwrap();
        let folder = boot.path().join(FOLDER);
        let mut copy = copy_in(&folder);
        copy.hide();
        assert!(!folder.exists(), "nothing is made for nothing");
        copy.show(&episode("Bring me home"));
        let first = shown(&folder);
        assert_eq!(first["message"], "Bring me home");
        assert_eq!(first["contact"], "+49 30 901820");
        assert_eq!(first["code_digits"], serde_json::Value::Null);
        assert!(lies_in(&folder));
        copy.show(&episode("Please"));
        assert_eq!(shown(&folder)["message"], "Please");
        fs::remove_file(folder.join(FILE)).unwrap();
        copy.show(&episode("Please"));
        assert_eq!(shown(&folder)["message"], "Please");
        // A power cut in a replacement.
        fs::write(folder.join(".lost.json.new"), "half").unwrap();
        copy.hide();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        copy.hide();
    }

    #[test]
    fn what_cannot_be_written_is_said_once_and_hinders_nothing() {
        let boot = tempfile::tempdir().unwrap();
        let mut copy = copy_in(&boot.path().join("not mounted/homing"));
        copy.show(&episode("Bring me home"));
        let said = copy.said.clone().unwrap();
        assert!(said.contains("not mounted"), "{said}");
        copy.show(&episode("Bring me home"));
        assert_eq!(copy.said, Some(said));
        copy.hide();
        // What is no folder is not written through.
        let file = boot.path().join("file");
        fs::write(&file, "kernel").unwrap();
        symlink(&file, boot.path().join("homing")).unwrap();
        let mut copy = copy_in(&boot.path().join("homing"));
        copy.show(&episode("Bring me home"));
        copy.hide();
        assert_eq!(fs::read_to_string(&file).unwrap(), "kernel");
    }

    #[test]
    fn a_disk_without_a_passphrase_has_no_copy_and_one_with_it_needs_a_place() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots {
            sys: root.path().join("sys"),
            proc: root.path().join("proc"),
            ..Roots::default()
        };
        let mut settings = Settings {
            state_dir: root.path().into(),
            ..Settings::default()
        };
        assert_eq!(place(&settings, &roots), Ok(None));
        let device = fs::metadata(root.path()).unwrap().dev();
        let mapper = format!("dev/block/{}:{}/dm", major(device), minor(device));
        let mapper = roots.sys.join(mapper);
        fs::create_dir_all(&mapper).unwrap();
        fs::write(mapper.join("uuid"), "CRYPT-LUKS2-0123-root\n").unwrap();
        let why = place(&settings, &roots).unwrap_err();
        assert!(why.contains("boot partition"), "{why}");
        settings.lost.boot_folder = BootFolder::Nowhere;
        assert_eq!(place(&settings, &roots), Ok(None));
    }
}
