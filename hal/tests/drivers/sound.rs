//! The driver for real sound cards under the conformance suite, where there is a card and it may be taken. It plays silence.

use std::path::Path;

use homing_hal::capability::siren::SoundCard;
use homing_hal::conformance;
use homing_hal::fault::{Fault, Probe, Roots};
use homing_hal::linux::alsa::AlsaCard;

/// Set where the card may be taken from whoever has it: the suite would end a developer's music.
const MAY_TAKE: &str = "HOMING_TEST_SOUND_CARD";

#[test]
fn a_real_sound_card_conforms_where_there_is_one() {
    if std::env::var_os(MAY_TAKE).is_none() || !Path::new("/dev/snd").is_dir() {
        eprintln!("SKIPPED: no sound card here, or {MAY_TAKE} does not say that it may be taken");
        return;
    }
    conformance::a_working_sound_card(&mut AlsaCard::new(&Roots::default()));
}

#[test]
fn a_phone_without_a_sound_card_is_told_so_at_once() {
    let empty = tempfile::tempdir().unwrap();
    let roots = Roots {
        dev: empty.path().into(),
        ..Roots::default()
    };
    let mut card = AlsaCard::new(&roots);
    let Probe::Unsupported { reason } = card.probe() else {
        panic!("{}", card.probe())
    };
    assert!(reason.contains("no sound card"), "{reason}");
    assert!(matches!(card.open().err(), Some(Fault::Absent(_))));
    assert!(card.weak_points().is_empty());
}
