//! How many orders a client may give, row by row.

use crate::house::*;
use homing_policy::Event;
use homing_policy::Outgoing;
use homing_policy::state::MOST_COMMANDS;
use homing_protocol::Refusal;
use homing_protocol::command::{Command, Op};
use homing_protocol::id::CommandId;
use homing_protocol::receipt::CommandState::*;

/// Half of the ids that are remembered.
const AT_ONCE: u64 = MOST_COMMANDS as u64 / 2;
const EARNED_EACH_MS: u64 = 20_000;

fn numbered(number: u64) -> CommandId {
    let mut bytes = [0xee; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    CommandId(bytes)
}

/// Uses up what the first client may give at once; what it may not do is paid for like what it may.
fn exhaust(house: &House, phone: &mut Phone) {
    let template = house.command(&order(1, 1, Op::Status));
    for number in 1..=AT_ONCE {
        let order = Command {
            id: numbered(number),
            seq: number,
            ..template.clone()
        };
        let _ = phone.hear(&Event::Refused(Refusal::NotAllowed, &order));
    }
    assert_eq!(phone.state.commands().count() as u64, AT_ONCE);
}

#[test]
fn a_client_that_orders_without_end_is_told_busy_a_few_times_and_then_costs_nothing() {
    let (house, mut phone) = (House::new(), Phone::new());
    exhaust(&house, &mut phone);
    for number in 1..=100u8 {
        let order = house.sign(&ring(u64::from(number) + 10, number));
        assert!(!is_loud(&phone.receive(&order)));
    }
    assert_eq!(phone.refusals.last(), Some(&Refusal::Busy));
    let told = (1..=100).filter(|id| phone.said(*id) == [Refused]).count();
    assert_eq!(told, 16, "the rest is neither answered nor written down");
    let rows = phone.journal.records.len();
    let _ = phone.receive(&house.sign(&ring(200, 200)));
    assert_eq!(phone.journal.records.len(), rows);
    phone.check_facts();
}

fn told_busy(phone: &Phone) -> usize {
    let is_busy = |message: &&Outgoing| {
        matches!(
            message,
            Outgoing::Receipt {
                refusal: Some(Refusal::Busy),
                state: Refused,
                ..
            }
        )
    };
    phone.journal.sent.iter().filter(is_busy).count()
}

#[test]
fn an_order_that_was_answered_busy_is_done_once_when_it_is_given_again() {
    let (house, mut phone) = (House::new(), Phone::new());
    exhaust(&house, &mut phone);
    let refused = house.sign(&ring(9_000, 1));
    for _ in 0..2 {
        assert!(!is_loud(&phone.receive(&refused)));
    }
    assert_eq!(told_busy(&phone), 2);
    assert!(phone.state.command(command_id(1)).is_none());
    phone.later(10 * EARNED_EACH_MS);
    // A broker repeats what was refused, and the owner has signed it again.
    let again = house.sign(&ring(9_001, 1));
    let loud = [&again, &refused, &again, &refused].map(|order| is_loud(&phone.receive(order)));
    assert_eq!(loud, [true, false, false, false]);
    phone.check_facts();
}

#[test]
fn what_may_not_be_ordered_is_answered_busy_too_once_it_is_too_much() {
    let (house, mut phone) = (House::new(), Phone::new());
    exhaust(&house, &mut phone);
    let order = house.command(&ring(9_000, 1));
    let _ = phone.hear(&Event::Refused(Refusal::NotAllowed, &order));
    assert_eq!((told_busy(&phone), phone.said(1)), (1, vec![Refused]));
    assert!(
        phone.state.command(command_id(1)).is_none(),
        "the id is free"
    );
    phone.later(EARNED_EACH_MS);
    let _ = phone.hear(&Event::Refused(Refusal::NotAllowed, &order));
    assert!(phone.state.command(command_id(1)).is_some());
}

/// What may be played of a client's old orders at once.
const COPIES_AT_ONCE: usize = 64;

#[test]
fn old_orders_that_are_played_in_a_circle_use_up_nothing_of_what_their_client_may_order() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(5_000, 255)));
    let old: Vec<_> = (1..=100).map(|n| house.sign(&ring(n.into(), n))).collect();
    let rows = phone.journal.records.len();
    for _ in 0..50 {
        for order in &old {
            assert!(phone.receive(order).is_empty());
        }
    }
    let asked = (1..=100).map(|id| phone.said(id).len()).sum::<usize>();
    assert_eq!(asked, COPIES_AT_ONCE, "the rest leaves no trace");
    assert_eq!(phone.journal.records.len() - rows, 3 * COPIES_AT_ONCE);
    assert_eq!(told_busy(&phone), 0);
    assert!(is_loud(&phone.receive(&house.sign(&ring(5_001, 200)))));
    phone.check_facts();
}

