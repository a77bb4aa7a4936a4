//! Every message of the protocol with a content that nobody vouched for behind a right signature: as a client, a phone or an owner gone bad would send it.

use crate::household::{EPOCH, HOUSEHOLD, Same};
use homing_protocol::admission::{ClientAnswer, ClientRequest};
use homing_protocol::authority::{AuthorityList, MOST_ENTRIES};
use homing_protocol::beacon::Beacon;
use homing_protocol::certificate::DeviceCertificate;
use homing_protocol::command::{self, Rejected};
use homing_protocol::enrolment::{Answer, Bundle, Claim};
use homing_protocol::envelope::{self, Address, MessageType};
use homing_protocol::keyring::{Keyring, RecoveryCode};
use homing_protocol::keys::SigningKey;
use homing_protocol::readers::{KeySet, MOST_READERS, open_as_reader};
use homing_protocol::receipt::Receipt;
use homing_protocol::report::{Report, ReportAck, decode_position, encode_position};
use homing_protocol::signed;

/// The account's keyring, as a broker or a file gives it: opening is tried with a code, which needs no slow derivation.
pub(crate) fn keyring(bytes: &[u8]) {
    if let Ok(keyring) = Keyring::parse(bytes) {
        assert!(keyring.stretches_like(&keyring.clone()));
        let _ = keyring.open_with_code(&RecoveryCode([7; 20].into()));
    }
}

/// An authority list that ROOT signed.
pub(crate) fn authority(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let account = household.address.account;
    let context = Address::account_context(account, MessageType::Authority);
    let message = signed::sign(&household.root, &context, payload.to_vec());
    let root = household.root.public();
    if let Ok(list) = AuthorityList::verify(&message, &root, account) {
        assert!(list.entries.len() <= MOST_ENTRIES);
        let again = list.sign(&household.root).expect("as many as were read");
        let again = AuthorityList::verify(&again, &root, account);
        assert_eq!(again.as_ref(), Ok(&list));
    }
}

/// A key set that ROOT signed.
pub(crate) fn key_set(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let message = sign(&household.root, MessageType::KeySet, payload);
    let root = household.root.public();
    if let Ok(set) = KeySet::verify(&message, &root, &household.address) {
        assert!(set.readers.len() <= MOST_READERS);
        let again = set.sign(&household.root).expect("as many as were read");
        let again = KeySet::verify(&again, &root, &household.address);
        assert_eq!(again.as_ref(), Ok(&set));
    }
}

/// The first byte says which message the others are the content of.
pub(crate) fn any(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    match kind {
        0 => command(payload),
        1 => report_ack(payload),
        2 => beacon(payload),
        3 => receipt(payload),
        4 => report(payload),
        5 => certificate(payload),
        6 => claim(payload),
        7 => answer(payload),
        8 => bundle(payload),
        9 => client_request(payload),
        10 => client_answer(payload),
        11 => position(payload),
        12 => for_a_reader(payload),
        _ => {}
    }
}

fn sign(key: &SigningKey, kind: MessageType, payload: &[u8]) -> Vec<u8> {
    let context = HOUSEHOLD.address.context(kind);
    signed::sign(key, &context, payload.to_vec())
}

/// Sealed to the phone; `None` when it is too long for any envelope.
fn to_device(kind: MessageType, message: &[u8]) -> Option<Vec<u8>> {
    let household = &*HOUSEHOLD;
    let device = household.device.public();
    envelope::seal(
        kind,
        &household.address,
        &device,
        None,
        message,
        &mut Same(0),
    )
    .ok()
}

fn carried(kind: MessageType, payload: &[u8]) -> Option<Vec<u8>> {
    let agent = &HOUSEHOLD.agent;
    envelope::carry(kind, agent.public().key_id(), &sign(agent, kind, payload)).ok()
}

