//! An order: what it says, and the one way to get a verified one. Freshness and sequence are judged elsewhere, by whoever remembers.

use crate::authority::{AuthorityList, Capabilities, Capability};
use crate::cbor::{self, Fields, Map, as_bytes};
use crate::envelope::{self, Address, MessageType};
use crate::id::{BeaconNonce, ClientId, CommandId, SessionId};
use crate::keys::{KemPublic, KemSecret, SigningKey, sha256};
use crate::rand_core::CryptoRng;
use crate::signed::{self, Unverified};
use crate::{Malformed, Refusal, VERSION};
use ciborium::Value;

/// Most rings that one stop may name; as many as fit the smallest bucket whatever the other fields hold, so that a stop looks like a ring.
pub const MOST_NAMED_RINGS: usize = 15;

/// Most positions that one order may ask for again: 32 full reports, so that no order keeps a phone busy for long.
pub const MOST_RESENT: u64 = 1024;

/// Highest number to which a resume may raise a counter: no phone gets there by counting, and there is as much room again behind it.
pub const FURTHEST: u64 = 1 << 53;

/// What makes an operation fresh, and what becomes of it while the phone's state is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Repeating it hurts nobody: fresh when its number is.
    Harmless,
    /// Repeating it annoys: fresh when its number is; once the phone knows that its state was set back, only when it quotes a beacon made since.
    Nuisance,
    /// Quotes a beacon that the phone made within [`LIVE_MS`] in the same start; waits while the state is set back.
    Sensitive,
    /// As sensitive, or bound to an open lost episode.
    Destructive,
}

/// For how long a beacon answers as a challenge for what is sensitive, milliseconds since it was made.
pub const LIVE_MS: u64 = 15 * 60_000;

/// What is ordered, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Say where you are.
    Locate {
        /// How long to search at most, seconds, 1..=600.
        search_s: u16,
    },
    /// Sound the siren.
    Ring {
        /// How long it sounds at most, seconds, 1..=3600.
        for_s: u16,
    },
    /// End the named rings, whether or not they arrived, and whatever sounds now.
    RingStop {
        /// The commands that started them.
        rings: Vec<CommandId>,
    },
    /// Send a beacon with your state.
    Status,
    /// Publish positions again that a reader has not got.
    ResendReports {
        /// Number of the first one, from 1.
        first: u64,
        /// Number of the last one; at most [`MOST_RESENT`] in all.
        last: u64,
    },
    /// Count on from what the owner knows: the phone's state was set back to an older one.
    Resume {
        /// The next beacon has a higher number than this.
        beacon: u64,
        /// The next receipt has a higher number than this …
        receipts: u64,
        /// … and follows this head of the chain.
        head: [u8; 32],
        /// The next report has a higher number than this.
        reports: u64,
    },
    /// An operation of a later version, or one of this version whose parameters are out of range or of a later version.
    Unknown {
        /// Its code.
        code: u64,
    },
}

