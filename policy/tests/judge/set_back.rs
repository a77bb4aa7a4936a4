//! A phone whose state was set back to an older one: what it notices, what goes on, what waits, and what ends it.

use crate::house::*;
use homing_policy::NonceMaker;
use homing_policy::{Event, Record, SirenPhase, admit};
use homing_protocol::Refusal;
use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::command::{BeaconReference, Class, FURTHEST, LIVE_MS, Op};
use homing_protocol::id::{BeaconNonce, BootId, SessionId};
use homing_protocol::receipt::CommandState::*;

fn resume(seq: u64, id: u8, beacon: u64) -> Order {
    let op = Op::Resume {
        beacon,
        receipts: 90,
        head: [0xab; 32],
        reports: 900,
    };
    order(seq, id, op)
}

/// From which heads of the chain the phone was told to go on.
fn heads(phone: &Phone) -> Vec<Option<[u8; 32]>> {
    let records = phone.journal.records.iter();
    records
        .filter_map(|record| match record {
            Record::Resumed { head, .. } => Some(*head),
            _ => None,
        })
        .collect()
}

fn newest(phone: &Phone) -> Option<BeaconReference> {
    phone.state.newest_beacon().map(|mark| BeaconReference {
        counter: mark.counter,
        nonce: mark.nonce,
    })
}

/// Beacons of another past than the one that the owner knows: the random parts differ.
fn beacon_of_another_past(phone: &mut Phone) {
    let counter = phone.state.beacons() + 1;
    let mut bytes = [9; 16];
    bytes[..8].copy_from_slice(&counter.to_be_bytes());
    let _ = phone.hear(&Event::BeaconDue {
        maker: NonceMaker::Actor,
        nonce: BeaconNonce(bytes),
    });
}

#[test]
fn each_class_waits_or_goes_on_as_the_table_says() {
    use Class::{Destructive, Harmless, Nuisance, Sensitive};
    let (again, waits) = (Some(Refusal::UnknownBeacon), Some(Refusal::RolledBack));
    // Class; quoted; a healthy phone's word; the word of one whose state was set back.
    let rows = [
        (Harmless, "nothing", None, None),
        (Harmless, "above", None, None),
        (Harmless, "newest", None, None),
        (Nuisance, "nothing", None, again),
        (Nuisance, "above", again, again),
        (Nuisance, "another", again, again),
        (Nuisance, "newest", None, None),
        (Sensitive, "nothing", again, waits),
        (Sensitive, "above", waits, waits),
        (Sensitive, "another", waits, waits),
        (Sensitive, "newest", None, waits),
        (Destructive, "nothing", again, waits),
        (Destructive, "above", waits, waits),
        (Destructive, "newest", None, waits),
    ];
    let house = House::new();
    for (class, quoted, healthy, set_back) in rows {
        for (expected, is_set_back) in [(healthy, false), (set_back, true)] {
            let mut phone = Phone::new();
            if is_set_back {
                phone.state.apply(&Record::SetBack { quoted: 9 });
                phone.beacon();
            }
            let beacon = match quoted {
                "nothing" => None,
                "above" => Some(quoting(30)),
                "another" => Some(BeaconReference {
                    nonce: BeaconNonce([1; 16]),
                    ..quoting(1)
                }),
                _ => newest(&phone),
            };
            // The class alone decides here: what the order says does not matter, as long as it is no resume.
            let command = house.command(&locate(1, 1).quoting(beacon));
            let said = admit(&phone.state, &phone.now, class, &command).err();
            assert_eq!(said, expected, "{class:?} {quoted} {is_set_back}");
        }
    }
}

#[test]
fn what_is_sensitive_must_answer_a_beacon_of_this_start_within_a_quarter_of_an_hour() {
    let (house, mut phone) = (House::new(), Phone::new());
    let command = house.command(&locate(1, 1).quoting(newest(&phone)));
    let live = |phone: &Phone| admit(&phone.state, &phone.now, Class::Sensitive, &command).is_ok();
    assert!(live(&phone));
    assert_eq!(LIVE_MS, 900_000);
    phone.later(LIVE_MS);
    assert!(live(&phone));
    phone.later(1);
    assert!(!live(&phone));
    phone.now.boottime_ms -= LIVE_MS;
    phone.now.boot = BootId([9; 16]);
    assert!(!live(&phone), "of another start");
}

