//! Which word a phone answers, and to whom it answers nothing.

use crate::owner_list;
use crate::sample::{Draws, EPOCH, address, kem, short, signing};
use ciborium::Value;
use homing_protocol::authority::{Capabilities, Capability};
use homing_protocol::cbor::LARGEST;
use homing_protocol::cbor::{self, Map};
use homing_protocol::command::{self, Command, Op, Rejected};
use homing_protocol::envelope::{self, Address, MessageType};
use homing_protocol::id::{CommandId, DeviceId, SessionId};
use homing_protocol::report::ReportAck;
use homing_protocol::{Malformed, Refusal, signed};

fn locate() -> Command {
    Command {
        address: address(),
        epoch: EPOCH,
        client: signing("owner").public().client_id(),
        session: SessionId(short("session")),
        seq: 1,
        id: CommandId(short("id")),
        op: Op::Locate { search_s: 60 },
        issued_at: 1_790_000_000,
        not_after: None,
        beacon: None,
        authority_version: 5,
        binding: None,
        presence: None,
    }
}

/// What the phone says, with list version 5 in which the owner has these capabilities.
fn answer(command: &Command, capabilities: &[Capability]) -> Result<(), Rejected> {
    let envelope = command
        .seal(
            &signing("owner"),
            &kem("device").public(),
            &mut Draws::new("refusals"),
        )
        .expect("fits");
    opened(&envelope, capabilities)
}

fn opened(envelope: &[u8], capabilities: &[Capability]) -> Result<(), Rejected> {
    let list = owner_list(5, Capabilities::of(capabilities));
    command::open(envelope, &address(), EPOCH, &kem("device"), &list).map(drop)
}

fn told(answer: Result<(), Rejected>) -> Option<Refusal> {
    match answer {
        Err(Rejected::Client(refusal, _)) => Some(refusal),
        other => panic!("the client deserves an answer, got {other:?}"),
    }
}

fn ignored(answer: Result<(), Rejected>) -> Option<Refusal> {
    match answer {
        Err(Rejected::Stranger(refusal)) => Some(refusal),
        other => panic!("a stranger deserves no answer, got {other:?}"),
    }
}

/// A locate whose payload was changed before it was signed.
fn changed(change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let envelope = locate()
        .seal(
            &signing("owner"),
            &kem("device").public(),
            &mut Draws::new("original"),
        )
        .expect("fits");
    let (_, message) = envelope::open(&envelope, &address(), &kem("device"), None).expect("sealed");
    let payload = signed::Unverified::parse(&message)
        .expect("signed")
        .payload()
        .to_vec();
    let Ok(Value::Map(mut fields)) = cbor::decode(&payload) else {
        panic!("a map")
    };
    change(&mut fields);
    let context = address().context(MessageType::Command);
    let message = signed::sign(
        &signing("owner"),
        &context,
        cbor::encode(&Value::Map(fields)),
    );
    envelope::seal(
        MessageType::Command,
        &address(),
        &kem("device").public(),
        None,
        &message,
        &mut Draws::new("changed"),
    )
    .expect("fits")
}

fn lost(message: &str, contact: Option<&str>) -> Op {
    Op::Lost {
        message: message.into(),
        contact: contact.map(Into::into),
        code: None,
    }
}

#[test]
fn what_a_finder_reads_is_one_line_of_its_length_and_hides_nothing() {
    let seal = |op| {
        Command { op, ..locate() }
            .seal(
                &signing("owner"),
                &kem("device").public(),
                &mut Draws::new("lost"),
            )
            .map(drop)
    };
    let longest = "ß".repeat(command::LONGEST_MESSAGE / 2);
    assert_eq!(seal(lost(&longest, Some("+49 30 1234567"))), Ok(()));
    for message in ["", &format!("{longest}."), "two\nlines", "\u{1b}[2J"] {
        assert_eq!(seal(lost(message, None)), Err(Malformed::Field(0)));
    }
    let long = "1".repeat(command::LONGEST_CONTACT + 1);
    for contact in ["", "\t", &long] {
        assert_eq!(
            seal(lost("message", Some(contact))),
            Err(Malformed::Field(1))
        );
    }
}

