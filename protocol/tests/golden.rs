//! Regenerates every wire example of `golden/` and compares it byte for byte; a changed byte is a changed protocol. `HOMING_GOLDEN=write` writes the files instead.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test reads and writes its own example files; the crate itself does no I/O"
)]

#[path = "golden/admission.rs"]
mod admission;
#[path = "golden/examples.rs"]
mod examples;
#[path = "golden/files.rs"]
mod files;
#[path = "golden/json.rs"]
mod json;
#[path = "golden/phone.rs"]
mod phone;
mod sample;

use examples::Example;
use homing_protocol::Refusal;
use homing_protocol::admission::{ClientAnswer, ClientRequest, Notice};
use homing_protocol::authority::AuthorityList;
use homing_protocol::beacon::Beacon;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::command::{self, Rejected};
use homing_protocol::enrolment::{Answer, Bundle, Claim};
use homing_protocol::envelope;
use homing_protocol::keyring::Keyring;
use homing_protocol::readers::KeySet;
use homing_protocol::receipt::Receipt;
use homing_protocol::report::{Report, ReportAck};
use sample::{EPOCH, address, kem, secret, signing};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn all() -> Vec<Example> {
    let mut all = examples::root_signed();
    all.extend(examples::commands());
    all.extend(phone::beacons());
    all.extend(phone::receipts());
    all.push(phone::report());
    all.extend(examples::acknowledgement_and_enrolment());
    all.push(files::bundle());
    all.extend(files::keyrings());
    all.extend(admission::examples());
    all
}

fn step(example: &Example, name: &str) -> Vec<u8> {
    let found = example.steps.iter().find(|(step, _)| *step == name);
    found
        .map(|(_, bytes)| bytes.clone())
        .unwrap_or_else(|| panic!("{} has no {name}", example.name))
}

#[test]
fn every_example_is_reproduced_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let write = std::env::var("HOMING_GOLDEN").is_ok_and(|value| value == "write");
    let texts = all()
        .into_iter()
        .map(|example| (format!("{}.json", example.name), example.file()));
    let mut expected = BTreeSet::new();
    for (name, text) in texts.chain([("keys.json".to_owned(), files::keys())]) {
        let path = folder.join(&name);
        if write {
            fs::write(&path, &text).expect("the folder of the examples is writable");
        }
        assert!(
            fs::read_to_string(&path).ok().as_ref() == Some(&text),
            "golden/{name} differs; see golden/README.md before writing it anew"
        );
        expected.insert(name);
    }
    let present = fs::read_dir(&folder).expect("the examples").map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    let left_over: Vec<_> = present
        .filter(|name| name.ends_with(".json") && !expected.contains(name))
        .collect();
    assert!(left_over.is_empty(), "no example makes {left_over:?}");
}

#[test]
fn every_example_is_opened_by_the_one_it_is_for() {
    for example in all() {
        match example.name {
            "device-certificate" | "authority" | "key-set" => opens_what_root_signed(&example),
            "report-ack" => opens_an_order(&example),
            name if name.starts_with("command-") => opens_an_order(&example),
            "enrolment-claim" | "enrolment-answer" => opens_an_enrolment(&example),
            "bundle" | "keyring" | "keyring-household" => opens_a_file(&example),
            name if name.starts_with("client-") => opens_an_admission(&example),
            _ => opens_what_the_phone_says(&example),
        }
    }
}

fn opens_what_root_signed(example: &Example) {
    let root = signing("root").public();
    if example.name == "device-certificate" {
        let certificate = DeviceCertificate::verify(&step(example, "signed"), &root, &address());
        assert_eq!(certificate.expect("opens").keys, examples::device_keys());
        return;
    }
    let (_, signed) = envelope::open(&step(example, "envelope"), &address(), &kem("device"), None)
        .expect("opens");
    if example.name == "authority" {
        assert_eq!(
            AuthorityList::verify(&signed, &root, address().account),
            Ok(examples::authority())
        );
    } else {
        assert_eq!(
            KeySet::verify(&signed, &root, &address()),
            Ok(examples::key_set())
        );
    }
}

fn opens_an_order(example: &Example) {
    let (bytes, device) = (step(example, "envelope"), kem("device"));
    if example.name == "report-ack" {
        let ack = ReportAck::open(&bytes, &address(), EPOCH, &device, &examples::authority());
        assert_eq!(ack.expect("opens").through, 130);
        return;
    }
    match command::open(&bytes, &address(), EPOCH, &device, &examples::authority()) {
        Ok(verified) => assert_eq!(
            format!("command-{}", verified.command().op.word()),
            example.name
        ),
        Err(Rejected::Client(Refusal::Unsupported, _)) => assert_eq!(example.name, "command-bound"),
        Err(other) => panic!("{}: {other:?}", example.name),
    }
}

