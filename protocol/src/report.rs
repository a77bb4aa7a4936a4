//! Positions for the readers, counted without gaps, and the readers' word on what they have stored.

use crate::authority::{AuthorityList, Capability};
use crate::cbor::{self, Fields, Map};
use crate::envelope::{self, Address, MessageType};
use crate::id::ClientId;
use crate::keys::{KemPublic, KemSecret, SigningKey, VerifyingKey};
use crate::measure::{Position, PositionSource};
use crate::rand_core::CryptoRng;
use crate::readers::{open_as_reader, seal_to_readers};
use crate::signed::{self, Unverified};
use crate::{Malformed, VERSION};
use ciborium::Value;

/// Most positions in one report (protocol v1).
pub const MOST_POSITIONS: usize = 32;

/// A batch of positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which phone.
    pub address: Address,
    /// Its enrolment epoch.
    pub epoch: u32,
    /// Number of the first position; the others follow without a gap.
    pub first: u64,
    /// 1..=[`MOST_POSITIONS`].
    pub positions: Vec<Position>,
}

impl Report {
    /// Signs it with DEV_SIG, sealed to those who may read positions.
    ///
    /// # Errors
    /// [`Malformed::TooMany`], [`Malformed::Length`], [`Malformed::Seal`].
    pub fn sign(
        &self,
        agent: &SigningKey,
        readers: &[KemPublic],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        if self.positions.is_empty() || self.positions.len() > MOST_POSITIONS {
            return Err(Malformed::TooMany);
        }
        let context = self.address.context(MessageType::Report);
        let plain = Map::new()
            .list(0, self.positions.iter().map(write_position))
            .encode();
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into())
            .uint(4, self.first)
            .uint(5, self.positions.len() as u64)
            .bytes(6, &seal_to_readers(readers, &context, &plain, rng)?)
            .encode();
        let message = signed::sign(agent, &context, payload);
        envelope::carry(MessageType::Report, agent.public().key_id(), &message)
    }
    /// Verifies and opens one.
    ///
    /// # Errors
    /// Any [`Malformed`]; [`Malformed::Seal`] when this key may not read it.
    pub fn open(
        bytes: &[u8],
        address: &Address,
        agent: &VerifyingKey,
        reader: &KemSecret,
    ) -> Result<Self, Malformed> {
        let context = address.context(MessageType::Report);
        let message = envelope::carried(bytes, MessageType::Report, agent.key_id())?;
        let payload = signed::verify(message, agent, &context)?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        if fields.bytes(1)? != address.account.0 || fields.bytes(2)? != address.device.0 {
            return Err(Malformed::Misdirected);
        }
        let epoch = fields.narrow(3)?;
        let first = fields.uint(4)?;
        let count = fields.uint(5)?;
        let plain = open_as_reader(fields.blob(6)?, &context, reader)?;
        fields.end()?;
        let value = cbor::decode(&plain)?;
        let mut fields = Fields::of(&value)?;
        let positions: Vec<_> = fields
            .list(0, MOST_POSITIONS)?
            .iter()
            .map(read_position)
            .collect::<Result<_, _>>()?;
        fields.end()?;
        if positions.is_empty()
            || positions.len() as u64 != count
            || first == 0
            || first.checked_add(count).is_none()
        {
            return Err(Malformed::Field(5));
        }
        Ok(Self {
            address: *address,
            epoch,
            first,
            positions,
        })
    }
}

/// One position as a report holds it, for whoever keeps it until it is reported.
#[must_use]
pub fn encode_position(position: &Position) -> Vec<u8> {
    cbor::encode(&write_position(position))
}

/// Reads what [`encode_position`] wrote.
///
/// # Errors
/// Any [`Malformed`].
pub fn decode_position(bytes: &[u8]) -> Result<Position, Malformed> {
    read_position(&cbor::decode(bytes)?)
}

fn write_position(position: &Position) -> Value {
    Map::new()
        .maybe_int(0, position.time_unix_ms)
        .int(1, position.latitude_e7.into())
        .int(2, position.longitude_e7.into())
        .uint(3, position.accuracy_dm.into())
        .maybe_int(4, position.altitude_dm.map(i64::from))
        .maybe_uint(5, position.speed_cm_s.map(u64::from))
        .maybe_uint(6, position.course_cdeg.map(u64::from))
        .uint(7, position.source.code())
        .uint(8, position.age_s.into())
        .value()
}

fn read_position(value: &Value) -> Result<Position, Malformed> {
    let mut fields = Fields::of(value)?;
    let position = Position {
        time_unix_ms: fields.maybe_int(0)?,
        latitude_e7: fields.int(1)?,
        longitude_e7: fields.int(2)?,
        accuracy_dm: fields.narrow(3)?,
        altitude_dm: fields.maybe_int(4)?,
        speed_cm_s: fields.maybe_narrow(5)?,
        course_cdeg: fields.maybe_narrow(6)?,
        source: PositionSource::from_code(fields.uint(7)?).ok_or(Malformed::Field(7))?,
        age_s: fields.narrow(8)?,
    };
    fields.end()?;
    if position.latitude_e7.unsigned_abs() > 900_000_000 {
        return Err(Malformed::Field(1));
    }
    if position.longitude_e7.unsigned_abs() > 1_800_000_000 {
        return Err(Malformed::Field(2));
    }
    if position.course_cdeg.is_some_and(|course| course >= 36_000) {
        return Err(Malformed::Field(6));
    }
    Ok(position)
}

