//! The oracle can fail: a story in which every promise is kept, and one change for each way of breaking one.
#![forbid(unsafe_code)]

use homing_oracle::{
    Beacon, Crash, Effect, Entry, Expected, Fact, Invariant, Journal, Kind, Meaning, Receipt, Rest,
    Right, Signed, in_words, judge,
};
use homing_protocol::command::Op;
use homing_protocol::id::{BeaconNonce, ClientId, CommandId, DeviceId, SessionId};
use homing_protocol::receipt::CommandState::{self, Accepted, Cancelled, Done, Running};
use std::collections::BTreeSet;
use std::time::Duration;

const PHONE: DeviceId = DeviceId([1; 16]);
const LOCATE: CommandId = CommandId([10; 16]);
const RING: CommandId = CommandId([11; 16]);
const STOP: CommandId = CommandId([12; 16]);
const STRANGE: CommandId = CommandId([66; 16]);

fn signed(command: CommandId, op: Op) -> Fact {
    Fact::Signed(Signed {
        phone: PHONE,
        command,
        op,
        right: Right::Has,
    })
}

fn effect(command: CommandId, kind: Kind, at_ms: u64) -> Effect {
    Effect {
        phone: PHONE,
        command,
        kind,
        at_ms,
    }
}

fn receipt(counter: u64, command: CommandId, state: CommandState) -> Receipt {
    Receipt {
        phone: PHONE,
        counter,
        command,
        state,
        meaning: Meaning::Step,
    }
}

fn both(counter: u64, command: CommandId, state: CommandState) -> [Fact; 2] {
    let receipt = receipt(counter, command, state);
    [Fact::Published(receipt), Fact::Told(receipt)]
}

fn entry(seq: u64, state: CommandState) -> Entry {
    Entry {
        place: Some((ClientId([2; 16]), SessionId([3; 8]), seq)),
        state,
    }
}

fn beacon(counter: u64, receipts: u64, authority: u64) -> Fact {
    let beacon = Beacon {
        counter,
        nonce: BeaconNonce([counter.to_be_bytes()[7]; 16]),
        receipts,
        authority,
        key_set: 1,
    };
    Fact::Beaconed(PHONE, beacon)
}

fn journal(receipts: u64, states: &[(CommandId, u64, CommandState)]) -> Fact {
    let commands = states
        .iter()
        .map(|(id, seq, state)| (*id, entry(*seq, *state)));
    let journal = Journal {
        beacons: receipts,
        receipts,
        reports: 1,
        authority: 1,
        key_set: 1,
        commands: commands.collect(),
        ..Journal::default()
    };
    Fact::Journal(PHONE, journal)
}

fn rest(expected: Expected) -> Fact {
    let rest = Rest {
        outbox: BTreeSet::new(),
        kept: BTreeSet::new(),
        asked: BTreeSet::new(),
        expected,
    };
    Fact::AtRest(PHONE, rest)
}

/// A search, a ring, a crash in the middle of it, a stop.
fn story() -> Vec<Fact> {
    let mut facts = vec![
        beacon(1, 0, 1),
        signed(LOCATE, Op::Locate { search_s: 10 }),
        Fact::Acknowledged(PHONE, LOCATE),
        Fact::Began(effect(LOCATE, Kind::Search, 1_000)),
    ];
    facts.extend(both(1, LOCATE, Running));
    facts.push(Fact::Ended(effect(LOCATE, Kind::Search, 2_000)));
    facts.extend(both(2, LOCATE, Done));
    facts.push(Fact::Stored(PHONE, 1, 1));
    facts.push(beacon(2, 2, 1));
    facts.push(signed(RING, Op::Ring { for_s: 60 }));
    facts.push(Fact::Began(effect(RING, Kind::Sound, 3_000)));
    facts.extend(both(3, RING, Accepted));
    facts.extend(both(4, RING, Running));
    facts.push(journal(4, &[(LOCATE, 1, Done), (RING, 2, Running)]));
    facts.push(Fact::Crashed(PHONE, Crash::Agent));
    facts.push(Fact::Opened(PHONE, Duration::from_millis(30)));
    facts.push(journal(4, &[(LOCATE, 1, Done), (RING, 2, Running)]));
    facts.push(signed(STOP, Op::RingStop { rings: vec![RING] }));
    facts.extend(both(5, RING, Cancelled));
    facts.push(Fact::Ended(effect(RING, Kind::Sound, 9_000)));
    facts.extend(both(6, STOP, Done));
    facts.push(Fact::DiskFails(PHONE));
    facts.push(Fact::DiskWorks(PHONE));
    facts.push(journal(
        6,
        &[(LOCATE, 1, Done), (RING, 2, Cancelled), (STOP, 3, Done)],
    ));
    facts.push(rest(Expected::AllDelivered));
    facts
}

fn at(facts: &[Fact], wanted: impl Fn(&Fact) -> bool) -> usize {
    facts.iter().position(wanted).expect("it is in the story")
}

