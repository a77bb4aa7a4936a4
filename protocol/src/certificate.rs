//! The device certificate: ROOT's word on which keys a phone holds in this epoch. TLS certificates are another thing and carry no authority.

use crate::cbor::{self, Fields, Map};
use crate::envelope::{Address, MessageType};
use crate::keys::{KemPublic, SigningKey, VerifyingKey, sha256};
use crate::{Malformed, VERSION, signed};

/// A phone's public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    /// DEV_SIG: the agent signs beacons, receipts and reports.
    pub agent: VerifyingKey,
    /// DEV_KEM: commands are sealed to it.
    pub kem: KemPublic,
    /// ACT_SIG: the privileged actor signs challenges and the receipts of lost, unlock and erase.
    pub actor: VerifyingKey,
}

impl DeviceKeys {
    /// What a person compares on both screens: 16 hexadecimal digits in groups of four, of SHA-256 over the three keys.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = sha256(&[self.agent.0, self.kem.0, self.actor.0].concat());
        digest[..8]
            .chunks(2)
            .map(|pair| format!("{:02x}{:02x}", pair[0], pair[1]))
            .collect::<Vec<_>>()
            .join(" ")
    }
    pub(crate) fn write(&self, map: Map, first: i64) -> Map {
        map.bytes(first, &self.agent.0)
            .bytes(first + 1, &self.kem.0)
            .bytes(first + 2, &self.actor.0)
    }
    pub(crate) fn read(fields: &mut Fields<'_>, first: i64) -> Result<Self, Malformed> {
        Ok(Self {
            agent: VerifyingKey(fields.bytes(first)?),
            kem: KemPublic(fields.bytes(first + 1)?),
            actor: VerifyingKey(fields.bytes(first + 2)?),
        })
    }
}

/// The certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// Whose keys.
    pub address: Address,
    /// Enrolment number of this device, from 1; a higher one ends everything of a lower one.
    pub epoch: u32,
    /// The keys.
    pub keys: DeviceKeys,
}

impl DeviceCertificate {
    /// Signs it.
    #[must_use]
    pub fn sign(&self, root: &SigningKey) -> Vec<u8> {
        let map = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into());
        signed::sign(
            root,
            &self.address.context(MessageType::DeviceCertificate),
            self.keys.write(map, 4).encode(),
        )
    }
    /// Verifies and reads a signed one.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn verify(bytes: &[u8], root: &VerifyingKey, address: &Address) -> Result<Self, Malformed> {
        let payload = signed::verify(
            bytes,
            root,
            &address.context(MessageType::DeviceCertificate),
        )?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        if fields.bytes(1)? != address.account.0 || fields.bytes(2)? != address.device.0 {
            return Err(Malformed::Misdirected);
        }
        let epoch = fields.narrow(3)?;
        let keys = DeviceKeys::read(&mut fields, 4)?;
        fields.end()?;
        Ok(Self {
            address: *address,
            epoch,
            keys,
        })
    }
}