#[test]
fn each_operation_needs_its_own_right_and_no_other() {
    let ops = [
        (Op::Locate { search_s: 1 }, Capability::Locate),
        (Op::Status, Capability::Locate),
        (Op::Ring { for_s: 1 }, Capability::Ring),
        (Op::RingStop { rings: Vec::new() }, Capability::Ring),
        (
            Op::ResendReports { first: 1, last: 1 },
            Capability::ReadLocation,
        ),
        (
            Op::Resume {
                beacon: 1,
                receipts: 1,
                head: [1; 32],
                reports: 1,
            },
            Capability::Settings,
        ),
        (lost("message", None), Capability::Lost),
        (
            Op::LostOff {
                episodes: Vec::new(),
            },
            Capability::Unlock,
        ),
    ];
    for (op, right) in ops {
        let command = Command { op, ..locate() };
        assert_eq!(answer(&command, &[right]), Ok(()));
        let others: Vec<_> = Capability::ALL
            .iter()
            .map(|(one, _)| *one)
            .filter(|one| *one != right)
            .collect();
        assert_eq!(
            told(answer(&command, &others)),
            Some(Refusal::NotAllowed),
            "{}",
            command.op.word()
        );
    }
}

#[test]
fn another_epoch_or_device_is_misdirected_even_from_the_owner() {
    let older = Command {
        epoch: EPOCH - 1,
        ..locate()
    };
    assert_eq!(
        told(answer(&older, &[Capability::Locate])),
        Some(Refusal::Misdirected)
    );
    // The device inside is the owner's mistake; signature and seal are bound to the outer one.
    let other = changed(|fields| fields[2].1 = Value::Bytes(vec![7; 16]));
    assert_eq!(
        told(opened(&other, &[Capability::Locate])),
        Some(Refusal::Misdirected)
    );
}

#[test]
fn an_unknown_client_is_ignored_unless_a_newer_list_may_know_it() {
    let stranger = Command {
        client: signing("stranger").public().client_id(),
        ..locate()
    };
    let answer = |command: &Command| {
        let sealed = command.seal(
            &signing("stranger"),
            &kem("device").public(),
            &mut Draws::new("stranger"),
        );
        opened(&sealed.expect("fits"), &[Capability::Locate])
    };
    assert_eq!(ignored(answer(&stranger)), Some(Refusal::UnknownClient));
    let newer = Command {
        authority_version: 6,
        ..stranger
    };
    assert_eq!(ignored(answer(&newer)), Some(Refusal::NeedAuthority));
}

#[test]
fn a_right_that_a_newer_list_may_have_given_gets_no_final_answer_before_it() {
    let newer = Command {
        authority_version: 6,
        ..locate()
    };
    assert_eq!(
        ignored(answer(&newer, &[Capability::Ring])),
        Some(Refusal::NeedAuthority)
    );
    assert_eq!(
        answer(&newer, &[Capability::Locate]),
        Ok(()),
        "what is allowed already waits for no list"
    );
}

#[test]
fn a_stranger_who_uses_the_owners_name_is_ignored() {
    let sealed = locate()
        .seal(
            &signing("stranger"),
            &kem("device").public(),
            &mut Draws::new("forged"),
        )
        .expect("fits");
    assert_eq!(
        ignored(opened(&sealed, &[Capability::Locate])),
        Some(Refusal::BadSignature)
    );
}

#[test]
fn an_operation_of_a_later_version_is_unsupported() {
    for code in [0, 9, 900, LARGEST] {
        let later = Command {
            op: Op::Unknown { code },
            ..locate()
        };
        assert_eq!(told(answer(&later, &[])), Some(Refusal::Unsupported));
    }
    let with_parameters = changed(|fields| {
        fields[8].1 = Value::from(900);
        fields[9].1 = Map::new().text(0, "of a later version").value();
    });
    assert_eq!(
        told(opened(&with_parameters, &[])),
        Some(Refusal::Unsupported)
    );
}

