//! The owner's side against a phone played with the protocol's own words: enrolment, orders, answers, keyring.
mod clients;
mod merge;

use crate::account::{ClientKeys, Household, Kit, Unlocked, typed_code};
use crate::delivery::{State, Step, Witness};
use crate::enrol::{Accepted, Invitation, Verdict};
use crate::phone::{Meaning, Phone, seen};
use crate::resend::Seen;
use crate::sign::{Intent, Place, ring_stop, seal_authority, seal_command, seal_report_ack};
use crate::{Error, delivery};
use homing_protocol::authority::AuthorityList;
use homing_protocol::beacon::{Beacon, Window};
use homing_protocol::certificate::DeviceKeys;
use homing_protocol::command::{self, Op};
use homing_protocol::enrolment::{Answer, Claim};
use homing_protocol::envelope::Address;
use homing_protocol::id::{BeaconNonce, BootId, CommandId, DeviceId, SessionId};
use homing_protocol::keyring::{KitSecret, PassphraseCost, RecoveryCode};
use homing_protocol::keys::{KemSecret, Psk, SigningKey};
use homing_protocol::rand_core::UnwrapErr;
use homing_protocol::receipt::{CommandState, Detail, Receipt};
use homing_protocol::report::ReportAck;
use homing_protocol::{Malformed, Refusal};

type Rng = UnwrapErr<getrandom::SysRng>;

const fn rng() -> Rng {
    UnwrapErr(getrandom::SysRng)
}

struct Body {
    agent: SigningKey,
    kem: KemSecret,
    keys: DeviceKeys,
}

impl Body {
    fn new() -> Self {
        let (agent, kem) = (
            SigningKey::generate(&mut rng()),
            KemSecret::generate(&mut rng()),
        );
        let keys = DeviceKeys {
            agent: agent.public(),
            kem: kem.public(),
            actor: SigningKey::generate(&mut rng()).public(),
        };
        Self { agent, kem, keys }
    }
    fn claim(&self, invitation: &Invitation, owner: &ClientKeys) -> Vec<u8> {
        Claim {
            address: invitation.address,
            epoch: invitation.epoch,
            keys: self.keys,
            consent_at: 1,
            retention_days: 30,
            model: "test".into(),
        }
        .seal(
            &self.agent,
            &owner.reading.public(),
            &invitation.secret,
            &mut rng(),
        )
        .expect("sealed")
    }
}

struct House {
    account: Unlocked,
    client: ClientKeys,
    kit: Kit,
    invitation: Invitation,
    body: Body,
}

fn house() -> House {
    let client = ClientKeys::generate(&mut rng());
    let kit = Kit {
        secret: KitSecret::generate(&mut rng()),
        code: RecoveryCode::generate(&mut rng()),
    };
    let household = Household {
        broker: "mqtts://broker",
        ca_pem: "CA",
        ca_key_pem: "KEY",
        crl_pem: "CRL",
    };
    let account = Unlocked::create(
        &household,
        "open sesame",
        &kit,
        PassphraseCost::FLOOR,
        &client,
        &mut rng(),
    )
    .expect("created");
    let address = Address {
        account: account.find.account,
        device: DeviceId::random(&mut rng()),
    };
    let invitation = Invitation {
        address,
        epoch: 1,
        secret: Psk::generate(&mut rng()),
        key_sets: 0,
    };
    House {
        account,
        client,
        kit,
        invitation,
        body: Body::new(),
    }
}

fn enrolled(house: &House) -> (Phone, Accepted) {
    let bytes = house.body.claim(&house.invitation, &house.client);
    let verdict = house
        .invitation
        .judge(&bytes, &house.client.reading, None)
        .expect("opened");
    let Verdict::First(claim) = verdict else {
        panic!("the first claim")
    };
    let accepted = house
        .invitation
        .accept(&claim, &house.account, house.client.reader(), &mut rng())
        .expect("accepted");
    let phone = Phone::certified(
        &accepted.certificate,
        &house.account.find.root,
        &house.invitation.address,
    );
    (phone.expect("certified"), accepted)
}

#[test]
fn a_phone_that_claims_its_bundle_learns_its_certificate_and_readers() {
    let house = house();
    let (phone, accepted) = enrolled(&house);
    let root = house.account.find.root;
    let secret = &house.invitation.secret;
    let (_, certificate, set) = Answer::open(
        &accepted.envelope,
        &house.invitation.address,
        &house.body.kem,
        secret,
        &root,
    )
    .expect("opened");
    assert_eq!(certificate.keys, house.body.keys);
    assert_eq!(phone.keys, house.body.keys);
    assert!(set.readers.contains(&house.client.reader()));
    assert!(set.readers.contains(&house.account.find_reader()));
}

