//! CBOR, envelopes, texts and journal rows: what is read without any key.

use crate::household::HOUSEHOLD;
use homing_policy::actor::ActorState;
use homing_policy::codec;
use homing_protocol::actor::{Answer, Request};
use homing_protocol::cbor;
use homing_protocol::envelope::{self, Header, MessageType};
use homing_protocol::id::{AccountId, ClientId, SessionId};
use homing_protocol::keyring::{KitSecret, RecoveryCode};
use homing_protocol::signed::Unverified;
use homing_protocol::topic::Topic;

/// What is read is exactly what would be written.
pub(crate) fn cbor(bytes: &[u8]) {
    if let Ok(value) = cbor::decode(bytes) {
        assert_eq!(cbor::encode(&value), bytes);
    }
    if let Ok(unverified) = Unverified::parse(bytes) {
        assert!(unverified.payload().len() < bytes.len());
    }
}

/// The sizes a padded content may have, bytes (protocol v1).
const BUCKETS: [usize; 4] = [512, 1024, 2048, 4096];

/// The bytes as they are, and behind a right header as the padded content of a signed message: what is read is what
/// would be written, so that one content has one envelope.
pub(crate) fn envelope(bytes: &[u8]) {
    let household = &*HOUSEHOLD;
    let _ = Header::read(bytes);
    let _ = envelope::open(bytes, &household.address, &household.device, None);
    let Some((&[kind, bucket], content)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let signer = household.agent.public().key_id();
    let mut whole = vec![envelope::FORMAT, envelope::SUITE, kind, bucket];
    whole.extend_from_slice(&signer.0);
    let size = BUCKETS.get(usize::from(bucket)).copied().unwrap_or(0);
    whole.extend(
        content
            .iter()
            .copied()
            .chain(std::iter::repeat(0))
            .take(size),
    );
    let Ok(header) = Header::read(&whole) else {
        return;
    };
    for wanted in [
        MessageType::Beacon,
        MessageType::Receipt,
        MessageType::Report,
    ] {
        let Ok(content) = envelope::carried(&whole, wanted, signer) else {
            continue;
        };
        assert_eq!(header.kind, wanted);
        let again = envelope::carry(wanted, signer, content);
        assert_eq!(again.as_deref(), Ok(&whole[..]));
    }
}

/// Topics, ids, recovery codes and kits: what is read is what would be written.
pub(crate) fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(topic) = Topic::parse(text) {
        assert_eq!(topic.to_string(), text);
    }
    for written in [
        text.parse().map(|id: AccountId| id.to_string()),
        text.parse().map(|id: ClientId| id.to_string()),
        text.parse().map(|id: SessionId| id.to_string()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(written, text);
    }
    // Written by hand, with spaces and in either case: read again they are the same secret.
    if let Ok(kit) = KitSecret::from_text(text) {
        let again = KitSecret::from_text(&kit.to_text());
        assert!(again.is_ok_and(|again| again.0 == kit.0));
    }
    if let Ok(code) = RecoveryCode::from_text(text) {
        let again = RecoveryCode::from_text(&code.to_text());
        assert!(again.is_ok_and(|again| again.0 == code.0));
    }
}

/// A journal row: what is read from a row of any age is read again from the row that is written for it now.
pub(crate) fn journal(bytes: &[u8]) {
    if let Ok(record) = codec::decode(bytes) {
        let again = codec::encode(&record);
        assert_eq!(codec::decode(&again), Ok(record));
        assert!(
            again.len() <= bytes.len() + 40,
            "a row grows by a client at most"
        );
    }
}

/// A packet on the privileged half's socket, an answer to one, or that half's memory: each has one form.
pub(crate) fn actor(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(request.encode(), bytes);
    }
    if let Ok(answer) = Answer::decode(bytes) {
        // A sentence that is too long is cut once.
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(state) = ActorState::decode(bytes) {
        assert_eq!(state.encode(), bytes);
    }
}
