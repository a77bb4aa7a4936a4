//! Ring and stop, row by row.

use crate::house::*;
use homing_policy::{Effect, Event, SirenPhase};
use homing_protocol::receipt::CommandState::*;

const ENDED: SirenPhase<'static> = SirenPhase::Ended;
const SOUNDING: SirenPhase<'static> = SirenPhase::Sounding;

#[test]
fn a_ring_is_written_down_then_sounds_then_is_done() {
    let (house, mut phone) = (House::new(), Phone::new());
    let effects = phone.receive(&house.sign(&ring(1, 1)));
    assert_eq!(
        effects,
        [Effect::Sound {
            ring: command_id(1),
            boot: phone.now.boot,
            deadline_ms: phone.now.boottime_ms + 60_000
        }]
    );
    assert_eq!(phone.said(1), [Accepted]);
    let _ = phone.siren(1, SOUNDING);
    let _ = phone.siren(1, SOUNDING);
    assert_eq!(phone.said(1), [Accepted, Running]);
    let _ = phone.siren(1, ENDED);
    let _ = phone.siren(1, ENDED);
    let _ = phone.siren(1, SOUNDING);
    assert_eq!(phone.said(1), [Accepted, Running, Done]);
}

#[test]
fn a_ring_that_cannot_be_written_down_does_not_sound_and_may_come_again() {
    let (house, mut phone) = (House::new(), Phone::new());
    let before = phone.clone();
    let order = house.sign(&ring(1, 1));
    phone.journal.is_broken = true;
    assert!(phone.receive(&order).is_empty());
    assert_eq!(phone.state, before.state);
    phone.journal.is_broken = false;
    assert!(sounds(&phone.receive(&order), 1));
}

#[test]
fn a_siren_that_never_sounded_is_a_failure_with_a_sentence() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1)));
    let _ = phone.siren(1, SirenPhase::Failing("the card is busy"));
    assert_eq!(phone.said(1), [Accepted]);
    let _ = phone.siren(1, ENDED);
    assert_eq!(phone.said(1), [Accepted, Failed]);
}

#[test]
fn a_dead_siren_process_is_noticed_after_the_deadline() {
    // Not even a siren that began to sound is said to have done it: it may have died after its first second.
    for (phase, sentence) in [
        (None, "did not answer"),
        (Some(SOUNDING), "never said that it ended"),
    ] {
        let (house, mut phone) = (House::new(), Phone::new());
        let _ = phone.receive(&house.sign(&ring(1, 1)));
        if let Some(phase) = phase {
            let _ = phone.siren(1, phase);
        }
        phone.later(64_000);
        assert!(phone.hear(&Event::Tick).is_empty());
        phone.later(2_000);
        assert!(silences(&phone.hear(&Event::Tick)));
        assert_eq!(phone.said(1).last(), Some(&Failed));
        let told = phone.told(1).expect("a sentence");
        assert!(told.contains(sentence), "{told}");
        assert!(phone.hear(&Event::Tick).is_empty());
    }
}

#[test]
fn a_ring_sounds_no_longer_than_the_phones_configuration_allows() {
    let (house, mut phone) = (House::new(), Phone::new());
    let deadline = |effects: &[Effect]| match effects {
        [Effect::Sound { deadline_ms, .. }, ..] => *deadline_ms,
        other => panic!("{other:?}"),
    };
    let configured = Event::Configured { ring_longest_s: 5 };
    let _ = phone.hear(&configured);
    let rows = phone.journal.records.len();
    let _ = phone.hear(&configured);
    assert_eq!(phone.journal.records.len(), rows, "the same is no news");
    let end = deadline(&phone.receive(&house.sign(&ring(1, 1))));
    assert_eq!(end, phone.now.boottime_ms + 5_000);
    // The judge knows that end: it waits no longer than that for the siren's word, nor after a restart of the phone.
    phone.later(10_001);
    assert!(silences(&phone.hear(&Event::Tick)));
    let _ = phone.receive(&house.sign(&ring(2, 2)));
    let again = deadline(&phone.reboot());
    assert_eq!(again, phone.now.boottime_ms + 5_000);
    phone.check_facts();
}