#[test]
fn a_second_claim_with_other_keys_is_an_alarm_and_with_the_same_keys_is_not() {
    let house = house();
    let first = Some(&house.body.keys);
    let judge = |body: &Body| {
        house.invitation.judge(
            &body.claim(&house.invitation, &house.client),
            &house.client.reading,
            first,
        )
    };
    assert!(matches!(judge(&house.body), Ok(Verdict::Again(_))));
    assert!(matches!(judge(&Body::new()), Ok(Verdict::Rival(_))));
}

#[test]
fn a_claim_made_without_the_bundles_secret_is_not_acceptable() {
    let house = house();
    let guess = Invitation {
        secret: Psk::generate(&mut rng()),
        ..house.invitation.clone()
    };
    let bytes = house.body.claim(&guess, &house.client);
    assert_eq!(
        house.invitation.judge(&bytes, &house.client.reading, None),
        Err(Error::Hear(Malformed::Seal))
    );
}

fn place(authority_version: u64) -> Place {
    Place {
        session: SessionId([5; 8]),
        seq: 7,
        beacon: None,
        authority_version,
    }
}

#[test]
fn a_signed_order_is_what_the_phone_verifies_and_signing_again_keeps_its_id() {
    let house = house();
    let (phone, _) = enrolled(&house);
    let list = house.account.authority().expect("list");
    let id = CommandId::random(&mut rng());
    let intent = Intent {
        id,
        op: Op::Ring { for_s: 60 },
        issued_at_s: 1,
        not_after_s: Some(2),
    };
    for seq in [7, 8] {
        let place = Place {
            seq,
            ..place(list.version)
        };
        let bytes = seal_command(&intent, &place, &phone, &house.client.signing, &mut rng())
            .expect("sealed");
        let verified =
            command::open(&bytes, &phone.address, 1, &house.body.kem, &list).expect("verified");
        assert_eq!((verified.command().id, verified.command().seq), (id, seq));
    }
}

#[test]
fn a_stop_names_the_newest_rings_and_never_more_than_fit() {
    let rings: Vec<_> = (0..40).map(|n| CommandId([n; 16])).collect();
    assert_eq!(
        ring_stop(&rings),
        Op::RingStop {
            rings: rings[..command::MOST_NAMED_RINGS].to_vec()
        }
    );
    assert_eq!(ring_stop(&[]), Op::RingStop { rings: Vec::new() });
}

#[test]
fn a_report_acknowledgement_and_the_authority_list_reach_the_phone() {
    let house = house();
    let (phone, _) = enrolled(&house);
    let list = house.account.authority().expect("list");
    let ack = seal_report_ack(9, &phone, &house.client.signing, &mut rng()).expect("sealed");
    let ack = ReportAck::open(&ack, &phone.address, 1, &house.body.kem, &list).expect("opened");
    assert_eq!(ack.through, 9);
    let bytes = seal_authority(&house.account.find.authority, &phone, &mut rng()).expect("sealed");
    let (_, signed) =
        homing_protocol::envelope::open(&bytes, &phone.address, &house.body.kem, None)
            .expect("opened");
    let root = house.account.find.root;
    assert_eq!(
        AuthorityList::verify(&signed, &root, phone.address.account),
        Ok(list)
    );
}

fn receipt(house: &House, state: CommandState, detail: &Detail) -> Vec<u8> {
    let receipt = Receipt {
        address: house.invitation.address,
        epoch: 1,
        command: CommandId([1; 16]),
        session: SessionId([5; 8]),
        seq: 7,
        state,
        counter: 1,
        previous: [0; 32],
    };
    let readers = [house.client.reading.public()];
    receipt
        .sign(detail, &house.body.agent, &readers, &mut rng())
        .expect("signed")
        .envelope
}

