//! The files that homingd reads: what a person configured, and what another process left behind.

use homing_link::Endpoint;
use homingd::config::{self, Simulator};
use homingd::siren::intent;
use std::path::PathBuf;
use tempfile::TempDir;

thread_local! {
    /// A folder that one thread's runs write their one file to.
    static FOLDER: TempDir = TempDir::new().expect("a folder for the files that are read");
}

/// Writes the file and gives its place.
fn write(name: &str, bytes: &[u8]) -> PathBuf {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        path
    })
}

/// A configuration file: every fault is told in a sentence, or the settings are within their ranges. The broker's
/// address, which stands in a bundle, is read here too.
pub(crate) fn config(bytes: &[u8]) {
    let path = write("homingd.toml", bytes);
    if let Err(error) = config::load_file(&path, Simulator::Allowed) {
        assert!(!error.to_string().is_empty());
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
}

/// The siren's order.
pub(crate) fn siren_intent(bytes: &[u8]) {
    let path = write("intent.json", bytes);
    let folder = path.parent().expect("it lies in a folder");
    assert!(intent::load(folder).is_ok(), "a file can always be judged");
}
