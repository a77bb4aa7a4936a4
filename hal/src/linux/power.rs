//! The battery from sysfs `power_supply`. It reads files and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use homing_protocol::measure::{Battery, Charging};

use crate::capability::power::Power;
use crate::fault::{Fault, Probe, Roots};

/// The driver.
#[derive(Debug)]
pub struct SysfsPower {
    class: PathBuf,
}

impl SysfsPower {
    /// A driver that reads below `roots.sys`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            class: roots.sys.join("class/power_supply"),
        }
    }

    /// The phone's own batteries, by name. A supply of scope "Device" is a keyboard's or a stylus' (kernel: Documentation/ABI/testing/sysfs-class-power).
    fn batteries(&self) -> Result<Vec<PathBuf>, Fault> {
        let entries = fs::read_dir(&self.class).map_err(|error| {
            Fault::from_io(&format!("listing {}", self.class.display()), &error)
        })?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| text(path, "type").as_deref() == Some("Battery"))
            .filter(|path| text(path, "scope").as_deref() != Some("Device"))
            .filter(|path| text(path, "present").as_deref() != Some("0"))
            .collect();
        found.sort();
        match found.is_empty() {
            true => Err(Fault::Absent(format!(
                "no battery in {}",
                self.class.display()
            ))),
            false => Ok(found),
        }
    }
}

impl Power for SysfsPower {
    fn name(&self) -> &'static str {
        "sysfs power_supply"
    }

    fn probe(&self) -> Probe {
        match self.batteries() {
            Ok(found) => Probe::Ready {
                detail: found
                    .iter()
                    .filter_map(|path| path.file_name())
                    .map(|name| name.to_string_lossy())
                    .collect::<Vec<_>>()
                    .join(", "),
            },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn battery(&mut self) -> Result<Battery, Fault> {
        let found = self.batteries()?;
        // Two batteries are a phone and its keyboard case: the first that states a charge speaks for the phone, but any that is being charged means that power is plugged in.
        let percent = found.iter().find_map(|path| percent(path));
        let states: Vec<Charging> = found.iter().map(|path| charging(path)).collect();
        let charging = [Charging::Charging, Charging::Discharging, Charging::Full]
            .into_iter()
            .find(|state| states.contains(state))
            .unwrap_or(Charging::Unknown);
        Ok(Battery { percent, charging })
    }
}

/// The charge in percent: as the kernel states it, else from charge or energy over their full value.
fn percent(battery: &Path) -> Option<u8> {
    let number = |name: &str| text(battery, name)?.parse::<u64>().ok();
    let ratio = |now: &str, full: &str| {
        let full = number(full).filter(|full| *full > 0)?;
        number(now)?.checked_mul(100)?.checked_div(full)
    };
    number("capacity")
        .or_else(|| ratio("charge_now", "charge_full"))
        .or_else(|| ratio("energy_now", "energy_full"))
        // Worn gauges state up to a few percent more than full.
        .and_then(|percent| u8::try_from(percent.min(100)).ok())
}

fn charging(battery: &Path) -> Charging {
    match text(battery, "status").as_deref() {
        Some("Charging") => Charging::Charging,
        Some("Discharging") => Charging::Discharging,
        // "Not charging" is a full battery, or one held at a limit, on external power.
        Some("Full" | "Not charging") => Charging::Full,
        _ => Charging::Unknown,
    }
}

/// The trimmed text of one attribute.
fn text(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::folder;

    fn supply(files: &[(&str, &str)]) -> (tempfile::TempDir, SysfsPower) {
        let (dir, roots) = folder(files);
        let driver = SysfsPower::new(&roots);
        (dir, driver)
    }

    #[test]
    fn a_battery_states_its_charge_and_direction() {
        let (_dir, mut power) = supply(&[
            ("sys/class/power_supply/axp20x-battery/type", "Battery\n"),
            ("sys/class/power_supply/axp20x-battery/capacity", "83\n"),
            (
                "sys/class/power_supply/axp20x-battery/status",
                "Discharging\n",
            ),
            ("sys/class/power_supply/axp20x-usb/type", "USB\n"),
        ]);
        let battery = power.battery().unwrap();
        assert_eq!(
            (battery.percent, battery.charging),
            (Some(83), Charging::Discharging)
        );
        assert_eq!(
            power.probe(),
            Probe::Ready {
                detail: "axp20x-battery".into()
            }
        );
    }

    #[test]
    fn the_battery_of_a_keyboard_is_not_the_phones() {
        let (_dir, mut power) = supply(&[
            ("sys/class/power_supply/hid-keyboard/type", "Battery"),
            ("sys/class/power_supply/hid-keyboard/scope", "Device"),
            ("sys/class/power_supply/hid-keyboard/capacity", "3"),
        ]);
        assert!(matches!(power.battery(), Err(Fault::Absent(_))));
    }

    #[test]
    fn a_gauge_without_percent_is_computed_and_an_overfull_one_is_full() {
        let (_dir, mut power) = supply(&[
            ("sys/class/power_supply/a/type", "Battery"),
            ("sys/class/power_supply/a/charge_now", "1500000"),
            ("sys/class/power_supply/a/charge_full", "3000000"),
        ]);
        assert_eq!(power.battery().unwrap().percent, Some(50));
        let (_dir, mut power) = supply(&[
            ("sys/class/power_supply/a/type", "Battery"),
            ("sys/class/power_supply/a/capacity", "103"),
            ("sys/class/power_supply/a/status", "Not charging"),
        ]);
        assert_eq!(
            power.battery().unwrap(),
            Battery {
                percent: Some(100),
                charging: Charging::Full
            }
        );
    }

    #[test]
    fn nonsense_in_the_files_is_an_unknown_and_no_failure() {
        let (_dir, mut power) = supply(&[
            ("sys/class/power_supply/a/type", "Battery"),
            ("sys/class/power_supply/a/capacity", "-5 %"),
            ("sys/class/power_supply/a/status", "\u{fffd}"),
        ]);
        assert_eq!(
            power.battery().unwrap(),
            Battery {
                percent: None,
                charging: Charging::Unknown
            }
        );
    }

    #[test]
    fn a_machine_without_power_supply_says_so() {
        let (_dir, mut power) = supply(&[]);
        assert!(matches!(power.battery(), Err(Fault::Absent(_))));
        assert!(matches!(power.probe(), Probe::Unsupported { .. }));
    }
}
