//! `homingd check-config`: the configuration's faults, all at once; it must not open a device or a socket.

use std::ffi::OsString;
use std::path::Path;

use crate::config::{self, Source};
use crate::error::Error;
use crate::exit::ExitError;

/// Checks the configuration in force, or each of `files` alone, and prints a line for each that is well.
///
/// # Errors
/// Exit status 78 with every fault of every file.
pub fn run(source: &Source, files: &[OsString]) -> Result<(), ExitError> {
    let mut answer = String::new();
    let mut faults = Vec::new();
    if files.is_empty() {
        match config::load(source) {
            Ok(loaded) => answer = describe(&loaded.files),
            Err(Error::Config(found)) => faults.extend(found),
            Err(other) => return Err(other.into()),
        }
    }
    for file in files.iter().map(Path::new) {
        match config::load_file(file, source.simulator) {
            Ok(_) => answer.push_str(&format!(
                "{}: OK
",
                file.display()
            )),
            Err(Error::Config(found)) => faults.extend(found),
            Err(other) => return Err(other.into()),
        }
    }
    crate::print(&answer)?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::Config(faults).into())
    }
}

fn describe(files: &[std::path::PathBuf]) -> String {
    if files.is_empty() {
        return format!(
            "OK: {} is not there, the built-in defaults are in force\n",
            config::DEFAULT_PATH
        );
    }
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    format!("OK: {}\n", names.join(", "))
}
