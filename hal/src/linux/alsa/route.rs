//! Which elements of a mixer lead to the loudspeaker, and how they must stand for it to be as loud as it can. It writes to no card.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::control::{Element, Kind, Writable};
use crate::fault::Roots;

/// The phones whose routes are known, one file each; what the numbers rest on is said there.
const BUILT_IN: [(&str, &str); 3] = [
    (
        "pinephone.toml",
        include_str!("../../../devices/pinephone.toml"),
    ),
    (
        "pinephone-pro.toml",
        include_str!("../../../devices/pinephone-pro.toml"),
    ),
    (
        "librem5.toml",
        include_str!("../../../devices/librem5.toml"),
    ),
];

/// Where an administrator adds phones, below `/etc`; such a file comes before a built-in one.
const FOLDER: &str = "homing/devices";
/// Longest device file that is read, bytes: the longest of ours has two thousand.
const LONGEST_FILE: u64 = 64 * 1024;

/// One phone's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    /// The phone's name for people.
    pub(super) name: String,
    /// Device-tree names, any of which is this phone (`/proc/device-tree/compatible`).
    pub(super) compatible: Vec<String>,
    /// The number of the playback device on the card.
    #[serde(default)]
    pub(super) pcm: Option<u32>,
    /// What to set, in this order.
    pub(super) speaker: Vec<Setting>,
}

/// How one element must stand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    /// The element's name.
    pub(super) control: String,
    /// On, off, max, a number, or an item's name.
    pub(super) to: Wanted,
}

/// A value in a device file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Wanted {
    /// A number on every channel.
    Number(i64),
    /// `on`, `off`, `max`, or an item of an enumeration.
    Word(String),
}

/// The way to the loudspeaker on one card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Where it comes from, for `homingd doctor`.
    pub(super) source: String,
    /// The playback device that a device file names.
    pub(super) pcm: Option<u32>,
    /// What to set, in this order.
    pub(super) steps: Vec<Step>,
    /// Elements that a device file names and this card lacks or cannot set so.
    pub(super) missing: Vec<String>,
}

/// One element and how it must stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The element.
    pub(super) element: Element,
    /// Its values.
    pub(super) values: Vec<i64>,
}

/// The device file for this phone: the administrator's, else a built-in one. Files with faults are named in the log.
pub(super) fn device(roots: &Roots) -> Option<Device> {
    let compatible = compatible(roots);
    let is_this = |device: &Device| {
        let known = |name: &String| compatible.contains(name);
        device.compatible.iter().any(known)
    };
    let built_in = BUILT_IN.iter().filter_map(|(name, text)| parse(name, text));
    added(&roots.etc.join(FOLDER))
        .into_iter()
        .chain(built_in)
        .find(is_this)
}

/// The names of this phone in its device tree, the most particular first; none on a PC.
fn compatible(roots: &Roots) -> Vec<String> {
    let text = fs::read_to_string(roots.proc.join("device-tree/compatible")).unwrap_or_default();
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn added(folder: &Path) -> Vec<Device> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    let read = |path: &Path| {
        let short = fs::metadata(path).is_ok_and(|file| file.len() <= LONGEST_FILE);
        let text = if short {
            fs::read_to_string(path).ok()
        } else {
            None
        };
        if text.is_none() {
            tracing::warn!(path = %path.display(), "this device file cannot be read");
        }
        parse(&path.display().to_string(), &text?)
    };
    paths.iter().filter_map(|path| read(path)).collect()
}

fn parse(name: &str, text: &str) -> Option<Device> {
    match toml::from_str(text) {
        Ok(device) => Some(device),
        Err(error) => {
            tracing::warn!(name, %error, "this device file is not understood");
            None
        }
    }
}

impl Route {
    /// A known phone's route on the card with these elements.
    pub(super) fn of_device(device: &Device, elements: &[Element]) -> Self {
        let mut route = Self {
            source: format!("{}'s", device.name),
            pcm: device.pcm,
            steps: Vec::new(),
            missing: Vec::new(),
        };
        for setting in &device.speaker {
            let named = |element: &&Element| element.name == setting.control;
            match elements
                .iter()
                .find(named)
                .and_then(|found| step(found, &setting.to))
            {
                Some(step) => route.steps.push(step),
                None => route.missing.push(setting.control.clone()),
            }
        }
        route
    }