#[test]
fn used_numbers_that_are_played_again_use_up_nothing_of_what_their_client_may_order() {
    let (house, mut phone) = (House::new(), Phone::new());
    let template = house.command(&order(1, 1, Op::Status));
    for number in 1..=200 {
        let copy = Command {
            id: numbered(number),
            ..template.clone()
        };
        let _ = phone.hear(&Event::Refused(Refusal::NotAllowed, &copy));
    }
    let paid = phone.state.pace(house.client(0)).unwrap().debt_ms;
    let _ = phone.receive(&house.sign(&locate(1, 255)));
    let all = phone.state.commands().count();
    for id in 1..=100 {
        let _ = phone.receive(&house.sign(&ring(1, id)));
    }
    assert_eq!(phone.refusals.last(), Some(&Refusal::Replayed));
    assert_eq!(phone.state.commands().count(), all + COPIES_AT_ONCE);
    let pace = phone.state.pace(house.client(0)).unwrap();
    assert_eq!(pace.debt_ms, paid + EARNED_EACH_MS, "the locate alone");
}

#[test]
fn a_known_id_under_ever_new_numbers_is_answered_and_costs_a_bounded_number_of_rows() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = phone.receive(&house.sign(&locate(1, 1)));
    let rows = phone.journal.records.len();
    for seq in 2..=301 {
        assert!(phone.receive(&house.sign(&locate(seq, 1))).is_empty());
    }
    assert_eq!(phone.repeats(1), 300);
    assert_eq!(phone.journal.records.len() - rows, 2 * COPIES_AT_ONCE);
    // Time pays for copies as for orders.
    phone.later(EARNED_EACH_MS);
    let _ = phone.receive(&house.sign(&locate(400, 1)));
    assert!(phone.state.windows()[0].has_seen(400));
    phone.check_facts();
}

#[test]
fn a_client_that_orders_without_end_leaves_the_others_alone() {
    let (house, mut phone) = (House::new(), Phone::new());
    exhaust(&house, &mut phone);
    assert!(!is_loud(&phone.receive(&house.sign(&ring(9_000, 1)))));
    assert!(is_loud(&phone.receive(&house.sign(&ring(1, 2).by(1, 1)))));
}

#[test]
fn only_the_time_since_a_start_pays_for_orders_whatever_the_wall_clock_shows() {
    let (house, mut phone) = (House::new(), Phone::new());
    exhaust(&house, &mut phone);
    phone.trust(u64::MAX);
    assert!(!is_loud(&phone.receive(&house.sign(&ring(9_000, 1)))));
    // 20 s after its start the phone is sure of 20 s: one order.
    let _ = phone.reboot();
    assert!(is_loud(&phone.receive(&house.sign(&ring(9_001, 2)))));
    assert!(!is_loud(&phone.receive(&house.sign(&ring(9_002, 3)))));
    phone.later(EARNED_EACH_MS);
    assert!(is_loud(&phone.receive(&house.sign(&ring(9_003, 4)))));
}
