//! What is not exactly a message of this protocol is refused by every decoder, without a panic. The samples are the wire examples of `golden/`.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test reads the example files; the crate itself does no I/O"
)]

#[path = "malformed/campaign.rs"]
mod campaign;
#[path = "malformed/damage.rs"]
mod damage;
mod sample;

use homing_protocol::authority::{self, AuthorityList};
use homing_protocol::beacon::Beacon;
use homing_protocol::cbor;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::command::{self, Rejected};
use homing_protocol::enrolment::{Answer, Bundle, Claim};
use homing_protocol::envelope::{self, Address, Header, MessageType};
use homing_protocol::id::{AccountId, DeviceId, SessionId};
use homing_protocol::keyring::{Keyring, KitSecret, RecoveryCode};
use homing_protocol::readers::{KeySet, open_as_reader};
use homing_protocol::receipt::Receipt;
use homing_protocol::report::{Report, ReportAck};
use homing_protocol::signed::{self, Unverified};
use homing_protocol::topic::Topic;
use homing_protocol::{Malformed, Refusal};
use sample::{Draws, EPOCH, address, kem, secret, short, signing};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Who looks at the bytes.
#[derive(Clone, Copy)]
struct Expected {
    address: Address,
    epoch: u32,
}

fn right() -> Expected {
    Expected {
        address: address(),
        epoch: EPOCH,
    }
}

type Opener = fn(&[u8], &Expected) -> Result<(), String>;

/// One sample with the decoder that it is for.
struct Sample {
    name: &'static str,
    bytes: Vec<u8>,
    open: Opener,
}

fn said(fault: impl std::fmt::Debug) -> String {
    format!("{fault:?}")
}

fn unsealed(bytes: &[u8], who: &Expected, kind: MessageType) -> Result<Vec<u8>, Malformed> {
    let (found, message) = envelope::open(bytes, &who.address, &kem("device"), None)?;
    if found == kind {
        Ok(message.to_vec())
    } else {
        Err(Malformed::Format)
    }
}

fn list() -> AuthorityList {
    let signed = step("authority", "signed");
    AuthorityList::verify(&signed, &signing("root").public(), address().account)
        .expect("the example")
}

static LIST: LazyLock<AuthorityList> = LazyLock::new(list);

const OPENERS: [(&str, &str, Opener); 12] = [
    ("authority", "envelope", |bytes, who| {
        let signed = unsealed(bytes, who, MessageType::Authority).map_err(said)?;
        AuthorityList::verify(&signed, &signing("root").public(), who.address.account)
            .map(drop)
            .map_err(said)
    }),
    ("key-set", "envelope", |bytes, who| {
        let signed = unsealed(bytes, who, MessageType::KeySet).map_err(said)?;
        KeySet::verify(&signed, &signing("root").public(), &who.address)
            .map(drop)
            .map_err(said)
    }),
    ("command-ring", "envelope", |bytes, who| {
        command::open(bytes, &who.address, who.epoch, &kem("device"), &LIST)
            .map(drop)
            .map_err(said)
    }),
    ("report-ack", "envelope", |bytes, who| {
        ReportAck::open(bytes, &who.address, who.epoch, &kem("device"), &LIST)
            .map(drop)
            .map_err(said)
    }),
    ("enrolment-claim", "envelope", |bytes, who| {
        Claim::open(bytes, &who.address, who.epoch, &kem("owner"), &secret())
            .map(drop)
            .map_err(said)
    }),
    ("enrolment-answer", "envelope", |bytes, who| {
        Answer::open(
            bytes,
            &who.address,
            &kem("device"),
            &secret(),
            &signing("root").public(),
        )
        .map(drop)
        .map_err(said)
    }),
    ("beacon", "envelope", |bytes, who| {
        let (beacon, sealed) =
            Beacon::verify(bytes, &who.address, &signing("agent").public()).map_err(said)?;
        sealed.open(&kem("owner")).map_err(said)?;
        if beacon.epoch == who.epoch {
            Ok(())
        } else {
            Err(said(Malformed::Misdirected))
        }
    }),
    ("receipt-done", "envelope", |bytes, who| {
        let (receipt, sealed, _) =
            Receipt::verify(bytes, &who.address, &signing("agent").public()).map_err(said)?;
        sealed.open(&kem("owner")).map_err(said)?;
        if receipt.epoch == who.epoch {
            Ok(())
        } else {
            Err(said(Malformed::Misdirected))
        }
    }),
    ("report", "envelope", |bytes, who| {
        let report = Report::open(
            bytes,
            &who.address,
            &signing("agent").public(),
            &kem("owner"),
        )
        .map_err(said)?;
        if report.epoch == who.epoch {
            Ok(())
        } else {
            Err(said(Malformed::Misdirected))
        }
    }),
    ("device-certificate", "signed", |bytes, who| {
        let certificate = DeviceCertificate::verify(bytes, &signing("root").public(), &who.address)
            .map_err(said)?;
        if certificate.epoch == who.epoch {
            Ok(())
        } else {
            Err(said(Malformed::Misdirected))
        }
    }),
    ("bundle", "file", |bytes, who| {
        let bundle = Bundle::decode(bytes).map_err(said)?;
        if bundle.address == who.address && bundle.epoch == who.epoch {
            Ok(())
        } else {
            Err(said(Malformed::Misdirected))
        }
    }),
    // The recovery code reaches all four wrapped parts and needs no slow derivation.
    ("keyring", "blob", |bytes, who| {
        let keyring = Keyring::parse(bytes).map_err(said)?;
        let (find, _, _) = keyring
            .open_with_code(&RecoveryCode(short::<20>("recovery code").into()))
            .map_err(said)?;
        if find.account == who.address.account {
            Ok(())
        } else {
            Err(said(Malformed::Misdirected))
        }
    }),
];

