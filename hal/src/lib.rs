//! The body of Homing: what a phone's hardware and system can do, as capability traits with Linux drivers and one simulator. It never decides and never talks to the account.

pub mod capability;
pub mod conformance;
pub mod fault;
pub mod linux;
mod ranking;
#[cfg(test)]
mod scratch;
pub mod settings;
pub mod sim;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use capability::attention::Attention;
use capability::call::{Calls, Dialler, IncomingCalls};
use capability::identity::Identity;
use capability::lockdown::Lockdown;
use capability::network::Network;
use capability::panel::Panel;
use capability::position::{Fix, PositionSource};
use capability::power::Power;
use capability::siren::SoundCard;
use capability::touch::Touch;
pub use fault::{Cancel, Fault, Probe, Roots};
use linux::alsa::AlsaCard;
use linux::calls::ModemCalls;
use linux::dialler::ModemDialler;
use linux::gpsd::Gpsd;
use linux::identity::SystemIdentity;
use linux::incoming::ModemIncoming;
use linux::modem::ModemManager;
use linux::network::KernelNetwork;
use linux::power::SysfsPower;
use linux::receiver::{GnssShare, KernelGnss};
use linux::screen::{Built, LinuxPanel};
use linux::torch::Torch;
use linux::touch::EventDevices;
use linux::vibrator::Vibrator;
pub use ranking::locate;
pub use settings::{Backend, HalSettings, PositionDriver, SirenDriver};
use sim::client::{
    SimAttention, SimDialler, SimIdentity, SimIncoming, SimLockdown, SimNetwork, SimPanel,
    SimPosition, SimPower, SimSoundCard, SimTouch,
};
use sim::request::Attraction;

/// A phone's capabilities with the drivers that were chosen for them. The fields may be taken apart, so that each can live on the thread that needs it.
///
/// Opening it opens no file, starts no thread and takes no buffer: a driver does so when it is used.
pub struct Hal {
    /// Sources of the position, best first.
    pub positions: Vec<Box<dyn PositionSource>>,
    /// The sound card, where a driver for one exists.
    pub sound: Option<Box<dyn SoundCard>>,
    /// What draws hands and eyes while the siren sounds: the vibrator first, then the torch.
    pub attention: Vec<Box<dyn Attention>>,
    /// Who knows whether somebody speaks on the phone, where a driver for that exists.
    pub calls: Option<Box<dyn Calls>>,
    /// What calls for help, where a driver for that exists; whether a call can be heard on this phone it does not know.
    pub dialler: Option<Box<dyn Dialler>>,
    /// What hears its owner call, likewise.
    pub incoming: Option<Arc<dyn IncomingCalls>>,
    /// The battery.
    pub power: Box<dyn Power>,
    /// The network.
    pub network: Box<dyn Network>,
    /// What phone this is.
    pub identity: Box<dyn Identity>,
    /// What takes the phone from whoever holds it and gives it back; only root can use it.
    pub lockdown: Box<dyn Lockdown>,
    /// What the lost screen is shown on, where a driver for it exists.
    pub panel: Option<Box<dyn Panel>>,
    /// Touch and keys, likewise.
    pub touch: Option<Box<dyn Touch>>,
}

impl fmt::Debug for Hal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.positions.iter().map(|source| source.name()).collect();
        write!(f, "Hal(positions: {names:?}, power: {})", self.power.name())
    }
}

/// One line of [`Hal::probe_all`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The capability: position, siren, vibration, light, calls, power, network or identity.
    pub capability: &'static str,
    /// The driver's name, or `none`.
    pub driver: &'static str,
    /// What it said.
    pub probe: Probe,
    /// What makes it weaker than its owner may think, one sentence each.
    pub weak: Vec<String>,
}

