//! Everything that is sealed or signed opens as what it was; the phone's answers to what it cannot do; sizes. Randomly made messages, fixed keys.
#![forbid(unsafe_code)]

#[path = "roundtrip/messages.rs"]
mod messages;
#[path = "roundtrip/refusals.rs"]
mod refusals;
mod sample;
#[path = "roundtrip/sizes.rs"]
mod sizes;

use homing_protocol::Malformed;
use homing_protocol::authority::{AuthorityList, Capabilities, ClientKind, Entry};
use homing_protocol::beacon::Beacon;
use homing_protocol::cbor::LARGEST;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::command;
use homing_protocol::enrolment::{Answer, Bundle, Claim};
use homing_protocol::envelope;
use homing_protocol::keyring::{Keyring, KitSecret, PassphraseCost, RecoveryCode, WrappingKeys};
use homing_protocol::keys::SigningKey;
use homing_protocol::readers::{KeySet, Reads, open_as_reader, seal_to_readers};
use homing_protocol::receipt::Receipt;
use homing_protocol::report::{Report, ReportAck};
use homing_protocol::signed;
use messages::{
    authority_list, beacon, bundle, claim, command, detail, device_keys, find_part, full_part,
    key_set, report, status,
};
use proptest::prelude::*;
use sample::{Draws, EPOCH, address, fixed, kem, secret, short, signing};
use std::sync::LazyLock;

/// The list in which the owner may do everything.
fn owner_list(version: u64, capabilities: Capabilities) -> AuthorityList {
    let entry = Entry {
        key: signing("owner").public(),
        kind: ClientKind::CommandLine,
        capabilities,
    };
    AuthorityList {
        account: address().account,
        version,
        entries: vec![entry],
    }
}

