//! A camera's lamp as a torch, through the kernel's LED class in sysfs. It does not know why it is to shine.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::capability::attention::{Attention, Pulse};
use crate::capability::siren::FoundMixer;
use crate::fault::{Fault, Probe, Roots};

/// What a lamp's function is called (Linux `include/dt-bindings/leds/common.h`), after the last colon of its name.
const FUNCTIONS: [&str; 2] = ["flash", "torch"];

/// The driver.
#[derive(Debug)]
pub struct Torch {
    leds: PathBuf,
    /// Brightness to go back to, while it shines.
    before: Option<(PathBuf, u32)>,
}

impl Torch {
    /// A driver for the lamps below `roots.sys`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            leds: roots.sys.join("class/leds"),
            before: None,
        }
    }

    /// The first lamp by name, which lasts as long as the phone runs.
    fn lamp(&self) -> Result<PathBuf, Fault> {
        let entries = fs::read_dir(&self.leds).into_iter().flatten().flatten();
        let mut lamps: Vec<PathBuf> = entries
            .filter(|entry| is_lamp(&entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .collect();
        lamps.sort();
        lamps.into_iter().next().ok_or_else(|| {
            let leds = self.leds.display();
            Fault::Absent(format!("no lamp called flash or torch in {leds}"))
        })
    }
}

/// `white:flash`, `white:torch-1` and the like.
fn is_lamp(name: &str) -> bool {
    let function = name.rsplit(':').next().unwrap_or(name);
    let function = function.split(['-', '_']).next().unwrap_or(function);
    FUNCTIONS.contains(&function)
}

fn name_of(lamp: &Path) -> String {
    let name = lamp.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn read(lamp: &Path, file: &str) -> Result<u32, Fault> {
    let path = lamp.join(file);
    let reading = format!("reading {}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| Fault::from_io(&reading, &error))?;
    let number = text.trim().parse();
    number.map_err(|_| Fault::Broken(format!("{reading}: {:?} is no brightness", text.trim())))
}

fn shine(lamp: &Path, brightness: u32) -> Result<(), Fault> {
    let path = lamp.join("brightness");
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .and_then(|mut file| file.write_all(brightness.to_string().as_bytes()))
        .map_err(|error| Fault::from_io(&format!("writing {}", path.display()), &error))
}

impl Attention for Torch {
    fn name(&self) -> &'static str {
        "torch"
    }

    fn probe(&self) -> Probe {
        let found = self.lamp().and_then(|lamp| {
            let most = read(&lamp, "max_brightness")?;
            Ok(format!("{}, brightness up to {most}", name_of(&lamp)))
        });
        match found {
            Ok(detail) => Probe::Ready { detail },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn found(&mut self) -> Option<FoundMixer> {
        let lamp = self.lamp().ok()?;
        let brightness = read(&lamp, "brightness").ok()?;
        Some(FoundMixer {
            card: name_of(&lamp),
            mixer: format!("{} {brightness}", name_of(&lamp)),
        })
    }

    fn pulse(&mut self, pulse: Pulse) -> Result<(), Fault> {
        match (pulse, self.before.take()) {
            (Pulse::On, None) => {
                let lamp = self.lamp()?;
                let (before, most) = (read(&lamp, "brightness")?, read(&lamp, "max_brightness")?);
                shine(&lamp, most)?;
                self.before = Some((lamp, before));
                Ok(())
            }
            (Pulse::On, shining) => {
                self.before = shining;
                Ok(())
            }
            (Pulse::Off, Some((lamp, before))) => shine(&lamp, before),
            (Pulse::Off, None) => Ok(()),
        }
    }

    fn put_back(&mut self, found: &str) -> Result<(), Fault> {
        let nonsense = || Fault::Broken("not a torch's brightness".into());
        let (name, brightness) = found.rsplit_once(' ').ok_or_else(nonsense)?;
        let brightness = brightness.parse().map_err(|_| nonsense())?;
        if !is_lamp(name) || name.contains('/') {
            return Err(nonsense());
        }
        shine(&self.leds.join(name), brightness)
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.pulse(Pulse::Off);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder;

    #[test]
    fn only_a_lamp_is_a_torch() {
        for name in [
            "white:flash",
            "white:torch",
            "flash",
            "white:flash-1",
            "torch_0",
        ] {
            assert!(is_lamp(name), "{name}");
        }
        for name in [
            "blue:indicator",
            "lcd-backlight",
            "kbd:flashing",
            "red:status",
        ] {
            assert!(!is_lamp(name), "{name}");
        }
    }

    #[test]
    fn a_torch_blinks_as_bright_as_it_may_and_is_left_as_it_was_found() {
        let (dir, roots) = folder(&[
            ("sys/class/leds/white:flash/brightness", "3\n"),
            ("sys/class/leds/white:flash/max_brightness", "255\n"),
            ("sys/class/leds/blue:status/brightness", "1\n"),
        ]);
        let now = || {
            let path = dir.path().join("sys/class/leds/white:flash/brightness");
            fs::read_to_string(path).unwrap().trim().to_owned()
        };
        let mut torch = Torch::new(&roots);
        crate::conformance::a_working_attention(&mut torch);
        let found = torch.found().unwrap();
        for (pulse, brightness) in [
            (Pulse::On, "255"),
            (Pulse::On, "255"),
            (Pulse::Off, "3"),
            (Pulse::Off, "3"),
            (Pulse::On, "255"),
        ] {
            torch.pulse(pulse).unwrap();
            assert_eq!(now(), brightness);
        }
        drop(torch);
        assert_eq!(now(), "3", "dropped while it shone");
        shine(&roots.sys.join("class/leds/white:flash"), 255).unwrap();
        Torch::new(&roots).put_back(&found.mixer).unwrap();
        assert_eq!(now(), "3", "killed while it shone");
    }

    #[test]
    fn a_phone_without_a_lamp_is_told_so() {
        let (_dir, roots) = folder(&[("sys/class/leds/blue:status/brightness", "1\n")]);
        let mut torch = Torch::new(&roots);
        assert!(matches!(torch.probe(), Probe::Unsupported { .. }));
        assert!(matches!(torch.pulse(Pulse::On), Err(Fault::Absent(_))));
        assert_eq!(torch.pulse(Pulse::Off), Ok(()));
        assert!(torch.put_back("../../x 3").is_err());
    }
}