impl Op {
    /// The codes of this version.
    pub const KNOWN_CODES: core::ops::RangeInclusive<u64> = 1..=6;
    /// The stable word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Locate { .. } => "locate",
            Self::Ring { .. } => "ring",
            Self::RingStop { .. } => "ring-stop",
            Self::Status => "status",
            Self::ResendReports { .. } => "resend-reports",
            Self::Resume { .. } => "resume",
            Self::Unknown { .. } => "unknown",
        }
    }
    /// The right it needs; an unknown operation needs none because it is never done.
    #[must_use]
    pub const fn capability(&self) -> Option<Capability> {
        match self {
            Self::Locate { .. } | Self::Status => Some(Capability::Locate),
            Self::Ring { .. } | Self::RingStop { .. } => Some(Capability::Ring),
            Self::ResendReports { .. } => Some(Capability::ReadLocation),
            Self::Resume { .. } => Some(Capability::Settings),
            Self::Unknown { .. } => None,
        }
    }
    /// What makes it fresh, and whether it waits while the phone's state is set back; an unknown operation has none because it is never done.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        match self {
            Self::Locate { .. } | Self::Status | Self::ResendReports { .. } => {
                Some(Class::Harmless)
            }
            Self::Ring { .. } | Self::RingStop { .. } => Some(Class::Nuisance),
            Self::Resume { .. } => Some(Class::Sensitive),
            Self::Unknown { .. } => None,
        }
    }
    fn code(&self) -> u64 {
        match self {
            Self::Locate { .. } => 1,
            Self::Ring { .. } => 2,
            Self::RingStop { .. } => 3,
            Self::Status => 4,
            Self::ResendReports { .. } => 5,
            Self::Resume { .. } => 6,
            Self::Unknown { code } => *code,
        }
    }
    fn params(&self) -> Value {
        match self {
            Self::Locate { search_s } => Map::new().uint(0, u64::from(*search_s)).value(),
            Self::Ring { for_s } => Map::new().uint(0, u64::from(*for_s)).value(),
            Self::RingStop { rings } => Map::new()
                .list(0, rings.iter().map(|id| Value::Bytes(id.0.to_vec())))
                .value(),
            Self::ResendReports { first, last } => {
                Map::new().uint(0, *first).uint(1, *last).value()
            }
            Self::Resume {
                beacon,
                receipts,
                head,
                reports,
            } => Map::new()
                .uint(0, *beacon)
                .uint(1, *receipts)
                .bytes(2, head)
                .uint(3, *reports)
                .value(),
            Self::Status | Self::Unknown { .. } => Map::new().value(),
        }
    }
    /// What was ordered. Parameters that this version cannot read do not make the message malformed: its sender is to be told.
    fn read(code: u64, params: &Value) -> Self {
        Self::read_known(code, params).unwrap_or(Self::Unknown { code })
    }
    fn read_known(code: u64, params: &Value) -> Result<Self, Malformed> {
        let mut fields = Fields::of(params)?;
        let op = match code {
            1 => Self::Locate {
                search_s: within(fields.narrow(0)?, 1, 600)?,
            },
            2 => Self::Ring {
                for_s: within(fields.narrow(0)?, 1, 3600)?,
            },
            3 => Self::RingStop {
                rings: fields
                    .list(0, MOST_NAMED_RINGS)?
                    .iter()
                    .map(|id| as_bytes(id).map(CommandId).ok_or(Malformed::Field(0)))
                    .collect::<Result<_, _>>()?,
            },
            4 => Self::Status,
            5 => {
                let (first, last) = (fields.uint(0)?, fields.uint(1)?);
                if first == 0 {
                    return Err(Malformed::Field(0));
                }
                if last < first || last - first >= MOST_RESENT {
                    return Err(Malformed::Field(1));
                }
                Self::ResendReports { first, last }
            }
            6 => Self::Resume {
                beacon: counted(&mut fields, 0)?,
                receipts: counted(&mut fields, 1)?,
                head: fields.bytes(2)?,
                reports: counted(&mut fields, 3)?,
            },
            // Its parameters are of a later version; they stay unread.
            code => return Ok(Self::Unknown { code }),
        };
        fields.end()?;
        Ok(op)
    }
}

/// A number from which a phone goes on to count; it must not come near the end of all numbers.
fn counted(fields: &mut Fields<'_>, key: i64) -> Result<u64, Malformed> {
    let number = fields.uint(key)?;
    if number <= FURTHEST {
        Ok(number)
    } else {
        Err(Malformed::Field(key))
    }
}

fn within(number: u16, least: u16, most: u16) -> Result<u16, Malformed> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Malformed::Field(0))
    }
}

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

/// A command whose signature, address and right were checked. Only [`open`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    command: Command,
    digest: [u8; 32],
    rights: Capabilities,
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
    let unverified = Unverified::parse(&message).map_err(stranger)?;
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
        digest: sha256(&message),
        rights: entry.capabilities,
        command,
    })
}