#[test]
fn an_order_to_the_siren_that_was_lost_is_given_again_with_the_same_deadline() {
    let (house, mut phone) = (House::new(), Phone::new());
    let first = phone.receive(&house.sign(&ring(1, 1)));
    phone.later(1_000);
    assert_eq!(phone.hear(&Event::Tick), first);
    let _ = phone.siren(1, SOUNDING);
    assert!(phone.hear(&Event::Tick).is_empty());
}

#[test]
fn a_stop_ends_what_sounds_and_is_done_when_it_is_silent() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1)));
    let _ = phone.siren(1, SOUNDING);
    assert!(silences(&phone.receive(&house.sign(&stop(2, 2, &[1])))));
    assert_eq!(phone.said(1), [Accepted, Running, Cancelled]);
    assert_eq!(phone.said(2), [Running]);
    assert!(
        silences(&phone.hear(&Event::Tick)),
        "until the siren is silent it is told again"
    );
    let _ = phone.siren(1, ENDED);
    assert_eq!(phone.said(2), [Running, Done]);
    assert!(phone.hear(&Event::Tick).is_empty());
}

#[test]
fn a_second_stop_is_not_done_either_before_it_is_silent() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1)));
    let _ = phone.siren(1, SOUNDING);
    for seq in [2, 3] {
        let id = u8::try_from(seq).unwrap();
        assert!(silences(&phone.receive(&house.sign(&stop(seq, id, &[1])))));
        assert_eq!(phone.said(id), [Running]);
    }
    let _ = phone.siren(1, ENDED);
    assert_eq!(phone.said(2), [Running, Done]);
    assert_eq!(phone.said(3), [Running, Done]);
}

#[test]
fn a_stop_without_a_ring_is_done_and_still_silences() {
    let (house, mut phone) = (House::new(), Phone::new());
    assert!(silences(&phone.receive(&house.sign(&stop(1, 1, &[])))));
    assert_eq!(phone.said(1), [Done]);
}

#[test]
fn a_stop_that_was_held_up_spares_a_newer_ring_that_it_does_not_name() {
    for (named, is_spared) in [(&[][..], true), (&[7], true), (&[1], false)] {
        let (house, mut phone) = (House::new(), Phone::new());
        let _ = phone.receive(&house.sign(&ring(5, 1)));
        let effects = phone.receive(&house.sign(&stop(2, 9, named)));
        assert_eq!(silences(&effects), !is_spared, "{named:?}");
        // What it stops may still sound, until something newer does.
        assert_eq!(phone.said(9), [Running], "{named:?}");
        let _ = phone.siren(1, if is_spared { SOUNDING } else { ENDED });
        assert_eq!(phone.said(9), [Running, Done], "{named:?}");
    }
}

#[test]
fn a_stop_that_overtakes_its_ring_cancels_it_by_name_or_by_number() {
    let by_number = |seq, ring_session| (stop(seq, 9, &[]), ring(1, 1).by(0, ring_session));
    let rows = [
        ((stop(5, 9, &[1]).by(1, 7), ring(1, 1)), false),
        (by_number(2, 1), false),
        // Another session's numbers say nothing about this ring.
        (by_number(2, 2), true),
        // A ring that was given after the stop.
        ((stop(1, 9, &[]), ring(2, 1)), true),
    ];
    for ((stop, ring), loud) in rows {
        let (house, mut phone) = (House::new(), Phone::new());
        let _ = phone.receive(&house.sign(&stop));
        let effects = phone.receive(&house.sign(&ring));
        assert_eq!(is_loud(&effects), loud, "{stop:?} {ring:?}");
        assert_eq!(phone.said(1), if loud { [Accepted] } else { [Cancelled] });
        assert!(loud || !is_loud(&phone.restart()));
    }
}