fn opens_what_the_phone_says(example: &Example) {
    let (bytes, agent) = (step(example, "envelope"), signing("agent").public());
    match example.name {
        "beacon" | "beacon-set-back" | "beacon-farewell" | "beacon-lists" | "beacon-lost" => {
            let (clear, sealed) = Beacon::verify(&bytes, &address(), &agent).expect("opens");
            let status = match example.name {
                "beacon-set-back" => phone::status_set_back(),
                "beacon-farewell" => phone::status_left(),
                "beacon-lists" => phone::status_lists(),
                "beacon-lost" => phone::status_lost(),
                _ => phone::status(),
            };
            assert_eq!(
                (clear, sealed.open(&kem("partner"))),
                (phone::clear(), Ok(status))
            );
        }
        "report" => {
            let report = Report::open(&bytes, &address(), &agent, &kem("owner")).expect("opens");
            assert_eq!(report.positions, phone::positions());
            assert!(Report::open(&bytes, &address(), &agent, &kem("partner")).is_err());
        }
        name => {
            let (receipt, sealed, _) = Receipt::verify(&bytes, &address(), &agent).expect("opens");
            let detail = sealed.open(&kem("partner")).expect("opens");
            match detail.attestation {
                None => assert_eq!(format!("receipt-{}", receipt.state.word()), name),
                Some(attestation) => {
                    let actor = signing("actor").public();
                    let about = (&address(), EPOCH);
                    assert_eq!(name, "receipt-attested");
                    assert_eq!(attestation.verify(&actor, about, receipt.command), Ok(()));
                }
            }
        }
    }
}

fn opens_an_enrolment(example: &Example) {
    let bytes = step(example, "envelope");
    let keys = if example.name == "enrolment-claim" {
        Claim::open(&bytes, &address(), EPOCH, &kem("owner"), &secret())
            .expect("opens")
            .keys
    } else {
        let root = signing("root").public();
        Answer::open(&bytes, &address(), &kem("device"), &secret(), &root)
            .expect("opens")
            .1
            .keys
    };
    assert_eq!(keys, examples::device_keys());
}

fn opens_an_admission(example: &Example) {
    let (root, partner) = (signing("root").public(), signing("partner").public());
    let account = address().account;
    match example.name {
        "client-request" => {
            let request = ClientRequest::verify(&step(example, "signed"));
            assert_eq!(request.expect("opens"), admission::request());
        }
        "client-notice" => {
            let bytes = step(example, "envelope");
            let client = partner.client_id();
            let notice = Notice::open(&bytes, &root, account, client, &kem("partner"));
            assert_eq!(notice.expect("opens").number, 4);
        }
        name => {
            let answer = ClientAnswer::open(&step(example, "file"), &partner, &kem("partner"));
            let answer = answer.expect("opens");
            assert_eq!((answer.account, answer.root), (account, root));
            assert_eq!(answer.owners.is_some(), name == "client-answer-owner");
        }
    }
}

fn opens_a_file(example: &Example) {
    if example.name == "bundle" {
        let file = step(example, "file");
        assert_eq!(*Bundle::decode(&file).expect("opens").encode(), file);
        return;
    }
    let keyring = Keyring::parse(&step(example, "blob")).expect("parses");
    assert_eq!(keyring.generation, 9);
    let root = signing("root").public();
    assert_eq!(
        keyring.open_find(files::PASSPHRASE).expect("opens").root,
        root
    );
    let (_, with_kit, _) = keyring
        .open_full(files::PASSPHRASE, &files::kit())
        .expect("opens");
    let household = example.name == "keyring-household";
    assert_eq!(with_kit.put_out.len(), if household { 2 } else { 0 });
    let delegate = &with_kit.clients[0];
    assert_eq!(delegate.phones.is_some(), household);
    assert_eq!(delegate.added_by.is_some(), household);
    let (_, with_code, _) = keyring.open_with_code(&files::code()).expect("opens");
    assert_eq!(
        (with_kit.root.public(), with_code.root.public()),
        (root, root)
    );
}

#[test]
fn a_signature_is_made_over_the_bytes_that_the_example_shows() {
    use ed25519_dalek::{Signature, VerifyingKey};
    for example in all()
        .into_iter()
        .filter(|example| example.steps.iter().any(|(name, _)| *name == "signed"))
    {
        let signer = match example.name {
            "device-certificate" | "authority" | "key-set" | "client-notice" => "root",
            "client-request" => "partner",
            name if name.starts_with("command-") || name == "report-ack" => "owner",
            _ => "agent",
        };
        let signed = step(&example, "signed");
        let signature = Signature::from_slice(&signed[signed.len() - 64..]).expect("64 bytes");
        let key = VerifyingKey::from_bytes(&signing(signer).public().0).expect("a key");
        key.verify_strict(&step(&example, "to_be_signed"), &signature)
            .expect(example.name);
    }
}
