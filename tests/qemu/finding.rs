//! The phone joins, is found through a real gpsd, and needs little memory.

use crate::household::{Home, connected_after, every_kit, figures};
use e2e::{Fittings, Guest, PHONE, SerialReceiver};
use serde_json::{Value, json};

#[test]
fn an_arm_phone_joins_and_is_located_through_a_serial_receiver_and_a_real_gpsd() {
    let Some(kit) = every_kit() else { return };
    let binary_bytes = std::fs::metadata(kit.homingd()).map_or(0, |data| data.len());
    let mut home = Home::enrolled(kit, Fittings::default());
    let joined_s = connected_after(home.guest()).as_secs_f64();
    let _receiver = home.guest().receiver();

    let found = home.ask(&["locate", PHONE, "--wait", "90s"]);
    is_at_the_receiver(&found);
    // A sign of life with the battery's and the network's state came too.
    let devices = home.ask(&["devices"]);
    assert!(devices["last_contact"].is_string(), "{devices}");

    figures(&json!({
        "first boot to connected, s": joined_s,
        "agent": memory(home.guest()),
        "homingd, bytes": binary_bytes,
    }));
}

/// What the agent may hold of memory after a search: 4 MiB.
const MOST_RESIDENT_KIB: u64 = 4096;

/// What the agent holds of memory, measured inside: from outside it would be the emulator's.
#[track_caller]
pub(crate) fn memory(guest: &mut Guest) -> Value {
    let rollup = guest
        .run("for p in $(pidof homingd); do grep -q agent /proc/$p/cmdline && cat /proc/$p/smaps_rollup; done; true")
        .expect_success();
    let kib = |key: &str| {
        let line = rollup.text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no {key} in {}", rollup.text))
    };
    let resident = kib("Rss:");
    // The program of quick builds is larger, and half of what is resident are its pages.
    if std::env::var_os("HOMING_TEST_GUEST_IS_PHONES").is_some() {
        assert!(resident <= MOST_RESIDENT_KIB, "{}", rollup.text);
    }
    json!({
        "resident, KiB": resident,
        "share, KiB": kib("Pss:"),
        "anonymous, KiB": kib("Anonymous:"),
    })
}

/// Within some ten metres of where the receiver is.
#[track_caller]
pub(crate) fn is_at_the_receiver(found: &Value) {
    let off = |key: &str, truth: f64| (found[key].as_f64().unwrap_or(f64::NAN) - truth).abs();
    assert!(
        off("latitude", SerialReceiver::LATITUDE_DEG) < 1e-4,
        "{found}"
    );
    assert!(
        off("longitude", SerialReceiver::LONGITUDE_DEG) < 1e-4,
        "{found}"
    );
}
