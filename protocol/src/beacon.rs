//! A phone's sign of life: which commands it has seen, which lists it knows, and for its readers how it is. Says nothing about places.

use crate::cbor::{self, Fields, Map};
use crate::command::BeaconReference;
use crate::envelope::{self, Address, MessageType};
use crate::id::{BeaconNonce, BootId, ClientId, CommandId, SessionId};
use crate::keys::{KemPublic, KemSecret, SigningKey, VerifyingKey, sha256};
use crate::measure::{Battery, Charging, Metered, NetworkKind};
use crate::rand_core::CryptoRng;
use crate::readers::{open_as_reader, seal_to_readers};
use crate::{Malformed, VERSION, signed};

/// Most sequence spaces shown in one beacon, newest first.
pub const MOST_WINDOWS: usize = 16;
/// Most bytes of a window's bitmap in a beacon: 128 numbers behind the high-water mark.
pub const MOST_BITMAP: usize = 16;

/// What the phone has seen of one sequence space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The client.
    pub client: ClientId,
    /// Its session.
    pub session: SessionId,
    /// The highest number seen.
    pub high: u64,
    /// Bit `i` (least significant first) is set when `high − 1 − i` was **not** seen; trailing zero bytes are left out.
    pub missing: Vec<u8>,
}

impl Window {
    /// Whether the phone had seen this number; numbers further back than the bitmap count as seen.
    #[must_use]
    pub fn has_seen(&self, seq: u64) -> bool {
        if seq >= self.high {
            return seq == self.high;
        }
        let behind = self.high - 1 - seq;
        let byte = usize::try_from(behind / 8)
            .ok()
            .and_then(|index| self.missing.get(index));
        byte.is_none_or(|byte| byte & (1 << (behind % 8)) == 0)
    }
}

/// The part that anybody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Which phone.
    pub address: Address,
    /// Its enrolment epoch.
    pub epoch: u32,
    /// Number of this beacon, gap-free from 1.
    pub counter: u64,
    /// Its random part.
    pub nonce: BeaconNonce,
    /// The start of the phone in which it was made.
    pub boot: BootId,
    /// What was seen, newest sessions first, at most [`MOST_WINDOWS`].
    pub windows: Vec<Window>,
    /// Version of the authority list in force.
    pub authority_version: u64,
    /// Version of the key set in force.
    pub key_set_version: u64,
    /// How many receipts were made so far.
    pub receipts: u64,
    /// Head of their chain.
    pub receipt_chain: [u8; 32],
    /// In how many seconds the next beacon is planned.
    pub next_contact_s: u32,
}

/// The part for readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The phone's clock, seconds since 1970 UTC.
    pub time_unix_s: u64,
    /// Whether that clock was set from outside since boot.
    pub clock: ClockTrust,
    /// The battery.
    pub battery: Battery,
    /// What carries the traffic.
    pub network: NetworkKind,
    /// Whether that costs money.
    pub metered: Metered,
    /// The ring that is open, if one is.
    pub ring: Option<CommandId>,
    /// Number of the newest report.
    pub reports: u64,
    /// How often somebody unlocked the phone, as far as it is counted.
    pub presence: u64,
    /// Space left for Homing's state, MiB.
    pub free_mib: u32,
    /// Messages refused since the daemon started.
    pub refused: u32,
    /// Set while the phone knows that its state was set back and waits for a resume: the highest beacon number that somebody quoted to it, 0 when another thing gave it away.
    pub set_back: Option<u64>,
    /// Set in the last beacon of all: when the phone's user took it out of the account, seconds since 1970 UTC by the phone's clock.
    pub left_at: Option<u64>,
    /// What the lists in force are; a phone of the first builds did not say.
    pub lists: Option<ListDigests>,
    /// The open episode of lost mode: the command that began it.
    pub lost: Option<CommandId>,
}

/// Which lists a phone follows, beyond their version numbers: two lists of one version are two sides of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListDigests {
    /// Of the signed authority list, see [`list_digest`].
    pub authority: [u8; 16],
    /// Of the signed key set.
    pub key_set: [u8; 16],
}

