//! The `[hal]` part of the configuration: which drivers to use. It opens nothing.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use crate::fault::Roots;
use crate::linux::gpsd::{DEFAULT_ADDRESS, GpsdAddress};

/// The `[hal]` table. Everything has a default; unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HalSettings {
    /// Whose drivers are used.
    pub backend: Backend,
    /// `[hal.sim]`.
    pub sim: SimSettings,
    /// `[hal.position]`.
    pub position: PositionSettings,
    /// `[hal.siren]`.
    pub siren: SirenSettings,
    /// The file in which a search remembers what it switched on in a modem; the daemon says where, not the configuration.
    #[serde(skip)]
    pub receiver_note: Option<PathBuf>,
    /// The privileged actor's folder: what the lockdown found is remembered there, and the notice that the phone is lost lies
    /// below it. `/var/lib/homing-actor` when not said; the daemon says where, not the configuration of drivers.
    #[serde(skip)]
    pub actor_folder: Option<PathBuf>,
}

/// Whose drivers are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The phone's own.
    #[default]
    Linux,
    /// Those of the simulated phone.
    Sim,
}

/// Where the simulated phone is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimSettings {
    /// The control socket of `homing-sim`; `homing-sim.sock` in the runtime folder when not said.
    pub socket: Option<PathBuf>,
}

/// Where positions come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PositionSettings {
    /// gpsd's address: `HOST:PORT` with a numeric host, or the absolute path of its socket.
    #[serde(deserialize_with = "address")]
    pub gpsd: GpsdAddress,
    /// Sources, best first; the backend's own when empty. `driver = "gpsd"` is the short form for a single one.
    #[serde(alias = "driver", deserialize_with = "one_or_many")]
    pub sources: Vec<PositionDriver>,
    /// The service that turns cells and access points around the phone into a place: `https://HOST[:PORT]/PATH`. Without
    /// it, as by default, nobody is told of them.
    pub geolocation: Option<String>,
    /// The certificate authorities that are believed for it, a PEM file; the system's when not said.
    pub geolocation_ca: Option<PathBuf>,
}

/// A source of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositionDriver {
    /// ModemManager, for the receiver in a modem.
    ModemManager,
    /// gnss-share, which serves the receiver of a Librem 5.
    GnssShare,
    /// gpsd.
    Gpsd,
    /// The first receiver that the kernel drives, `/dev/gnss0`.
    GnssDevice,
    /// The simulated receiver, asked directly.
    Simulator,
}

/// A phone's own sources, best first.
const ON_A_PHONE: [PositionDriver; 4] = [
    PositionDriver::ModemManager,
    PositionDriver::GnssShare,
    PositionDriver::Gpsd,
    PositionDriver::GnssDevice,
];

/// What the siren sounds on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SirenSettings {
    /// The driver; the backend's own when not said.
    pub driver: Option<SirenDriver>,
}

/// A driver for a loudspeaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SirenDriver {
    /// The kernel's sound cards.
    Alsa,
    /// The simulated sound card.
    Simulator,
    /// None: this phone shall not sound.
    None,
}

impl Default for PositionSettings {
    fn default() -> Self {
        Self {
            gpsd: DEFAULT_ADDRESS
                .parse()
                .expect("the default address is a constant that a test reads"),
            sources: Vec::new(),
            geolocation: None,
            geolocation_ca: None,
        }
    }
}

impl HalSettings {
    /// The sources of positions in effect, best first.
    #[must_use]
    pub fn position_sources(&self) -> Vec<PositionDriver> {
        match (self.position.sources.is_empty(), self.backend) {
            (false, _) => self.position.sources.clone(),
            (true, Backend::Linux) => ON_A_PHONE.into(),
            (true, Backend::Sim) => vec![PositionDriver::Simulator],
        }
    }

    /// The siren's driver in effect.
    #[must_use]
    pub fn siren_driver(&self) -> SirenDriver {
        let own = match self.backend {
            Backend::Linux => SirenDriver::Alsa,
            Backend::Sim => SirenDriver::Simulator,
        };
        self.siren.driver.unwrap_or(own)
    }

    /// Whether any part of the phone would be simulated, which a daemon refuses unless it is allowed on its command line.
    #[must_use]
    pub fn uses_simulator(&self) -> bool {
        self.backend == Backend::Sim
            || self.position.sources.contains(&PositionDriver::Simulator)
            || self.siren.driver == Some(SirenDriver::Simulator)
    }

    /// The simulator's control socket in effect.
    #[must_use]
    pub fn simulator_socket(&self, roots: &Roots) -> PathBuf {
        let named = self.sim.socket.clone();
        named.unwrap_or_else(|| roots.run.join("homing-sim.sock"))
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<GpsdAddress, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PositionDriver>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a position source is modem-manager, gnss-share, gpsd, gnss-device or simulator"
    )]
    enum OneOrMany {
        One(PositionDriver),
        Many(Vec<PositionDriver>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(driver) => vec![driver],
        OneOrMany::Many(drivers) => drivers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<HalSettings, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_a_linux_phone_with_all_of_its_sources() {
        let settings = read("{}").unwrap();
        assert_eq!(settings.position_sources(), ON_A_PHONE);
        assert_eq!(settings.position.gpsd.to_string(), DEFAULT_ADDRESS);
        assert_eq!(settings.siren_driver(), SirenDriver::Alsa);
        assert!(!settings.uses_simulator());
    }

    #[test]
    fn the_siren_may_be_another_bodys_or_none() {
        let settings = read(r#"{"siren":{"driver":"simulator"}}"#).unwrap();
        assert!(settings.uses_simulator());
        let settings = read(r#"{"backend":"sim","siren":{"driver":"none"}}"#).unwrap();
        assert_eq!(settings.siren_driver(), SirenDriver::None);
        assert_eq!(
            read(r#"{"backend":"sim"}"#).unwrap().siren_driver(),
            SirenDriver::Simulator
        );
    }

    #[test]
    fn a_simulated_phone_may_be_located_by_a_real_gpsd() {
        let settings = read(
            r#"{"backend":"sim","sim":{"socket":"/x"},"position":{"driver":"gpsd","gpsd":"/run/gpsd.sock"}}"#,
        )
        .unwrap();
        assert_eq!(settings.position_sources(), [PositionDriver::Gpsd]);
        assert_eq!(
            settings.position.gpsd,
            GpsdAddress::Unix("/run/gpsd.sock".into())
        );
        assert!(settings.uses_simulator());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_sentence() {
        for (json, part) in [
            (r#"{"backnd":"sim"}"#, "unknown field `backnd`"),
            (r#"{"backend":"halium"}"#, "unknown variant `halium`"),
            (
                r#"{"position":{"gpsd":"gps.example:2947"}}"#,
                "neither NUMBER",
            ),
            (
                r#"{"position":{"sources":["moon"]}}"#,
                "gpsd, gnss-device or",
            ),
        ] {
            let sentence = read(json).unwrap_err();
            assert!(sentence.contains(part), "{json}: {sentence}");
        }
    }
}