/// Stretching takes a tenth of a second: once is enough for all keyrings.
static WRAPPING: LazyLock<WrappingKeys> = LazyLock::new(|| {
    let mut draws = Draws::new("wrapping keys");
    let kit = KitSecret(short::<16>("kit").into());
    let code = RecoveryCode(short::<20>("recovery code").into());
    WrappingKeys::create(
        "a passphrase",
        &kit,
        &code,
        PassphraseCost::FLOOR,
        &mut draws,
    )
    .expect("at the floor")
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_command_opens_as_it_was_sealed(command in command()) {
        let envelope = command.seal(&signing("owner"), &kem("device").public(), &mut Draws::new("command")).expect("fits");
        let opened = command::open(&envelope, &address(), EPOCH, &kem("device"), &owner_list(1, Capabilities::full())).expect("valid");
        let (_, message) = envelope::open(&envelope, &address(), &kem("device"), None).expect("sealed");
        prop_assert_eq!(opened.command(), &command);
        prop_assert_eq!(opened.digest(), homing_protocol::keys::sha256(&message));
    }

    #[test]
    fn a_beacon_is_read_by_everybody_and_its_status_by_readers_only(beacon in beacon(), status in status()) {
        let readers = [kem("partner").public(), kem("owner").public()];
        let envelope = beacon.sign(&status, &signing("agent"), &readers, &mut Draws::new("beacon")).expect("fits");
        let (clear, sealed) = Beacon::verify(&envelope, &address(), &signing("agent").public()).expect("valid");
        prop_assert_eq!(clear, beacon);
        prop_assert_eq!(sealed.open(&kem("owner")), Ok(status));
        prop_assert!(sealed.open(&kem("stranger")).is_err());
    }

    #[test]
    fn receipts_chain(details in proptest::collection::vec(detail(), 1..5), start: [u8; 32]) {
        let mut previous = start;
        for (counter, (state, detail)) in (1..).zip(details) {
            let receipt = messages::receipt(state, counter, previous);
            let signed = receipt.sign(&detail, &signing("actor"), &[kem("owner").public()], &mut Draws::new("receipt")).expect("fits");
            let (clear, sealed, head) = Receipt::verify(&signed.envelope, &address(), &signing("actor").public()).expect("valid");
            prop_assert_eq!(&clear, &receipt);
            prop_assert_eq!(sealed.open(&kem("owner")), Ok(detail));
            prop_assert_eq!(head, signed.head);
            prop_assert!(Receipt::verify(&signed.envelope, &address(), &signing("agent").public()).is_err());
            previous = head;
        }
    }

    #[test]
    fn a_report_opens_as_it_was_signed(report in report()) {
        let envelope = report.sign(&signing("agent"), &[kem("owner").public()], &mut Draws::new("report")).expect("fits");
        let opened = Report::open(&envelope, &address(), &signing("agent").public(), &kem("owner"));
        prop_assert_eq!(opened, Ok(report.clone()));
        let unnumbered = Report { first: 0, ..report };
        let envelope = unnumbered.sign(&signing("agent"), &[kem("owner").public()], &mut Draws::new("report")).expect("fits");
        let opened = Report::open(&envelope, &address(), &signing("agent").public(), &kem("owner"));
        prop_assert_eq!(opened, Err(Malformed::Field(5)));
        prop_assert!(Report::open(&envelope, &address(), &signing("agent").public(), &kem("stranger")).is_err());
    }

    #[test]
    fn an_acknowledgement_opens_as_it_was_sealed(through in 0..=LARGEST) {
        let ack = ReportAck { address: address(), epoch: EPOCH, client: signing("owner").public().client_id(), through };
        let envelope = ack.seal(&signing("owner"), &kem("device").public(), &mut Draws::new("ack")).expect("fits");
        let opened = ReportAck::open(&envelope, &address(), EPOCH, &kem("device"), &owner_list(1, Capabilities::find()));
        prop_assert_eq!(opened, Ok(ack));
    }

    #[test]
    fn what_root_signs_verifies(list in authority_list(), set in key_set(), keys in device_keys(), epoch: u32) {
        let root = signing("root");
        let signed = list.sign(&root).expect("short enough");
        prop_assert_eq!(AuthorityList::verify(&signed, &root.public(), address().account), Ok(list));
        let signed = set.sign(&root).expect("short enough");
        prop_assert_eq!(KeySet::verify(&signed, &root.public(), &address()), Ok(set.clone()));
        prop_assert!(set.keys(Reads::Positions).len() <= set.keys(Reads::Status).len());
        let certificate = DeviceCertificate { address: address(), epoch, keys };
        prop_assert_eq!(DeviceCertificate::verify(&certificate.sign(&root), &root.public(), &address()), Ok(certificate));
        prop_assert!(DeviceCertificate::verify(&certificate.sign(&signing("owner")), &root.public(), &address()).is_err());
    }

    #[test]
    fn an_enrolment_is_read_with_the_one_time_secret_only(claim in claim(), set in key_set()) {
        let root = signing("root");
        let envelope = claim.seal(&signing("agent"), &kem("owner").public(), &secret(), &mut Draws::new("claim")).expect("fits");
        let opened = Claim::open(&envelope, &address(), EPOCH, &kem("owner"), &secret());
        prop_assert_eq!(opened, Ok(claim.clone()));
        let other = homing_protocol::keys::Psk([7; 32].into());
        prop_assert!(Claim::open(&envelope, &address(), EPOCH, &kem("owner"), &other).is_err());
        let opened = Claim::open(&envelope, &address(), EPOCH + 1, &kem("owner"), &secret());
        prop_assert_eq!(opened, Err(Malformed::Misdirected));
        let certificate = DeviceCertificate { address: address(), epoch: EPOCH, keys: claim.keys };
        let answer = Answer { certificate: certificate.sign(&root), key_set: set.sign(&root).expect("short enough") };
        let envelope = answer.seal(&address(), &kem("device").public(), &secret(), &mut Draws::new("answer")).expect("fits");
        let opened = Answer::open(&envelope, &address(), &kem("device"), &secret(), &root.public());
        prop_assert_eq!(opened, Ok((answer, certificate, set)));
        prop_assert!(Answer::open(&envelope, &address(), &kem("device"), &other, &root.public()).is_err());
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written(bundle in bundle()) {
        let printed = format!("{bundle:?}");
        prop_assert_eq!(printed, format!("Bundle({:?}, secret)", bundle.address));
        let file = bundle.encode();
        let read = Bundle::decode(&file).expect("valid");
        prop_assert_eq!(read.encode(), file);
        prop_assert_eq!((read.address, read.epoch, read.name, read.root), (bundle.address, bundle.epoch, bundle.name, bundle.root));
    }

    #[test]
    fn a_keyring_is_read_as_it_was_written(find in find_part(), full in full_part(), generation in 0..=LARGEST) {
        let printed = (format!("{find:?}"), format!("{full:?}"));
        prop_assert_eq!(&printed, &(format!("FindPart({}, secret)", find.account), "FullPart(secret)".to_owned()));
        let mut draws = Draws::new("keyring");
        let blob = WRAPPING.wrap(generation, &find, &full, &mut draws).expect("small enough");
        prop_assert_eq!(draws.taken.len(), 4, "one nonce for each part");
        let keyring = Keyring::parse(&blob).expect("canonical");
        let (found, rest, keys) = keyring.open_with_code(&RecoveryCode(short::<20>("recovery code").into())).expect("the right code");
        prop_assert_eq!(keyring.generation, generation);
        let again = keys.wrap(generation, &find, &full, &mut Draws::new("keyring")).expect("small enough");
        prop_assert_eq!(again, blob);
        prop_assert_eq!((found.account, found.root, found.broker, found.devices), (find.account, find.root, find.broker, find.devices));
        prop_assert_eq!((found.signing.public(), found.reading.public(), found.authority), (find.signing.public(), find.reading.public(), find.authority));
        prop_assert_eq!((rest.root.public(), rest.crl_pem, rest.clients), (full.root.public(), full.crl_pem, full.clients));
    }

    #[test]
    fn each_of_many_readers_opens_and_nobody_else(plain in proptest::collection::vec(any::<u8>(), 0..2046), readers in 0usize..=8) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let keys: Vec<_> = names.iter().take(readers).map(|name| kem(name).public()).collect();
        let sealed = seal_to_readers(&keys, b"context", &plain, &mut Draws::new("readers")).expect("fits");
        for (index, name) in names.iter().enumerate() {
            let opened = open_as_reader(&sealed, b"context", &kem(name));
            prop_assert_eq!(opened.as_deref() == Ok(&plain), index < readers);
            prop_assert!(open_as_reader(&sealed, b"another context", &kem(name)).is_err());
        }
    }

    #[test]
    fn a_paper_secret_survives_paper(bytes: [u8; 20]) {
        let code = RecoveryCode(bytes.into());
        let spaced = code.to_text().to_uppercase().replace('-', " ");
        prop_assert_eq!(RecoveryCode::from_text(&spaced).expect("the same").0, code.0);
        let kit = KitSecret((*bytes.first_chunk::<16>().expect("16 of 20")).into());
        prop_assert_eq!(KitSecret::from_text(&kit.to_text()).expect("the same").0, kit.0);
    }
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};
    let mut identity = [0; 32];
    identity[0] = 1;
    let forged: Vec<u8> = identity.into_iter().chain([0; 32]).collect();
    let lax = VerifyingKey::from_bytes(&identity).expect("a point");
    let signature = Signature::from_slice(&forged).expect("64 bytes");
    assert!(
        lax.verify(b"anything", &signature).is_ok(),
        "without strictness this key signs everything"
    );
    let mut message = signed::sign(
        &SigningKey::from_bytes(&[1; 32]),
        b"context",
        b"payload".to_vec(),
    );
    let at = message.len() - 64;
    message[at..].copy_from_slice(&forged);
    let weak = homing_protocol::keys::VerifyingKey(identity);
    assert_eq!(
        signed::verify(&message, &weak, b"context"),
        Err(homing_protocol::Malformed::Signature)
    );
}