#[test]
fn a_ring_that_quotes_a_forgotten_past_is_signed_again_and_sounds_once() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    // Signed for a beacon that this phone has made and forgotten; perhaps it was done then.
    let old = house.sign(&ring(2, 2).quoting(Some(quoting(20))));
    for _ in 0..3 {
        assert!(!is_loud(&phone.receive(&old)));
    }
    assert_eq!(
        (phone.state.set_back, phone.said(2)),
        (Some(20), vec![Refused])
    );
    assert_eq!(phone.refusals, [Refusal::UnknownBeacon; 3]);
    // Finding goes on, and the owner who wants a ring signs it for a beacon of now.
    let _ = phone.receive(&house.sign(&locate(3, 3).quoting(Some(quoting(20)))));
    assert_eq!(phone.said(3), [Running]);
    beacon_of_another_past(&mut phone);
    let again = house.sign(&ring(4, 2).quoting(newest(&phone)));
    assert!(is_loud(&phone.receive(&again)));
    assert!(!is_loud(&phone.receive(&old)), "its id is known");
    phone.check_facts();
    let _ = phone.restart();
    assert_eq!(
        phone.state.open_ring().map(|ring| ring.accepted.id.0[0]),
        Some(2),
        "the one that was signed again"
    );
}

#[test]
fn two_beacons_of_one_number_and_a_reader_who_has_more_give_it_away_too() {
    let house = House::new();
    let mut phone = Phone::new();
    for _ in 0..3 {
        beacon_of_another_past(&mut phone);
    }
    let known = house.sign(&locate(1, 1).quoting(Some(quoting(1))));
    let _ = phone.receive(&known);
    assert_eq!(phone.state.set_back, None);
    let other = house.sign(&locate(2, 2).quoting(Some(quoting(3))));
    let _ = phone.receive(&other);
    assert_eq!(
        (phone.state.set_back, phone.said(2)),
        (Some(3), vec![Running])
    );

    let mut phone = Phone::new();
    let _ = phone.hear(&Event::ReportsStored {
        through: 5,
        rights: Capabilities::full(),
    });
    assert_eq!(phone.state.set_back, Some(0));
    phone.check_facts();
}

#[test]
fn a_ring_that_sounds_from_the_forgotten_past_ends_when_that_is_noticed() {
    let (house, mut phone) = (House::new(), Phone::new());
    assert!(is_loud(&phone.receive(&house.sign(&ring(1, 1)))));
    // The image was made now; what follows in the owner's memory this phone knows nothing of.
    assert!(sounds(&phone.reboot(), 1));
    let effects = phone.receive(&house.sign(&locate(7, 7).quoting(Some(quoting(20)))));
    assert!(silences(&effects) && searches(&effects, 7));
    assert_eq!(phone.said(1), [Accepted, Cancelled]);
    assert!(phone.state.open_ring().is_none());
    assert!(!is_loud(&phone.reboot()));
}

#[test]
fn who_may_not_stop_a_ring_ends_none_by_claiming_that_the_state_was_set_back() {
    let (house, mut phone) = (House::new(), Phone::new());
    assert!(is_loud(&phone.receive(&house.sign(&ring(1, 1)))));
    // The delegate may locate and read, no more.
    let claim = locate(1, 2).by(2, 1).quoting(Some(quoting(20)));
    let effects = phone.receive(&house.sign(&claim));
    assert!(searches(&effects, 2) && !silences(&effects));
    let _ = phone.hear(&Event::ReportsStored {
        through: 5,
        rights: Capabilities::of(&[Capability::Locate, Capability::ReadLocation]),
    });
    assert_eq!(phone.state.set_back, Some(20), "it is noticed all the same");
    assert!(phone.state.open_ring().is_some());
    // Who may stop it ends it by the same word, though it is no news any more.
    let same = locate(2, 3).quoting(Some(quoting(20)));
    assert!(silences(&phone.receive(&house.sign(&same))));
    assert_eq!(phone.said(1), [Accepted, Cancelled]);
    phone.check_facts();
}

#[test]
fn a_ring_that_was_ordered_since_the_set_back_was_noticed_is_none_of_the_past() {
    let (house, mut phone) = (House::new(), Phone::new());
    let claim = |seq, id| house.sign(&locate(seq, id).quoting(Some(quoting(20))));
    let _ = phone.receive(&claim(1, 1));
    beacon_of_another_past(&mut phone);
    let order = house.sign(&ring(2, 2).quoting(newest(&phone)));
    assert!(is_loud(&phone.receive(&order)));
    for again in [
        claim(3, 3),
        house.sign(&locate(4, 4).quoting(Some(quoting(30)))),
    ] {
        assert!(!silences(&phone.receive(&again)));
    }
    assert!(phone.state.open_ring().is_some());
}