    /// What the elements' names suggest on an unknown card.
    pub(super) fn by_names(elements: &[Element]) -> Self {
        let speaks = elements.iter().any(|element| names(element, SPEAKER_WORDS));
        let steps = elements
            .iter()
            .filter(|element| element.writable == Writable::Yes)
            .filter_map(|element| {
                let wanted = guess(element, speaks)?;
                let mut step = step(element, &Wanted::Word(wanted.into()))?;
                if wanted == "max" && !names(element, SPEAKER_WORDS) {
                    let max = *step.values.first()?;
                    step.values.fill(full_scale(element, max));
                }
                Some(step)
            })
            .collect();
        Self {
            source: "guessed from the controls' names".into(),
            pcm: None,
            steps,
            missing: Vec::new(),
        }
    }
}

/// What a loudspeaker's own elements are called: ALSA's names (Linux `Documentation/sound/designs/control-names.rst`)
/// and those of common codecs.
const SPEAKER_WORDS: &[&str] = &["speaker", "spk", "line out", "lineout", "lout"];
/// What leads to an ear or a plug instead.
const PRIVATE_WORDS: &[&str] = &[
    "headphone",
    "headset",
    "earpiece",
    "handset",
    "hp ",
    "iec958",
    "hdmi",
];
/// What would mix other sources in.
const INPUT_WORDS: &[&str] = &[
    "mic", "line in", "linein", "sidetone", "loopback", "capture", "aux", "cd ", "beep", "adc",
];

fn names(element: &Element, words: &[&str]) -> bool {
    let name = element.name.to_lowercase();
    words.iter().any(|word| name.contains(word))
}

/// How an unknown card's element should stand; `speaks` says whether the card has a speaker's elements at all: where it
/// has none, nobody knows what its headphone output leads to.
fn guess(element: &Element, speaks: bool) -> Option<&'static str> {
    let name = element.name.as_str();
    if name == "Auto-Mute Mode" {
        return Some("Disabled");
    }
    if names(element, INPUT_WORDS) {
        return None;
    }
    let private = speaks && names(element, PRIVATE_WORDS) && !names(element, SPEAKER_WORDS);
    match &element.kind {
        Kind::Switch if name.ends_with("Playback Switch") => {
            Some(if private { "off" } else { "on" })
        }
        Kind::Switch if names(element, SPEAKER_WORDS) && name.ends_with("Switch") => Some("on"),
        Kind::Number { .. } if name.ends_with("Playback Volume") && !private => Some("max"),
        _ => None,
    }
}

/// The value without amplification where an element reaches above 0 dB: a full-scale tone would only be distorted.
fn full_scale(element: &Element, max: i64) -> i64 {
    match (&element.kind, element.scale) {
        (Kind::Number { min, max }, Some(scale)) if scale.max_cdb > 0 && scale.min_cdb < 0 => {
            let span = i64::from(scale.max_cdb) - i64::from(scale.min_cdb);
            let up = (max - min).saturating_mul(-i64::from(scale.min_cdb));
            min + up.checked_div(span).unwrap_or(max - min)
        }
        _ => max,
    }
}

fn step(element: &Element, wanted: &Wanted) -> Option<Step> {
    if element.writable == Writable::No {
        return None;
    }
    let value = match (&element.kind, wanted) {
        (Kind::Switch, Wanted::Word(word)) if word == "on" => 1,
        (Kind::Switch, Wanted::Word(word)) if word == "off" => 0,
        (Kind::Number { max, .. }, Wanted::Word(word)) if word == "max" => *max,
        (Kind::Number { min, max }, Wanted::Number(number)) => *number.clamp(min, max),
        (Kind::Choice(items), Wanted::Word(word)) => {
            i64::try_from(items.iter().position(|item| item == word)?).ok()?
        }
        _ => return None,
    };
    Some(Step {
        element: element.clone(),
        values: vec![value; element.count],
    })
}

#[cfg(test)]
mod tests {
    use super::super::control::Scale;
    use super::*;
    use crate::scratch::folder;

    fn element(numid: u32, name: &str, kind: Kind) -> Element {
        Element {
            numid,
            name: name.into(),
            index: 0,
            count: 2,
            kind,
            writable: Writable::Yes,
            scale: None,
        }
    }

    fn number(max: i64) -> Kind {
        Kind::Number { min: 0, max }
    }