#[test]
fn whatever_is_printed_by_mistake_has_its_name_and_nothing_secret() {
    let (key, reading) = (signing("owner"), kem("reader"));
    let kit = KitSecret(short::<16>("kit").into());
    let code = RecoveryCode(short::<20>("recovery code").into());
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let secrets = [
        hex(&fixed("owner")),
        hex(&fixed("reader")),
        hex(&fixed("one-time secret")),
        hex(&kit.0[..]),
        hex(&code.0[..]),
    ];
    for (name, printed) in [
        ("SigningKey(", format!("{key:?}")),
        ("VerifyingKey(", format!("{:?}", key.public())),
        ("KemSecret(", format!("{reading:?}")),
        ("KemPublic(", format!("{:?}", reading.public())),
        ("Psk(", format!("{:?}", secret())),
        ("KitSecret(", format!("{kit:?}")),
        ("RecoveryCode(", format!("{code:?}")),
        ("WrappingKeys(", format!("{:?}", *WRAPPING)),
    ] {
        assert!(printed.starts_with(name), "{printed}");
        let plain = printed.to_lowercase().replace([' ', '-'], "");
        for secret in &secrets {
            assert!(!plain.contains(&secret[..16]), "{name} shows what it keeps");
        }
        // Lists of numbers are another way to show bytes.
        assert!(!printed.contains(", 1"), "{printed}");
    }
}