impl ListDigests {
    /// Of these two, as ROOT signed them.
    #[must_use]
    pub fn of(authority: &[u8], key_set: &[u8]) -> Self {
        Self {
            authority: list_digest(authority),
            key_set: list_digest(key_set),
        }
    }
}

/// The first 16 bytes of SHA-256 of a signed authority list or key set.
#[must_use]
pub fn list_digest(signed: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(signed)[..16]);
    short
}

/// How far a phone's clock is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockTrust {
    /// Nobody set it since boot.
    Unset = 0,
    /// The kernel says that it is synchronised.
    Synchronised = 1,
}

impl Beacon {
    /// How commands quote it.
    #[must_use]
    pub const fn reference(&self) -> BeaconReference {
        BeaconReference {
            counter: self.counter,
            nonce: self.nonce,
        }
    }
    /// Signs it, with the status sealed to the readers.
    ///
    /// # Errors
    /// [`Malformed::TooMany`], [`Malformed::Length`], [`Malformed::Seal`].
    pub fn sign(
        &self,
        status: &Status,
        agent: &SigningKey,
        readers: &[KemPublic],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        if self.windows.len() > MOST_WINDOWS
            || self
                .windows
                .iter()
                .any(|window| window.missing.len() > MOST_BITMAP)
        {
            return Err(Malformed::TooMany);
        }
        let context = self.address.context(MessageType::Beacon);
        let windows = self.windows.iter().map(|window| {
            Map::new()
                .bytes(0, &window.client.0)
                .bytes(1, &window.session.0)
                .uint(2, window.high)
                .bytes(3, &window.missing)
                .value()
        });
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into())
            .uint(4, self.counter)
            .bytes(5, &self.nonce.0)
            .bytes(6, &self.boot.0)
            .list(7, windows)
            .uint(8, self.authority_version)
            .uint(9, self.key_set_version)
            .uint(10, self.receipts)
            .bytes(11, &self.receipt_chain)
            .uint(12, self.next_contact_s.into())
            .bytes(
                13,
                &seal_to_readers(readers, &context, &status.encode(), rng)?,
            )
            .encode();
        let message = signed::sign(agent, &context, payload);
        envelope::carry(MessageType::Beacon, agent.public().key_id(), &message)
    }
    /// Verifies one with the phone's DEV_SIG; the status stays sealed.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn verify(
        bytes: &[u8],
        address: &Address,
        agent: &VerifyingKey,
    ) -> Result<(Self, SealedStatus), Malformed> {
        let context = address.context(MessageType::Beacon);
        let message = envelope::carried(bytes, MessageType::Beacon, agent.key_id())?;
        let payload = signed::verify(message, agent, &context)?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        if fields.bytes(1)? != address.account.0 || fields.bytes(2)? != address.device.0 {
            return Err(Malformed::Misdirected);
        }
        let beacon = Self {
            address: *address,
            epoch: fields.narrow(3)?,
            counter: fields.uint(4)?,
            nonce: BeaconNonce(fields.bytes(5)?),
            boot: BootId(fields.bytes(6)?),
            windows: fields
                .list(7, MOST_WINDOWS)?
                .iter()
                .map(read_window)
                .collect::<Result<_, _>>()?,
            authority_version: fields.uint(8)?,
            key_set_version: fields.uint(9)?,
            receipts: fields.uint(10)?,
            receipt_chain: fields.bytes(11)?,
            next_contact_s: fields.narrow(12)?,
        };
        let sealed = SealedStatus {
            bytes: fields.blob(13)?.to_vec(),
            context,
        };
        fields.end()?;
        Ok((beacon, sealed))
    }
}

fn read_window(value: &ciborium::Value) -> Result<Window, Malformed> {
    let mut fields = Fields::of(value)?;
    let window = Window {
        client: ClientId(fields.bytes(0)?),
        session: SessionId(fields.bytes(1)?),
        high: fields.uint(2)?,
        missing: fields.blob(3)?.to_vec(),
    };
    fields.end()?;
    if window.missing.len() > MOST_BITMAP {
        Err(Malformed::TooMany)
    } else {
        Ok(window)
    }
}