#[test]
fn a_resume_counts_on_and_kills_everything_signed_before_it() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    let _ = phone.receive(&house.sign(&locate(1, 2).by(1, 1)));
    let withheld = house.sign(&ring(9, 9).quoting(Some(quoting(20))));
    let _ = phone.receive(&house.sign(&locate(2, 3).quoting(Some(quoting(20)))));
    beacon_of_another_past(&mut phone);

    let not_live = house.sign(&resume(3, 4, 120).quoting(Some(quoting(20))));
    let _ = phone.receive(&not_live);
    assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
    assert_eq!(phone.state.set_back, Some(20));
    let _ = phone.receive(&house.sign(&resume(4, 4, 120).quoting(newest(&phone))));
    assert_eq!(phone.said(4).last(), Some(&Done));
    let state = &phone.state;
    assert_eq!(
        (state.set_back, state.beacons(), state.reports),
        (None, 120, 900)
    );
    assert_eq!(state.receipts, 91, "its own receipt is the first after 90");
    assert_eq!(heads(&phone), [Some([0xab; 32])]);
    assert!(state.windows().is_empty());
    phone.check_facts();

    // Every copy of the past is dead, in whatever session; what is signed for a beacon of now is done.
    for old in [
        house.sign(&ring(5, 5).quoting(Some(quoting(20)))),
        house.sign(&ring(6, 6).by(1, 1).quoting(Some(quoting(1)))),
        house.sign(&ring(7, 7).by(0, 8).quoting(None)),
    ] {
        assert!(!is_loud(&phone.receive(&old)));
        assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
    }
    assert!(!is_loud(&phone.receive(&withheld)));
    phone.beacon();
    assert_eq!(phone.state.beacons(), 121);
    assert!(is_loud(
        &phone.receive(&house.sign(&ring(10, 9).quoting(newest(&phone))))
    ));
    assert_eq!(phone.state.set_back, None);
    let _ = phone.siren(9, SirenPhase::Ended);
    phone.check_facts();
    let _ = phone.restart();
}

#[test]
fn a_session_does_not_begin_with_a_beacon_that_others_made_or_that_is_of_the_past() {
    let (house, mut phone) = (House::new(), Phone::new());
    phone.beacon();
    let last = phone.state.beacons();
    // The newest number, but not the newest nonce: no reason to take anything, only to notice.
    let other = BeaconReference {
        nonce: BeaconNonce([0x55; 16]),
        ..quoting(last)
    };
    let _ = phone.receive(&house.sign(&locate(1, 1).quoting(Some(other))));
    assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
    assert_eq!(phone.state.set_back, Some(last));
    assert!(!phone.said(1).contains(&Running));
    // Told twice, it is written down once.
    let _ = phone.receive(&house.sign(&locate(2, 2).quoting(Some(other))));
    let noticed = |record: &&Record| matches!(record, Record::SetBack { .. });
    assert_eq!(phone.journal.records.iter().filter(noticed).count(), 1);
    // What the phone itself had said before it noticed begins no session either, what it says afterwards does.
    let _ = phone.receive(&house.sign(&locate(1, 3).by(0, 5).quoting(Some(quoting(last)))));
    assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
    phone.beacon();
    let effects = phone.receive(&house.sign(&locate(1, 4).by(0, 6).quoting(newest(&phone))));
    assert!(searches(&effects, 4));
}

#[test]
fn a_ring_that_quotes_the_last_beacon_before_it_was_noticed_is_signed_again() {
    let (house, mut phone) = (House::new(), Phone::new());
    phone.beacon();
    let last = newest(&phone);
    let _ = phone.receive(&house.sign(&locate(1, 1).quoting(Some(quoting(20)))));
    assert!(phone.state.set_back.is_some());
    assert!(!is_loud(
        &phone.receive(&house.sign(&ring(2, 2).quoting(last)))
    ));
    assert_eq!(phone.refusals.last(), Some(&Refusal::UnknownBeacon));
    phone.beacon();
    assert!(is_loud(
        &phone.receive(&house.sign(&ring(3, 2).quoting(newest(&phone))))
    ));
}

