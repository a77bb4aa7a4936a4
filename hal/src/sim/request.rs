//! The control socket's requests, one JSON object a line; docs/simulator.md shows each. Types only.

use serde::{Deserialize, Serialize};

use super::card::{Mixer, Mute, Route};
use super::track::{Place, Repeat};
use crate::capability::touch::{CaseKey, Phase};

/// What a test, a demo or a person does to the simulated world.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "set", rename_all = "snake_case", deny_unknown_fields)]
pub enum Set {
    /// Puts the phone somewhere, or changes its view of the sky or its receiver; what is not named stays.
    Position {
        /// Latitude, degrees.
        lat: Option<f64>,
        /// Longitude, degrees.
        lon: Option<f64>,
        /// Under a roof there is no fix.
        indoors: Option<bool>,
        /// Standard deviation of the receiver's error on each axis, metres.
        noise_m: Option<f64>,
        /// Time to first fix once the receiver is on under an open sky, milliseconds.
        first_fix_ms: Option<u64>,
        /// Horizontal dilution of precision that the receiver states.
        hdop: Option<f64>,
        /// Satellites that the receiver uses.
        satellites: Option<u8>,
    },
    /// Sends the phone along straight lines.
    Track {
        /// Points as `[latitude, longitude]` in degrees.
        points: Vec<Place>,
        /// Speed, m/s.
        speed_m_s: f64,
        /// What happens at the last point.
        #[serde(default)]
        repeat: Repeat,
    },
    /// Changes what carries the phone's traffic.
    Network {
        /// wifi, cellular, ethernet, vpn, unknown, or none.
        kind: Option<Carrier>,
        /// yes, no or unknown.
        metered: Option<Price>,
    },
    /// Changes the battery.
    Battery {
        /// Charge, percent.
        percent: Option<f64>,
        /// charging, discharging, full or unknown.
        charging: Option<Flow>,
        /// How fast the charge changes, percent an hour; negative empties.
        percent_per_hour: Option<f64>,
    },
    /// The person holding the phone moves the volume or the mute switch.
    Mixer {
        /// Volume, percent of amplitude.
        volume: Option<u8>,
        /// The mute switch.
        mute: Option<Mute>,
        /// Whether a siren gets the lock of the controls.
        lock: Option<Lock>,
    },
    /// The person plugs or unplugs a headset.
    Route {
        /// speaker or headset.
        to: Route,
    },
    /// Somebody opens or ends the session on the phone's screen, by means that no lockdown stops.
    Session {
        /// open or ended.
        to: Session,
    },
    /// A finger on the panel: a tap, or one phase of a longer touch.
    Touch {
        /// From the left edge, 0 to 1.
        x: f32,
        /// From the upper edge, 0 to 1.
        y: f32,
        /// down, move or up; both down and up when not said.
        phase: Option<Phase>,
    },
    /// The other side of a call, or the network, does something with it.
    Call {
        /// connected, ended or failed.
        to: CallStands,
    },
    /// Somebody calls the phone.
    Ring {
        /// Their number, as the network tells it.
        from: String,
    },
    /// Somebody presses a key of the phone's case.
    Key {
        /// power or other.
        press: CaseKey,
    },
}

/// The session of the phone's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// It is on the screen.
    Open,
    /// There is none.
    Ended,
}

/// How the simulated modem's call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStands {
    /// There was none.
    #[default]
    None,
    /// It rings on the other side.
    Dialling,
    /// It rings here.
    Ringing,
    /// Somebody has answered.
    Connected,
    /// It is over.
    Ended,
    /// It reached nobody.
    Failed,
}

/// What draws hands and eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attraction {
    /// Hands.
    Vibrator,
    /// Eyes.
    Torch,
}

impl Attraction {
    /// As in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vibrator => "vibrator",
            Self::Torch => "torch",
        }
    }
}

/// Whether a siren gets the lock of the mixer's controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// It does.
    Granted,
    /// Another program has it.
    Refused,
}

/// What is asked of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Get {
    /// What is heard beside the phone.
    Siren,
    /// The vibrator: whether it shakes, and how often it has begun to.
    Vibrator,
    /// The torch, likewise.
    Torch,
    /// Everything, for a person or a test.
    World,
    /// The battery (driver).
    Battery,
    /// The network (driver).
    Network,
    /// What phone this is (driver).
    Identity,
    /// Whether the user has a session (driver).
    Session,
    /// The modem's newest call (driver).
    Calls,
    /// Whether there is a panel (driver).
    Panel,
    /// What the receiver states now (driver); it is powered as long as the connection asks.
    Reading,
}

/// A capability that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the capabilities' own")]
pub enum Capability {
    Position,
    Siren,
    Battery,
    Network,
    Identity,
    Lockdown,
    Panel,
    Calls,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It works again.
    None,
    /// It is not there.
    Absent,
    /// Somebody else holds it.
    Busy,
    /// Access is refused.
    Denied,
    /// It errs.
    Broken,
    /// It answers late, by `ms`.
    Slow,
}

/// A fault on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// Which capability.
    pub fail: Capability,
    /// How.
    pub how: How,
    /// How late with `slow`, milliseconds; two seconds when not said.
    pub ms: Option<u64>,
}

