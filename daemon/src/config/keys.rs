//! The table of configuration keys with their ranges; it must not know files or merging.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::settings::{BootFolder, Settings};
use crate::log::Level;
use crate::suggest;

/// One key of `homingd.toml` outside `[hal]`, whose keys the HAL knows.
pub struct Key {
    /// Its dotted name.
    pub name: &'static str,
    /// Reads its value into the settings, or says in one phrase what is wrong with it.
    pub(super) read: fn(&mut Settings, &DeValue<'_>) -> Result<(), String>,
}

/// Every key; the manual page homingd.toml(5) explains each.
pub static KEYS: [Key; 14] = [
    Key {
        name: "state_dir",
        read: |settings, value| folder(value).map(|read| settings.state_dir = read),
    },
    Key {
        name: "runtime_dir",
        read: |settings, value| folder(value).map(|read| settings.runtime_dir = read),
    },
    Key {
        name: "actor_dir",
        read: |settings, value| folder(value).map(|read| settings.actor_dir = Some(read)),
    },
    Key {
        name: "actor_socket",
        read: |settings, value| folder(value).map(|read| settings.actor_socket = Some(read)),
    },
    Key {
        name: "log",
        read: |settings, value| level(value).map(|read| settings.log = read),
    },
    Key {
        name: "locate.deadline_s",
        read: |settings, value| seconds(value, 1..=600).map(|read| settings.locate.deadline = read),
    },
    Key {
        name: "ring.longest_s",
        read: |settings, value| seconds(value, 1..=86_400).map(|read| settings.ring.longest = read),
    },
    Key {
        name: "track.moving_s",
        read: |settings, value| seconds(value, 1..=86_400).map(|read| settings.track.moving = read),
    },
    Key {
        name: "track.stationary_s",
        read: |settings, value| {
            seconds(value, 1..=86_400).map(|read| settings.track.stationary = read)
        },
    },
    Key {
        name: "track.last_gasp_percent",
        read: |settings, value| {
            percent(value, 0..=90).map(|read| settings.track.last_gasp_percent = read)
        },
    },
    Key {
        name: "beacon.interval_s",
        read: |settings, value| {
            seconds(value, 1..=86_400).map(|read| settings.beacon.interval = read)
        },
    },
    Key {
        name: "lost.call_audio_tested",
        read: |settings, value| flag(value).map(|read| settings.lost.call_audio_tested = read),
    },
    Key {
        name: "lost.boot_folder",
        read: |settings, value| boot_folder(value).map(|read| settings.lost.boot_folder = read),
    },
    // MQTT counts the keep-alive in sixteen bits.
    Key {
        name: "mqtt.keep_alive_s",
        read: |settings, value| {
            seconds(value, 5..=65_535).map(|read| settings.mqtt.keep_alive = read)
        },
    },
];

/// The names of the sections, `hal` included.
pub(super) fn sections() -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| key.name.split_once('.'))
        .map(|(section, _)| section)
        .collect();
    names.push("hal");
    names.dedup();
    names
}

/// Names of the keys within a section (`None`: the top level), without the section's name.
pub(super) fn names_in(section: Option<&str>) -> Vec<&'static str> {
    KEYS.iter()
        .filter_map(|key| match (section, key.name.split_once('.')) {
            (None, None) => Some(key.name),
            (Some(wanted), Some((present, name))) if wanted == present => Some(name),
            _ => None,
        })
        .collect()
}

fn folder(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = PathBuf::from(
        value
            .as_str()
            .ok_or_else(|| wrong_type("a path in quotes", value))?,
    );
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("must be an absolute path".into())
    }
}

fn boot_folder(value: &DeValue<'_>) -> Result<BootFolder, String> {
    match value.as_str() {
        Some("auto") => Ok(BootFolder::ByRule),
        Some("none") => Ok(BootFolder::Nowhere),
        _ => folder(value)
            .map(BootFolder::At)
            .map_err(|why| format!("{why}, or \"auto\", or \"none\"")),
    }
}

fn level(value: &DeValue<'_>) -> Result<Level, String> {
    let word = value
        .as_str()
        .ok_or_else(|| wrong_type("a word in quotes", value))?;
    let known = Level::WORDS.iter().find(|(name, _)| *name == word);
    known.map(|(_, level)| *level).ok_or_else(|| {
        let names = Level::WORDS.map(|(name, _)| name);
        format!(
            "must be one of {}{}",
            names.join(", "),
            suggest::hint(word, names)
        )
    })
}

fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    let read = value.as_bool();
    read.ok_or_else(|| wrong_type("true or false", value))
}

fn seconds(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<Duration, String> {
    let number = value
        .as_integer()
        .ok_or_else(|| wrong_type("a whole number", value))?;
    let given = u64::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|given| range.contains(given));
    given.map(Duration::from_secs).ok_or_else(|| {
        format!(
            "must be between {} and {} seconds",
            range.start(),
            range.end()
        )
    })
}

fn percent(value: &DeValue<'_>, range: RangeInclusive<u8>) -> Result<u8, String> {
    let number = value
        .as_integer()
        .ok_or_else(|| wrong_type("a whole number", value))?;
    u8::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|given| range.contains(given))
        .ok_or_else(|| {
            format!(
                "must be between {} and {} percent",
                range.start(),
                range.end()
            )
        })
}

fn wrong_type(wanted: &str, value: &DeValue<'_>) -> String {
    format!("must be {wanted}, not {}", with_article(value.type_str()))
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}
