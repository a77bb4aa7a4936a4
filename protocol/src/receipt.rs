//! What became of a command, signed, counted and chained by the phone, with the detail for readers only. A deleted receipt is seen in the chain.

use crate::cbor::{self, Fields, Map};
use crate::envelope::{self, Address, MessageType};
use crate::id::{CommandId, SessionId};
use crate::keys::{KemPublic, KemSecret, SigningKey, VerifyingKey, sha256};
use crate::lost::Attestation;
use crate::rand_core::CryptoRng;
use crate::readers::{open_as_reader, seal_to_readers};
use crate::{Malformed, Refusal, VERSION, signed};

/// Where a command stands, as the phone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommandState {
    /// Written down; it will be done or answered, come what may.
    Accepted = 1,
    /// Being done: the search is on, the siren sounds.
    Running = 2,
    /// Done.
    Done = 3,
    /// Tried and not achieved.
    Failed = 4,
    /// Not done, for a reason of the protocol.
    Refused = 5,
    /// Not done, because its time had passed.
    Expired = 6,
    /// Not done, because a newer one takes its place.
    Superseded = 7,
    /// Not done or ended early, because it was cancelled.
    Cancelled = 8,
}

impl CommandState {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Accepted, "delivered"),
        (Self::Running, "running"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Refused, "refused"),
        (Self::Expired, "expired"),
        (Self::Superseded, "superseded"),
        (Self::Cancelled, "cancelled"),
    ];
    /// The word shown to people.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, word)| word)
    }
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Accepted | Self::Running)
    }
    /// The state with this code.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL
            .iter()
            .map(|(state, _)| *state)
            .find(|state| *state as u64 == code)
    }
}

/// The part that anybody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which phone.
    pub address: Address,
    /// Its enrolment epoch.
    pub epoch: u32,
    /// The command.
    pub command: CommandId,
    /// The sequence space and number under which it came.
    pub session: SessionId,
    /// See `session`.
    pub seq: u64,
    /// Where it stands.
    pub state: CommandState,
    /// Number of this receipt, gap-free from 1.
    pub counter: u64,
    /// The chain's head before this receipt.
    pub previous: [u8; 32],
}

/// The part for readers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Detail {
    /// The phone's clock, seconds since 1970 UTC.
    pub time_unix_s: u64,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// Why it failed, or what the phone adds, for a person; at most 200 bytes.
    pub text: Option<String>,
    /// The report that holds the position asked for.
    pub report: Option<u64>,
    /// What the phone's privileged half says it did, of commands that only that half carries out.
    pub attestation: Option<Attestation>,
}

/// A signed receipt with the chain's head after it.
#[derive(Debug)]
pub struct Signed {
    /// The envelope to publish.
    pub envelope: Vec<u8>,
    /// `SHA-256("homing/v1 receipt chain" ‖ previous ‖ signed payload)`.
    pub head: [u8; 32],
}

fn chain(previous: &[u8; 32], payload: &[u8]) -> [u8; 32] {
    sha256(&[b"homing/v1 receipt chain".as_slice(), previous, payload].concat())
}

impl Receipt {
    /// Signs it with DEV_SIG (or ACT_SIG for what the actor did), with the detail sealed to the readers.
    ///
    /// # Errors
    /// [`Malformed::Length`], [`Malformed::Seal`], [`Malformed::TooMany`].
    pub fn sign(
        &self,
        detail: &Detail,
        signer: &SigningKey,
        readers: &[KemPublic],
        rng: &mut impl CryptoRng,
    ) -> Result<Signed, Malformed> {
        let context = self.address.context(MessageType::Receipt);
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into())
            .bytes(4, &self.command.0)
            .bytes(5, &self.session.0)
            .uint(6, self.seq)
            .uint(7, self.state as u64)
            .uint(8, self.counter)
            .bytes(9, &self.previous)
            .bytes(
                10,
                &seal_to_readers(readers, &context, &detail.encode(), rng)?,
            )
            .encode();
        let head = chain(&self.previous, &payload);
        let message = signed::sign(signer, &context, payload);
        Ok(Signed {
            envelope: envelope::carry(MessageType::Receipt, signer.public().key_id(), &message)?,
            head,
        })
    }
    /// Verifies one; gives the chain's head after it too.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn verify(
        bytes: &[u8],
        address: &Address,
        signer: &VerifyingKey,
    ) -> Result<(Self, SealedDetail, [u8; 32]), Malformed> {
        let context = address.context(MessageType::Receipt);
        let message = envelope::carried(bytes, MessageType::Receipt, signer.key_id())?;
        let payload = signed::verify(message, signer, &context)?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        if fields.bytes(1)? != address.account.0 || fields.bytes(2)? != address.device.0 {
            return Err(Malformed::Misdirected);
        }
        let receipt = Self {
            address: *address,
            epoch: fields.narrow(3)?,
            command: CommandId(fields.bytes(4)?),
            session: SessionId(fields.bytes(5)?),
            seq: fields.uint(6)?,
            state: CommandState::from_code(fields.uint(7)?).ok_or(Malformed::Field(7))?,
            counter: fields.uint(8)?,
            previous: fields.bytes(9)?,
        };
        let sealed = SealedDetail {
            bytes: fields.blob(10)?.to_vec(),
            context,
        };
        fields.end()?;
        let head = chain(&receipt.previous, &payload);
        Ok((receipt, sealed, head))
    }
}