fn step(example: &str, step: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(format!("{example}.json"));
    let text = fs::read_to_string(path).expect("the example");
    let (_, rest) = text
        .split_once(&format!("\"{step}\": \""))
        .expect("the step");
    let digits = rest.split('"').next().expect("its end");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("digits")
        })
        .collect()
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    OPENERS
        .iter()
        .map(|(name, part, open)| Sample {
            name,
            bytes: step(name, part),
            open: *open,
        })
        .collect()
});

#[test]
fn every_sample_is_accepted_as_it_is() {
    for sample in &*SAMPLES {
        assert_eq!(
            (sample.open)(&sample.bytes, &right()),
            Ok(()),
            "{}",
            sample.name
        );
    }
}

#[test]
fn every_single_flipped_bit_is_refused() {
    for sample in &*SAMPLES {
        let mut bytes = sample.bytes.clone();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                (sample.open)(&bytes, &right()).is_err(),
                "{} with bit {bit} flipped",
                sample.name
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_prefix_and_every_longer_message_is_refused() {
    for sample in &*SAMPLES {
        for length in 0..sample.bytes.len() {
            assert!(
                (sample.open)(&sample.bytes[..length], &right()).is_err(),
                "the first {length} bytes of {}",
                sample.name
            );
        }
        for more in 0..=u8::MAX {
            let longer = [&sample.bytes[..], &[more]].concat();
            assert!(
                (sample.open)(&longer, &right()).is_err(),
                "{} and {more:02x}",
                sample.name
            );
        }
    }
}

#[test]
fn no_message_passes_for_one_of_another_type() {
    for sample in &*SAMPLES {
        for other in SAMPLES.iter().filter(|other| other.name != sample.name) {
            assert!(
                (other.open)(&sample.bytes, &right()).is_err(),
                "{} as {}",
                sample.name,
                other.name
            );
        }
        for kind in 0..=u8::MAX {
            let mut bytes = sample.bytes.clone();
            bytes[2] = kind;
            for other in SAMPLES.iter().filter(|_| kind != sample.bytes[2]) {
                assert!(
                    (other.open)(&bytes, &right()).is_err(),
                    "{} relabelled {kind} as {}",
                    sample.name,
                    other.name
                );
            }
        }
    }
}

#[test]
fn no_message_is_accepted_by_another_device_account_or_epoch() {
    let other_device = Expected {
        address: Address {
            device: DeviceId(short("other device")),
            ..address()
        },
        ..right()
    };
    let other_account = Expected {
        address: Address {
            account: AccountId(short("other account")),
            ..address()
        },
        ..right()
    };
    let (older, newer) = (
        Expected {
            epoch: EPOCH - 1,
            ..right()
        },
        Expected {
            epoch: EPOCH + 1,
            ..right()
        },
    );
    // A keyring is one account's, a list too; a key set holds through epochs: their versions only grow.
    let no_epoch = ["authority", "key-set", "keyring", "enrolment-answer"];
    for sample in &*SAMPLES {
        assert!(
            (sample.open)(&sample.bytes, &other_account).is_err(),
            "{} at another account",
            sample.name
        );
        if sample.name != "keyring" {
            assert!(
                (sample.open)(&sample.bytes, &other_device).is_err(),
                "{} at another device",
                sample.name
            );
        }
        if !no_epoch.contains(&sample.name) {
            assert!(
                (sample.open)(&sample.bytes, &older).is_err(),
                "{} in the epoch before",
                sample.name
            );
            assert!(
                (sample.open)(&sample.bytes, &newer).is_err(),
                "{} in the epoch after",
                sample.name
            );
        }
    }
}

#[test]
fn a_signed_command_that_somebody_seals_anew_to_another_phone_is_refused() {
    let message = step("command-ring", "signed");
    let elsewhere = Address {
        device: DeviceId(short("other device")),
        ..address()
    };
    let mut draws = Draws::new("retargeted");
    let sealed = envelope::seal(
        MessageType::Command,
        &elsewhere,
        &kem("other phone").public(),
        None,
        &message,
        &mut draws,
    )
    .expect("fits");
    let opened = command::open(&sealed, &elsewhere, EPOCH, &kem("other phone"), &LIST);
    assert!(matches!(
        opened,
        Err(Rejected::Stranger(Refusal::BadSignature))
    ));
    assert_eq!(draws.taken.len(), 1, "one HPKE key for one seal");
}

#[test]
fn a_signed_message_that_somebody_seals_anew_as_another_type_is_refused() {
    let types = [
        ("authority", MessageType::Authority),
        ("key-set", MessageType::KeySet),
        ("command-ring", MessageType::Command),
        ("report-ack", MessageType::ReportAck),
        ("beacon", MessageType::Beacon),
        ("enrolment-claim", MessageType::Enrolment),
        ("device-certificate", MessageType::DeviceCertificate),
    ];
    for (from, own) in types {
        let message = step(from, "signed");
        for (to, kind) in types.into_iter().filter(|(_, kind)| *kind != own) {
            let mut draws = Draws::new("relabelled");
            let sealed = authority::seal_to_device(
                kind,
                &message,
                &address(),
                &kem("device").public(),
                &mut draws,
            )
            .expect("fits");
            let carried =
                envelope::carry(kind, signing("agent").public().key_id(), &message).expect("fits");
            for sample in &*SAMPLES {
                assert!(
                    (sample.open)(&sealed, &right()).is_err(),
                    "{from} sealed as {to}, opened as {}",
                    sample.name
                );
                assert!(
                    (sample.open)(&carried, &right()).is_err(),
                    "{from} carried as {to}, opened as {}",
                    sample.name
                );
                assert!(
                    (sample.open)(&message, &right()).is_err() || sample.name == from,
                    "{from} bare as {}",
                    sample.name
                );
            }
        }
    }
}

#[test]
fn lengths_and_depths_that_no_message_has_are_refused_before_memory_or_stack_ends() {
    let huge: [&[u8]; 6] = [
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x7b, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff],
        &[
            0x84, 0x43, 0xa1, 0x01, 0x32, 0xa0, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff,
        ],
        &[
            0xa1, 0x00, 0x9b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
    ];
    let deep = [
        vec![0x81; 1 << 16],
        vec![0xa1; 1 << 16],
        [0xa1, 0x00].repeat(1 << 15),
        vec![0xc1; 1 << 16],
        vec![0x9f; 1 << 16],
    ];
    for bytes in huge.into_iter().chain(deep.iter().map(Vec::as_slice)) {
        everything_decodes_without_a_panic(bytes);
        assert_eq!(cbor::decode(bytes), Err(Malformed::NotCanonical));
        assert!(Unverified::parse(bytes).is_err());
    }
}

/// Gives bytes to every decoder there is.
fn everything_decodes_without_a_panic(bytes: &[u8]) {
    for sample in &*SAMPLES {
        assert!(
            (sample.open)(bytes, &right()).is_err(),
            "{bytes:02x?} as {}",
            sample.name
        );
    }
    if let Ok(value) = cbor::decode(bytes) {
        assert_eq!(cbor::encode(&value), bytes);
    }
    let context = address().context(MessageType::Command);
    assert!(signed::verify(bytes, &signing("owner").public(), &context).is_err());
    assert!(open_as_reader(bytes, &context, &kem("owner")).is_err());
    let _: Result<Header, Malformed> = Header::read(bytes);
    let text = String::from_utf8_lossy(bytes);
    assert!(Topic::parse(&text).is_none_or(|topic| topic.to_string() == text));
    let session: Option<SessionId> = text.parse().ok();
    assert!(session.is_none_or(|session| session.to_string() == text));
    let _: Result<KitSecret, Malformed> = KitSecret::from_text(&text);
    let _: Result<RecoveryCode, Malformed> = RecoveryCode::from_text(&text);
}
