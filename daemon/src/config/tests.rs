//! Tests of the configuration as users meet it: files in, settings or sentences out.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use homing_hal::SirenDriver;

use super::*;
use crate::log::Level;

/// A folder with a main file and fragments.
struct Etc(TempDir);

impl Etc {
    fn new(main: &str) -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        fs::write(etc.main(), main).unwrap();
        etc
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("homingd.toml")
    }

    fn fragment(self, name: &str, text: &str) -> Self {
        let folder = self.0.path().join("homingd.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        self
    }

    fn load(&self, simulator: Simulator) -> Result<Settings, Vec<String>> {
        let source = Source {
            named: Some(self.main()),
            simulator,
        };
        match load(&source) {
            Ok(loaded) => Ok(loaded.settings),
            Err(Error::Config(faults)) => Err(faults
                .iter()
                .map(|fault| {
                    fault
                        .to_string()
                        .replace(&format!("{}/", self.0.path().display()), "")
                })
                .collect()),
            Err(other) => panic!("{other}"),
        }
    }
}

fn faults(main: &str) -> Vec<String> {
    Etc::new(main).load(Simulator::Refused).unwrap_err()
}

#[test]
fn an_empty_file_means_the_defaults() {
    let settings = Etc::new("").load(Simulator::Refused).unwrap();
    assert_eq!(settings.state_dir, PathBuf::from("/var/lib/homing"));
    assert_eq!(settings.runtime_dir, PathBuf::from("/run/homing"));
    assert_eq!(settings.log, Level::Info);
    assert_eq!(settings.locate.deadline, Duration::from_secs(90));
    assert_eq!(settings.ring.longest, Duration::from_secs(3600));
    assert_eq!(settings.beacon.interval, Duration::from_secs(900));
    assert_eq!(settings.mqtt.keep_alive, Duration::from_secs(240));
}

#[test]
fn every_key_is_read() {
    let text = "state_dir = '/a'\nruntime_dir = '/b'\nlog = 'debug'\n[locate]\ndeadline_s = 0x10\n\
                [ring]\nlongest_s = 1_000\n[beacon]\ninterval_s = 60\n[mqtt]\nkeep_alive_s = 30\n";
    let settings = Etc::new(text).load(Simulator::Refused).unwrap();
    assert_eq!(settings.state_dir, PathBuf::from("/a"));
    assert_eq!(settings.runtime_dir, PathBuf::from("/b"));
    assert_eq!(settings.log, Level::Debug);
    assert_eq!(settings.locate.deadline, Duration::from_secs(16));
    assert_eq!(settings.ring.longest, Duration::from_secs(1000));
    assert_eq!(settings.beacon.interval, Duration::from_secs(60));
    assert_eq!(settings.mqtt.keep_alive, Duration::from_secs(30));
}

#[test]
fn fragments_are_merged_in_the_order_of_their_names() {
    let etc = Etc::new("log = 'warn'\n[ring]\nlongest_s = 10\n")
        .fragment("20-late.toml", "[ring]\nlongest_s = 30\n")
        .fragment("10-early.toml", "log = 'error'\n[ring]\nlongest_s = 20\n")
        .fragment("30-other.conf", "this is not read")
        .fragment(".40-hidden.toml", "nor is this");
    let settings = etc.load(Simulator::Refused).unwrap();
    assert_eq!(settings.ring.longest, Duration::from_secs(30));
    assert_eq!(settings.log, Level::Error);
}

#[test]
fn an_unknown_key_or_section_is_a_fault_with_a_proposal_and_its_line() {
    assert_eq!(
        faults("\nstat_dir = '/a'\n"),
        ["homingd.toml:2: stat_dir: is unknown (did you mean \"state_dir\"?)"]
    );
    assert_eq!(
        faults("[ring]\n\nlongest = 5\n"),
        ["homingd.toml:3: ring.longest: is unknown (did you mean \"longest_s\"?)"]
    );
    assert_eq!(
        faults("[rnig]\n"),
        ["homingd.toml:1: rnig: is unknown (did you mean \"ring\"?)"]
    );
    assert_eq!(faults("[backup]\n"), ["homingd.toml:1: backup: is unknown"]);
}

#[test]
fn every_fault_is_told_not_only_the_first() {
    let etc = Etc::new("log = 'loud'\n[locate]\ndeadline_s = 'soon'\n[ring]\nlongest_s = 0\n")
        .fragment(
            "10.toml",
            "runtime_dir = 'run'\n[mqtt]\nkeep_alive_s = 70000\n",
        );
    assert_eq!(
        etc.load(Simulator::Refused).unwrap_err(),
        [
            "homingd.toml:1: log: must be one of error, warn, info, debug, trace",
            "homingd.toml:3: locate.deadline_s: must be a whole number, not a string",
            "homingd.toml:5: ring.longest_s: must be between 1 and 86400 seconds",
            "homingd.d/10.toml:1: runtime_dir: must be an absolute path",
            "homingd.d/10.toml:3: mqtt.keep_alive_s: must be between 5 and 65535 seconds",
        ]
    );
}