#[test]
fn each_signed_state_is_a_step_and_some_refusals_ask_for_a_new_signature() {
    let house = house();
    let (phone, _) = enrolled(&house);
    for (state, expected) in [
        (CommandState::Accepted, State::Delivered),
        (CommandState::Running, State::Running),
        (CommandState::Done, State::Done),
        (CommandState::Failed, State::Failed),
        (CommandState::Refused, State::Refused),
        (CommandState::Expired, State::Expired),
        (CommandState::Superseded, State::Superseded),
        (CommandState::Cancelled, State::Cancelled),
    ] {
        let bytes = receipt(&house, state, &Detail::default());
        let answer = phone
            .hear_receipt(&bytes, &house.client.reading)
            .expect("heard");
        let step = Step {
            state: expected,
            at: 3,
            witness: Witness::Phone,
            detail: String::new(),
        };
        assert_eq!(answer.meaning(3), Meaning::Step(step));
    }
    for refusal in Refusal::ALL.iter().copied() {
        let detail = Detail {
            refusal: Some(refusal),
            ..Detail::default()
        };
        let bytes = receipt(&house, CommandState::Refused, &detail);
        let meaning = phone
            .hear_receipt(&bytes, &house.client.reading)
            .expect("heard")
            .meaning(3);
        let again = matches!(
            refusal,
            Refusal::SeqTooOld
                | Refusal::UnknownBeacon
                | Refusal::NeedAuthority
                | Refusal::RolledBack
                | Refusal::Busy
        );
        assert_eq!(meaning == Meaning::SignAgain(refusal), again, "{refusal}");
    }
}

#[test]
fn a_receipt_of_another_phone_or_with_one_flipped_bit_is_not_believed() {
    let house = house();
    let (phone, _) = enrolled(&house);
    let bytes = receipt(&house, CommandState::Done, &Detail::default());
    let other = Phone {
        keys: Body::new().keys,
        ..phone
    };
    assert!(other.hear_receipt(&bytes, &house.client.reading).is_err());
    let newer = Phone { epoch: 2, ..phone };
    assert!(newer.hear_receipt(&bytes, &house.client.reading).is_err());
    for bit in (0..bytes.len() * 8).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            phone.hear_receipt(&flipped, &house.client.reading).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn a_beacon_tells_whether_a_number_was_seen() {
    let house = house();
    let (client, session) = (house.client.id(), SessionId([5; 8]));
    let mut beacon = Beacon {
        address: house.invitation.address,
        epoch: 1,
        counter: 1,
        nonce: BeaconNonce([0; 16]),
        boot: BootId([0; 16]),
        windows: vec![Window {
            client,
            session,
            high: 9,
            missing: vec![0b10],
        }],
        authority_version: 1,
        key_set_version: 1,
        receipts: 0,
        receipt_chain: [0; 32],
        next_contact_s: 60,
    };
    for (seq, expected) in [
        (9, Seen::Yes),
        (8, Seen::Yes),
        (7, Seen::No),
        (10, Seen::No),
    ] {
        assert_eq!(seen(&beacon, client, session, seq), expected, "{seq}");
    }
    assert_eq!(seen(&beacon, client, SessionId([6; 8]), 1), Seen::No);
    let other = Window {
        client,
        session: SessionId([7; 8]),
        high: 1,
        missing: Vec::new(),
    };
    beacon.windows = vec![other; homing_protocol::beacon::MOST_WINDOWS];
    assert_eq!(seen(&beacon, client, session, 1), Seen::Unknown);
}

#[test]
fn the_keyring_opens_with_passphrase_and_kit_or_with_the_code_and_with_nothing_else() {
    let mut house = house();
    let blob = house.account.wrap_next(&mut rng()).expect("wrapped");
    let opened = Unlocked::open(&blob, "open sesame", &house.kit.secret).expect("opened");
    assert_eq!(
        (opened.generation(), opened.find.account),
        (1, house.account.find.account)
    );
    let code = typed_code(&house.kit.code.to_text().to_uppercase()).expect("typed");
    assert_eq!(
        Unlocked::open_with_code(&blob, &code)
            .expect("opened")
            .generation(),
        1
    );
    let wrong = Unlocked::open(&blob, "open simsim", &house.kit.secret);
    assert_eq!(wrong.map(|_| ()), Err(Error::WrongSecret));
    let other = KitSecret::generate(&mut rng());
    assert_eq!(
        Unlocked::open(&blob, "open sesame", &other).map(|_| ()),
        Err(Error::WrongSecret)
    );
    assert!(matches!(typed_code("12"), Err(Error::Mistyped(_))));
}

#[test]
fn no_secret_shows_in_debug_output() {
    let mut house = house();
    let blob = house.account.wrap_next(&mut rng()).expect("wrapped");
    let shown = format!(
        "{:?}{:?}{:?}{:?}",
        house.account, house.client, house.kit, house.invitation
    );
    assert!(!blob.is_empty() && !shown.contains("KEY\""));
    let seed = house.client.signing.to_bytes();
    assert!(!shown.contains(&format!("{:?}", &seed[..8]).replace(['[', ']'], "")));
    assert_eq!(delivery::State::Done.word(), "done");
}
