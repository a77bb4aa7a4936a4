//! The merged settings with their defaults; it must not read files.

use std::path::PathBuf;
use std::time::Duration;

use homing_hal::HalSettings;

use crate::log::Level;

/// Everything that homingd can be told; each field is one key of `homingd.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `state_dir`: what must survive a restart.
    pub state_dir: PathBuf,
    /// `runtime_dir`: what the running agent shows of itself, gone after a restart.
    pub runtime_dir: PathBuf,
    /// `log`: how much is logged.
    pub log: Level,
    /// `[hal]`: which drivers, and where the hardware is.
    pub hal: HalSettings,
    /// `[locate]`
    pub locate: Locate,
    /// `[ring]`
    pub ring: Ring,
    /// `[track]`
    pub track: Track,
    /// `[beacon]`
    pub beacon: Beacon,
    /// `[mqtt]`
    pub mqtt: Mqtt,
}

/// `[locate]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locate {
    /// `deadline_s`: how long one search for a position may take. A cold receiver needs some 35 s in the open.
    pub deadline: Duration,
}

/// `[ring]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// `longest_s`: how long one order may let the siren sound.
    pub longest: Duration,
}

/// `[track]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// `moving_s`: time between two positions of a phone that moves.
    pub moving: Duration,
    /// `stationary_s`: time between two positions of a phone that lies still.
    pub stationary: Duration,
    /// `last_gasp_percent`: charge at which one last position is taken; 0 for never. The PinePhone switches itself
    /// off at 15 %.
    pub last_gasp_percent: u8,
}

/// `[beacon]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// `interval_s`: the longest time between two beacons while connected.
    pub interval: Duration,
}

/// `[mqtt]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mqtt {
    /// `keep_alive_s`: silence on the wire after which either side asks for a sign of life. Just below the five
    /// minutes after which many mobile networks forget an idle connection.
    pub keep_alive: Duration,
}

impl Default for Settings {
    /// The built-in defaults, in force where no file says otherwise.
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/homing".into(),
            runtime_dir: "/run/homing".into(),
            log: Level::Info,
            hal: HalSettings {
                receiver_note: Some("/var/lib/homing/receiver.json".into()),
                ..HalSettings::default()
            },
            locate: Locate {
                deadline: Duration::from_secs(90),
            },
            ring: Ring {
                longest: Duration::from_secs(3600),
            },
            track: Track {
                moving: Duration::from_secs(300),
                stationary: Duration::from_secs(3600),
                last_gasp_percent: 20,
            },
            beacon: Beacon {
                interval: Duration::from_secs(900),
            },
            mqtt: Mqtt {
                keep_alive: Duration::from_secs(240),
            },
        }
    }
}
