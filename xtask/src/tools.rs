//! Finds the real broker, gpsd, restic, strace and message bus that the tests and the demo start. Installs nothing into the system and starts nothing.

use crate::{debian, house};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A foreign program the tests start: its name, the variable that tells them where it is, its Debian package.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) package: &'static str,
}

/// Everything foreign that `./test` and `./demo` start.
pub(crate) static TOOLS: [Tool; 7] = [
    Tool {
        program: "mosquitto",
        variable: "HOMING_TEST_MOSQUITTO",
        package: "mosquitto",
    },
    Tool {
        program: "mosquitto_sub",
        variable: "HOMING_TEST_MOSQUITTO_SUB",
        package: "mosquitto-clients",
    },
    Tool {
        program: "mosquitto_pub",
        variable: "HOMING_TEST_MOSQUITTO_PUB",
        package: "mosquitto-clients",
    },
    Tool {
        program: "gpsd",
        variable: "HOMING_TEST_GPSD",
        package: "gpsd",
    },
    Tool {
        program: "restic",
        variable: "HOMING_TEST_RESTIC",
        package: "restic",
    },
    Tool {
        program: "strace",
        variable: "HOMING_TEST_STRACE",
        package: "strace",
    },
    Tool {
        program: "dbus-daemon",
        variable: "HOMING_TEST_DBUS_DAEMON",
        package: "dbus-daemon",
    },
];

/// The peer of the archive's benchmark that can be unpacked. borg, in Python, is used where it is installed.
pub(crate) fn peers() -> &'static [Tool] {
    &TOOLS[4..5]
}

/// What a household needs: the demo does without the judges of the archive and of failing disks, which stand last.
pub(crate) fn household() -> &'static [Tool] {
    &TOOLS[..4]
}

/// Variable name → path, for the environment of tests and demo.
pub(crate) type Found = BTreeMap<&'static str, PathBuf>;

/// Finds each tool: its variable, PATH and the daemons' folders, what was unpacked earlier; else unpacks Debian's packages.
///
/// # Errors
/// One sentence naming the packages to install.
pub(crate) fn provide(tools: &'static [Tool]) -> Result<Found, String> {
    let store = house::target().join("tools");
    let missing = missing(tools, &store);
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
        house::announce(&format!(
            "unpacking {} under {}",
            names.join(", "),
            store.display()
        ));
        debian::unpack(&missing, &store)
            .map_err(|error| format!("{error}. {}", sentence(&missing)))?;
    }
    let mut found = Found::new();
    for tool in tools {
        let path = find(tool, &store).ok_or_else(|| sentence(&[tool]))?;
        found.insert(tool.variable, path);
    }
    Ok(found)
}

/// `cargo xtask tools`.
///
/// # Errors
/// As [`provide`].
pub(crate) fn print() -> Result<(), String> {
    for (variable, path) in provide(&TOOLS)? {
        println!("{variable}={}", path.display());
    }
    Ok(())
}

fn find(tool: &Tool, store: &std::path::Path) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os(tool.variable) {
        return Some(PathBuf::from(given));
    }
    let unpacked = store.join("bin").join(tool.program);
    house::program(tool.program).or_else(|| unpacked.is_file().then_some(unpacked))
}

fn missing(tools: &'static [Tool], store: &std::path::Path) -> Vec<&'static Tool> {
    tools
        .iter()
        .filter(|tool| find(tool, store).is_none())
        .collect()
}

/// Debian's packages by name; what the other distributions call those of a household, too.
fn sentence(missing: &[&Tool]) -> String {
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let elsewhere = match missing.iter().any(|tool| tool.program.starts_with("mosq")) {
        true => {
            ", `apk add mosquitto mosquitto-clients gpsd` (Alpine, postmarketOS), \
             `dnf install mosquitto gpsd` (Fedora) or `pacman -S mosquitto gpsd` (Arch)"
        }
        false => "; elsewhere in the package that holds it",
    };
    format!(
        "{} must be installed for this: `apt-get install {}` (Debian, Mobian){elsewhere}",
        programs.join(", "),
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_was_unpacked_earlier_is_found_without_path() {
        let store = tempfile::tempdir().unwrap();
        let tool = Tool {
            program: "homing-no-such-tool",
            variable: "HOMING_TEST_NO_SUCH_TOOL",
            package: "none",
        };
        assert!(find(&tool, store.path()).is_none());
        std::fs::create_dir(store.path().join("bin")).unwrap();
        std::fs::write(store.path().join("bin").join(tool.program), "#!/bin/sh\n").unwrap();
        assert!(find(&tool, store.path()).is_some());
    }

    #[test]
    fn the_sentence_names_the_programs_and_the_packages() {
        let sentence = sentence(&[&TOOLS[0], &TOOLS[3]]);
        assert!(sentence.starts_with("mosquitto, gpsd must be installed"));
        assert!(sentence.contains("`apt-get install mosquitto gpsd`"));
        let other = Tool {
            program: "mcopy",
            variable: "",
            package: "mtools",
        };
        let sentence = super::sentence(&[&other]);
        assert!(sentence.contains("`apt-get install mtools`") && !sentence.contains("mosquitto"));
    }
}
