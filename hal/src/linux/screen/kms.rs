//! A panel through the kernel's mode setting: one dumb buffer on the phone's own connector. It draws what it is given and knows no light but the panel's own switch.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use drm::Device as _;
use drm::buffer::{Buffer as _, DrmFourcc};
use drm::control::connector::{self, Interface, State};
use drm::control::dumbbuffer::DumbBuffer;
use drm::control::{Device as _, Mode, ModeTypeFlags, crtc, framebuffer, property};

use super::turn::{self, Format, Memory};
use crate::capability::panel::{Frame, Geometry, Rotation};
use crate::fault::Fault;

/// `DRM_MODE_DPMS_ON` and `DRM_MODE_DPMS_OFF`.
const DPMS_ON: u64 = 0;
const DPMS_OFF: u64 = 3;

#[derive(Debug)]
struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

/// A panel that is ours: we are the card's master, and nobody else can draw on it.
#[derive(Debug)]
pub(super) struct Kms {
    card: Card,
    connector: connector::Handle,
    crtc: crtc::Handle,
    mode: Mode,
    buffer: DumbBuffer,
    framebuffer: framebuffer::Handle,
    rotation: Rotation,
    size_mm: (u32, u32),
    /// The connector's property that switches it off.
    switch: Option<property::Handle>,
}

/// A connector with everything that lights it.
struct Found {
    connector: connector::Info,
    crtc: crtc::Handle,
    mode: Mode,
}

/// The nodes of cards that may have a panel.
pub(super) fn nodes(dev: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dev.join("dri"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("card")
        })
        .collect();
    found.sort();
    found
}

impl Kms {
    /// Takes the phone's own panel, else the first one that is connected.
    pub(super) fn take(dev: &Path) -> Result<Self, Fault> {
        let mut why = Fault::Absent("no card has a connected panel".into());
        let mut best: Option<(u8, Card, Found)> = None;
        for path in nodes(dev) {
            let found = open(&path).and_then(|card| {
                let found = connected(&card)?;
                Ok((card, found))
            });
            match found {
                Ok((card, Some(found))) => {
                    let rank = rank(found.connector.interface());
                    if best.as_ref().is_none_or(|(best, _, _)| rank < *best) {
                        best = Some((rank, card, found));
                    }
                }
                Ok((_, None)) => {}
                Err(fault) => why = fault,
            }
        }
        match best {
            Some((_, card, found)) => Self::begin(card, &found),
            None => Err(why),
        }
    }

    fn begin(card: Card, found: &Found) -> Result<Self, Fault> {
        let doing = |what: &'static str| move |error: std::io::Error| Fault::from_io(what, &error);
        let as_master = |what: &'static str| {
            move |error: std::io::Error| match error.raw_os_error() {
                // What the kernel answers whoever is not the card's master.
                Some(nix::libc::EACCES | nix::libc::EBUSY | nix::libc::EINVAL) => {
                    Fault::Busy(format!("{what}: {error}"))
                }
                _ => Fault::from_io(what, &error),
            }
        };
        // The first who opens a card is its master already; asking again does no harm.
        card.acquire_master_lock()
            .map_err(as_master("becoming the card's master"))?;
        let (width, height) = found.mode.size();
        let size = (u32::from(width), u32::from(height));
        let buffer = card
            .create_dumb_buffer(size, DrmFourcc::Xrgb8888, 32)
            .map_err(doing("asking for a buffer"))?;
        let framebuffer = card
            .add_framebuffer(&buffer, 24, 32)
            .map_err(doing("making the buffer a picture"))?;
        let properties = properties(&card, found.connector.handle());
        let value = |name: &str| properties.iter().find(|property| property.0 == name);
        let rotation = value("panel orientation")
            .and_then(|(_, _, value)| value.as_deref().map(turn::of_orientation));
        let switch = value("DPMS").map(|(_, handle, _)| *handle);
        let taken = Self {
            connector: found.connector.handle(),
            crtc: found.crtc,
            mode: found.mode,
            rotation: rotation.unwrap_or_default(),
            size_mm: found.connector.size().unwrap_or_default(),
            card,
            buffer,
            framebuffer,
            switch,
        };
        taken.front().map_err(as_master("showing the buffer"))?;
        Ok(taken)
    }

    /// Brings our buffer to the panel.
    fn front(&self) -> std::io::Result<()> {
        self.card.set_crtc(
            self.crtc,
            Some(self.framebuffer),
            (0, 0),
            &[self.connector],
            Some(self.mode),
        )
    }

    pub(super) fn rotation(&self) -> Rotation {
        self.rotation
    }

    pub(super) fn geometry(&self) -> Geometry {
        let (width_px, height_px) = turn::upright(self.mode.size(), self.rotation);
        let (width_mm, height_mm) = turn::upright(self.size_mm, self.rotation);
        let short = |mm: u32| u16::try_from(mm).unwrap_or(0);
        Geometry {
            width_px,
            height_px,
            width_mm: short(width_mm),
            height_mm: short(height_mm),
        }
    }

    pub(super) fn show(&mut self, frame: &Frame) -> Result<(), Fault> {
        let (width, height) = self.mode.size();
        let memory = Memory {
            width_px: width.into(),
            height_px: height.into(),
            stride: usize::try_from(self.buffer.pitch()).unwrap_or(0),
            format: Format::Xrgb8888,
        };
        {
            let mapped = self.card.map_dumb_buffer(&mut self.buffer);
            let mut mapped =
                mapped.map_err(|error| Fault::from_io("mapping the panel's buffer", &error))?;
            turn::blit(frame, self.rotation, memory, mapped.as_mut());
        }
        // Panels that are written to on demand need the word; others do not know it.
        let whole = drm::control::ClipRect::new(0, 0, width, height);
        let _ = self.card.dirty_framebuffer(self.framebuffer, &[whole]);
        Ok(())
    }

    pub(super) fn switch(&self, to: Switch) -> Result<(), Fault> {
        let Some(property) = self.switch else {
            return Ok(());
        };
        let value = match to {
            Switch::On => DPMS_ON,
            Switch::Off => DPMS_OFF,
        };
        self.card
            .set_property(self.connector, property, value)
            .map_err(|error| Fault::from_io("switching the panel", &error))
    }

    /// Leaves the card to the next master.
    pub(super) fn release(self) -> Result<(), Fault> {
        let _ = self.card.set_crtc(self.crtc, None, (0, 0), &[], None);
        let _ = self.card.destroy_framebuffer(self.framebuffer);
        let _ = self.card.destroy_dumb_buffer(self.buffer);
        let left = self.card.release_master_lock();
        left.map_err(|error| Fault::from_io("giving the card back", &error))
    }
}