#[test]
fn a_parameter_out_of_its_range_is_told_and_cannot_be_sent_by_mistake() {
    let bad = [
        (1, Map::new().uint(0, 0)),
        (1, Map::new().uint(0, 601)),
        (1, Map::new()),
        (2, Map::new().uint(0, 3601)),
        (2, Map::new().text(0, "5m")),
        (2, Map::new().uint(0, 5).uint(1, 5)),
        (3, Map::new().list(0, [Value::Bytes(vec![0; 15])])),
        (3, Map::new().list(0, vec![Value::Bytes(vec![0; 16]); 16])),
        (4, Map::new().uint(0, 1)),
        (5, Map::new().uint(0, 1)),
        (5, Map::new().uint(0, 0).uint(1, 1)),
        (5, Map::new().uint(0, 2).uint(1, 1)),
        (5, Map::new().uint(0, 1).uint(1, 1025)),
        (5, Map::new().uint(0, 5_000).uint(1, 6_024)),
    ];
    for (code, params) in bad {
        let what = format!("{code} {params:?}");
        let sealed = changed(|fields| {
            fields[8].1 = Value::from(code);
            fields[9].1 = params.value();
        });
        assert_eq!(
            told(opened(&sealed, &[Capability::Locate])),
            Some(Refusal::BadParameter),
            "{what}"
        );
    }
    for op in [
        Op::Locate { search_s: 0 },
        Op::Locate { search_s: 601 },
        Op::Ring { for_s: 3601 },
        Op::Unknown { code: 2 },
    ] {
        let sealed = Command { op, ..locate() }.seal(
            &signing("owner"),
            &kem("device").public(),
            &mut Draws::new("bad"),
        );
        assert_eq!(sealed, Err(Malformed::Field(0)));
    }
    let many = Op::RingStop {
        rings: vec![CommandId([0; 16]); command::MOST_NAMED_RINGS + 1],
    };
    let sealed = Command {
        op: many,
        ..locate()
    }
    .seal(
        &signing("owner"),
        &kem("device").public(),
        &mut Draws::new("many"),
    );
    assert_eq!(sealed, Err(Malformed::TooMany));
}

#[test]
fn numbers_that_could_overflow_and_fields_of_later_versions_are_malformed() {
    for (seq, refusal) in [
        (0, Refusal::Malformed),
        (LARGEST + 1, Refusal::NotCanonical),
        (u64::MAX, Refusal::NotCanonical),
    ] {
        let sealed = changed(|fields| fields[6].1 = Value::from(seq));
        assert_eq!(
            ignored(opened(&sealed, &[Capability::Locate])),
            Some(refusal)
        );
    }
    let more = changed(|fields| fields.push((Value::from(16), Value::from(1))));
    assert_eq!(
        ignored(opened(&more, &[Capability::Locate])),
        Some(Refusal::Malformed)
    );
    let later = changed(|fields| fields[0].1 = Value::from(2));
    assert_eq!(
        ignored(opened(&later, &[Capability::Locate])),
        Some(Refusal::Malformed)
    );
    let unsorted = changed(|fields| fields.swap(3, 4));
    assert_eq!(
        ignored(opened(&unsorted, &[Capability::Locate])),
        Some(Refusal::NotCanonical)
    );
}

#[test]
fn what_is_sealed_to_another_key_or_place_says_so() {
    let other_key = locate()
        .seal(
            &signing("owner"),
            &kem("other").public(),
            &mut Draws::new("other"),
        )
        .expect("fits");
    assert_eq!(
        ignored(opened(&other_key, &[Capability::Locate])),
        Some(Refusal::WrongKey)
    );
    let elsewhere = Address {
        device: DeviceId(short("elsewhere")),
        ..address()
    };
    let other_place = Command {
        address: elsewhere,
        ..locate()
    };
    assert_eq!(
        ignored(answer(&other_place, &[Capability::Locate])),
        Some(Refusal::Unsealable)
    );
    assert_eq!(ignored(opened(&[0; 572], &[])), Some(Refusal::Malformed));
}

#[test]
fn only_a_reader_of_positions_acknowledges_reports() {
    let ack = ReportAck {
        address: address(),
        epoch: EPOCH,
        client: signing("owner").public().client_id(),
        through: 9,
    };
    let open = |ack: &ReportAck, capability| {
        let sealed = ack
            .seal(
                &signing("owner"),
                &kem("device").public(),
                &mut Draws::new("ack"),
            )
            .expect("fits");
        let list = owner_list(5, Capabilities::of(&[capability]));
        ReportAck::open(&sealed, &address(), EPOCH, &kem("device"), &list)
    };
    assert_eq!(open(&ack, Capability::ReadLocation), Ok(ack));
    assert_eq!(open(&ack, Capability::Locate), Err(Malformed::Signature));
    let older = ReportAck {
        epoch: EPOCH - 1,
        ..ack
    };
    assert_eq!(
        open(&older, Capability::ReadLocation),
        Err(Malformed::Misdirected)
    );
}

#[test]
fn every_refusal_has_its_own_number_and_word() {
    for (index, refusal) in Refusal::ALL.iter().enumerate() {
        assert_eq!(refusal.code(), index as u64 + 1);
        assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
        assert_eq!(refusal.to_string(), refusal.word());
        assert_eq!(
            Refusal::ALL
                .iter()
                .filter(|other| other.word() == refusal.word())
                .count(),
            1
        );
    }
    assert_eq!(Refusal::from_code(0), None);
}