#[test]
fn cancelled_stays_cancelled_whatever_comes_again() {
    let (house, mut phone) = (House::new(), Phone::new());
    let (ring, stop) = (house.sign(&ring(1, 1)), house.sign(&stop(2, 2, &[1])));
    let _ = phone.receive(&stop);
    for _ in 0..3 {
        for order in [&ring, &stop, &ring] {
            assert!(!is_loud(&phone.receive(order)));
        }
        assert!(!is_loud(&phone.siren(1, SOUNDING)));
        assert!(!is_loud(&phone.hear(&Event::Tick)));
        assert!(!is_loud(&phone.restart()));
        assert!(!is_loud(&phone.reboot()));
    }
    assert_eq!(phone.said(1), [Cancelled]);
    assert_eq!(phone.said(2), [Done]);
}

#[test]
fn a_newer_ring_takes_the_place_of_an_older_one() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1)));
    let _ = phone.siren(1, SOUNDING);
    assert!(sounds(&phone.receive(&house.sign(&ring(1, 2).by(1, 1))), 2));
    // The end of the older one's sound is no end of the newer one.
    let _ = phone.siren(1, ENDED);
    let _ = phone.siren(2, SOUNDING);
    assert_eq!(phone.said(1), [Accepted, Running, Superseded]);
    assert_eq!(phone.said(2), [Accepted, Running]);
}

#[test]
fn a_ring_held_up_on_its_way_does_not_take_the_place_of_the_same_senders_newer_one() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(2, 2)));
    assert!(!is_loud(&phone.receive(&house.sign(&ring(1, 1)))));
    assert_eq!(
        (phone.said(1), phone.said(2)),
        (vec![Superseded], vec![Accepted])
    );
}

#[test]
fn a_stop_is_answered_as_soon_as_a_newer_ring_sounds() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1)));
    let _ = phone.receive(&house.sign(&stop(2, 2, &[1])));
    let _ = phone.receive(&house.sign(&ring(3, 3)));
    assert!(
        !silences(&phone.hear(&Event::Tick)),
        "the newer ring must not be silenced by the older stop"
    );
    assert_eq!(phone.said(2), [Running]);
    let _ = phone.siren(3, SOUNDING);
    assert_eq!(
        (phone.said(2), phone.said(3)),
        (vec![Running, Done], vec![Accepted, Running])
    );
}

#[test]
fn a_stop_is_not_answered_by_a_siren_that_fails_nor_by_one_that_still_sounds() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1)));
    let _ = phone.receive(&house.sign(&stop(2, 2, &[1])));
    // Its last word before it hears of the stop.
    let _ = phone.siren(1, SOUNDING);
    assert_eq!(phone.said(2), [Running]);
    let _ = phone.receive(&house.sign(&ring(3, 3)));
    let _ = phone.siren(3, SirenPhase::Failing("the card is busy"));
    assert_eq!(phone.said(2), [Running]);
    let _ = phone.siren(1, ENDED);
    assert_eq!(phone.said(2), [Running, Done]);
}

#[test]
fn a_stop_whose_silence_nobody_reports_is_answered_after_the_deadline_or_a_restart_of_the_phone() {
    let begun = || {
        let (house, mut phone) = (House::new(), Phone::new());
        let _ = phone.receive(&house.sign(&ring(1, 1)));
        let _ = phone.receive(&house.sign(&stop(2, 2, &[1])));
        assert_eq!(phone.said(2), [Running]);
        phone
    };
    let mut phone = begun();
    phone.later(66_000);
    let _ = phone.hear(&Event::Tick);
    assert_eq!(phone.said(2), [Running, Done]);
    let mut phone = begun();
    assert!(silences(&phone.reboot()));
    let _ = phone.hear(&Event::Tick);
    assert_eq!(phone.said(2), [Running, Done]);
}

