//! What the siren remembers of the user's mixers while it makes them loud, so that a killed siren's successor can put them back. It must not say how a mixer is read or set.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_hal::capability::siren::{FoundMixer, LONGEST_MIXER, SirenOutput};
use serde::{Deserialize, Serialize};

use crate::durable::{self, Access};
use crate::error::Error;
use crate::siren::reader;

/// Longest file, bytes: the mixer's text with each quote escaped, and the rest.
const LONGEST_FILE: u64 = 2 * LONGEST_MIXER as u64 + 1024;
/// Most cards of a phone that are remembered: it has one or two.
const MOST_CARDS: usize = 16;
const BEFORE_CARD: &str = "mixer-";
const AFTER_CARD: &str = ".json";

/// The user's mixer, as it stands in `{state_dir}/siren/mixer-CARD.json` while the siren has the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The boot during which it was found: at the next one the system sets its mixer anew.
    boot_id: String,
    /// The driver that found it.
    driver: String,
    /// What it found, in its own words.
    found: String,
}

/// A mixer that a dead siren left loud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    /// As the driver found it, in its own words.
    pub(super) mixer: String,
    path: PathBuf,
}

impl Owed {
    /// It is as the user had it.
    pub(super) fn forget(&self) {
        remove(&self.path);
    }
}

/// The siren's memory: a folder, and what makes one start of the phone and one driver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<'a> {
    pub(super) folder: &'a Path,
    pub(super) boot_id: &'a str,
    pub(super) driver: &'a str,
}

impl Memory<'_> {
    /// The mixers that sirens of this boot did not live to put back. Those of earlier ones are forgotten: nobody owes them.
    pub(super) fn owed(&self) -> Vec<Owed> {
        let mut owed = Vec::new();
        for path in files(self.folder) {
            match load(&path) {
                Some(remembered) if remembered.boot_id != self.boot_id => remove(&path),
                Some(remembered) if remembered.driver == self.driver => owed.push(Owed {
                    mixer: remembered.found,
                    path,
                }),
                // Another driver's, or damaged.
                _ => {}
            }
        }
        owed
    }

    /// Before anything is made loud: hands a dead siren's memory of this card to it, else writes down what the card found.
    pub(super) fn remember(&self, output: &mut dyn SirenOutput) {
        let Some(found) = output.found() else { return };
        if let Some(owed) = self.note(found)
            && let Err(fault) = output.take_over(&owed)
        {
            tracing::warn!(%fault, "the mixer of a siren that was killed cannot be put back");
        }
    }

    /// Writes down what was found, unless a dead siren's memory of it stands: that one is given. Nothing here may keep the
    /// phone from ringing, so what fails is only logged.
    pub(super) fn note(&self, found: FoundMixer) -> Option<String> {
        let path = self.path(&found.card);
        let owed = load(&path).filter(|remembered| {
            remembered.boot_id == self.boot_id && remembered.driver == self.driver
        });
        if let Some(remembered) = owed {
            return Some(remembered.found);
        }
        if let Err(error) = self.store(&path, found) {
            tracing::warn!(%error, "a killed siren would leave this as it set it");
        }
        None
    }

    /// The disk is not waited for: a process that is killed leaves the kernel's pages, and a power cut ends the mixer too.
    fn store(&self, path: &Path, found: FoundMixer) -> Result<(), Error> {
        let failed = |source| Error::Replace {
            path: path.to_owned(),
            source,
        };
        let remembered = Remembered {
            boot_id: self.boot_id.to_owned(),
            driver: self.driver.to_owned(),
            found: found.mixer,
        };
        let text = serde_json::to_vec(&remembered).map_err(|error| failed(error.into()))?;
        if text.len() as u64 > LONGEST_FILE {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        durable::show(path, &text, Access::Private)
    }

    /// The mixer of this card is as the user had it.
    pub(super) fn forget(&self, card: &str) {
        remove(&self.path(card));
    }

    /// A card's name comes from its driver: in a file's name it keeps what cannot lead elsewhere.
    fn path(&self, card: &str) -> PathBuf {
        let kept = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name: String = card
            .chars()
            .take(64)
            .map(|c| if kept(c) { c } else { '_' })
            .collect();
        self.folder.join(format!("{BEFORE_CARD}{name}{AFTER_CARD}"))
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(BEFORE_CARD) && name.ends_with(AFTER_CARD)
        })
        .map(|entry| entry.path())
        .take(MOST_CARDS)
        .collect();
    paths.sort();
    paths
}

fn load(path: &Path) -> Option<Remembered> {
    let text = reader::read_long(path, LONGEST_FILE).ok()?;
    serde_json::from_slice(&text).ok()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the next siren will set this mixer again");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_hal::fault::Fault;

    /// A card that was found so, and what it was told to restore.
    struct Card {
        found: FoundMixer,
        taken_over: Option<String>,
    }

    impl SirenOutput for Card {
        fn sample_rate(&self) -> u32 {
            48_000
        }

        fn write(&mut self, _samples: &[i16]) -> Result<(), Fault> {
            Ok(())
        }

        fn assert_loud(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        fn unlocked(&self) -> &[String] {
            &[]
        }

        fn found(&self) -> Option<FoundMixer> {
            Some(self.found.clone())
        }

        fn take_over(&mut self, mixer: &str) -> Result<(), Fault> {
            self.taken_over = Some(mixer.to_owned());
            Ok(())
        }

        fn release(self: Box<Self>) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn card(name: &str, mixer: &str) -> Card {
        Card {
            found: FoundMixer {
                card: name.into(),
                mixer: mixer.into(),
            },
            taken_over: None,
        }
    }

    fn mixers(memory: &Memory<'_>) -> Vec<String> {
        memory.owed().into_iter().map(|owed| owed.mixer).collect()
    }

    #[test]
    fn each_card_is_owed_its_own_mixer_and_only_during_the_same_start_of_the_phone() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory {
            folder: folder.path(),
            boot_id: "now",
            driver: "d",
        };
        memory.remember(&mut card("Inside", "quiet"));
        memory.remember(&mut card("USB/../x", "low"));
        assert_eq!(mixers(&memory), ["quiet", "low"]);
        // The next siren on the same card finds it loud and is told how it was.
        let mut next = card("Inside", "loud");
        memory.remember(&mut next);
        assert_eq!(next.taken_over.as_deref(), Some("quiet"));
        memory.forget("Inside");
        assert_eq!(mixers(&memory), ["low"]);
        let other = Memory {
            driver: "e",
            ..memory
        };
        assert!(other.owed().is_empty());
        let later = Memory {
            boot_id: "later",
            ..memory
        };
        assert!(later.owed().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_mixer_of_a_large_codec_is_remembered_and_an_endless_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory {
            folder: folder.path(),
            boot_id: "now",
            driver: "d",
        };
        let large = "\"".repeat(LONGEST_MIXER);
        memory.remember(&mut card("Large", &large));
        memory.remember(&mut card("Endless", &large.repeat(2)));
        assert_eq!(mixers(&memory), [large]);
    }
}