    fn plan(route: &Route) -> Vec<(&str, i64)> {
        let steps = route.steps.iter();
        steps
            .map(|step| (step.element.name.as_str(), step.values[0]))
            .collect()
    }

    #[test]
    fn every_device_file_is_understood_and_found_by_its_device_tree() {
        for (name, text) in BUILT_IN {
            let device = parse(name, text).unwrap();
            assert!(!device.speaker.is_empty(), "{name}");
            for compatible in &device.compatible {
                let tree = format!("{compatible}-1.2\0{compatible}\0vendor,soc\0");
                let (_dir, roots) = folder(&[("proc/device-tree/compatible", &tree)]);
                assert_eq!(super::device(&roots), Some(device.clone()), "{compatible}");
            }
        }
        let (_dir, roots) = folder(&[("proc/device-tree/compatible", "pine64,pinephone-\0")]);
        assert_eq!(super::device(&roots), None);
    }

    #[test]
    fn an_administrators_file_comes_before_a_built_in_one_and_a_damaged_one_does_not_matter() {
        let file = "name='mine'\ncompatible=['pine64,pinephone']\nspeaker=[{control='X',to=7}]";
        let (_dir, roots) = folder(&[
            ("proc/device-tree/compatible", "pine64,pinephone\0"),
            ("etc/homing/devices/a.toml", "nonsense"),
            ("etc/homing/devices/b.toml", file),
        ]);
        let device = super::device(&roots).unwrap();
        assert_eq!(device.name, "mine");
        assert_eq!(device.speaker[0].to, Wanted::Number(7));
    }

    #[test]
    fn a_phones_route_is_set_as_its_file_says_and_what_is_missing_is_named() {
        let device = parse("pinephone", BUILT_IN[0].1).unwrap();
        let choice = |items: &[&str]| Kind::Choice(items.iter().map(|&item| item.into()).collect());
        let elements = [
            element(1, "Line Out Playback Switch", Kind::Switch),
            element(2, "Line Out Playback Volume", number(31)),
            element(3, "Headphone Playback Switch", Kind::Switch),
            element(
                4,
                "Line Out Source Playback Route",
                choice(&["Stereo", "Mono Differential"]),
            ),
            element(5, "AIF1 DA0 Playback Volume", number(192)),
        ];
        let route = Route::of_device(&device, &elements);
        for expected in [
            ("Line Out Playback Switch", 1),
            ("Line Out Playback Volume", 31),
            ("Headphone Playback Switch", 0),
            ("Line Out Source Playback Route", 1),
            ("AIF1 DA0 Playback Volume", 160),
        ] {
            assert!(
                plan(&route).contains(&expected),
                "{expected:?}: {:?}",
                plan(&route)
            );
        }
        assert!(
            route.missing.contains(&"DAC Playback Switch".to_owned()),
            "{:?}",
            route.missing
        );
    }

    #[test]
    fn an_unknown_card_is_guessed_at_and_a_plugged_headset_gets_nothing() {
        let elements = [
            element(1, "Master Playback Volume", number(87)),
            element(2, "Speaker Playback Switch", Kind::Switch),
            element(3, "Headphone Playback Switch", Kind::Switch),
            element(4, "Mic Playback Switch", Kind::Switch),
            element(5, "Capture Volume", number(63)),
            element(
                6,
                "Auto-Mute Mode",
                Kind::Choice(vec!["Enabled".into(), "Disabled".into()]),
            ),
        ];
        assert_eq!(
            plan(&Route::by_names(&elements)),
            [
                ("Master Playback Volume", 87),
                ("Speaker Playback Switch", 1),
                ("Headphone Playback Switch", 0),
                ("Auto-Mute Mode", 1),
            ]
        );
        // A card without any speaker of that name: its only output is used.
        let only = [element(1, "Headphone Playback Switch", Kind::Switch)];
        assert_eq!(
            plan(&Route::by_names(&only)),
            [("Headphone Playback Switch", 1)]
        );
    }

    #[test]
    fn a_digital_volume_is_not_turned_beyond_full_scale() {
        let mut digital = element(1, "Digital Playback Volume", number(200));
        digital.scale = Some(Scale {
            min_cdb: -8_000,
            max_cdb: 2_000,
        });
        assert_eq!(plan(&Route::by_names(&[digital]))[0].1, 160);
    }
}