/// Whether the panel shines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
}

fn open(path: &Path) -> Result<Card, Fault> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map(Card)
        .map_err(|error| Fault::from_io(&format!("opening {}", path.display()), &error))
}

/// Panels that are built in come before what somebody has plugged in.
fn rank(interface: Interface) -> u8 {
    match interface {
        Interface::DSI | Interface::DPI | Interface::LVDS | Interface::EmbeddedDisplayPort => 0,
        Interface::SPI | Interface::Virtual => 1,
        _ => 2,
    }
}

fn connected(card: &Card) -> Result<Option<Found>, Fault> {
    let failed = |error| Fault::from_io("asking the card what it has", &error);
    let resources = card.resource_handles().map_err(failed)?;
    let mut connectors: Vec<connector::Info> = resources
        .connectors()
        .iter()
        .filter_map(|handle| card.get_connector(*handle, true).ok())
        .filter(|info| info.state() == State::Connected && !info.modes().is_empty())
        .collect();
    connectors.sort_by_key(|info| rank(info.interface()));
    for connector in connectors {
        let preferred = |mode: &&Mode| mode.mode_type().contains(ModeTypeFlags::PREFERRED);
        let modes = connector.modes();
        let Some(mode) = modes.iter().find(preferred).or(modes.first()).copied() else {
            continue;
        };
        let encoders = connector
            .current_encoder()
            .into_iter()
            .chain(connector.encoders().iter().copied());
        let crtc = encoders
            .filter_map(|handle| card.get_encoder(handle).ok())
            .find_map(|encoder| {
                let possible = resources.filter_crtcs(encoder.possible_crtcs());
                encoder.crtc().or_else(|| possible.first().copied())
            });
        if let Some(crtc) = crtc {
            return Ok(Some(Found {
                connector,
                crtc,
                mode,
            }));
        }
    }
    Ok(None)
}

/// A connector's properties by name, with the names of those values that have one.
fn properties(
    card: &Card,
    connector: connector::Handle,
) -> Vec<(String, property::Handle, Option<String>)> {
    let Ok(set) = card.get_properties(connector) else {
        return Vec::new();
    };
    let described = set.iter().filter_map(|(handle, value)| {
        let info = card.get_property(*handle).ok()?;
        let name = info.name().to_str().ok()?.to_owned();
        let value = match info.value_type() {
            property::ValueType::Enum(values) => values
                .get_value_from_raw_value(*value)
                .and_then(|value| value.name().to_str().ok())
                .map(str::to_owned),
            _ => None,
        };
        Some((name, *handle, value))
    });
    described.collect()
}
