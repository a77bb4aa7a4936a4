//! The agent is cut off before and after each of its writes, to journal and outbox, in the story of every order there is. The broker behaves; the oracle judges.

use homing_oracle::{in_words, judge};
use homing_protocol::command::Op;
use homing_protocol::id::CommandId;

use super::family::{DELEGATE, Delegate, Size};
use super::world::{Template, World, address};

/// More crash points than any of these stories has.
const FAR: u64 = 200;

/// Gives an order to the first phone.
fn give(world: &mut World, op: Op) -> CommandId {
    give_as(world, 0, op)
}

/// The same, of that client.
fn give_as(world: &mut World, client: usize, op: Op) -> CommandId {
    let number = u8::try_from(world.orders().count() + 1).expect("few");
    let (id, now) = (CommandId([number; 16]), world.owner_ms());
    world.clients[client].order(address(0).device, id, op, now);
    id
}

/// Lets everybody behave for so many seconds.
fn seconds(world: &mut World, count: u32) {
    for _ in 0..count {
        world.behave();
        world.later(1_000);
    }
}

/// Tells the story once for each crash point, each time in a new world, until a telling reaches none. Returns how many
/// there were.
fn at_every_write(size: Size, story: fn(&mut World)) -> u64 {
    let template = Template::new(size);
    for point in 1..FAR {
        let mut world = World::new(&template);
        world.phones[0].die_in(point);
        story(&mut world);
        world.settle();
        let violations = judge(&world.facts.borrow());
        assert!(
            violations.is_empty() && world.fault.is_none(),
            "cut at {point}: {:?}\n{}",
            world.fault,
            in_words(&violations)
        );
        if world.phones[0].deaths == 0 {
            return point - 1;
        }
    }
    panic!("the agent still meets crash point {FAR}");
}

#[test]
fn cut_at_every_write_a_search_is_answered_once() {
    let points = at_every_write(Size::Alone, |world| {
        give(world, Op::Locate { search_s: 10 });
    });
    // Before and after each: order, its receipt off the outbox, position, that receipt off, position confirmed.
    assert!(points >= 10, "{points}");
}

#[test]
fn cut_at_every_write_a_ring_sounds_once() {
    let points = at_every_write(Size::Alone, |world| {
        give(world, Op::Ring { for_s: 2 });
    });
    assert!(points >= 12, "{points}");
}

#[test]
fn cut_at_every_write_a_stopped_ring_stays_silent() {
    let points = at_every_write(Size::Alone, |world| {
        let ring = give(world, Op::Ring { for_s: 60 });
        seconds(world, 2);
        give(world, Op::RingStop { rings: vec![ring] });
    });
    assert!(points >= 16, "{points}");
}

#[test]
fn cut_at_every_write_a_newer_ring_takes_the_place_of_an_older_one() {
    let points = at_every_write(Size::Alone, |world| {
        give(world, Op::Ring { for_s: 60 });
        seconds(world, 1);
        give(world, Op::Ring { for_s: 3 });
    });
    assert!(points >= 16, "{points}");
}

#[test]
fn cut_at_every_write_a_status_is_told() {
    let points = at_every_write(Size::Alone, |world| {
        give(world, Op::Status);
    });
    assert!(points >= 6, "{points}");
}

#[test]
fn cut_at_every_write_positions_are_given_again() {
    let points = at_every_write(Size::Alone, |world| {
        give(world, Op::Locate { search_s: 10 });
        seconds(world, 2);
        give(world, Op::ResendReports { first: 1, last: 1 });
    });
    assert!(points >= 14, "{points}");
}

#[test]
fn cut_at_every_write_the_movement_history_has_no_gap() {
    let points = at_every_write(Size::Alone, |world| {
        // Three positions of the phone's own accord.
        for _ in 0..3 {
            world.later(3_600_000);
            seconds(world, 2);
        }
    });
    assert!(points >= 12, "{points}");
}

#[test]
fn cut_at_every_write_lists_and_key_sets_are_taken_up_and_never_fall_back() {
    let points = at_every_write(Size::Alone, |world| {
        world.sign_list(Delegate::Listed);
        world.sign_key_set(0);
        seconds(world, 2);
        give(world, Op::Status);
        world.sign_list(Delegate::PutOut);
        seconds(world, 12);
        give(world, Op::Locate { search_s: 10 });
    });
    assert!(points >= 16, "{points}");
}

#[test]
fn cut_at_every_write_a_resume_counts_on_once_and_what_was_signed_before_is_signed_again() {
    let points = at_every_write(Size::Alone, |world| {
        give(world, Op::Locate { search_s: 10 });
        seconds(world, 2);
        let op = Op::Resume {
            beacon: 50,
            receipts: 0,
            head: [0; 32],
            reports: 3,
        };
        give(world, op);
        give(world, Op::Ring { for_s: 2 });
    });
    assert!(points >= 20, "{points}");
}

#[test]
fn cut_at_every_write_three_clients_order_at_once_and_none_takes_anothers_place_or_right() {
    let points = at_every_write(Size::Company, |world| {
        let ring = give(world, Op::Ring { for_s: 60 });
        give_as(world, 1, Op::Status);
        give_as(world, DELEGATE, Op::Locate { search_s: 5 });
        seconds(world, 2);
        // The delegate may not: it is refused, and the ring sounds on until its owner's other machine ends it.
        give_as(world, DELEGATE, Op::RingStop { rings: vec![ring] });
        seconds(world, 2);
        assert!(world.phones[0].deaths > 0 || world.phones[0].is_sounding());
        give_as(world, 1, Op::RingStop { rings: vec![ring] });
    });
    assert!(points >= 20, "{points}");
}