fn command(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let message = sign(&household.owner, MessageType::Command, payload);
    let Some(sealed) = to_device(MessageType::Command, &message) else {
        return;
    };
    let (address, list) = (&household.address, &household.list);
    match command::open(&sealed, address, EPOCH, &household.device, list) {
        Ok(verified) => {
            let command = verified.command();
            assert_eq!((command.address, command.epoch), (*address, EPOCH));
            assert!(command.op.capability().is_some());
            let device = household.device.public();
            let again = command.seal(&household.owner, &device, &mut Same(1));
            let again = again.expect("what was read can be written");
            let again = command::open(&again, address, EPOCH, &household.device, list);
            assert!(again.is_ok_and(|again| again.command() == command));
        }
        Err(Rejected::Client(_, command)) => {
            assert_eq!(command.client, household.owner.public().client_id());
        }
        Err(Rejected::Stranger(_)) => {}
    }
}

fn report_ack(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let message = sign(&household.owner, MessageType::ReportAck, payload);
    if let Some(sealed) = to_device(MessageType::ReportAck, &message) {
        let (address, list) = (&household.address, &household.list);
        let _ = ReportAck::open(&sealed, address, EPOCH, &household.device, list);
    }
}

fn beacon(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let Some(bytes) = carried(MessageType::Beacon, payload) else {
        return;
    };
    let agent = household.agent.public();
    if let Ok((beacon, sealed)) = Beacon::verify(&bytes, &household.address, &agent) {
        for window in &beacon.windows {
            for seq in [0, 1, window.high, window.high.wrapping_add(1), u64::MAX] {
                let _ = window.has_seen(seq);
            }
        }
        let _ = sealed.open(&household.reader);
    }
}

fn receipt(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let Some(bytes) = carried(MessageType::Receipt, payload) else {
        return;
    };
    let agent = household.agent.public();
    if let Ok((_, sealed, _)) = Receipt::verify(&bytes, &household.address, &agent) {
        let _ = sealed.open(&household.reader);
    }
}

fn report(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    if let Some(bytes) = carried(MessageType::Report, payload) {
        let agent = household.agent.public();
        let _ = Report::open(&bytes, &household.address, &agent, &household.reader);
    }
}

fn certificate(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let message = sign(&household.root, MessageType::DeviceCertificate, payload);
    let root = household.root.public();
    if let Ok(read) = DeviceCertificate::verify(&message, &root, &household.address) {
        assert_eq!(read.sign(&household.root), message);
    }
}

fn claim(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let message = sign(&household.agent, MessageType::Enrolment, payload);
    let (address, secret) = (&household.address, Some(&household.secret));
    let owner = household.reader.public();
    let kind = MessageType::Enrolment;
    if let Ok(sealed) = envelope::seal(kind, address, &owner, secret, &message, &mut Same(0)) {
        let read = Claim::open(
            &sealed,
            address,
            EPOCH,
            &household.reader,
            &household.secret,
        );
        assert!(read.is_ok_and(|claim| claim.address == *address) || !payload.is_empty());
    }
}

fn answer(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let (address, secret) = (&household.address, &household.secret);
    let device = household.device.public();
    let kind = MessageType::Enrolment;
    if let Ok(sealed) = envelope::seal(kind, address, &device, Some(secret), payload, &mut Same(0))
    {
        let root = household.root.public();
        let _ = Answer::open(&sealed, address, &household.device, secret, &root);
    }
}

fn bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::decode(bytes) {
        assert_eq!(bundle.encode().as_slice(), bytes);
    }
}

fn client_request(payload: &[u8]) {
    let _ = ClientRequest::verify(payload);
}

fn client_answer(payload: &[u8]) {
    let household = &*HOUSEHOLD;
    let key = household.owner.public();
    let _ = ClientAnswer::open(payload, &key, &household.reader);
}

fn position(payload: &[u8]) {
    if let Ok(position) = decode_position(payload) {
        assert_eq!(encode_position(&position), payload);
    }
}

fn for_a_reader(payload: &[u8]) {
    let context = HOUSEHOLD.address.context(MessageType::Report);
    let _ = open_as_reader(payload, &context, &HOUSEHOLD.reader);
}
