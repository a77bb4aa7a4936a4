//! Backlights through the kernel's class of them. Each is set to a part of its own brightest.

use std::fs;
use std::path::{Path, PathBuf};

use crate::capability::panel::Backlight;
use crate::fault::Fault;

/// The panel's backlights; a panel that lights itself has none.
#[derive(Debug)]
pub(super) struct Backlights(PathBuf);

impl Backlights {
    pub(super) fn new(sys: &Path) -> Self {
        Self(sys.join("class/backlight"))
    }

    fn each(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    /// Each with its brightness, for whoever puts it back.
    pub(super) fn found(&self) -> Vec<(String, u32)> {
        let found = self.each().into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, number(&path.join("brightness"))?))
        });
        found.collect()
    }

    /// Sets them; the first that could not be set is told of, after the others.
    pub(super) fn light(&self, backlight: Backlight) -> Result<(), Fault> {
        let mut first = Ok(());
        for path in self.each() {
            let largest = number(&path.join("max_brightness")).unwrap_or(0);
            let power = path.join("bl_power");
            if backlight != Backlight::Off && number(&power).is_some_and(|power| power != 0) {
                // FB_BLANK_UNBLANK (Documentation/ABI/stable/sysfs-class-backlight): a session may have switched it off by this.
                first = first.and(write(&power, 0));
            }
            let done = set(&path, level(backlight, largest));
            first = first.and(done);
        }
        first
    }

    pub(super) fn put_back(&self, found: &[(String, u32)]) -> Result<(), Fault> {
        let mut first = Ok(());
        for (name, brightness) in found {
            // A name is one folder of the class, whatever the note says.
            if name.contains('/') || name.starts_with('.') {
                continue;
            }
            // A session that had dimmed its panel away is not there any more to light it.
            if *brightness == 0 {
                continue;
            }
            first = first.and(set(&self.0.join(name), *brightness));
        }
        first
    }
}

/// At least one step while the panel shall be seen.
fn level(backlight: Backlight, largest: u32) -> u32 {
    match backlight {
        Backlight::Off => 0,
        Backlight::Percent(percent) => {
            let part = u64::from(largest) * u64::from(percent.min(100)) / 100;
            u32::try_from(part).unwrap_or(largest).max(1).min(largest)
        }
    }
}

fn number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn set(path: &Path, brightness: u32) -> Result<(), Fault> {
    write(&path.join("brightness"), brightness)
}

fn write(file: &Path, number: u32) -> Result<(), Fault> {
    let opened = fs::OpenOptions::new().write(true).open(file);
    let written = opened.and_then(|mut file| {
        // One write is one setting to the kernel.
        std::io::Write::write_all(&mut file, number.to_string().as_bytes())
    });
    written.map_err(|error| Fault::from_io(&format!("setting {}", file.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(sys: &Path, name: &str, brightness: &str, largest: &str) -> PathBuf {
        let folder = sys.join("class/backlight").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("brightness"), brightness).unwrap();
        fs::write(folder.join("max_brightness"), largest).unwrap();
        folder.join("brightness")
    }

    #[test]
    fn a_backlight_that_was_switched_off_shines_again_and_is_not_put_back_dark() {
        let sys = tempfile::tempdir().unwrap();
        let backlights = Backlights::new(sys.path());
        let file = panel(sys.path(), "backlight", "0\n", "1000\n");
        let power = file.with_file_name("bl_power");
        fs::write(&power, "4\n").unwrap();
        let found = backlights.found();
        backlights.light(Backlight::Percent(50)).unwrap();
        assert!(fs::read_to_string(&power).unwrap().starts_with('0'));
        backlights.put_back(&found).unwrap();
        assert!(fs::read_to_string(&file).unwrap().starts_with("500"));
    }

    #[test]
    fn every_backlight_is_set_to_its_part_and_put_back_as_it_was_found() {
        let sys = tempfile::tempdir().unwrap();
        let backlights = Backlights::new(sys.path());
        assert_eq!(backlights.light(Backlight::Percent(50)), Ok(()));
        let large = panel(sys.path(), "backlight", "0400\n", "1000\n");
        let small = panel(sys.path(), "keys", "1\n", "3\n");
        let found = backlights.found();
        assert_eq!(found, [("backlight".into(), 400), ("keys".into(), 1)]);
        backlights.light(Backlight::Percent(20)).unwrap();
        assert!(fs::read_to_string(&large).unwrap().starts_with("200"));
        assert!(fs::read_to_string(&small).unwrap().starts_with('1'));
        backlights.light(Backlight::Off).unwrap();
        assert!(fs::read_to_string(&large).unwrap().starts_with('0'));
        backlights.put_back(&found).unwrap();
        assert!(fs::read_to_string(&large).unwrap().starts_with("400"));
        fs::remove_file(small).unwrap();
        let missing = backlights.light(Backlight::Off);
        assert!(matches!(missing, Err(Fault::Absent(_))), "{missing:?}");
    }
}
