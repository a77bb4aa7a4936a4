//! Millions of damaged messages, each given to the decoder that it is for: `cargo xtask campaign malformed`. None may be accepted and none may end in a panic.

use super::*;
use std::time::Instant;

/// A small generator of numbers (xorshift64*, Vigna 2016): a campaign is told by its seed alone.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a length fits");
        usize::try_from(self.next() % end).expect("less than a length")
    }
    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// The ways in which a message is damaged, for the tally.
const WAYS: [&str; 10] = [
    "bit flipped",
    "byte replaced",
    "range replaced",
    "ranges exchanged",
    "number put in",
    "range removed",
    "range repeated",
    "bytes put in",
    "cut short",
    "spliced with another",
];

/// What a careless reader trips over: lengths and numbers at their edges, as CBOR writes them.
const EDGES: [&[u8]; 8] = [
    &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff],
    &[0x9a, 0xff, 0xff, 0xff, 0xff],
    &[0x18, 0x17],
    &[0x5f],
    &[0xf9, 0x7e, 0x00],
    &[0xc2, 0x41, 0x01],
];

fn damage(bytes: &mut Vec<u8>, way: usize, numbers: &mut Numbers) {
    let at = numbers.below(bytes.len());
    let end = at + numbers.below((bytes.len() - at).min(32) + 1);
    match way {
        0 => bytes[at] ^= 1 << numbers.below(8),
        1 => bytes[at] = numbers.byte(),
        2 => bytes[at..end]
            .iter_mut()
            .for_each(|byte| *byte = numbers.byte()),
        3 => {
            let length = end - at;
            let other = numbers.below(bytes.len() - length + 1);
            for offset in 0..length {
                bytes.swap(at + offset, other + offset);
            }
        }
        4 => {
            let edge = EDGES[numbers.below(EDGES.len())];
            let end = (at + edge.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&edge[..end - at]);
        }
        5 => drop(bytes.drain(at..end)),
        6 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        7 => {
            let edge = EDGES[numbers.below(EDGES.len())];
            bytes.splice(at..at, edge.iter().copied());
        }
        8 => bytes.truncate(at),
        _ => {
            let other = &SAMPLES[numbers.below(SAMPLES.len())].bytes;
            let from = numbers.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

/// Each sample is damaged in turn, once or up to three times.
fn damaged_sample(turn: u64, numbers: &mut Numbers, tally: &mut [u64; 10]) -> (usize, Vec<u8>) {
    let count = u64::try_from(SAMPLES.len()).expect("a dozen");
    let sample = usize::try_from(turn % count).expect("one of a dozen");
    let mut bytes = SAMPLES[sample].bytes.clone();
    for _ in 0..=numbers.below(3) {
        let way = numbers.below(WAYS.len());
        if bytes.len() > 1 {
            damage(&mut bytes, way, numbers);
            tally[way] += 1;
        }
    }
    (sample, bytes)
}

/// Every 16th damages what a known client signs: it may be read, it must not panic, and what is read is ours.
fn signed_by_a_client(numbers: &mut Numbers, payloads: &[Vec<u8>]) {
    let mut payload = payloads[numbers.below(payloads.len())].clone();
    let way = numbers.below(WAYS.len() - 1);
    damage(&mut payload, way, numbers);
    let context = address().context(MessageType::Command);
    let message = signed::sign(&signing("owner"), &context, payload);
    let device = kem("device");
    let mut draws = Draws::new("campaign");
    let kind = MessageType::Command;
    let sealed = envelope::seal(
        kind,
        &address(),
        &device.public(),
        None,
        &message,
        &mut draws,
    );
    let Ok(sealed) = sealed else { return };
    if let Ok(verified) = command::open(&sealed, &address(), EPOCH, &device, &LIST) {
        assert_eq!(verified.command().address, address());
    }
}

#[test]
#[ignore = "by hand: cargo xtask campaign malformed"]
#[expect(
    clippy::disallowed_methods,
    reason = "a campaign is told by its environment how far it goes, and writes down what it found"
)]
fn a_campaign_of_damaged_messages() {
    let told = |name, otherwise| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
    };
    let (count, seed) = (
        told("HOMING_CAMPAIGN_COUNT", 100_000),
        told("HOMING_CAMPAIGN_SEED", 1),
    );
    // A state of zero would stay zero.
    let mut numbers = Numbers(seed ^ 0x9E37_79B9_7F4A_7C15);
    let payloads = [
        "ring",
        "ring-stop",
        "locate",
        "status",
        "resend-reports",
        "bound",
    ]
    .map(|name| step(&format!("command-{name}"), "payload"));
    let began = Instant::now();
    let (mut tally, mut unchanged, mut signed) = ([0; 10], 0u64, 0u64);
    for turn in 0..count {
        if turn % 16 == 0 {
            signed_by_a_client(&mut numbers, &payloads);
            signed += 1;
            continue;
        }
        let (sample, bytes) = damaged_sample(turn, &mut numbers, &mut tally);
        let sample = &SAMPLES[sample];
        if bytes == sample.bytes {
            unchanged += 1;
            continue;
        }
        assert!(
            (sample.open)(&bytes, &right()).is_err(),
            "{} of seed {seed}, turn {turn}: {bytes:02x?}",
            sample.name
        );
    }
    let ways: Vec<String> = WAYS
        .iter()
        .zip(tally)
        .map(|(way, times)| format!("    \"{way}\": {times}"))
        .collect();
    let text = format!(
        "{{\n  \"campaign\": \"malformed\",\n  \"seed\": {seed},\n  \"messages\": {count},\n  \"samples\": {},\n  \"signed_by_a_known_client\": {signed},\n  \"unchanged\": {unchanged},\n  \"accepted\": 0,\n  \"panics\": 0,\n  \"seconds\": {},\n  \"damages\": {{\n{}\n  }}\n}}\n",
        SAMPLES.len(),
        began.elapsed().as_secs(),
        ways.join(",\n")
    );
    if let Ok(result) = std::env::var("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(result, text).expect("the result is written");
    }
}
