//! Repetition, replay and asking for another signature, row by row.

use crate::house::*;
use homing_policy::state::{MOST_BEACONS, MOST_COMMANDS, MOST_SPACES_OF_CLIENT};
use homing_policy::window::{Space, Verdict, WIDTH};
use homing_policy::{Event, Outgoing};
use homing_protocol::Refusal;
use homing_protocol::command::{BeaconReference, Command};
use homing_protocol::id::{BeaconNonce, ClientId, CommandId, SessionId};
use homing_protocol::receipt::CommandState::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_known_command_is_answered_again_and_done_once_under_whatever_number() {
    let (house, mut phone) = (House::new(), Phone::new());
    let first = house.sign(&ring(1, 1));
    let again = house.sign(&ring(7, 1));
    assert!(is_loud(&phone.receive(&first)));
    for copy in [&first, &again, &first, &again] {
        assert!(phone.receive(copy).is_empty());
    }
    assert_eq!((phone.said(1), phone.repeats(1)), (vec![Accepted], 4));
    // The number of the copy is used up, and the beacon says so.
    let windows = phone.state.windows();
    assert!(windows[0].has_seen(7) && windows[0].has_seen(1) && !windows[0].has_seen(2));
}

#[test]
fn a_beacon_shows_a_number_that_is_missing_far_behind() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    let _ = phone.receive(&house.sign(&locate(129, 2)));
    let window = &phone.state.windows()[0];
    assert!(window.has_seen(1) && !window.has_seen(2) && !window.has_seen(128));
}

#[test]
fn another_command_under_a_used_number_is_refused_for_good() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    let forged = house.sign(&ring(1, 2));
    assert!(phone.receive(&forged).is_empty());
    assert!(phone.receive(&forged).is_empty());
    assert_eq!((phone.said(2), phone.repeats(2)), (vec![Refused], 1));
    assert_eq!(phone.refusals[0], Refusal::Replayed);
}

#[test]
fn a_number_behind_the_window_asks_for_one_new_signature_and_the_id_stays_free() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(2_000, 1)));
    let old = house.sign(&ring(976, 2));
    for _ in 0..3 {
        assert!(phone.receive(&old).is_empty());
    }
    assert_eq!((phone.said(2), phone.repeats(2)), (vec![Refused], 2));
    assert_eq!(phone.refusals, [Refusal::SeqTooOld; 3]);
    assert!(is_loud(&phone.receive(&house.sign(&ring(2_001, 2)))));
    assert!(phone.receive(&old).is_empty());
    assert_eq!(phone.said(2), [Refused, Accepted]);
    // The oldest number inside the window is still taken.
    assert!(
        searches(&phone.receive(&house.sign(&locate(978, 3))), 3) || phone.said(3) == [Superseded]
    );
}

#[test]
fn a_new_session_must_quote_a_beacon_that_this_phone_made_and_knows() {
    let wrong_nonce = BeaconReference {
        counter: 1,
        nonce: BeaconNonce([9; 16]),
    };
    let rows = [
        ("none", None, false),
        ("number 0", Some(quoting(0)), false),
        ("another nonce", Some(wrong_nonce), false),
        ("the newest", Some(quoting(1)), true),
        // This phone's state was set back: the ring may have been done in what it forgot.
        ("one above our own", Some(quoting(2)), false),
    ];
    for (name, beacon, is_taken) in rows {
        let (house, mut phone) = (House::new(), Phone::new());
        let order = house.sign(&ring(1, 1).quoting(beacon));
        assert_eq!(is_loud(&phone.receive(&order)), is_taken, "{name}");
        if !is_taken {
            assert_eq!(phone.refusals, [Refusal::UnknownBeacon], "{name}");
            phone.beacon();
            let again = house.sign(&ring(1, 1).quoting(Some(quoting(2))));
            assert!(is_loud(&phone.receive(&again)), "{name}: signed again");
        }
    }
}

#[test]
fn a_known_session_needs_no_beacon() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    assert!(is_loud(
        &phone.receive(&house.sign(&ring(2, 2).quoting(None)))
    ));
}