/// What a driver does with the phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Do {
    /// Takes the loudspeaker for this connection.
    SirenOpen,
    /// Plays: this many little-endian `i16` samples follow the line as raw bytes. The answer comes when more may be written.
    Pcm {
        /// Number of samples, at most [`PCM_LIMIT`].
        samples: u32,
    },
    /// Speaker, full volume, not muted.
    AssertLoud,
    /// From now on this is the mixer as found.
    SirenTakeOver {
        /// As `siren_open` answered an earlier holder.
        mixer: Mixer,
    },
    /// Sets the mixer as a dead siren found it, whoever plays.
    SirenPutBack {
        /// As `siren_open` answered that one.
        mixer: Mixer,
    },
    /// Gives the loudspeaker back with the mixer as found.
    SirenRelease,
    /// Begins or ends a pulse of the vibrator or the torch.
    Pulse {
        /// Which.
        by: Attraction,
        /// Whether it begins.
        on: bool,
    },
    /// Takes the panel, touch and keys for this connection, and locks the console.
    PanelTake,
    /// Shows a picture: `width_px × height_px` raw bytes of grey follow the line.
    PanelShow {
        /// The panel's width.
        width_px: u16,
        /// The panel's height.
        height_px: u16,
        /// What it says, line by line.
        text: String,
    },
    /// Lights the panel.
    PanelLight {
        /// Percent; 0 is off.
        percent: u8,
    },
    /// Gives the panel back, and unlocks the console.
    PanelRelease,
    /// Answers when hands did something after `seen`, or after `ms`.
    AwaitInput {
        /// The number of the last input that the driver knows.
        seen: u64,
        /// Milliseconds.
        ms: u64,
    },
    /// Ends the user's session and lets none begin.
    Lock,
    /// Gives the session back as it was found.
    Unlock,
    /// Calls a number.
    Dial {
        /// The number.
        number: String,
    },
    /// Ends that call.
    HangUp,
    /// Answers a call that rings here.
    Answer,
    /// Answers when a call changed since `seen`, or after `ms`.
    AwaitCall {
        /// The call's version that the driver knows.
        seen: u64,
        /// Milliseconds.
        ms: u64,
    },
    /// Answers when the network changed since `seen`, or after `ms`.
    AwaitNetwork {
        /// The network's version that the driver knows.
        seen: u64,
        /// Milliseconds.
        ms: u64,
    },
}

/// Most samples in one `pcm` request: one second.
pub const PCM_LIMIT: u32 = super::card::SAMPLE_RATE;

/// What carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "as protocol::measure::NetworkKind, and no network at all"
)]
pub enum Carrier {
    Wifi,
    Cellular,
    Ethernet,
    Vpn,
    Unknown,
    None,
}

/// Whether it costs money, as protocol::measure::Metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as protocol::measure::Metered")]
pub enum Price {
    Unknown,
    Yes,
    No,
}

/// Direction of the battery's current, as protocol::measure::Charging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as protocol::measure::Charging")]
pub enum Flow {
    Unknown,
    Charging,
    Discharging,
    Full,
}

/// Any request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Changes the world.
    Set(Set),
    /// Asks.
    Get(Get),
    /// Listens in the room: `{"get":"sound","from_us":N}`.
    Listen {
        /// From when on, microseconds since the simulator began.
        from_us: u64,
    },
    /// Looks at the panel: `{"get":"screen","seen":N}`.
    Screen {
        /// What the asker has seen; its pixels are not sent again.
        seen: Option<u64>,
    },
    /// Breaks or mends.
    Fail(Fail),
    /// Acts as a driver.
    Do(Do),
}

impl Request {
    /// Reads one line.
    ///
    /// # Errors
    /// A sentence for the person who wrote the line.
    pub fn parse(line: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct GetLine {
            get: Get,
        }
        #[derive(Deserialize)]
        #[serde(tag = "get", rename_all = "snake_case", deny_unknown_fields)]
        enum ListenLine {
            Sound {
                #[serde(default)]
                from_us: u64,
            },
        }
        #[derive(Deserialize)]
        #[serde(tag = "get", rename_all = "snake_case", deny_unknown_fields)]
        enum ScreenLine {
            Screen { seen: Option<u64> },
        }
        let value: serde_json::Value = serde_json::from_str(line)
            .map_err(|error| format!("this line is not a JSON object: {error}"))?;
        let has = |key| value.get(key).is_some();
        let read = if has("set") {
            serde_json::from_value(value).map(Self::Set)
        } else if value.get("get").is_some_and(|get| get == "sound") {
            serde_json::from_value(value)
                .map(|ListenLine::Sound { from_us }| Self::Listen { from_us })
        } else if value.get("get").is_some_and(|get| get == "screen") {
            serde_json::from_value(value).map(|ScreenLine::Screen { seen }| Self::Screen { seen })
        } else if has("get") {
            serde_json::from_value(value).map(|line: GetLine| Self::Get(line.get))
        } else if has("fail") {
            serde_json::from_value(value).map(Self::Fail)
        } else if has("do") {
            serde_json::from_value(value).map(Self::Do)
        } else {
            return Err("a request names what it does: one of set, get, fail or do".into());
        };
        read.map_err(|error| format!("this request cannot be done: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_requests_and_misspelt_fields_get_a_sentence() {
        for (line, part) in [
            ("hello", "not a JSON object"),
            ("[]", "one of set, get, fail or do"),
            (r#"{"set":"weather"}"#, "unknown variant `weather`"),
            (r#"{"set":"battery","percnt":3}"#, "unknown field `percnt`"),
            (r#"{"get":"moon"}"#, "unknown variant `moon`"),
            (r#"{"get":"sound","from_ms":3}"#, "unknown field `from_ms`"),
            (r#"{"fail":"siren","how":"sad"}"#, "unknown variant `sad`"),
            (r#"{"set":"route"}"#, "missing field `to`"),
        ] {
            let sentence = Request::parse(line).unwrap_err();
            assert!(sentence.contains(part), "{line}: {sentence}");
        }
    }
}
