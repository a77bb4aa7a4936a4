//! The doctor's answer as data; it must not print.

use homing_hal::{Probe, Roots};
use serde::Serialize;

use super::checks;
use crate::config::{Loaded, Settings};
use crate::geolocation;

/// Everything that the doctor found; the fields of `doctor --json`.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// homingd's version.
    pub version: &'static str,
    /// Whether the phone belongs to an account; `None` where the state directory cannot be read.
    pub enrolled: Option<bool>,
    /// What each driver says.
    pub drivers: Vec<Driver>,
    /// What each feature would use.
    pub features: Vec<Feature>,
    /// What works less well than its owner may think.
    pub weak: Vec<Weakness>,
}

/// A driver's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// The capability, such as `position`.
    pub capability: &'static str,
    /// The driver's name.
    pub driver: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub found: Found,
    /// What makes it weaker than its owner may think; listed among everything weak.
    #[serde(skip)]
    pub weak: Vec<String>,
}

/// What a driver found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "detail")]
pub enum Found {
    /// It would work, with what.
    Ready(String),
    /// It would not, and why.
    Unsupported(String),
}

impl From<Probe> for Found {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Ready { detail } => Self::Ready(detail),
            Probe::Unsupported { reason } => Self::Unsupported(reason),
        }
    }
}

/// What a feature would use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// The feature, in the owner's words.
    pub feature: &'static str,
    /// The driver, with what it found; `None` where no driver is ready.
    pub uses: Option<String>,
}

/// Something that is weak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Weakness {
    /// What, in a few words.
    pub what: &'static str,
    /// Why, and what follows from it, in one sentence.
    pub why: String,
}

impl Weakness {
    pub(super) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            why: why.into(),
        }
    }
}

/// Each feature with the capability it rests on and what follows where that is missing.
const FEATURES: [(&str, &str, &str); 6] = [
    (
        "locate",
        "position",
        "the owner cannot be told where the phone is",
    ),
    ("ring", "siren", "the phone cannot be heard"),
    (
        "lost mode",
        "lockdown",
        "the phone cannot be taken from whoever holds it",
    ),
    (
        "message on a lost phone",
        "panel",
        "whoever finds the phone does not read whose it is",
    ),
    (
        "battery in each beacon",
        "power",
        "the owner does not see that the phone is about to go dark",
    ),
    (
        "network in each beacon",
        "network",
        "the owner does not see what the phone is connected through",
    ),
];

/// The HAL's word in place of a driver's name where it has none.
const NO_DRIVER: &str = "none";

/// Asks every driver; some of them look for a daemon or device and take a moment.
pub(super) fn ask(settings: &Settings, roots: &Roots) -> Vec<Driver> {
    geolocation::open(&settings.hal, roots)
        .probe_all()
        .into_iter()
        .map(|answer| Driver {
            capability: answer.capability,
            driver: answer.driver,
            found: answer.probe.into(),
            weak: answer.weak,
        })
        .collect()
}

impl Diagnosis {
    /// Draws the conclusions from the drivers' answers, the configuration, and the system below `roots`.
    #[must_use]
    pub fn new(drivers: Vec<Driver>, loaded: &Loaded, roots: &Roots) -> Self {
        let features = FEATURES.map(|(feature, capability, _)| Feature {
            feature,
            uses: first_ready(&drivers, capability),
        });
        let mut weak: Vec<Weakness> = FEATURES
            .iter()
            .zip(&features)
            .filter(|(_, feature)| feature.uses.is_none())
            .map(|((what, capability, follows), _)| {
                Weakness::new(
                    what,
                    format!("{follows}: {}", why_not(&drivers, capability)),
                )
            })
            .collect();
        weak.extend(drivers.iter().flat_map(|driver| {
            let sentences = driver.weak.iter();
            sentences.map(|why| Weakness::new(driver.capability, why.as_str()))
        }));
        let enrolled = checks::enrolled(&loaded.settings.state_dir);
        weak.extend(checks::weaknesses(loaded, enrolled, roots));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            enrolled,
            drivers,
            features: features.into(),
            weak,
        }
    }
}

fn first_ready(drivers: &[Driver], capability: &str) -> Option<String> {
    drivers
        .iter()
        .filter(|driver| driver.capability == capability)
        .find_map(|driver| match &driver.found {
            Found::Ready(detail) => Some(format!("{} ({detail})", driver.driver)),
            Found::Unsupported(_) => None,
        })
}

fn why_not(drivers: &[Driver], capability: &str) -> String {
    let reasons: Vec<String> = drivers
        .iter()
        .filter(|driver| driver.capability == capability)
        .filter_map(|driver| match &driver.found {
            Found::Ready(_) => None,
            Found::Unsupported(reason) if driver.driver == NO_DRIVER => Some(reason.clone()),
            Found::Unsupported(reason) => Some(format!("{} says {reason}", driver.driver)),
        })
        .collect();
    if reasons.is_empty() {
        "there is no driver for it".into()
    } else {
        reasons.join("; ")
    }
}