#[test]
fn a_resume_of_an_earlier_time_does_not_come_back() {
    let (house, mut phone) = (House::new(), Phone::new());
    // Signed for beacon 1 of the past that was lost; the phone has made another beacon 1 since.
    let kept_back = house.sign(&resume(1, 1, 50).quoting(Some(BeaconReference {
        nonce: BeaconNonce([0x77; 16]),
        ..quoting(1)
    })));
    let _ = phone.receive(&kept_back);
    assert_eq!(phone.refusals, [Refusal::UnknownBeacon]);
    assert!(phone.state.set_back.is_some() && phone.state.beacons() == 1);
    // One that is taken twice counts on once.
    let live = house.sign(&resume(2, 2, 50).quoting(newest(&phone)));
    let _ = phone.receive(&live);
    let after = phone.state.clone();
    let _ = phone.receive(&live);
    assert_eq!((&phone.state, phone.repeats(2)), (&after, 1));
}

#[test]
fn a_resume_never_lowers_a_number() {
    let (house, mut phone) = (House::new(), Phone::new());
    for _ in 0..9 {
        phone.beacon();
    }
    let op = Op::Resume {
        beacon: 3,
        receipts: 0,
        head: [1; 32],
        reports: 0,
    };
    let _ = phone.receive(&house.sign(&order(1, 1, op).quoting(newest(&phone))));
    assert_eq!(heads(&phone), [None], "its own chain goes on");
    assert_eq!((phone.state.beacons(), phone.state.receipts), (10, 1));
    assert!(phone.state.passed_over.is_empty(), "no number was skipped");
}

#[test]
fn numbers_that_a_resume_passed_over_are_said_to_be_gone() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&resume(1, 1, 50).quoting(newest(&phone))));
    phone.beacon();
    let quoted = newest(&phone);
    let op = Op::ResendReports { first: 5, last: 9 };
    let _ = phone.receive(&house.sign(&order(2, 2, op).quoting(quoted)));
    let told = phone
        .journal
        .sent
        .iter()
        .rev()
        .find_map(|message| match message {
            homing_policy::Outgoing::Receipt { report, .. } => *report,
            _ => None,
        });
    assert_eq!(told, Some(901));
    assert!(
        phone
            .state
            .space(house.client(0), SessionId([1; 8]))
            .is_some()
    );
}

#[test]
fn numbers_that_an_earlier_resume_passed_over_stay_gone_after_the_next() {
    let mut phone = Phone::new();
    let resumed = |reports| Record::Resumed {
        beacon: 10,
        receipts: 0,
        head: None,
        reports,
    };
    // 1 to 4, two positions, 7 to 9, and at once 10 to 12.
    for record in [
        resumed(4),
        Record::Report { counter: 5 },
        Record::Report { counter: 6 },
        resumed(9),
        resumed(12),
    ] {
        phone.state.apply(&record);
    }
    let lowest = [1, 4, 5, 6, 7, 9, 10, 12, 13].map(|from| phone.state.lowest_report(from));
    assert_eq!(lowest, [5, 5, 5, 6, 13, 13, 13, 13, 13]);
    phone.check_facts();
}

#[test]
fn the_farthest_past_that_anybody_knew_is_remembered_and_written_down_once() {
    let (house, mut phone) = (House::new(), Phone::new());
    for (id, quoted, known, written) in [(1, 30, 30, 1), (2, 20, 30, 1), (3, 40, 40, 2)] {
        let order = locate(id.into(), id).quoting(Some(quoting(quoted)));
        let _ = phone.receive(&house.sign(&order));
        assert_eq!(phone.state.set_back, Some(known));
        let records = phone.journal.records.iter();
        let set_back = records.filter(|record| matches!(record, Record::SetBack { .. }));
        assert_eq!(set_back.count(), written, "after one that quotes {quoted}");
    }
}

#[test]
fn a_number_that_no_phone_can_reach_is_no_past_of_this_one() {
    let (house, mut phone) = (House::new(), Phone::new());
    for (id, quoted) in [(1, FURTHEST + 1), (2, u64::MAX >> 2)] {
        let order = locate(id.into(), id).quoting(Some(quoting(quoted)));
        let _ = phone.receive(&house.sign(&order));
        assert_eq!(phone.state.set_back, None, "{quoted}");
    }
    assert_eq!(phone.refusals, [Refusal::UnknownBeacon; 2]);
}