#[test]
fn numbers_out_of_any_range_are_faults_and_not_wrapped() {
    for number in ["-1", "1.5", "99999999999999999999999", "inf", "true"] {
        assert_eq!(
            faults(&format!("[ring]\nlongest_s = {number}\n")).len(),
            1,
            "{number}"
        );
    }
}

#[test]
fn a_section_written_as_a_value_is_explained() {
    assert_eq!(
        faults("ring = 5\n"),
        ["homingd.toml:1: ring: is a section: write [ring] and its keys below"]
    );
}

#[test]
fn broken_toml_is_a_fault_with_its_line() {
    let told = faults("log = 'info'\nring = [\n");
    assert!(told[0].starts_with("homingd.toml:"), "{told:?}");
    assert!(told[0].contains("is not valid TOML"), "{told:?}");
    assert!(faults("log = 'info'\nlog = 'warn'\n")[0].starts_with("homingd.toml:2:"));
}

#[test]
fn a_named_file_that_is_missing_or_binary_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let source = Source {
        named: Some(missing),
        simulator: Simulator::Refused,
    };
    assert!(
        load(&source)
            .unwrap_err()
            .to_string()
            .contains("missing.toml: cannot be read")
    );
    let etc = Etc::new("");
    fs::write(etc.main(), [0xff, 0xfe]).unwrap();
    assert!(etc.load(Simulator::Refused).unwrap_err()[0].contains("cannot be read"));
}

#[test]
fn the_simulator_needs_the_flag_on_the_command_line() {
    let etc =
        Etc::new("[hal]\nbackend = 'sim'\n").fragment("10.toml", "[hal.sim]\nsocket = '/s'\n");
    let told = etc.load(Simulator::Refused).unwrap_err();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("hal: the simulator is refused without --allow-simulator"),
        "{told:?}"
    );
    let settings = etc.load(Simulator::Allowed).unwrap();
    assert_eq!(settings.hal.sim.socket, Some(PathBuf::from("/s")));
    let position = Etc::new("[hal.position]\ndriver = 'simulator'\n");
    assert!(position.load(Simulator::Refused).is_err());
}

#[test]
fn a_geolocation_service_that_is_no_address_is_a_fault() {
    let told = faults("[hal.position]\ngeolocation = 'http://example.org/'\n");
    assert!(
        told[0].contains("hal.position.geolocation: the address must begin with https://"),
        "{told:?}"
    );
}

#[test]
fn faults_of_the_hal_section_carry_their_line_and_a_proposal() {
    let told = faults("[hal]\nbackend = 'linux'\nbackemd = 'sim'\n");
    assert_eq!(
        told,
        ["homingd.toml:3: hal: \"backemd\" is unknown (did you mean \"backend\"?)"]
    );
}

#[test]
fn no_input_makes_the_reader_panic() {
    let valid =
        "log = 'info'\n[hal]\nbackend = 'sim'\n[hal.sim]\nsocket = '/s'\n[ring]\nlongest_s = 5\n";
    for end in 0..valid.len() {
        drop(Etc::new(&valid[..end]).load(Simulator::Refused));
    }
    for position in 0..valid.len() {
        for byte in *b"[]'=\n{\"9" {
            let mut mutated = valid.as_bytes().to_vec();
            mutated[position] = byte;
            drop(Etc::new(&String::from_utf8(mutated).unwrap()).load(Simulator::Refused));
        }
    }
}

#[test]
fn the_manual_page_explains_every_key() {
    let manual = include_str!("../../../docs/man/homingd.toml.5.md");
    for key in &KEYS {
        assert!(
            manual.contains(&format!("**{}**", key.name)),
            "{}",
            key.name
        );
    }
}

#[test]
fn the_shipped_configuration_is_valid_and_shows_every_key_with_its_default() {
    let shipped = include_str!("../../../systemd/etc/homing/homingd.toml");
    Etc::new(shipped).load(Simulator::Refused).unwrap();
    let shown = shipped
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.contains(" = "))
                .unwrap_or(line)
        })
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    let mut settings = Etc::new(&shown).load(Simulator::Refused).unwrap();
    // Nothing said means the backend's own, which is what the file shows for a phone.
    assert_eq!(settings.hal.siren.driver.take(), Some(SirenDriver::Alsa));
    // Nothing said of these means what belongs to the folders above them.
    let built_in = Settings::default();
    assert_eq!(settings.actor_dir.take(), Some(built_in.actor_dir()));
    assert_eq!(settings.actor_socket.take(), Some(built_in.actor_socket()));
    assert_eq!(format!("{settings:?}"), format!("{built_in:?}"));
    let shown: toml::Table = toml::from_str(&shown).unwrap();
    for key in &KEYS {
        let found = match key.name.split_once('.') {
            Some((section, name)) => shown.get(section).and_then(|section| section.get(name)),
            None => shown.get(key.name),
        };
        assert!(found.is_some(), "{}", key.name);
    }
}