#[test]
fn a_forgotten_session_cannot_come_back_with_old_orders_even_after_their_ids_are_forgotten() {
    let (house, mut phone) = (House::new(), Phone::new());
    let old = house.sign(&ring(1, 1));
    let _ = phone.receive(&old);
    let _ = phone.siren(1, homing_policy::SirenPhase::Ended);
    open_sessions(&house, &mut phone, MOST_SPACES_OF_CLIENT);
    assert!(
        phone
            .state
            .space(house.client(0), SessionId([1; 8]))
            .is_none()
    );
    assert!(phone.receive(&old).is_empty(), "its id is known");
    for _ in 0..MOST_BEACONS {
        phone.beacon();
    }
    assert!(
        phone.state.command(command_id(1)).is_none(),
        "its id is forgotten"
    );
    assert!(
        !is_loud(&phone.receive(&old)),
        "its beacon is forgotten too"
    );
    assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
}

/// The first client begins so many sessions, each after a beacon of its own.
fn open_sessions(house: &House, phone: &mut Phone, sessions: usize) {
    for session in 0..sessions {
        phone.beacon();
        let newest = Some(quoting(phone.state.beacons()));
        let session = u8::try_from(session + 2).unwrap();
        let _ = phone.receive(&house.sign(&locate(1, session).by(0, session).quoting(newest)));
    }
}

#[test]
fn a_flood_of_sessions_lets_no_old_order_sound_and_the_sender_signs_it_again() {
    let (house, mut phone) = (House::new(), Phone::new());
    // The broker keeps this one back until everything about it has been pushed out.
    let kept_back = house.sign(&ring(1, 200).by(0, 200));
    open_sessions(&house, &mut phone, MOST_SPACES_OF_CLIENT + 1);
    assert!(!is_loud(&phone.receive(&kept_back)), "its beacon is known");
    assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
    phone.beacon();
    let newest = Some(quoting(phone.state.beacons()));
    let again = house.sign(&ring(1, 200).by(0, 201).quoting(newest));
    assert!(is_loud(&phone.receive(&again)));
}

#[test]
fn what_one_client_makes_the_phone_forget_lets_no_other_sign_again() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1).by(1, 1)));
    open_sessions(&house, &mut phone, MOST_SPACES_OF_CLIENT + 1);
    assert!(phone.state.least_beacon(house.client(0)) > 1);
    assert_eq!(phone.state.least_beacon(house.client(1)), 0);
    // The other's session goes on without a beacon, and its new one quotes what it heard last.
    for other in [
        ring(2, 200).by(1, 1).quoting(None),
        ring(1, 201).by(1, 2).quoting(Some(quoting(1))),
    ] {
        assert!(is_loud(&phone.receive(&house.sign(&other))), "{other:?}");
    }
    phone.check_facts();
}

#[test]
fn a_client_of_many_sessions_pushes_out_its_own_alone() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1).by(1, 1)));
    open_sessions(&house, &mut phone, 3 * MOST_SPACES_OF_CLIENT);
    let other = phone.state.space(house.client(1), SessionId([1; 8]));
    assert!(other.is_some());
}

