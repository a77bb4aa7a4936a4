//! One phone's life in one story, short enough for every run of the tests: it joins, is found, rings, loses its power and comes back.

use crate::finding::is_at_the_receiver;
use crate::household::{Home, connected_after, figures, kit};
use crate::sound::{contents, hush, is_the_siren};
use e2e::{Fittings, GUEST_PATIENCE, PHONE, Recording, Sound, wait_until};
use serde_json::json;
use std::time::Duration;

/// Longer than the story: the owner ends it.
const RING: &str = "600s";

#[test]
fn an_arm_phone_joins_is_found_rings_on_its_sound_card_and_outlives_a_power_cut() {
    let Some(kit) = kit() else { return };
    let fittings = Fittings {
        sound: Sound::Usb,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(kit, fittings);
    let joined_s = connected_after(home.guest()).as_secs_f64();
    let receiver = home.guest().receiver();
    let order = home.order_position();
    assert_eq!(home.wait_end(&order), "done");
    is_at_the_receiver(&home.wait_position());

    let wav = home.guest().recording();
    hush(home.guest());
    let before = contents(home.guest());
    let ring = home
        .owner
        .start("ring", &["ring", PHONE, "--for", RING, "--json"]);
    wait_until(GUEST_PATIENCE, "the siren in the recording", || {
        (Recording::read(&wav).sounding() >= Duration::from_secs(1)).then_some(())
    });
    home.stop_ringing();
    drop(ring);
    assert_eq!(contents(home.guest()), before, "as the user had left it");
    is_the_siren(&Recording::read(&wav));
    let first_life = home.guest().processor_time();
    drop(receiver);

    home.power_cut();
    let order = home.order_position();
    let guest = home.boot();
    let again_s = connected_after(guest).as_secs_f64();
    let _receiver = guest.receiver();
    assert_eq!(guest.status()["enrolled"], "yes");
    assert_eq!(home.wait_end(&order), "done");
    let second_life = home.guest().processor_time();
    figures(&json!({
        "first boot to connected, s": joined_s,
        "boot to connected, s": again_s,
        "QEMU's processor time, s": (first_life + second_life).as_secs_f64(),
    }));
}
