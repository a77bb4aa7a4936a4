//! The merged settings with their defaults; it must not read files.

use std::path::{Path, PathBuf};
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
    /// `actor_dir`: what the privileged half must not lose, see [`Settings::actor_dir`].
    pub actor_dir: Option<PathBuf>,
    /// `actor_socket`: where the privileged half is asked, see [`Settings::actor_socket`].
    pub actor_socket: Option<PathBuf>,
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
    /// `[lost]`
    pub lost: Lost,
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

/// `[lost]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// `call_audio_tested`: whether somebody was heard, and heard them, in a call without a session on this phone.
    /// The lost screen offers emergency calls only then.
    pub call_audio_tested: bool,
    /// `boot_folder`: where a lost phone's message is copied to, to be shown before the disk's passphrase.
    pub boot_folder: BootFolder,
}

/// Where the message lies that is shown before the disk's passphrase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BootFolder {
    /// `auto`: `homing` on the boot partition that is not encrypted, where the state directory's storage is.
    #[default]
    ByRule,
    /// `none`: nowhere.
    Nowhere,
    /// This folder, whatever it lies on.
    At(PathBuf),
}

/// `[mqtt]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mqtt {
    /// `keep_alive_s`: silence on the wire after which either side asks for a sign of life. Just below the five
    /// minutes after which many mobile networks forget an idle connection.
    pub keep_alive: Duration,
}

/// The packaged folders.
const STATE_DIR: &str = "/var/lib/homing";
const RUNTIME_DIR: &str = "/run/homing";

impl Settings {
    /// The folder of the privileged half: as configured, else `/var/lib/homing-actor`, or `actor` below a `state_dir`
    /// that was set. The packaged one is no child of the agent's folder, whose owner could put another in its place.
    #[must_use]
    pub fn actor_dir(&self) -> PathBuf {
        match &self.actor_dir {
            Some(set) => set.clone(),
            None if self.state_dir == Path::new(STATE_DIR) => "/var/lib/homing-actor".into(),
            None => self.state_dir.join("actor"),
        }
    }
    /// The socket of the privileged half: as configured, else `/run/homing-actor/actor.sock`, or `actor.sock` in a
    /// `runtime_dir` that was set.
    #[must_use]
    pub fn actor_socket(&self) -> PathBuf {
        match &self.actor_socket {
            Some(set) => set.clone(),
            None if self.runtime_dir == Path::new(RUNTIME_DIR) => {
                "/run/homing-actor/actor.sock".into()
            }
            None => self.runtime_dir.join("actor.sock"),
        }
    }
}

impl Default for Settings {
    /// The built-in defaults, in force where no file says otherwise.
    fn default() -> Self {
        Self {
            state_dir: STATE_DIR.into(),
            runtime_dir: RUNTIME_DIR.into(),
            actor_dir: None,
            actor_socket: None,
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
            lost: Lost {
                call_audio_tested: false,
                boot_folder: BootFolder::ByRule,
            },
            mqtt: Mqtt {
                keep_alive: Duration::from_secs(240),
            },
        }
    }
}
