//! `docs/protocol.md` says what the code does, as far as words and numbers can be compared. Judges no prose.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the page; the crate itself does no I/O"
)]

use homing_protocol::Refusal;
use homing_protocol::authority::{Capability, MOST_ENTRIES};
use homing_protocol::beacon::{MOST_BITMAP, MOST_WINDOWS};
use homing_protocol::command::{
    LONGEST_CONTACT, LONGEST_MESSAGE, MOST_NAMED_EPISODES, MOST_NAMED_RINGS, MOST_RESENT, Op,
};
use homing_protocol::envelope::{BUCKETS, HEADER_LEN, LONGEST, LONGEST_CONTENT, MessageType};
use homing_protocol::id::DeviceId;
use homing_protocol::keyring::{MOST_DEVICES, PassphraseCost};
use homing_protocol::keys::{ENCAPSULATED_LEN, TAG_LEN};
use homing_protocol::readers::{MOST_READERS, PLAIN_BUCKETS};
use homing_protocol::receipt::{CommandState, LONGEST_TEXT, LONGEST_TEXT_ATTESTED};
use homing_protocol::report::MOST_POSITIONS;
use homing_protocol::topic::{Channel, Topic};
use std::fs;
use std::path::Path;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    fs::read_to_string(path).expect("the page")
}

/// A number as people write it: 4,156.
fn written(number: usize) -> String {
    let digits = number.to_string();
    let (head, tail) = digits.split_at(digits.len().saturating_sub(3));
    if head.is_empty() {
        digits
    } else {
        format!("{},{tail}", written(head.parse().expect("digits")))
    }
}

#[track_caller]
fn says(text: &str) {
    assert!(
        page().contains(text),
        "docs/protocol.md does not say: {text}"
    );
}

#[test]
fn every_refusal_stands_in_the_table_with_its_number() {
    for refusal in Refusal::ALL {
        says(&format!("\n| {} | `{}` |", refusal.code(), refusal.word()));
    }
}

#[test]
fn every_capability_stands_in_the_table_with_its_bit() {
    for (capability, word) in Capability::ALL {
        says(&format!("\n| {} | `{word}` |", capability as u32));
    }
}

#[test]
fn every_operation_stands_in_the_table_with_its_code_and_capability() {
    let rings = Vec::new();
    let ops = [
        Op::Locate { search_s: 1 },
        Op::Ring { for_s: 1 },
        Op::RingStop { rings },
        Op::Status,
        Op::ResendReports { first: 1, last: 1 },
        Op::Resume {
            beacon: 1,
            receipts: 1,
            head: [1; 32],
            reports: 1,
        },
        Op::Lost {
            message: "message".into(),
            contact: None,
            code: None,
        },
        Op::LostOff {
            episodes: Vec::new(),
        },
    ];
    assert_eq!(Op::KNOWN_CODES.count(), ops.len());
    for (code, op) in Op::KNOWN_CODES.zip(ops) {
        let page = page();
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {code} | `{}` |", op.word())))
            .unwrap_or_else(|| panic!("no row for {}", op.word()));
        let needs = op.capability().expect("known");
        let word = Capability::ALL.iter().find(|(one, _)| *one == needs);
        let word = word.expect("listed").1;
        assert!(row.contains(&format!("| `{word}` |")), "{row}");
    }
    says(&format!("`{}`", Op::Unknown { code: 0 }.word()));
}

#[test]
fn every_state_stands_in_the_table_with_its_code() {
    for code in 1..=8 {
        let state = CommandState::from_code(code).expect("known");
        says(&format!("\n| `{}` | {code} |", state.word()));
    }
    assert_eq!(CommandState::from_code(9), None);
}

#[test]
fn every_message_type_stands_in_the_table() {
    use MessageType as T;
    for (kind, word) in [
        (T::Command, "command"),
        (T::Approval, "approval"),
        (T::Beacon, "beacon"),
        (T::Receipt, "receipt"),
        (T::Report, "report"),
        (T::ReportAck, "report-ack"),
        (T::Authority, "authority list"),
        (T::KeySet, "key set"),
        (T::Enrolment, "enrolment: claim"),
        (T::Enrolment, "enrolment: answer"),
        (T::DeviceCertificate, "device certificate"),
        (T::Attestation, "attestation"),
    ] {
        says(&format!("\n| {} | {word} |", kind as u8));
    }
}

#[test]
fn every_topic_stands_in_the_table() {
    let device = DeviceId([0xab; 16]);
    for channel in [
        Channel::Command,
        Channel::Authority,
        Channel::Enrol,
        Channel::Beacon,
        Channel::Receipt,
        Channel::Report,
    ] {
        let topic = Topic::Device(device, channel).to_string();
        let pattern = topic
            .replace(&device.to_string(), "{device}")
            .replace("/ab/", "/{shard}/");
        says(&format!("\n| `{pattern}` |"));
    }
    says("\n| `homing/v1/account/{account}/keyring` |");
}

#[test]
fn every_size_is_the_one_of_the_code() {
    for bucket in BUCKETS {
        let carried = HEADER_LEN + bucket;
        let sealed = carried + ENCAPSULATED_LEN + TAG_LEN;
        says(&format!(
            "\n| {bucket} | {} | {} |",
            written(sealed),
            written(carried)
        ));
    }
    let [a, b, c, d] = PLAIN_BUCKETS;
    says(&format!("to {a}, {b}, {c} or {d} bytes"));
    says(&format!("\n| envelope | {} bytes |", written(LONGEST)));
    says(&format!(
        "\n| content of an envelope | {} bytes |",
        written(LONGEST_CONTENT)
    ));
    says(&format!(
        "\n| plain text for readers | {} bytes |",
        written(d - 2)
    ));
    says(&format!(
        "\n| clients in an authority list | {MOST_ENTRIES} |"
    ));
    says(&format!("\n| readers of a phone | {MOST_READERS} |"));
    says(&format!(
        "\n| windows in a beacon | {MOST_WINDOWS}, each with {} numbers |",
        MOST_BITMAP * 8
    ));
    says(&format!("\n| rings named by a stop | {MOST_NAMED_RINGS} |"));
    says(&format!(
        "\n| episodes named by an end of lost mode | {MOST_NAMED_EPISODES} |"
    ));
    says(&format!(
        "\n| message and contact of lost mode | {LONGEST_MESSAGE} and {LONGEST_CONTACT} bytes |"
    ));
    says(&format!(
        "\n| attestation | {} bytes |",
        homing_protocol::lost::Attestation::LEN
    ));
    says(&format!("\n| positions in a report | {MOST_POSITIONS} |"));
    let resent = usize::try_from(MOST_RESENT).expect("fits");
    says(&format!(
        "\n| positions asked for again by one order | {} |",
        written(resent)
    ));
    says(&format!(
        "\n| text in a receipt | {LONGEST_TEXT} bytes, {LONGEST_TEXT_ATTESTED} beside an attestation |"
    ));
    says(&format!("\n| phones in a keyring | {MOST_DEVICES};"));
    let cost = |kib: u32| written(usize::try_from(kib).expect("fits"));
    says(&format!(
        "KiB, {} (64 MiB)",
        cost(PassphraseCost::FLOOR.memory_kib)
    ));
    says(&format!(
        "{} KiB (128 MiB) and {} passes",
        cost(PassphraseCost::DEFAULT.memory_kib),
        PassphraseCost::DEFAULT.passes
    ));
}
