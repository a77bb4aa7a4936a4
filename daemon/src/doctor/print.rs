//! The doctor's answer for people; it must not say more or less than the JSON.

use super::diagnosis::{Diagnosis, Found};

/// The answer as text, one fact a line.
pub(super) fn text(diagnosis: &Diagnosis) -> String {
    let enrolled = match diagnosis.enrolled {
        Some(true) => "enrolled",
        Some(false) => "not enrolled",
        None => "unknown whether enrolled",
    };
    let mut text = format!("homingd {}, {enrolled}\n\nDrivers\n", diagnosis.version);
    for driver in &diagnosis.drivers {
        let (mark, said) = match &driver.found {
            Found::Ready(detail) => ("ok  ", detail),
            Found::Unsupported(reason) => ("no  ", reason),
        };
        text.push_str(&format!(
            "  {mark}{:<9} {:<13} {said}\n",
            driver.capability, driver.driver
        ));
    }
    text.push_str("\nFeatures\n");
    for feature in &diagnosis.features {
        let (mark, uses) = match &feature.uses {
            Some(uses) => ("ok  ", uses.as_str()),
            None => ("no  ", "nothing on this phone"),
        };
        text.push_str(&format!("  {mark}{:<23} {uses}\n", feature.feature));
    }
    if diagnosis.weak.is_empty() {
        text.push_str("\nNothing is weak.\n");
        return text;
    }
    text.push_str("\nWeak\n");
    for weakness in &diagnosis.weak {
        text.push_str(&format!("  {}: {}\n", weakness.what, weakness.why));
    }
    text
}
