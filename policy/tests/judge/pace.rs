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

#[test]
fn what_was_refused_as_busy_never_has_an_effect_under_the_same_signature() {
    let (house, mut phone) = (House::new(), Phone::new());
    exhaust(&house, &mut phone);
    let refused = house.sign(&ring(9_000, 1));
    assert!(!is_loud(&phone.receive(&refused)));
    assert!(phone.journal.sent.iter().any(|message| matches!(
        message,
        Outgoing::Receipt {
            refusal: Some(Refusal::Busy),
            state: Refused,
            ..
        }
    )));
    phone.later(10 * EARNED_EACH_MS);
    assert!(!is_loud(&phone.receive(&refused)), "its number is used up");
    assert!(is_loud(&phone.receive(&house.sign(&ring(9_001, 2)))));
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