/// Exactly this promise is broken, in these words.
#[track_caller]
fn broken(facts: &[Fact], invariant: Invariant, words: &str) {
    let found = judge(facts);
    assert!(
        found
            .iter()
            .any(|violation| violation.invariant == invariant && violation.words.contains(words)),
        "not found: {words}\n{}",
        in_words(&found)
    );
}

#[test]
fn a_story_in_which_every_promise_is_kept_has_no_violation() {
    assert_eq!(judge(&story()), []);
}

#[test]
fn an_effect_without_an_order_or_of_another_kind_breaks_the_first() {
    let mut facts = story();
    facts.insert(3, Fact::Began(effect(STRANGE, Kind::Sound, 1)));
    broken(&facts, Invariant::OnlyOrders, "nobody ordered it");
    let mut facts = story();
    facts.insert(3, Fact::Began(effect(LOCATE, Kind::Sound, 1)));
    broken(&facts, Invariant::OnlyOrders, "the order is a locate");
    // Ordered, but for the other phone.
    let mut facts = story();
    let index = at(&facts, |fact| matches!(fact, Fact::Signed(_)));
    let Fact::Signed(order) = &mut facts[index] else {
        unreachable!()
    };
    order.phone = DeviceId([9; 16]);
    broken(&facts, Invariant::OnlyOrders, "which nobody ordered");
}

#[test]
fn an_order_of_who_may_not_give_it_breaks_the_first_unless_it_is_refused() {
    let mut facts = story();
    let index = at(
        &facts,
        |fact| matches!(fact, Fact::Signed(order) if order.command == LOCATE),
    );
    let Fact::Signed(order) = &mut facts[index] else {
        unreachable!()
    };
    order.right = Right::Lacks;
    broken(
        &facts,
        Invariant::OnlyOrders,
        "began, and who ordered it may not",
    );
    broken(
        &facts,
        Invariant::OnlyOrders,
        "is done, and who ordered it may not",
    );
}

