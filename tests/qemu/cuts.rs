//! Power cuts at any moment of a phone being taken and of its being given back. It must not wait for a good moment.

use crate::household::{Home, Machine, figures};
use crate::lost::{IN_USE, has_notice, is_in_use, is_lost, says, settled};
use crate::system::system;
use e2e::{Firmware, Fittings, GUEST_PATIENCE, Panel, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How many cuts; `HOMING_CAMPAIGN_COUNT=20 cargo xtask qemu no_power_cut` is the campaign.
const COUNT: &str = "HOMING_CAMPAIGN_COUNT";
const FEW: u32 = 4;
/// Taking an emulated phone lasts about as long, and so does giving it back: no cut comes later.
const LATEST: Duration = Duration::from_secs(16);

/// From the order to the cut. The golden ratio's multiples fill the time evenly, however many there are.
fn moment(number: u32) -> Duration {
    LATEST.mul_f64((f64::from(number + 1) * 0.618_033_988_75).fract())
}

/// Cuts so long after `began`, and starts the phone again. Returns what was to be seen of the episode just before, and what at the
/// first moment somebody could look.
#[track_caller]
fn cut(home: &mut Home, began: Instant, after: Duration) -> [Value; 2] {
    let mut seen = json!(null);
    wait_until(GUEST_PATIENCE, "the moment of the cut", || {
        seen = look(home);
        (began.elapsed() >= after).then_some(())
    });
    home.power_cut();
    let _ = home.boot();
    let first = look(home);
    // A notice that was there has reached the disk: such a phone starts lost, and nobody's session begins while it is there. One that
    // was just being written may be written again after the start; `settled` waits for that.
    let mut now = first.clone();
    if seen["notice"] == true {
        wait_until(GUEST_PATIENCE, "the phone to start lost", || {
            let is_open = now["notice"] == true && now["session"] == true;
            assert!(!is_open, "lost and open at once: {now}");
            let is_over = now["notice"] == false || now["target"] == true;
            now = look(home);
            is_over.then_some(())
        });
    }
    [seen, first]
}

/// The episode, as the phone's own files and units show it.
fn look(home: &mut Home) -> Value {
    let guest = home.guest();
    json!({
        "notice": has_notice(guest),
        "target": says(guest, "systemctl is-active homing-lost.target") == "active",
        "session": says(guest, "loginctl list-sessions --no-legend").contains("person"),
    })
}

#[test]
fn no_power_cut_leaves_a_phone_open_and_lost_at_once() {
    let Some(kit) = system() else { return };
    let count = std::env::var(COUNT)
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(FEW);
    let fittings = Fittings {
        panel: Panel::Virtio,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(Machine::System(kit, Firmware::None), fittings);
    let _ = home.guest().run(IN_USE).expect_success();
    is_in_use(home.guest(), None);
    for number in 0..count {
        let after = moment(number);
        let began = Instant::now();
        let is_taken = number % 2 == 0;
        let ending = if is_taken {
            home.lose();
            None
        } else {
            Some(home.is_found())
        };
        let [before, first] = cut(&mut home, began, after);
        settled(&mut home);
        // An order outlives the cut: it is carried out once the phone is reached again.
        home.wait_connected();
        home.wait_notice(is_taken);
        if is_taken {
            is_lost(home.guest());
        } else {
            is_in_use(home.guest(), None);
        }
        drop(ending);
        figures(&json!({
            "cut": number + 1,
            "while it is": if is_taken { "taken" } else { "given back" },
            "after the order, s": (after.as_secs_f64() * 10.0).round() / 10.0,
            "just before": before,
            "after the start": first,
            "at the end": if is_taken { "wholly lost" } else { "wholly its user's" },
        }));
    }
}
