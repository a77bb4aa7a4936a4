//! The siren on a real sound card: heard in QEMU's recording, whoever mutes it and whoever dies, and the mixer as before.

use crate::household::{Home, every_kit};
use e2e::{Fittings, GUEST_PATIENCE, Guest, PHONE, Recording, Sound, wait_until};
use serde_json::json;
use std::time::{Duration, Instant};

/// The card's own controls, by the numbers that `amixer -c 0 contents` gives them.
const SWITCH: u32 = 2;
const VOLUME: u32 = 3;

/// Longer than the story: an emulated phone on a busy machine plays a second of sound in ten, and the owner ends it.
const RING: &str = "600s";
/// The most of the sound that may have been muted, one part in so many. With the controls locked it is none; without
/// the lock it was one part in six, although the hand is slow here.
const MUTED_PART: u32 = 50;

#[test]
fn a_muted_phone_is_heard_on_its_sound_card_whoever_mutes_or_dies_and_left_as_it_was() {
    let Some(kit) = every_kit() else { return };
    let fittings = Fittings {
        sound: Sound::Usb,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(kit, fittings);
    let wav = home.guest().recording();
    let doctor = home.guest().run("homingd doctor").expect_success().text;
    assert!(doctor.contains("QEMU USB Audio"), "{doctor}");
    hush(home.guest());
    let before = contents(home.guest());
    start_muting(home.guest());

    let ordered = Instant::now();
    let ring = home
        .owner
        .start("ring", &["ring", PHONE, "--for", RING, "--json"]);
    let heard = |more: Duration| {
        let wanted = Recording::read(&wav).sounding() + more;
        wait_until(GUEST_PATIENCE, "more of the siren in the recording", || {
            (Recording::read(&wav).sounding() >= wanted).then_some(())
        });
    };
    heard(Duration::from_millis(10));
    let first_heard = ordered.elapsed();
    heard(Duration::from_secs(1));
    kill(home.guest(), "agent");
    heard(Duration::from_millis(500));
    kill(home.guest(), "siren");
    heard(Duration::from_millis(500));
    home.wait_connected();
    home.stop_ringing();
    drop(ring);

    let refused = stop_muting(home.guest());
    assert!(refused > 0, "nobody was refused, so nothing was tried");
    assert_eq!(contents(home.guest()), before, "as the user had left it");
    let recording = Recording::read(&wav);
    is_the_siren(&recording);
    println!(
        "FIGURES {}",
        json!({
            "order to first sound, s": first_heard.as_secs_f64(),
            "level, dBFS": recording.level_dbfs(),
            "sounding, s": recording.sounding().as_secs_f64(),
            "muted, s": recording.muted().as_secs_f64(),
            "times that a hand was refused": refused,
        })
    );
}

/// Muted and nearly at volume 0.
pub(crate) fn hush(guest: &mut Guest) {
    let quiet =
        format!("amixer -q -c 0 cset numid={SWITCH} off && amixer -q -c 0 cset numid={VOLUME} 20");
    let _ = guest.run(&quiet).expect_success();
}

/// The whole mixer in words.
pub(crate) fn contents(guest: &mut Guest) -> String {
    guest.run("amixer -c 0 contents").expect_success().text
}

/// Root's hand on the mute switch, ten times a second as far as the guest is quick enough.
fn start_muting(guest: &mut Guest) {
    let hand = format!(
        "while [ ! -e /tmp/enough ]; do \
           amixer -q -c 0 cset numid={SWITCH} off || echo refused >>/tmp/refused; \
           sleep 0.1; \
         done"
    );
    let line = format!("(sh -c '{hand}; touch /tmp/gone') </dev/null >/dev/null 2>&1 &");
    let _ = guest.run(&line).expect_success();
}

/// How often the hand was refused.
fn stop_muting(guest: &mut Guest) -> u32 {
    let _ = guest.run("touch /tmp/enough").expect_success();
    wait_until(GUEST_PATIENCE, "the hand to be taken away", || {
        (guest.run("[ -e /tmp/gone ]").code == 0).then_some(())
    });
    let count = guest.run("grep -c . /tmp/refused");
    count.text.trim().parse().unwrap_or(0)
}

/// SIGKILL to one of homingd's processes; init starts it again.
pub(crate) fn kill(guest: &mut Guest, subcommand: &str) {
    let before = process_of(guest, subcommand);
    let _ = guest.run(&format!("kill -9 {before}")).expect_success();
    let again = format!("another {subcommand} than process {before}");
    wait_until(GUEST_PATIENCE, &again, || {
        (process_of(guest, subcommand) != before).then_some(())
    });
}

/// Waits until there is one `homingd SUBCOMMAND`; returns its number.
fn process_of(guest: &mut Guest, subcommand: &str) -> String {
    let line = format!(
        "for process in $(pidof homingd); do \
           grep -q {subcommand} /proc/$process/cmdline && echo $process; \
         done; true"
    );
    wait_until(GUEST_PATIENCE, &format!("homingd {subcommand}"), || {
        let found = guest.run(&line).text;
        found.trim().parse::<u32>().ok().map(|pid| pid.to_string())
    })
}

/// A sweep from 2 to 4 kHz at full scale that nobody muted.
pub(crate) fn is_the_siren(recording: &Recording) {
    let level = recording.level_dbfs();
    assert!((-4.5..=0.0).contains(&level), "{level} dBFS");
    let (muted, sounding) = (recording.muted(), recording.sounding());
    assert!(
        muted * MUTED_PART <= sounding,
        "{muted:?} of {sounding:?} were muted"
    );
    let tones = recording.tones();
    let inside = tones
        .iter()
        .filter(|tone| (1_900..=4_100).contains(*tone))
        .count();
    assert!(
        inside * 100 >= tones.len() * 97,
        "{inside} of {} pieces sound between 2 and 4 kHz",
        tones.len()
    );
    // Every second of it reaches both ends.
    for second in tones.chunks_exact(100) {
        let (low, high) = (second.iter().min(), second.iter().max());
        assert!(
            low <= Some(&2_200) && high >= Some(&3_800),
            "a sweep from {low:?} to {high:?}"
        );
    }
}
