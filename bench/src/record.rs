//! One benchmark's result as JSON: where it was made, with what, and its figures. It must not round away what was measured nor judge it.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{foreign, ours};
use serde_json::{Map, Value, json};

use crate::error::{Error, unreadable};
use crate::samples::Samples;

/// The folder of the results, from the project's folder.
pub(crate) const FOLDER: &str = "bench/results";

/// A result in the making.
#[derive(Debug)]
pub(crate) struct Record {
    name: &'static str,
    settings: Map<String, Value>,
    /// What was measured, where that is not the household.
    versions: Map<String, Value>,
    figures: Map<String, Value>,
}

impl Record {
    /// Begins the result of this benchmark.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            settings: Map::new(),
            versions: Map::new(),
            figures: Map::new(),
        }
    }

    /// Notes how it was measured.
    pub(crate) fn setting(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Notes a program that was measured: what it says when it is asked for its version.
    pub(crate) fn program(&mut self, name: &str, path: &Path, question: &[&str]) {
        self.versions
            .insert(name.to_owned(), said_by(path, question).into());
    }

    /// Adds a figure and shows it.
    pub(crate) fn figure(&mut self, name: &str, unit: &str, samples: &Samples) {
        let mut value = samples.json();
        value["unit"] = unit.into();
        eprintln!(
            "  {name}: median {} p99 {} max {} {unit} (n {})",
            value["median"], value["p99"], value["max"], value["n"]
        );
        self.figures.insert(name.to_owned(), value);
    }

    /// Adds a figure that was measured once.
    pub(crate) fn number(&mut self, name: &str, unit: &str, number: f64) {
        self.figure(name, unit, &Samples::one(number));
    }

    /// Writes the result into [`FOLDER`].
    ///
    /// # Errors
    /// The folder is not there: the benchmark must be started from the project's folder.
    pub(crate) fn write(self, scratch: &Path) -> Result<(), Error> {
        let versions = match self.versions.is_empty() {
            true => versions(),
            false => Value::Object(self.versions),
        };
        let whole = json!({
            "bench": self.name,
            "date": said("date", &["-u", "+%Y-%m-%d"]),
            "commit": said("git", &["rev-parse", "--short", "HEAD"]),
            "machine": machine(scratch),
            "versions": versions,
            "settings": self.settings,
            "figures": self.figures,
        });
        let path = path(self.name);
        let text = serde_json::to_string_pretty(&whole).map_err(|_| unreadable("the result"))?;
        std::fs::write(&path, text + "\n").map_err(|source| Error::Write { path, source })
    }
}

/// Reads the result of a benchmark, if it was ever run here.
///
/// # Errors
/// It is damaged.
pub(crate) fn load(name: &str) -> Result<Option<Value>, Error> {
    let path = path(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| unreadable(&path.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.json"))
}

fn machine(scratch: &Path) -> Value {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    json!({
        "processor": line_of("/proc/cpuinfo", "model name"),
        "cores": cores,
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "kernel": release(&read("/proc/sys/kernel/osrelease")),
        "architecture": std::env::consts::ARCH,
        // Of the last minute and of the last quarter of an hour: what else ran beside the benchmark.
        "load": first_line(&read("/proc/loadavg")),
        "file_system": said("stat", &["-f", "-c", "%T", &scratch.display().to_string()]),
    })
}

fn versions() -> Value {
    json!({
        "homingd": said_by(&ours("homingd"), &["--version"]),
        "homing": said_by(&ours("homing"), &["--version"]),
        "mosquitto": said_by(&foreign("mosquitto"), &["-h"]),
        "mosquitto_sub": said_by(&foreign("mosquitto_sub"), &["--version"]),
        "rustc": said("rustc", &["--version"]),
    })
}

fn said(program: &str, words: &[&str]) -> String {
    said_by(Path::new(program), words)
}

/// The first line a program prints, on either output; empty when it is not there.
fn said_by(program: &Path, words: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(words).output() else {
        return String::new();
    };
    let spoken = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    first_line(&String::from_utf8_lossy(&spoken))
}

fn line_of(path: &str, name: &str) -> String {
    read(path)
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Major and minor number: what follows them names a build, and says nothing of speed.
fn release(text: &str) -> String {
    let numbers: Vec<_> = text.trim().splitn(3, '.').take(2).collect();
    numbers.join(".")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