impl Hal {
    /// Chooses the drivers.
    #[must_use]
    pub fn open(settings: &HalSettings, roots: &Roots) -> Self {
        let socket = settings.simulator_socket(roots);
        let positions = settings
            .position_sources()
            .into_iter()
            .map(|driver| -> Box<dyn PositionSource> {
                match driver {
                    PositionDriver::Gpsd => Box::new(Gpsd::new(settings.position.gpsd.clone())),
                    PositionDriver::ModemManager => {
                        Box::new(ModemManager::new(roots, settings.receiver_note.clone()))
                    }
                    PositionDriver::GnssShare => Box::new(GnssShare::new(roots)),
                    PositionDriver::GnssDevice => Box::new(KernelGnss::new(roots)),
                    PositionDriver::Simulator => Box::new(SimPosition::new(&socket)),
                }
            })
            .collect();
        let sound: Option<Box<dyn SoundCard>> = match settings.siren_driver() {
            SirenDriver::Alsa => Some(Box::new(AlsaCard::new(roots))),
            SirenDriver::Simulator => Some(Box::new(SimSoundCard::new(&socket))),
            SirenDriver::None => None,
        };
        let built = Built::default();
        match settings.backend {
            Backend::Linux => Self {
                positions,
                sound,
                attention: vec![Box::new(Vibrator::new(roots)), Box::new(Torch::new(roots))],
                calls: Some(Box::new(ModemCalls::new(roots))),
                dialler: Some(Box::new(ModemDialler::new(roots))),
                incoming: Some(Arc::new(ModemIncoming::new(roots))),
                power: Box::new(SysfsPower::new(roots)),
                network: Box::new(KernelNetwork::new(roots)),
                identity: Box::new(SystemIdentity::new(roots)),
                lockdown: linux::lockdown::of_this_phone(settings, roots),
                panel: Some(Box::new(LinuxPanel::new(roots, built.clone()))),
                touch: Some(Box::new(EventDevices::new(roots, built))),
            },
            Backend::Sim => Self {
                positions,
                sound,
                attention: [Attraction::Vibrator, Attraction::Torch]
                    .map(|which| Box::new(SimAttention::new(&socket, which)) as Box<dyn Attention>)
                    .into(),
                calls: None,
                dialler: Some(Box::new(SimDialler::new(&socket))),
                incoming: Some(Arc::new(SimIncoming::new(&socket))),
                power: Box::new(SimPower::new(&socket)),
                network: Box::new(SimNetwork::new(&socket)),
                identity: Box::new(SimIdentity::new(&socket)),
                lockdown: Box::new(SimLockdown::new(&socket)),
                panel: Some(Box::new(SimPanel::new(&socket))),
                touch: Some(Box::new(SimTouch::new(&socket))),
            },
        }
    }

    /// Finds the phone by all of its sources, see [`locate`].
    ///
    /// # Errors
    /// As [`locate`].
    pub fn locate(self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        locate(self.positions, deadline, cancel)
    }

    /// What every driver says about this phone, for `homingd doctor`; takes up to a few seconds.
    #[must_use]
    pub fn probe_all(&self) -> Vec<Probed> {
        let line = |capability, driver, probe| Probed {
            capability,
            driver,
            probe,
            weak: Vec::new(),
        };
        let mut found: Vec<Probed> = self
            .positions
            .iter()
            .map(|source| line("position", source.name(), source.probe()))
            .collect();
        found.push(match &self.sound {
            Some(card) => Probed {
                weak: card.weak_points(),
                ..line("siren", card.name(), card.probe())
            },
            None => {
                let reason = "no driver for a sound card is configured".into();
                line("siren", "none", Probe::Unsupported { reason })
            }
        });
        for (capability, attention) in ["vibration", "light"].into_iter().zip(&self.attention) {
            found.push(line(capability, attention.name(), attention.probe()));
        }
        if let Some(calls) = &self.calls {
            let probe = calls.probe();
            let weak = match &probe {
                Probe::Unsupported { .. } => {
                    vec!["a call is not noticed: the siren goes on while somebody speaks".into()]
                }
                Probe::Ready { .. } => Vec::new(),
            };
            found.push(Probed {
                weak,
                ..line("calls", calls.name(), probe)
            });
        }
        found.push(line("power", self.power.name(), self.power.probe()));
        found.push(line("network", self.network.name(), self.network.probe()));
        found.push(line(
            "identity",
            self.identity.name(),
            self.identity.probe(),
        ));
        let lockdown = &self.lockdown;
        found.push(line("lockdown", lockdown.name(), lockdown.probe()));
        if let Some(panel) = &self.panel {
            found.push(line("panel", panel.name(), panel.probe()));
        }
        if let Some(touch) = &self.touch {
            found.push(line("touch", touch.name(), touch.probe()));
        }
        found
    }
}

/// Whether a search that did not live to do so has left a receiver on.
#[must_use]
pub fn owes_receivers(settings: &HalSettings) -> bool {
    settings
        .receiver_note
        .as_ref()
        .is_some_and(|note| note.exists())
        && settings
            .position_sources()
            .contains(&PositionDriver::ModemManager)
}

/// Switches off what such a search has left on; see [`ModemManager::put_back`].
///
/// # Errors
/// Whoever has the receiver could not be asked, or refused; what is owed stays noted.
pub fn put_back_receivers(settings: &HalSettings, roots: &Roots) -> Result<(), Fault> {
    ModemManager::new(roots, settings.receiver_note.clone()).put_back(&Cancel::new())
}
