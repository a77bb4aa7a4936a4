//! A phone's panel under Linux: the kernel's mode setting, or its frame buffer; its console locked meanwhile; its backlight. What is drawn comes from elsewhere.

mod backlight;
mod console;
mod fbdev;
mod kms;
mod note;
pub mod turn;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use backlight::Backlights;
use console::Console;
use fbdev::Fbdev;
use kms::{Kms, Switch};
use note::{Found, Note};

use crate::capability::panel::{Backlight, Frame, Geometry, Panel, Rotation};
use crate::fault::{Fault, Probe, Roots};

/// How the panel is built in, as its driver has found out, for the touch panel on top of it.
#[derive(Clone, Debug, Default)]
pub struct Built(Arc<AtomicU8>);

impl Built {
    /// As it is known now.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        match self.0.load(Ordering::SeqCst) {
            1 => Rotation::Right,
            2 => Rotation::UpsideDown,
            3 => Rotation::Left,
            _ => Rotation::Upright,
        }
    }

    fn set(&self, rotation: Rotation) {
        let turns = match rotation {
            Rotation::Upright => 0,
            Rotation::Right => 1,
            Rotation::UpsideDown => 2,
            Rotation::Left => 3,
        };
        self.0.store(turns, Ordering::SeqCst);
    }
}

#[derive(Debug)]
enum Surface {
    Kms(Kms),
    Fbdev(Fbdev),
}

impl Surface {
    fn geometry(&self) -> Geometry {
        match self {
            Self::Kms(kms) => kms.geometry(),
            Self::Fbdev(fbdev) => fbdev.geometry(),
        }
    }

    fn rotation(&self) -> Rotation {
        match self {
            Self::Kms(kms) => kms.rotation(),
            Self::Fbdev(fbdev) => fbdev.rotation(),
        }
    }

    fn switch(&self, to: Switch) -> Result<(), Fault> {
        match self {
            Self::Kms(kms) => kms.switch(to),
            Self::Fbdev(fbdev) => fbdev.switch(to),
        }
    }
}

/// The driver.
#[derive(Debug)]
pub struct LinuxPanel {
    dev: PathBuf,
    sys: PathBuf,
    console: Console,
    backlights: Backlights,
    note: Note,
    /// As found; the note says it to our successor.
    found: Option<Found>,
    surface: Option<Surface>,
    built: Built,
}

impl LinuxPanel {
    /// A driver for the devices below these roots; nothing is opened yet. It tells `built` how the panel is built in.
    #[must_use]
    pub fn new(roots: &Roots, built: Built) -> Self {
        Self {
            dev: roots.dev.clone(),
            sys: roots.sys.clone(),
            console: Console::new(&roots.dev),
            backlights: Backlights::new(&roots.sys),
            note: Note::new(roots.run.join("homing-lost/found.json")),
            found: None,
            surface: None,
            built,
        }
    }

    fn taken(&mut self) -> Result<&mut Surface, Fault> {
        let surface = self.surface.as_mut();
        surface.ok_or_else(|| Fault::Broken("the panel was not taken".into()))
    }
}

impl Panel for LinuxPanel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn probe(&self) -> Probe {
        let found = kms::nodes(&self.dev)
            .into_iter()
            .chain([self.dev.join("fb0")])
            .find(|path| path.exists());
        match found {
            Some(path) => Probe::Ready {
                detail: path.display().to_string(),
            },
            None => Probe::Unsupported {
                reason: "the kernel offers no panel (no /dev/dri/card*, no /dev/fb0)".into(),
            },
        }
    }

    fn take(&mut self) -> Result<Geometry, Fault> {
        if let Some(surface) = &self.surface {
            return Ok(surface.geometry());
        }
        let known = self.found.take().or_else(|| self.note.read());
        let mut found = known.unwrap_or_else(|| Found {
            backlights: self.backlights.found(),
            ..Found::default()
        });
        let console = self.console.take(&mut found);
        if let Err(fault) = self.note.write(&found) {
            // The message comes first: only who dies and has no successor leaves a console that stays locked then.
            tracing::warn!(%fault, "nobody else could undo this");
        }
        self.found = Some(found);
        console?;
        let surface = match Kms::take(&self.dev) {
            Ok(kms) => Surface::Kms(kms),
            // A session that is just ending has it.
            Err(why @ Fault::Busy(_)) => return Err(why),
            Err(why) => match Fbdev::take(&self.dev, &self.sys) {
                Ok(fbdev) => Surface::Fbdev(fbdev),
                Err(Fault::Absent(_)) => return Err(why),
                Err(fault) => return Err(fault),
            },
        };
        self.built.set(surface.rotation());
        let geometry = surface.geometry();
        self.surface = Some(surface);
        Ok(geometry)
    }

    fn show(&mut self, frame: &Frame, _text: &str) -> Result<(), Fault> {
        let surface = self.taken()?;
        let geometry = surface.geometry();
        let size = (frame.width_px, frame.height_px);
        let pixels = usize::from(frame.width_px) * usize::from(frame.height_px);
        if size != (geometry.width_px, geometry.height_px) || pixels != frame.luma.len() {
            return Err(Fault::Broken("a frame has the panel's size".into()));
        }
        match surface {
            Surface::Kms(kms) => kms.show(frame),
            Surface::Fbdev(fbdev) => fbdev.show(frame),
        }
    }

    fn light(&mut self, backlight: Backlight) -> Result<(), Fault> {
        let surface = self.taken()?;
        let switched = match backlight {
            Backlight::Off => surface.switch(Switch::Off),
            Backlight::Percent(_) => surface.switch(Switch::On),
        };
        let lit = self.backlights.light(backlight);
        for fault in [switched, lit].into_iter().filter_map(Result::err) {
            // A panel that is too bright or too dark is better than one that says nothing.
            tracing::debug!(%fault, "the panel's light stays as it is");
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        let given = match self.surface.take() {
            Some(Surface::Kms(kms)) => kms.release(),
            Some(Surface::Fbdev(_)) | None => Ok(()),
        };
        let Some(found) = self.found.take().or_else(|| self.note.read()) else {
            return given;
        };
        let lit = self.backlights.put_back(&found.backlights);
        if let Err(fault) = &lit {
            tracing::debug!(%fault, "the backlight stays as it is");
        }
        if let Err(fault) = self.console.put_back(&found) {
            self.found = Some(found);
            return Err(fault);
        }
        self.note.remove()?;
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_touch_panel_hears_how_the_panel_below_is_built_in() {
        let built = Built::default();
        let heard = built.clone();
        for rotation in [
            Rotation::Left,
            Rotation::UpsideDown,
            Rotation::Right,
            Rotation::Upright,
        ] {
            built.set(rotation);
            assert_eq!(heard.rotation(), rotation);
        }
    }

    #[test]
    fn a_phone_without_a_panel_says_so_and_has_nothing_to_give_back() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots {
            sys: root.path().join("sys"),
            dev: root.path().join("dev"),
            run: root.path().join("run"),
            ..Roots::default()
        };
        let mut panel = LinuxPanel::new(&roots, Built::default());
        assert!(matches!(panel.probe(), Probe::Unsupported { .. }));
        let absent = panel.take();
        assert!(matches!(absent, Err(Fault::Absent(_))), "{absent:?}");
        assert!(matches!(panel.light(Backlight::Off), Err(Fault::Broken(_))));
        assert_eq!(panel.release(), Ok(()));
        assert!(!root.path().join("run/homing-lost/found.json").exists());
        assert_eq!(panel.release(), Ok(()));
    }
}
