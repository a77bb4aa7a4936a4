//! Random damage to the samples: replaced, repeated, removed and spliced ranges, and bytes that never were a message.

use crate::sample::{Draws, EPOCH, address, kem, signing};
use crate::{LIST, SAMPLES, everything_decodes_without_a_panic, right, step};
use homing_protocol::cbor;
use homing_protocol::command;
use homing_protocol::envelope::{self, MessageType};
use homing_protocol::signed;
use proptest::prelude::*;

/// What a line between two clients may do to bytes.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Vec<u8>),
    Duplicate(usize),
    Remove(usize),
    Insert(Vec<u8>),
    Zero(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        bytes().prop_map(Damage::Replace),
        (1usize..200).prop_map(Damage::Duplicate),
        (1usize..200).prop_map(Damage::Remove),
        bytes().prop_map(Damage::Insert),
        (1usize..200).prop_map(Damage::Zero),
    ]
}

fn damaged(bytes: &[u8], at: prop::sample::Index, damage: &Damage) -> Vec<u8> {
    let at = at.index(bytes.len());
    let end = |length: usize| (at + length).min(bytes.len());
    let (before, after) = bytes.split_at(at);
    match damage {
        Damage::Replace(new) => [
            before,
            &new[..end(new.len()) - at],
            &bytes[end(new.len())..],
        ]
        .concat(),
        Damage::Duplicate(length) => [before, &bytes[at..end(*length)], after].concat(),
        Damage::Remove(length) => [before, &bytes[end(*length)..]].concat(),
        Damage::Insert(new) => [before, new, after].concat(),
        Damage::Zero(length) => {
            [before, &vec![0; end(*length) - at], &bytes[end(*length)..]].concat()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_messages_are_refused(damages in proptest::collection::vec((any::<prop::sample::Index>(), damage()), 1..4)) {
        for sample in &*SAMPLES {
            let mut bytes = sample.bytes.clone();
            for (at, damage) in &damages {
                bytes = damaged(&bytes, *at, damage);
                if bytes.is_empty() {
                    break;
                }
            }
            prop_assert!(bytes == sample.bytes || (sample.open)(&bytes, &right()).is_err(), "{}: {:02x?}", sample.name, bytes);
        }
    }

    #[test]
    fn two_messages_spliced_are_refused(first in 0usize..12, second in 0usize..12, cut: prop::sample::Index) {
        let (first, second) = (&SAMPLES[first], &SAMPLES[second]);
        let cut = cut.index(first.bytes.len().min(second.bytes.len()));
        let spliced = [&first.bytes[..cut], &second.bytes[cut..]].concat();
        for sample in &*SAMPLES {
            prop_assert!(spliced == sample.bytes || (sample.open)(&spliced, &right()).is_err());
        }
    }

    #[test]
    fn what_a_stranger_damages_inside_and_seals_anew_is_refused(at: prop::sample::Index, damage in damage()) {
        for (name, kind) in [("command-ring", MessageType::Command), ("report-ack", MessageType::ReportAck), ("authority", MessageType::Authority)] {
            let sample = SAMPLES.iter().find(|sample| sample.name == name).expect("a sample");
            let message = step(name, "signed");
            let changed = damaged(&message, at, &damage);
            let mut draws = Draws::new("sealed anew");
            let sealed = envelope::seal(kind, &address(), &kem("device").public(), None, &changed, &mut draws).expect("fits");
            prop_assert!(changed == message || (sample.open)(&sealed, &right()).is_err());
        }
    }

    #[test]
    fn what_a_known_client_signs_is_read_or_refused_without_a_panic(at: prop::sample::Index, damage in damage()) {
        let payload = damaged(&step("command-bound", "payload"), at, &damage);
        let message = signed::sign(&signing("owner"), &address().context(MessageType::Command), payload.clone());
        let mut draws = Draws::new("a known client");
        let sealed = envelope::seal(MessageType::Command, &address(), &kem("device").public(), None, &message, &mut draws).expect("fits");
        if let Ok(verified) = command::open(&sealed, &address(), EPOCH, &kem("device"), &LIST) {
            prop_assert_eq!(verified.command().address, address());
            prop_assert!(cbor::decode(&payload).is_ok());
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_by_every_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        everything_decodes_without_a_panic(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_right_header_are_refused(kind in 0u8..12, bucket in 0u8..5, body in proptest::collection::vec(any::<u8>(), 560), sealed: bool) {
        let key = if sealed { kem("device").public().key_id() } else { signing("agent").public().key_id() };
        let header = [&[envelope::FORMAT, envelope::SUITE, kind, bucket][..], &key.0].concat();
        let length = if sealed { 560 } else { 512 };
        everything_decodes_without_a_panic(&[&header, &body[..length]].concat());
    }
}
