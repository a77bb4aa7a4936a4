//! An order: who says what to whom, and the one way to get a verified one. Freshness and sequence are judged elsewhere, by whoever remembers.

mod operation;

use crate::authority::{AuthorityList, Capabilities};
use crate::cbor::{self, Fields, Map, as_bytes};
use crate::envelope::{self, Address, MessageType};
use crate::id::{BeaconNonce, ClientId, CommandId, SessionId};
use crate::keys::{KemPublic, KemSecret, SigningKey, sha256};
use crate::rand_core::CryptoRng;
use crate::signed::{self, Unverified};
use crate::{Malformed, Refusal, VERSION};
use ciborium::Value;

pub use operation::{
    Class, FURTHEST, LIVE_MS, LONGEST_CONTACT, LONGEST_MESSAGE, MOST_NAMED_EPISODES,
    MOST_NAMED_RINGS, MOST_RESENT, Op,
};

/// A beacon that the sender had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BeaconReference {
    /// Its number.
    pub counter: u64,
    /// Its random part.
    pub nonce: BeaconNonce,
}

/// One order of one client to one phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The phone.
    pub address: Address,
    /// Its enrolment epoch.
    pub epoch: u32,
    /// Who orders.
    pub client: ClientId,
    /// In which sequence space.
    pub session: SessionId,
    /// Number in that space, from 1.
    pub seq: u64,
    /// The idempotency key.
    pub id: CommandId,
    /// What is ordered.
    pub op: Op,
    /// The owner's clock when it was given, seconds since 1970 UTC. Advice only.
    pub issued_at: u64,
    /// After this time of the owner's clock it is pointless.
    pub not_after: Option<u64>,
    /// The newest beacon that the sender knew.
    pub beacon: Option<BeaconReference>,
    /// The authority list in which the sender stands.
    pub authority_version: u64,
    /// What a destructive command is bound to: SHA-256 of the signed lost command.
    pub binding: Option<[u8; 32]>,
    /// The presence counter that a destructive command relies on.
    pub presence: Option<u64>,
}

impl Command {
    /// Signs and seals it to the phone's DEV_KEM.
    ///
    /// # Errors
    /// [`Malformed::TooMany`], [`Malformed::Seal`]; [`Malformed::Field`] for a parameter out of range.
    pub fn seal(
        &self,
        client: &SigningKey,
        device: &KemPublic,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        Op::read_known(self.op.code(), &self.op.params())?;
        let beacon = self.beacon.map(|beacon| {
            Value::Array(vec![
                Value::from(beacon.counter),
                Value::Bytes(beacon.nonce.0.to_vec()),
            ])
        });
        let mut map = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into())
            .bytes(4, &self.client.0)
            .bytes(5, &self.session.0)
            .uint(6, self.seq)
            .bytes(7, &self.id.0)
            .uint(8, self.op.code())
            .with(9, self.op.params())
            .uint(10, self.issued_at)
            .maybe_uint(11, self.not_after)
            .uint(13, self.authority_version)
            .maybe_uint(15, self.presence);
        if let Some(beacon) = beacon {
            map = map.with(12, beacon);
        }
        if let Some(binding) = &self.binding {
            map = map.bytes(14, binding);
        }
        let message = signed::sign(
            client,
            &self.address.context(MessageType::Command),
            map.encode(),
        );
        envelope::seal(
            MessageType::Command,
            &self.address,
            device,
            None,
            &message,
            rng,
        )
    }

    fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        let command = Self {
            address: Address {
                account: crate::id::AccountId(fields.bytes(1)?),
                device: crate::id::DeviceId(fields.bytes(2)?),
            },
            epoch: fields.narrow(3)?,
            client: ClientId(fields.bytes(4)?),
            session: SessionId(fields.bytes(5)?),
            seq: fields.uint(6)?,
            id: CommandId(fields.bytes(7)?),
            op: Op::read(fields.uint(8)?, fields.must(9)?),
            issued_at: fields.uint(10)?,
            not_after: fields.maybe_uint(11)?,
            beacon: fields.maybe(12).map(read_beacon).transpose()?,
            authority_version: fields.uint(13)?,
            binding: fields
                .maybe(14)
                .map(|value| as_bytes(value).ok_or(Malformed::Field(14)))
                .transpose()?,
            presence: fields.maybe_uint(15)?,
        };
        fields.end()?;
        // Numbers start at 1.
        if command.seq == 0 {
            return Err(Malformed::Field(6));
        }
        Ok(command)
    }
}