/// The detail before a reader opened it.
#[derive(Debug)]
pub struct SealedDetail {
    bytes: Vec<u8>,
    context: Vec<u8>,
}

impl SealedDetail {
    /// Opens it.
    ///
    /// # Errors
    /// [`Malformed::Seal`] when this key is not among the readers.
    pub fn open(&self, reader: &KemSecret) -> Result<Detail, Malformed> {
        Detail::read(&open_as_reader(&self.bytes, &self.context, reader)?)
    }
}

/// Longest explanation in a receipt, bytes.
pub const LONGEST_TEXT: usize = 200;
/// Longest explanation beside an attestation, bytes: so that both are no longer sealed than the longest explanation alone.
pub const LONGEST_TEXT_ATTESTED: usize = 120;

impl Detail {
    fn encode(&self) -> Vec<u8> {
        let mut map = Map::new()
            .uint(0, self.time_unix_s)
            .maybe_uint(1, self.refusal.map(Refusal::code))
            .maybe_uint(3, self.report);
        if let Some(text) = &self.text {
            let longest = match self.attestation {
                None => LONGEST_TEXT,
                Some(_) => LONGEST_TEXT_ATTESTED,
            };
            map = map.text(2, &text[..text.floor_char_boundary(longest)]);
        }
        if let Some(attestation) = &self.attestation {
            map = map.bytes(4, &attestation.to_bytes());
        }
        map.encode()
    }
    fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(payload)?;
        let mut fields = Fields::of(&value)?;
        let time_unix_s = fields.uint(0)?;
        // A reason of a later version is shown as "refused" without a word.
        let refusal = fields.maybe_uint(1)?.and_then(Refusal::from_code);
        let text = match fields.maybe(2) {
            None => None,
            Some(ciborium::Value::Text(text)) if text.len() <= LONGEST_TEXT => Some(text.clone()),
            Some(_) => return Err(Malformed::Field(2)),
        };
        let report = fields.maybe_uint(3)?;
        let attestation = match fields.maybe(4) {
            None => None,
            Some(ciborium::Value::Bytes(bytes)) => Some(Attestation::from_bytes(bytes)?),
            Some(_) => return Err(Malformed::Field(4)),
        };
        fields.end()?;
        Ok(Self {
            time_unix_s,
            refusal,
            text,
            report,
            attestation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_for_a_person_is_as_long_as_readers_accept_and_no_longer() {
        let text = |length| Map::new().uint(0, 1).text(2, &"a".repeat(length)).encode();
        let read = Detail::read(&text(LONGEST_TEXT)).expect("read");
        assert_eq!(read.text.map(|text| text.len()), Some(LONGEST_TEXT));
        let longer = Detail::read(&text(LONGEST_TEXT + 1));
        assert_eq!(longer.err(), Some(Malformed::Field(2)));
    }

    #[test]
    fn an_order_ends_with_every_state_but_the_first_two() {
        let going_on = [CommandState::Accepted, CommandState::Running];
        for (state, _) in CommandState::ALL {
            assert_eq!(
                state.is_final(),
                !going_on.contains(&state),
                "{}",
                state.word()
            );
        }
    }
}
