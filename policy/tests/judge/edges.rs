//! What the judge writes down at the edges of its numbers, and of what it knows. It must not need history.

use crate::house::*;
use homing_policy::NonceMaker;
use homing_policy::record::{Accepted, Place};
use homing_policy::{Event, Record, codec, decide};
use homing_protocol::command::Op;
use homing_protocol::id::{BootId, ClientId, CommandId, SessionId};

#[test]
fn an_event_that_changes_nothing_is_not_written_down() {
    let mut phone = Phone::new();
    phone.journal.is_broken = true;
    let nothing = decide(&phone.state, &phone.now, &Event::Tick);
    let done = nothing.commit(&mut phone.state, &mut phone.journal);
    assert_eq!(done, Ok(Vec::new()), "a disk that is gone is not asked");
    let nonce = nonce(2);
    let something = decide(
        &phone.state,
        &phone.now,
        &Event::BeaconDue {
            nonce,
            maker: NonceMaker::Agent,
        },
    );
    let done = something.commit(&mut phone.state, &mut phone.journal);
    assert!(done.is_err(), "what matters is");
}

/// The journal of these tests reads back each record that it is given, and its times must not wrap either.
#[test]
fn clocks_gone_mad_make_no_record_that_cannot_be_read_back() {
    let house = House::new();
    for (boottime_ms, wall_unix_s) in [(u64::MAX, u64::MAX), (u64::MAX / 2, TODAY), (0, 0)] {
        let mut phone = Phone::new();
        let ring = house.sign(&ring(1, 1));
        (phone.now.boottime_ms, phone.now.wall_unix_s) = (boottime_ms, wall_unix_s);
        phone.beacon();
        assert!(sounds(&phone.receive(&ring), 1));
        phone.check_facts();
        let _ = phone.restart();
    }
}

#[test]
fn an_order_of_a_later_protocol_is_read_back_as_it_was_taken_on() {
    let taken_on = Record::Accepted(Accepted {
        id: CommandId([1; 16]),
        client: ClientId([2; 16]),
        session: SessionId([3; 8]),
        seq: 4,
        op: Op::Unknown { code: 900 },
        not_after: Some(5),
        at_beacon: 6,
        at_unix_s: 7,
    });
    assert_eq!(codec::decode(&codec::encode(&taken_on)), Ok(taken_on));
}

#[test]
fn a_place_that_is_printed_says_only_whether_the_phone_moves() {
    let place = Place {
        boot: BootId([1; 16]),
        boottime_ms: 2,
        latitude_e7: 525_162_700,
        longitude_e7: 133_777_000,
        accuracy_dm: 50,
        moving: true,
    };
    assert_eq!(format!("{place:?}"), "Place(moving: true, redacted)");
}