fn read_beacon(value: &Value) -> Result<BeaconReference, Malformed> {
    match value.as_array().map(Vec::as_slice) {
        Some([counter, nonce]) => Ok(BeaconReference {
            counter: cbor::as_uint(counter).ok_or(Malformed::Field(12))?,
            nonce: BeaconNonce(as_bytes(nonce).ok_or(Malformed::Field(12))?),
        }),
        _ => Err(Malformed::Field(12)),
    }
}

/// A command whose signature, address and right were checked. Only [`open`] and [`verify`] make one.
#[derive(Clone, Debug)]
pub struct Verified {
    command: Command,
    digest: [u8; 32],
    rights: Capabilities,
    signed: Vec<u8>,
}

impl Verified {
    /// The command.
    #[must_use]
    pub const fn command(&self) -> &Command {
        &self.command
    }
    /// SHA-256 of the signed bytes; tells a repetition from another command under the same number.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }
    /// The signed bytes, for [`verify`]: whoever carries the command out may check it again without trusting who opened it.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        &self.signed
    }
    /// What else its signer may order, by the list that it was verified with.
    #[must_use]
    pub const fn rights(&self) -> Capabilities {
        self.rights
    }
}

/// Why a command was not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Nothing proves who sent it, or that it was allowed: count it, answer nothing. Only what says [`Refusal::NeedAuthority`] is worth keeping until the next list comes.
    Stranger(Refusal),
    /// A client of the list sent it: it deserves an answer.
    Client(Refusal, Box<Command>),
}

/// Opens and verifies a sealed command, cheapest checks first.
///
/// # Errors
/// [`Rejected`]; [`Refusal::NeedAuthority`] when a client that is unknown, or lacks the right, says that it stands in a newer list than `authority`.
pub fn open(
    bytes: &[u8],
    address: &Address,
    epoch: u32,
    device: &KemSecret,
    authority: &AuthorityList,
) -> Result<Verified, Rejected> {
    let stranger = |fault: Malformed| Rejected::Stranger(fault.into());
    let header = envelope::Header::read(bytes).map_err(stranger)?;
    if header.key != device.public().key_id() {
        return Err(Rejected::Stranger(Refusal::WrongKey));
    }
    let (kind, message) = envelope::open(bytes, address, device, None).map_err(stranger)?;
    if kind != MessageType::Command {
        return Err(Rejected::Stranger(Refusal::Malformed));
    }
    verify(&message, address, epoch, authority)
}

/// The id that a signed message claims for itself. Nothing is verified: it tells one answer from another, and permits nothing.
///
/// # Errors
/// [`Malformed`] for what is no command.
pub fn claimed_id(message: &[u8]) -> Result<CommandId, Malformed> {
    let unverified = Unverified::parse(message)?;
    Command::read(unverified.payload()).map(|command| command.id)
}

/// Verifies a command that was opened before: what stands in the envelope, as its client signed it.
///
/// # Errors
/// As [`open`].
pub fn verify(
    message: &[u8],
    address: &Address,
    epoch: u32,
    authority: &AuthorityList,
) -> Result<Verified, Rejected> {
    let stranger = |fault: Malformed| Rejected::Stranger(fault.into());
    let unverified = Unverified::parse(message).map_err(stranger)?;
    let command = Command::read(unverified.payload()).map_err(stranger)?;
    let Some(entry) = authority.entry(command.client) else {
        let newer = command.authority_version > authority.version;
        return Err(Rejected::Stranger(if newer {
            Refusal::NeedAuthority
        } else {
            Refusal::UnknownClient
        }));
    };
    unverified
        .verify(&entry.key, &address.context(MessageType::Command))
        .map_err(stranger)?;
    let client =
        |refusal, command: &Command| Err(Rejected::Client(refusal, Box::new(command.clone())));
    if command.address != *address || command.epoch != epoch {
        return client(Refusal::Misdirected, &command);
    }
    let newer = command.authority_version > authority.version;
    match command.op.capability() {
        None if Op::KNOWN_CODES.contains(&command.op.code()) => {
            return client(Refusal::BadParameter, &command);
        }
        None => return client(Refusal::Unsupported, &command),
        Some(capability) if entry.capabilities.allows(capability) => {}
        // The right may have been given by a list that this phone has not received yet: no final answer before it comes.
        Some(_) if newer => return Err(Rejected::Stranger(Refusal::NeedAuthority)),
        Some(_) => return client(Refusal::NotAllowed, &command),
    }
    Ok(Verified {
        digest: sha256(message),
        rights: entry.capabilities,
        signed: message.to_vec(),
        command,
    })
}
