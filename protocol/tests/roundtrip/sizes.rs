//! What looks alike on the wire, and that the largest of everything fits.

use crate::messages;
use crate::sample::{Draws, EPOCH, address, kem, signing};
use homing_protocol::authority::{
    self, AuthorityList, Capabilities, ClientKind, Entry, MOST_ENTRIES,
};
use homing_protocol::beacon::{
    Beacon, ClockTrust, ListDigests, MOST_BITMAP, MOST_WINDOWS, Status, Window,
};
use homing_protocol::certificate::{DeviceCertificate, DeviceKeys};
use homing_protocol::command::{
    BeaconReference, Command, FURTHEST, LONGEST_CONTACT, LONGEST_MESSAGE, MOST_NAMED_EPISODES,
    MOST_NAMED_RINGS, Op,
};
use homing_protocol::enrolment::{Answer, Claim, LONGEST_MODEL};
use homing_protocol::envelope::{self, LONGEST, MessageType};
use homing_protocol::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use homing_protocol::keys::{KemPublic, VerifyingKey};
use homing_protocol::lost::{Attestation, CodeVerifier, Outcome};
use homing_protocol::measure::{Battery, Charging, Metered, NetworkKind, Position, PositionSource};
use homing_protocol::readers::{KeySet, MOST_READERS, Reader, Reads};
use homing_protocol::receipt::{CommandState, Detail, LONGEST_TEXT};
use homing_protocol::report::{MOST_POSITIONS, Report};
use homing_protocol::{Malformed, Refusal};

/// The largest number of seconds until the year 2106; clocks further on need four bytes more.
const LATEST: u64 = u32::MAX as u64;

fn command(op: Op, largest: u64) -> Command {
    Command {
        address: address(),
        epoch: EPOCH,
        client: signing("owner").public().client_id(),
        session: SessionId([255; 8]),
        seq: largest.clamp(1, u64::MAX / 2),
        id: CommandId([255; 16]),
        op,
        issued_at: largest,
        not_after: (largest > 0).then_some(largest),
        beacon: (largest > 0).then_some(BeaconReference {
            counter: largest,
            nonce: BeaconNonce([255; 16]),
        }),
        authority_version: largest,
        binding: None,
        presence: None,
    }
}

fn length(command: &Command) -> usize {
    command
        .seal(
            &signing("owner"),
            &kem("device").public(),
            &mut Draws::new("length"),
        )
        .expect("fits")
        .len()
}

fn readers() -> Vec<KemPublic> {
    ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|name| kem(name).public())
        .to_vec()
}

#[test]
fn every_order_has_the_same_length_whatever_it_says() {
    let rings = vec![CommandId([255; 16]); MOST_NAMED_RINGS];
    for largest in [0, 1, LATEST, u64::MAX] {
        for op in [
            Op::Locate { search_s: 600 },
            Op::Ring { for_s: 3600 },
            Op::RingStop { rings: Vec::new() },
            Op::RingStop {
                rings: rings.clone(),
            },
            Op::Status,
            Op::ResendReports {
                first: u64::MAX / 2,
                last: u64::MAX / 2 + 1023,
            },
            Op::Resume {
                beacon: FURTHEST,
                receipts: FURTHEST,
                head: [255; 32],
                reports: FURTHEST,
            },
            Op::Lost {
                message: "m".repeat(LONGEST_MESSAGE),
                contact: Some("c".repeat(LONGEST_CONTACT)),
                code: Some(CodeVerifier::from_bytes([255; 32])),
            },
            Op::LostOff {
                episodes: vec![CommandId([255; 16]); MOST_NAMED_EPISODES],
            },
        ] {
            assert_eq!(length(&command(op, largest)), 572);
        }
    }
    // What only later versions order, with binding and presence, is as long as a status.
    let bound = Command {
        binding: Some([255; 32]),
        presence: Some(u64::MAX),
        ..command(Op::Unknown { code: u64::MAX }, u64::MAX)
    };
    assert_eq!(length(&bound), 572);
}

#[test]
fn an_acknowledgement_is_as_long_as_an_order() {
    for through in [0, u64::MAX] {
        let ack = homing_protocol::report::ReportAck {
            address: address(),
            epoch: u32::MAX,
            client: ClientId([255; 16]),
            through,
        };
        let sealed = ack
            .seal(
                &signing("owner"),
                &kem("device").public(),
                &mut Draws::new("ack"),
            )
            .expect("fits");
        assert_eq!(sealed.len(), 572);
    }
}