/// The status before a reader opened it.
#[derive(Debug)]
pub struct SealedStatus {
    bytes: Vec<u8>,
    context: Vec<u8>,
}

impl SealedStatus {
    /// Opens it.
    ///
    /// # Errors
    /// [`Malformed::Seal`] when this key is not among the readers.
    pub fn open(&self, reader: &KemSecret) -> Result<Status, Malformed> {
        Status::read(&open_as_reader(&self.bytes, &self.context, reader)?)
    }
}

fn read_digests(value: &ciborium::Value) -> Option<ListDigests> {
    let both: [u8; 32] = cbor::as_bytes(value)?;
    let (authority, key_set) = both.split_first_chunk::<16>()?;
    Some(ListDigests {
        authority: *authority,
        key_set: key_set.try_into().ok()?,
    })
}

fn percent(number: u8) -> Result<u8, Malformed> {
    if number <= 100 {
        Ok(number)
    } else {
        Err(Malformed::Field(2))
    }
}

impl Status {
    fn encode(&self) -> Vec<u8> {
        let mut map = Map::new()
            .uint(0, self.time_unix_s)
            .uint(1, self.clock as u64)
            .maybe_uint(2, self.battery.percent.map(u64::from))
            .uint(3, self.battery.charging.code())
            .uint(4, self.network.code())
            .uint(5, self.metered.code())
            .uint(7, self.reports)
            .uint(8, self.presence)
            .uint(9, self.free_mib.into())
            .uint(10, self.refused.into())
            .maybe_uint(11, self.set_back)
            .maybe_uint(12, self.left_at);
        if let Some(lists) = &self.lists {
            map = map.bytes(13, &[lists.authority, lists.key_set].concat());
        }
        if let Some(ring) = &self.ring {
            map = map.bytes(6, &ring.0);
        }
        if let Some(lost) = &self.lost {
            map = map.bytes(14, &lost.0);
        }
        map.encode()
    }
    fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(payload)?;
        let mut fields = Fields::of(&value)?;
        let status = Self {
            time_unix_s: fields.uint(0)?,
            clock: match fields.uint(1)? {
                0 => ClockTrust::Unset,
                1 => ClockTrust::Synchronised,
                _ => return Err(Malformed::Field(1)),
            },
            battery: Battery {
                percent: fields.maybe_narrow(2)?.map(percent).transpose()?,
                charging: Charging::from_code(fields.uint(3)?).ok_or(Malformed::Field(3))?,
            },
            network: NetworkKind::from_code(fields.uint(4)?).ok_or(Malformed::Field(4))?,
            metered: Metered::from_code(fields.uint(5)?).ok_or(Malformed::Field(5))?,
            ring: fields
                .maybe(6)
                .map(|id| cbor::as_bytes(id).map(CommandId).ok_or(Malformed::Field(6)))
                .transpose()?,
            reports: fields.uint(7)?,
            presence: fields.uint(8)?,
            free_mib: fields.narrow(9)?,
            refused: fields.narrow(10)?,
            set_back: fields.maybe_uint(11)?,
            left_at: fields.maybe_uint(12)?,
            lists: fields
                .maybe(13)
                .map(|value| read_digests(value).ok_or(Malformed::Field(13)))
                .transpose()?,
            lost: fields
                .maybe(14)
                .map(|id| {
                    cbor::as_bytes(id)
                        .map(CommandId)
                        .ok_or(Malformed::Field(14))
                })
                .transpose()?,
        };
        fields.end()?;
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_says_which_numbers_are_missing_and_counts_what_is_behind_it_as_seen() {
        let window = Window {
            client: ClientId([1; ClientId::LEN]),
            session: SessionId([2; SessionId::LEN]),
            high: 20,
            // 19 and 17 in the first byte, 10 in the second.
            missing: vec![0b0000_0101, 0b0000_0010],
        };
        let missing: Vec<u64> = (0..=25).filter(|seq| !window.has_seen(*seq)).collect();
        assert_eq!(missing, [10, 17, 19, 21, 22, 23, 24, 25]);
        assert!(!window.has_seen(u64::MAX));
    }
}