#[test]
fn a_refusal_of_what_its_client_may_order_breaks_the_second() {
    let mut facts = vec![signed(LOCATE, Op::Status)];
    facts.extend(both(1, LOCATE, CommandState::Refused));
    broken(&facts, Invariant::Once, "refused");
    let Fact::Signed(order) = &mut facts[0] else {
        unreachable!()
    };
    order.right = Right::Lacks;
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_number_that_was_passed_over_is_no_lost_position() {
    let told = |passed_over: (u64, u64)| {
        let journal = Journal {
            reports: 9,
            passed_over: vec![passed_over],
            ..Journal::default()
        };
        [Fact::Journal(PHONE, journal), rest(Expected::AllDelivered)]
    };
    assert_eq!(judge(&told((1, 9))), []);
    broken(&told((1, 8)), Invariant::NothingLost, "position 9");
}

#[test]
fn an_effect_that_comes_twice_or_lasts_too_long_breaks_the_second() {
    let mut facts = story();
    facts.insert(4, Fact::Began(effect(LOCATE, Kind::Search, 1_100)));
    broken(&facts, Invariant::Once, "began twice");
    let mut facts = story();
    let index = at(&facts, |fact| {
        *fact == Fact::Ended(effect(RING, Kind::Sound, 9_000))
    });
    facts[index] = Fact::Ended(effect(RING, Kind::Sound, 70_000));
    broken(&facts, Invariant::Once, "sounded 67000 ms");
    // A ring of the crashed agent goes on by itself: it must not begin again either.
    let mut facts = story();
    let index = at(&facts, |fact| matches!(fact, Fact::Opened(..)));
    facts.insert(index, Fact::Began(effect(RING, Kind::Sound, 4_000)));
    broken(&facts, Invariant::Once, "began twice");
}

#[test]
fn more_sound_than_all_rings_were_ordered_for_breaks_the_second() {
    let mut facts = story();
    facts.push(Fact::Played(PHONE, 60_400));
    assert_eq!(judge(&facts), []);
    facts.push(Fact::Played(PHONE, 60_401));
    broken(&facts, Invariant::Once, "all its rings together");
}

#[test]
fn two_orders_under_one_number_break_the_second() {
    let mut facts = story();
    let index = at(&facts, |fact| matches!(fact, Fact::AtRest(..)));
    facts[index - 1] = journal(
        6,
        &[(LOCATE, 1, Done), (RING, 1, Cancelled), (STOP, 3, Done)],
    );
    broken(&facts, Invariant::Once, "under one number");
}

#[test]
fn a_word_that_the_journal_does_not_know_breaks_the_third() {
    let crashed_without = |states: &[(CommandId, u64, CommandState)], receipts| {
        let mut facts = story();
        let index = at(&facts, |fact| matches!(fact, Fact::Opened(..)));
        facts[index + 1] = journal(receipts, states);
        facts
    };
    let facts = crashed_without(&[(LOCATE, 1, Done)], 4);
    broken(
        &facts,
        Invariant::Explained,
        "in the journal it is not known",
    );
    let facts = crashed_without(&[(LOCATE, 1, Done), (RING, 2, Accepted)], 4);
    broken(
        &facts,
        Invariant::Explained,
        "in the journal it is delivered",
    );
    let facts = crashed_without(&[(LOCATE, 1, Done), (RING, 2, Running)], 3);
    broken(&facts, Invariant::Explained, "the journal knows 3");
    let mut facts = story();
    let last = facts.len() - 1;
    facts.insert(last, Fact::Told(receipt(2, RING, Running)));
    broken(&facts, Invariant::Explained, "receipt 2");
}

#[test]
fn a_number_that_goes_down_breaks_the_fourth() {
    let mut facts = story();
    facts.push(beacon(1, 6, 1));
    broken(&facts, Invariant::NeverDown, "the beacon's number");
    let mut facts = story();
    facts.push(beacon(3, 6, 0));
    broken(&facts, Invariant::NeverDown, "authority list");
    let mut facts = story();
    facts.push(beacon(2, 6, 1));
    broken(&facts, Invariant::NeverDown, "two beacons");
    let mut facts = story();
    facts.push(journal(5, &[]));
    broken(&facts, Invariant::NeverDown, "receipts");
}

#[test]
fn what_begins_or_changes_after_its_end_breaks_the_sixth() {
    let mut facts = story();
    let last = facts.len() - 1;
    facts.insert(last, Fact::Crashed(PHONE, Crash::Phone));
    facts.insert(last + 1, Fact::Began(effect(RING, Kind::Sound, 10_000)));
    broken(
        &facts,
        Invariant::EndsStay,
        "began after the order was cancelled",
    );
    let mut facts = story();
    let last = facts.len() - 1;
    facts.insert(last, Fact::Published(receipt(7, RING, Done)));
    broken(&facts, Invariant::EndsStay, "was cancelled and is now done");
    // Done is said of the stop while the ring still sounds.
    let mut facts = story();
    let index = at(&facts, |fact| {
        *fact == Fact::Ended(effect(RING, Kind::Sound, 9_000))
    });
    facts.remove(index);
    broken(&facts, Invariant::EndsStay, "while");
}

#[test]
fn a_receipt_or_a_position_that_is_nowhere_breaks_the_seventh() {
    let mut facts = story();
    facts.retain(|fact| {
        !matches!(fact, Fact::Told(receipt) | Fact::Published(receipt) if receipt.counter == 1)
    });
    broken(&facts, Invariant::NothingLost, "receipt 1");
    let mut facts = story();
    facts.retain(|fact| !matches!(fact, Fact::Stored(..)));
    broken(&facts, Invariant::NothingLost, "position 1");
    let mut facts = story();
    facts.retain(|fact| *fact != Fact::Told(receipt(6, STOP, Done)));
    broken(&facts, Invariant::NothingLost, "never heard how");
    // As long as somebody may still behave, waiting is enough.
    let mut facts = story();
    facts.retain(|fact| !matches!(fact, Fact::Stored(..) | Fact::AtRest(..)));
    facts.retain(|fact| *fact != Fact::Told(receipt(6, STOP, Done)));
    let waiting = Rest {
        outbox: BTreeSet::from([6]),
        kept: BTreeSet::from([1]),
        asked: BTreeSet::new(),
        expected: Expected::NothingLost,
    };
    facts.push(Fact::AtRest(PHONE, waiting));
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_state_that_opens_slowly_or_never_breaks_the_ninth() {
    let mut facts = story();
    facts.push(Fact::Opened(PHONE, Duration::from_secs(5)));
    broken(&facts, Invariant::Opens, "5000 ms");
    let mut facts = story();
    facts.push(Fact::StayedShut(PHONE, "a damaged row".into()));
    broken(&facts, Invariant::Opens, "a damaged row");
}

#[test]
fn a_claim_while_nothing_reaches_the_disk_breaks_the_tenth() {
    for claim in [
        Fact::Published(receipt(7, STOP, Done)),
        beacon(7, 6, 1),
        Fact::Acknowledged(PHONE, STRANGE),
        Fact::Began(effect(STRANGE, Kind::Search, 1)),
    ] {
        let mut facts = story();
        facts.insert(0, signed(STRANGE, Op::Locate { search_s: 1 }));
        let index = at(&facts, |fact| matches!(fact, Fact::DiskWorks(_)));
        facts.insert(index, claim);
        broken(
            &facts,
            Invariant::NoFalseClaim,
            "while nothing reached the disk",
        );
    }
    // What was written before may be said again.
    let mut facts = story();
    let index = at(&facts, |fact| matches!(fact, Fact::DiskWorks(_)));
    facts.insert(index, Fact::Published(receipt(4, RING, Running)));
    facts.insert(index, Fact::Acknowledged(PHONE, RING));
    assert_eq!(judge(&facts), []);
}

#[test]
fn two_phones_are_judged_apart() {
    let mut facts = story();
    let other = DeviceId([8; 16]);
    facts.push(Fact::Journal(other, Journal::default()));
    facts.push(Fact::AtRest(
        other,
        Rest {
            outbox: BTreeSet::new(),
            kept: BTreeSet::new(),
            asked: BTreeSet::new(),
            expected: Expected::AllDelivered,
        },
    ));
    assert_eq!(judge(&facts), []);
}