#[test]
fn the_content_limit_is_exact() {
    let key = kem("device").public();
    let seal = |length| {
        envelope::seal(
            MessageType::Command,
            &address(),
            &key,
            None,
            &vec![1; length],
            &mut Draws::new("limit"),
        )
    };
    for (content, whole) in [
        (0, 572),
        (510, 572),
        (511, 1084),
        (1022, 1084),
        (1023, 2108),
        (2046, 2108),
        (2047, LONGEST),
        (4094, LONGEST),
    ] {
        assert_eq!(seal(content).map(|bytes| bytes.len()), Ok(whole));
    }
    assert_eq!(LONGEST, 4156);
    assert_eq!(seal(4095), Err(Malformed::Length));
    assert_eq!(
        envelope::carry(MessageType::Report, key.key_id(), &[0; 4095]),
        Err(Malformed::Length)
    );
}

#[test]
fn a_full_authority_list_fits_and_one_more_does_not() {
    let entry = Entry {
        key: VerifyingKey([255; 32]),
        kind: ClientKind::Find,
        capabilities: Capabilities::from_bits(u32::MAX),
    };
    let mut list = AuthorityList {
        account: address().account,
        version: u64::MAX,
        entries: vec![entry; MOST_ENTRIES],
    };
    let signed = list.sign(&signing("root")).expect("64");
    authority::seal_to_device(
        MessageType::Authority,
        &signed,
        &address(),
        &kem("device").public(),
        &mut Draws::new("list"),
    )
    .expect("fits");
    list.entries.push(entry);
    assert_eq!(list.sign(&signing("root")), Err(Malformed::TooMany));
}

fn full_key_set() -> KeySet {
    let reader = |key| Reader {
        client: ClientId([255; 16]),
        key,
        reads: Reads::Positions,
    };
    KeySet {
        address: address(),
        version: u64::MAX,
        readers: readers().into_iter().map(reader).collect(),
    }
}

#[test]
fn a_full_key_set_certificate_answer_and_claim_fit() {
    let root = signing("root");
    let mut set = full_key_set();
    let signed = set.sign(&root).expect("8");
    authority::seal_to_device(
        MessageType::KeySet,
        &signed,
        &address(),
        &kem("device").public(),
        &mut Draws::new("set"),
    )
    .expect("fits");
    let keys = DeviceKeys {
        agent: signing("agent").public(),
        kem: kem("device").public(),
        actor: signing("actor").public(),
    };
    let certificate = DeviceCertificate {
        address: address(),
        epoch: u32::MAX,
        keys,
    }
    .sign(&root);
    let answer = Answer {
        certificate,
        key_set: signed,
    };
    answer
        .seal(
            &address(),
            &kem("device").public(),
            &crate::sample::secret(),
            &mut Draws::new("answer"),
        )
        .expect("fits");
    let claim = Claim {
        address: address(),
        epoch: u32::MAX,
        keys,
        consent_at: u64::MAX,
        retention_days: u16::MAX,
        model: "m".repeat(LONGEST_MODEL),
    };
    let seal = |claim: &Claim| {
        claim.seal(
            &signing("agent"),
            &kem("owner").public(),
            &crate::sample::secret(),
            &mut Draws::new("claim"),
        )
    };
    seal(&claim).expect("fits");
    let longer = Claim {
        model: "m".repeat(LONGEST_MODEL + 1),
        ..claim
    };
    assert_eq!(seal(&longer), Err(Malformed::Field(9)));
    set.readers.push(set.readers[0]);
    assert_eq!(set.sign(&root), Err(Malformed::TooMany));
}

fn full_status(ring: Option<CommandId>, percent: Option<u8>, number: u64) -> Status {
    Status {
        time_unix_s: number,
        clock: ClockTrust::Synchronised,
        battery: Battery {
            percent,
            charging: Charging::Full,
        },
        network: NetworkKind::Vpn,
        metered: Metered::No,
        ring,
        reports: number,
        presence: number,
        free_mib: u32::MAX,
        refused: u32::MAX,
        set_back: Some(number),
        left_at: Some(number),
        lists: Some(ListDigests::of(&[1], &[2])),
        lost: ring,
    }
}

fn full_beacon() -> Beacon {
    let window = Window {
        client: ClientId([255; 16]),
        session: SessionId([255; 8]),
        high: u64::MAX,
        missing: vec![255; MOST_BITMAP],
    };
    Beacon {
        address: address(),
        epoch: u32::MAX,
        counter: u64::MAX,
        nonce: BeaconNonce([255; 16]),
        boot: BootId([255; 16]),
        windows: vec![window; MOST_WINDOWS],
        authority_version: u64::MAX,
        key_set_version: u64::MAX,
        receipts: u64::MAX,
        receipt_chain: [255; 32],
        next_contact_s: u32::MAX,
    }
}

#[test]
fn a_full_beacon_for_all_readers_fits_and_one_window_more_does_not() {
    let sign = |beacon: &Beacon| {
        let status = full_status(Some(CommandId([255; 16])), Some(100), u64::MAX);
        beacon.sign(
            &status,
            &signing("agent"),
            &readers(),
            &mut Draws::new("beacon"),
        )
    };
    assert_eq!(readers().len(), MOST_READERS);
    sign(&full_beacon()).expect("fits");
    let mut more = full_beacon();
    more.windows.push(more.windows[0].clone());
    assert_eq!(sign(&more), Err(Malformed::TooMany));
    let mut longer = full_beacon();
    longer.windows[0].missing.push(1);
    assert_eq!(sign(&longer), Err(Malformed::TooMany));
}