#[test]
fn a_copy_withheld_under_an_unseen_number_of_a_known_session_does_nothing_once_its_id_is_forgotten()
{
    let floods = |house: &House, phone: &mut Phone| {
        // So many orders that the first one's id is forgotten; its session is not.
        let template = house.command(&locate(1, 9).by(0, 7));
        for number in 0..=MOST_COMMANDS as u64 {
            let mut id = [0xdd; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let order = Command {
                id: CommandId(id),
                seq: number + 1,
                ..template.clone()
            };
            // Slowly enough to be taken.
            phone.later(20_000);
            let _ = phone.hear(&Event::Refused(Refusal::NotAllowed, &order));
        }
    };
    let ages = |_: &House, phone: &mut Phone| {
        for _ in 0..=MOST_BEACONS {
            phone.beacon();
        }
    };
    for pass in [&floods as &dyn Fn(&House, &mut Phone), &ages] {
        let (house, mut phone) = (House::new(), Phone::new());
        let _ = phone.receive(&house.sign(&ring(1, 1)));
        let _ = phone.siren(1, homing_policy::SirenPhase::Ended);
        // The owner had signed it once more, and the broker kept that copy.
        let withheld = house.sign(&ring(5, 1));
        let _ = phone.receive(&house.sign(&locate(9, 2)));
        pass(&house, &mut phone);
        assert!(phone.state.command(command_id(1)).is_none());
        let space = phone.state.space(house.client(0), SessionId([1; 8]));
        assert!(space.is_some(), "its session is known");
        assert!(!is_loud(&phone.receive(&withheld)));
        assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
        let silent = house.sign(&ring(6, 3).quoting(None));
        assert!(!is_loud(&phone.receive(&silent)), "nothing proves it new");
        // What is signed for the newest beacon is taken.
        phone.beacon();
        let newest = Some(quoting(phone.state.beacons()));
        let again = house.sign(&ring(7, 4).quoting(newest));
        assert!(is_loud(&phone.receive(&again)));
    }
}

#[test]
fn what_a_known_client_may_not_do_is_refused_once_and_repeated_from_memory() {
    let (house, mut phone) = (House::new(), Phone::new());
    let order = house.command(&ring(1, 1));
    for _ in 0..3 {
        assert!(
            phone
                .hear(&Event::Refused(Refusal::NotAllowed, &order))
                .is_empty()
        );
    }
    assert_eq!((phone.said(1), phone.repeats(1)), (vec![Refused], 2));
    assert!(phone.journal.sent.iter().any(|message| matches!(
        message,
        Outgoing::Receipt {
            refusal: Some(Refusal::NotAllowed),
            ..
        }
    )));
    assert!(
        phone.state.windows().is_empty(),
        "a refused order uses up no number"
    );
}

#[test]
fn a_flood_of_stale_signatures_is_remembered_within_bounds() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(5_000, 255)));
    let old: Vec<_> = (1..=80).map(|n| house.sign(&ring(n.into(), n))).collect();
    for _ in 0..2 {
        for order in &old {
            assert!(phone.receive(order).is_empty());
        }
    }
    phone.check_facts();
    let told = phone.state.facts().len();
    assert!(told < 200, "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_window_says_what_a_list_of_all_numbers_would(steps in vec((0u8..10, 1u64..40), 1..60)) {
        let mut space = Space::new(ClientId([1; ClientId::LEN]), SessionId([2; SessionId::LEN]));
        let mut all = BTreeSet::new();
        for (kind, by) in steps {
            // Mostly a little ahead or behind, now and then a leap over nearly, or more than, the whole window.
            let seq = match kind {
                0 => space.high + WIDTH - 20 + by,
                1..=3 => space.high.saturating_sub(by * 30).max(1),
                _ => space.high + by % 5 + 1,
            };
            if space.judge(seq) != Verdict::TooOld {
                space.mark(seq);
                all.insert(seq);
            }
        }
        let high = all.last().copied().unwrap_or(0);
        let lowest = high.saturating_sub(WIDTH - 1).max(1);
        prop_assert_eq!(space.high, high);
        let seen: Vec<u64> = all.range(lowest..).copied().collect();
        prop_assert_eq!(space.seen().collect::<Vec<_>>(), seen);
        let shown = space.shown();
        prop_assert!(shown.missing.last() != Some(&0), "no byte that says nothing");
        for seq in 1..=high + 3 {
            let verdict = match seq {
                _ if seq < lowest => Verdict::TooOld,
                _ if all.contains(&seq) => Verdict::Seen,
                _ => Verdict::New,
            };
            prop_assert_eq!(space.judge(seq), verdict, "{}", seq);
            // What lies farther back than a beacon's bitmap counts as seen there.
            let told = seq + 128 < high || all.contains(&seq);
            prop_assert_eq!(shown.has_seen(seq), told, "{}", seq);
        }
    }
}