/// A reader's word that it has stored everything up to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportAck {
    /// Which phone.
    pub address: Address,
    /// Its enrolment epoch.
    pub epoch: u32,
    /// The reader.
    pub client: ClientId,
    /// The highest number up to which nothing is missing.
    pub through: u64,
}

impl ReportAck {
    /// Signs and seals it to the phone. It only ever raises a mark, so it needs no number of its own.
    ///
    /// # Errors
    /// [`Malformed::Seal`].
    pub fn seal(
        &self,
        client: &SigningKey,
        device: &KemPublic,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into())
            .bytes(4, &self.client.0)
            .uint(5, self.through)
            .encode();
        let message = signed::sign(
            client,
            &self.address.context(MessageType::ReportAck),
            payload,
        );
        envelope::seal(
            MessageType::ReportAck,
            &self.address,
            device,
            None,
            &message,
            rng,
        )
    }
    /// Opens and verifies one from a client that may read positions.
    ///
    /// # Errors
    /// Any [`Malformed`]; [`Malformed::Signature`] also for a client without the right.
    pub fn open(
        bytes: &[u8],
        address: &Address,
        epoch: u32,
        device: &KemSecret,
        authority: &AuthorityList,
    ) -> Result<Self, Malformed> {
        let (kind, message) = envelope::open(bytes, address, device, None)?;
        if kind != MessageType::ReportAck {
            return Err(Malformed::Format);
        }
        let unverified = Unverified::parse(&message)?;
        let value = cbor::decode(unverified.payload())?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        let account = fields.bytes(1)?;
        let named: [u8; 16] = fields.bytes(2)?;
        let ack = Self {
            address: *address,
            epoch: fields.narrow(3)?,
            client: ClientId(fields.bytes(4)?),
            through: fields.uint(5)?,
        };
        fields.end()?;
        let entry = authority
            .entry(ack.client)
            .filter(|entry| entry.capabilities.allows(Capability::ReadLocation));
        unverified.verify(
            &entry.ok_or(Malformed::Signature)?.key,
            &address.context(MessageType::ReportAck),
        )?;
        if address.account.0 != account || address.device.0 != named || ack.epoch != epoch {
            return Err(Malformed::Misdirected);
        }
        Ok(ack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AccountId, DeviceId};

    #[test]
    fn a_position_lies_on_the_globe_and_is_read_as_it_was_written() {
        let at = |latitude_e7, longitude_e7| Position {
            time_unix_ms: Some(1),
            latitude_e7,
            longitude_e7,
            accuracy_dm: 50,
            altitude_dm: None,
            speed_cm_s: None,
            course_cdeg: Some(35_999),
            source: PositionSource::Gnss,
            age_s: 0,
        };
        for (latitude, longitude) in [(900_000_000, 1_800_000_000), (-900_000_000, -1_800_000_000)]
        {
            let position = at(latitude, longitude);
            assert_eq!(decode_position(&encode_position(&position)), Ok(position));
        }
        for (latitude, longitude, field) in [(900_000_001, 0, 1), (0, -1_800_000_001, 2)] {
            let position = at(latitude, longitude);
            assert_eq!(format!("{position:?}"), "Position(Gnss, redacted)");
            let bytes = encode_position(&position);
            assert_eq!(decode_position(&bytes), Err(Malformed::Field(field)));
        }
    }

    #[test]
    fn a_report_of_nothing_is_malformed_even_from_the_phones_own_key() {
        let rng = &mut crate::rand_core::UnwrapErr(getrandom::SysRng);
        let (agent, reader) = (SigningKey::generate(rng), KemSecret::generate(rng));
        let address = Address {
            account: AccountId([1; 16]),
            device: DeviceId([2; 16]),
        };
        let context = address.context(MessageType::Report);
        let plain = Map::new().list(0, core::iter::empty()).encode();
        let sealed = seal_to_readers(&[reader.public()], &context, &plain, rng).expect("sealed");
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &address.account.0)
            .bytes(2, &address.device.0)
            .uint(3, 1)
            .uint(4, 1)
            .uint(5, 0)
            .bytes(6, &sealed)
            .encode();
        let message = signed::sign(&agent, &context, payload);
        let key = agent.public().key_id();
        let bytes = envelope::carry(MessageType::Report, key, &message).expect("carried");
        let opened = Report::open(&bytes, &address, &agent.public(), &reader);
        assert_eq!(opened.err(), Some(Malformed::Field(5)));
    }
}