#[test]
fn the_length_of_a_beacon_or_receipt_says_nothing_of_what_is_sealed_in_it() {
    let beacon = Beacon {
        windows: Vec::new(),
        ..full_beacon()
    };
    let sealed = |status: &Status| {
        let bytes = beacon
            .sign(
                status,
                &signing("agent"),
                &readers(),
                &mut Draws::new("beacon"),
            )
            .expect("fits");
        content(&bytes, MessageType::Beacon)
    };
    let full = sealed(&full_status(
        Some(CommandId([255; 16])),
        Some(100),
        u64::MAX,
    ));
    assert_eq!(full, sealed(&full_status(None, None, 0)));
    let receipt = messages::receipt(CommandState::Failed, 1, [0; 32]);
    let sealed = |detail: &Detail| {
        let signed = receipt
            .sign(
                detail,
                &signing("agent"),
                &readers(),
                &mut Draws::new("receipt"),
            )
            .expect("fits");
        content(&signed.envelope, MessageType::Receipt)
    };
    let full = Detail {
        time_unix_s: u64::MAX,
        refusal: Some(Refusal::Stale),
        text: Some("x".repeat(LONGEST_TEXT)),
        report: Some(u64::MAX),
        attestation: None,
    };
    assert_eq!(sealed(&full), sealed(&Detail::default()));
    let attested = Detail {
        attestation: Some(Attestation::sign(
            &signing("actor"),
            (&address(), u32::MAX),
            CommandId([255; 16]),
            Outcome::LockedInPart,
            u64::MAX,
        )),
        ..full
    };
    assert_eq!(sealed(&attested), sealed(&Detail::default()));
}

/// The length of the signed part, which everybody sees.
fn content(bytes: &[u8], kind: MessageType) -> usize {
    envelope::carried(bytes, kind, signing("agent").public().key_id())
        .expect("made here")
        .len()
}

#[test]
fn a_text_longer_than_allowed_is_cut_between_characters() {
    let receipt = messages::receipt(CommandState::Failed, 1, [0; 32]);
    let detail = Detail {
        text: Some("ß".repeat(LONGEST_TEXT)),
        ..Detail::default()
    };
    let signed = receipt
        .sign(
            &detail,
            &signing("agent"),
            &[kem("owner").public()],
            &mut Draws::new("receipt"),
        )
        .expect("fits");
    let verified = homing_protocol::receipt::Receipt::verify(
        &signed.envelope,
        &address(),
        &signing("agent").public(),
    );
    let opened = verified
        .expect("valid")
        .1
        .open(&kem("owner"))
        .expect("a reader");
    assert_eq!(opened.text, Some("ß".repeat(LONGEST_TEXT / 2)));
}

fn position(number: i64) -> Position {
    let moving = number != 0;
    Position {
        time_unix_ms: moving.then_some(number),
        latitude_e7: if moving { -900_000_000 } else { 0 },
        longitude_e7: if moving { -1_800_000_000 } else { 0 },
        accuracy_dm: if moving { u32::MAX } else { 0 },
        altitude_dm: moving.then_some(i32::MIN),
        speed_cm_s: moving.then_some(u32::MAX),
        course_cdeg: moving.then_some(35_999),
        source: PositionSource::LastKnown,
        age_s: if moving { u32::MAX } else { 0 },
    }
}

#[test]
fn a_full_report_for_all_readers_fits_and_one_position_more_does_not() {
    let sign = |positions| {
        let report = Report {
            address: address(),
            epoch: u32::MAX,
            first: u64::MAX - 100,
            positions,
        };
        report.sign(&signing("agent"), &readers(), &mut Draws::new("report"))
    };
    sign(vec![position(i64::MIN); MOST_POSITIONS]).expect("fits");
    assert_eq!(
        sign(vec![position(1); MOST_POSITIONS + 1]),
        Err(Malformed::TooMany)
    );
    assert_eq!(sign(Vec::new()), Err(Malformed::TooMany));
}

#[test]
fn up_to_four_positions_have_one_length_moving_or_not() {
    for count in 1..=4 {
        let length = |number| {
            let report = Report {
                address: address(),
                epoch: EPOCH,
                first: 1,
                positions: vec![position(number); count],
            };
            let bytes = report
                .sign(&signing("agent"), &readers(), &mut Draws::new("report"))
                .expect("fits");
            content(&bytes, MessageType::Report)
        };
        assert_eq!(length(0), length(i64::MIN), "{count}");
    }
}
