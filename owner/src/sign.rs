//! Signs and seals what an owner client says to a phone. Chooses no numbers: its caller allocates them durably, each at most once.
use crate::Error;
use crate::phone::Phone;
use homing_protocol::authority;
use homing_protocol::command::{BeaconReference, Command, MOST_NAMED_RINGS, Op};
use homing_protocol::envelope::MessageType;
use homing_protocol::id::{CommandId, SessionId};
use homing_protocol::keys::SigningKey;
use homing_protocol::rand_core::CryptoRng;
use homing_protocol::report::ReportAck;

/// What the owner wants; stays the same however often it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The idempotency key.
    pub id: CommandId,
    /// What is ordered.
    pub op: Op,
    /// When, seconds since 1970 UTC by the owner's clock.
    pub issued_at_s: u64,
    /// After this it is pointless, seconds since 1970 UTC by the owner's clock.
    pub not_after_s: Option<u64>,
}

/// The number under which an intent is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// This client's sequence space.
    pub session: SessionId,
    /// The next free number in it, from 1.
    pub seq: u64,
    /// The newest beacon known of this phone.
    pub beacon: Option<BeaconReference>,
    /// The authority list in which this client stands.
    pub authority_version: u64,
}

/// Signs an intent and seals it to the phone.
///
/// # Errors
/// [`Error::Seal`].
pub fn seal_command(
    intent: &Intent,
    place: &Place,
    phone: &Phone,
    client: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Error> {
    let command = Command {
        address: phone.address,
        epoch: phone.epoch,
        client: client.public().client_id(),
        session: place.session,
        seq: place.seq,
        id: intent.id,
        op: intent.op.clone(),
        issued_at: intent.issued_at_s,
        not_after: intent.not_after_s,
        beacon: place.beacon,
        authority_version: place.authority_version,
        binding: None,
        presence: None,
    };
    command
        .seal(client, &phone.keys.kem, rng)
        .map_err(Error::Seal)
}

/// The stop of all given rings; of more than a command can name, the newest count, and whatever sounds ends anyway.
#[must_use]
pub fn ring_stop(open_rings_newest_first: &[CommandId]) -> Op {
    Op::RingStop {
        rings: open_rings_newest_first
            .iter()
            .copied()
            .take(MOST_NAMED_RINGS)
            .collect(),
    }
}

/// The word that every position up to `through` is stored here.
///
/// # Errors
/// [`Error::Seal`].
pub fn seal_report_ack(
    through: u64,
    phone: &Phone,
    client: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Error> {
    let ack = ReportAck {
        address: phone.address,
        epoch: phone.epoch,
        client: client.public().client_id(),
        through,
    };
    ack.seal(client, &phone.keys.kem, rng).map_err(Error::Seal)
}

/// Seals the ROOT-signed authority list to one phone.
///
/// # Errors
/// [`Error::Seal`].
pub fn seal_authority(
    signed: &[u8],
    phone: &Phone,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Error> {
    authority::seal_to_device(
        MessageType::Authority,
        signed,
        &phone.address,
        &phone.keys.kem,
        rng,
    )
    .map_err(Error::Seal)
}

/// Seals a ROOT-signed key set to its phone.
///
/// # Errors
/// [`Error::Seal`].
pub fn seal_key_set(
    signed: &[u8],
    phone: &Phone,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Error> {
    authority::seal_to_device(
        MessageType::KeySet,
        signed,
        &phone.address,
        &phone.keys.kem,
        rng,
    )
    .map_err(Error::Seal)
}