#[test]
fn only_a_kept_clock_may_find_a_ring_expired_and_a_fresh_beacon_of_this_start_outweighs_it() {
    // The owner's clock when the ring was given, against a phone that knows the time; then the beacon's age.
    let rows = [
        ("right", TODAY, 0, true),
        ("a day ahead", TODAY + DAY, 0, true),
        ("a day behind", TODAY - DAY - 60, 0, true),
        ("at 1970", 0, 0, true),
        ("at 2038", 2_147_483_648, 0, true),
        (
            "two days old, by an old beacon",
            TODAY - 2 * DAY,
            2 * DAY,
            false,
        ),
        (
            "behind, within the day by the beacon",
            TODAY - 2 * DAY,
            DAY - 60,
            true,
        ),
        ("old and dated ahead", TODAY + DAY, 2 * DAY, true),
    ];
    for (name, given_at, age_s, loud) in rows {
        let (house, mut phone) = (House::new(), Phone::new());
        phone.later(age_s * 1000);
        phone.trust(TODAY);
        let effects = phone.receive(&house.sign(&ring(1, 1).given_at(given_at)));
        assert_eq!(is_loud(&effects), loud, "{name}");
        assert_eq!(
            phone.said(1),
            if loud { [Accepted] } else { [Expired] },
            "{name}"
        );
    }
}

#[test]
fn without_a_kept_clock_or_an_end_nothing_expires() {
    for wall in [0, TODAY + 9 * DAY, 2_147_483_648, u64::MAX] {
        let (house, mut phone) = (House::new(), Phone::new());
        phone.later(9 * DAY * 1000);
        phone.now.wall_unix_s = wall;
        assert!(is_loud(
            &phone.receive(&house.sign(&ring(1, 1).given_at(TODAY)))
        ));
        let mut phone = Phone::new();
        phone.trust(wall);
        assert!(is_loud(&phone.receive(&house.sign(&ring(1, 1)))));
    }
}

#[test]
fn a_beacon_of_an_earlier_start_gives_no_bound_and_the_kept_clock_decides() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.reboot();
    phone.trust(TODAY + 2 * DAY);
    assert!(!is_loud(
        &phone.receive(&house.sign(&ring(1, 1).given_at(TODAY)))
    ));
    assert_eq!(phone.said(1), [Expired]);
    phone.trust(TODAY + DAY);
    assert!(is_loud(
        &phone.receive(&house.sign(&ring(2, 2).given_at(TODAY)))
    ));
}

#[test]
fn a_restart_of_the_daemon_goes_on_to_the_same_deadline() {
    let (house, mut phone) = (House::new(), Phone::new());
    let first = phone.receive(&house.sign(&ring(1, 1)));
    phone.later(30_000);
    assert_eq!(phone.restart(), [first[0], Effect::BeaconSoon]);
    phone.later(30_000);
    assert_eq!(phone.restart(), [Effect::BeaconSoon], "its time is over");
}

#[test]
fn a_phone_that_restarts_for_ever_rings_three_times_and_then_says_so() {
    for (phase, end) in [(None, Expired), (Some(SOUNDING), Done)] {
        let (house, mut phone) = (House::new(), Phone::new());
        let _ = phone.receive(&house.sign(&ring(1, 1)));
        if let Some(phase) = phase {
            let _ = phone.siren(1, phase);
        }
        let loud: Vec<bool> = (0..4).map(|_| is_loud(&phone.reboot())).collect();
        assert_eq!(loud, [true, true, false, false]);
        assert_eq!(phone.said(1).last(), Some(&end));
    }
}

#[test]
fn a_ring_whose_day_is_over_does_not_sound_after_a_restart_of_the_phone() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1).given_at(TODAY)));
    phone.trust(TODAY + 2 * DAY);
    assert!(!is_loud(&phone.reboot()));
    assert_eq!(phone.said(1), [Accepted, Expired]);
}

#[test]
fn a_clock_that_was_never_set_ends_no_ring_after_a_restart_of_the_phone() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&ring(1, 1).given_at(TODAY)));
    phone.later(2 * DAY * 1_000);
    assert!(is_loud(&phone.reboot()));
}
