//! How a phone joins: the bundle an owner writes, the claim a phone makes with it, and the owner's answer. First claim wins; deciding that is the owner's side's part.

use crate::authority::AuthorityList;
use crate::cbor::{self, Fields, Map};
use crate::certificate::{DeviceCertificate, DeviceKeys};
use crate::envelope::{self, Address, MessageType};
use crate::id::{AccountId, DeviceId};
use crate::keys::{KemPublic, KemSecret, Psk, SigningKey, VerifyingKey, sha256};
use crate::rand_core::CryptoRng;
use crate::readers::KeySet;
use crate::signed::{self, Unverified};
use crate::{Malformed, VERSION};
use zeroize::Zeroizing;

const MAGIC: &str = "homing bundle";
const LONGEST_PEM: usize = 16 * 1024;
/// Longest name a phone may call itself, bytes.
pub const LONGEST_MODEL: usize = 100;

/// Everything a phone needs to reach its owner for the first time. Secret: whoever has it first, joins.
#[derive(Clone)]
pub struct Bundle {
    /// The account and the id the phone will have.
    pub address: Address,
    /// Its enrolment epoch.
    pub epoch: u32,
    /// The name the owner gave it, at most 64 bytes.
    pub name: String,
    /// `mqtts://HOST:PORT`.
    pub broker: String,
    /// The household CA, PEM.
    pub ca_pem: String,
    /// The phone's TLS certificate, PEM.
    pub tls_certificate_pem: String,
    /// Its key, PEM.
    pub tls_key_pem: Zeroizing<String>,
    /// ROOT's public half.
    pub root: VerifyingKey,
    /// The ROOT-signed authority list of the day.
    pub authority: Vec<u8>,
    /// Claims are sealed to this key of the owner.
    pub owner: KemPublic,
    /// The one-time secret.
    pub secret: Psk,
    /// The retention the owner proposes for positions, days; 0 keeps none.
    pub retention_days: u16,
}

impl core::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Bundle({:?}, secret)", self.address)
    }
}

impl Bundle {
    /// The file's bytes; the last field is SHA-256 of the map without it, so that a damaged copy is told from a good one.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let sum = sha256(&Zeroizing::new(self.map().encode()));
        Zeroizing::new(self.map().bytes(15, &sum).encode())
    }
    fn map(&self) -> Map {
        Map::new()
            .text(0, MAGIC)
            .uint(1, VERSION)
            .bytes(2, &self.address.account.0)
            .bytes(3, &self.address.device.0)
            .uint(4, self.epoch.into())
            .text(5, &self.name)
            .text(6, &self.broker)
            .text(7, &self.ca_pem)
            .text(8, &self.tls_certificate_pem)
            .text(9, &self.tls_key_pem)
            .bytes(10, &self.root.0)
            .bytes(11, &self.authority)
            .bytes(12, &self.owner.0)
            .bytes(13, self.secret.0.as_ref())
            .uint(14, self.retention_days.into())
    }
    /// Reads a file's bytes and checks the authority list inside.
    ///
    /// # Errors
    /// Any [`Malformed`]; [`Malformed::Field`] of 15 when the checksum does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(bytes)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != MAGIC || fields.uint(1)? != VERSION {
            return Err(Malformed::Format);
        }
        let bundle = Self {
            address: Address {
                account: AccountId(fields.bytes(2)?),
                device: DeviceId(fields.bytes(3)?),
            },
            epoch: fields.narrow(4)?,
            name: fields.text(5, 64)?.to_owned(),
            broker: fields.text(6, 300)?.to_owned(),
            ca_pem: fields.text(7, LONGEST_PEM)?.to_owned(),
            tls_certificate_pem: fields.text(8, LONGEST_PEM)?.to_owned(),
            tls_key_pem: Zeroizing::new(fields.text(9, LONGEST_PEM)?.to_owned()),
            root: VerifyingKey(fields.bytes(10)?),
            authority: fields.blob(11)?.to_vec(),
            owner: KemPublic(fields.bytes(12)?),
            secret: Psk(Zeroizing::new(fields.bytes(13)?)),
            retention_days: fields.narrow(14)?,
        };
        let sum: [u8; 32] = fields.bytes(15)?;
        fields.end()?;
        if sum != sha256(&Zeroizing::new(bundle.map().encode())) {
            return Err(Malformed::Field(15));
        }
        AuthorityList::verify(&bundle.authority, &bundle.root, bundle.address.account)?;
        Ok(bundle)
    }
}

/// What a phone says when it claims a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account and id from the bundle.
    pub address: Address,
    /// The epoch from the bundle.
    pub epoch: u32,
    /// The keys the phone made.
    pub keys: DeviceKeys,
    /// When the person at the phone consented, seconds since 1970 UTC by the phone's clock.
    pub consent_at: u64,
    /// The retention consented to, days.
    pub retention_days: u16,
    /// What the phone calls itself, at most 100 bytes.
    pub model: String,
}

impl Claim {
    /// Signs it with the new DEV_SIG (proof of possession) and seals it to the owner under the one-time secret.
    ///
    /// # Errors
    /// [`Malformed::Seal`], [`Malformed::Length`]; [`Malformed::Field`] of 9 for a longer name than [`LONGEST_MODEL`].
    pub fn seal(
        &self,
        agent: &SigningKey,
        owner: &KemPublic,
        secret: &Psk,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        if self.model.len() > LONGEST_MODEL {
            return Err(Malformed::Field(9));
        }
        let map = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.epoch.into());
        let payload = self
            .keys
            .write(map, 4)
            .uint(7, self.consent_at)
            .uint(8, self.retention_days.into())
            .text(9, &self.model)
            .encode();
        let message = signed::sign(
            agent,
            &self.address.context(MessageType::Enrolment),
            payload,
        );
        envelope::seal(
            MessageType::Enrolment,
            &self.address,
            owner,
            Some(secret),
            &message,
            rng,
        )
    }
    /// Opens a claim with the bundle's keys.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn open(
        bytes: &[u8],
        address: &Address,
        epoch: u32,
        owner: &KemSecret,
        secret: &Psk,
    ) -> Result<Self, Malformed> {
        let (kind, message) = envelope::open(bytes, address, owner, Some(secret))?;
        if kind != MessageType::Enrolment {
            return Err(Malformed::Format);
        }
        let unverified = Unverified::parse(&message)?;
        let value = cbor::decode(unverified.payload())?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        let named = Address {
            account: AccountId(fields.bytes(1)?),
            device: DeviceId(fields.bytes(2)?),
        };
        let claim = Self {
            address: named,
            epoch: fields.narrow(3)?,
            keys: DeviceKeys::read(&mut fields, 4)?,
            consent_at: fields.uint(7)?,
            retention_days: fields.narrow(8)?,
            model: fields.text(9, LONGEST_MODEL)?.to_owned(),
        };
        fields.end()?;
        unverified.verify(&claim.keys.agent, &address.context(MessageType::Enrolment))?;
        if claim.address != *address || claim.epoch != epoch {
            return Err(Malformed::Misdirected);
        }
        Ok(claim)
    }
}

/// The owner's answer: ROOT's certificate of the claimed keys, and the readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// ROOT-signed [`DeviceCertificate`].
    pub certificate: Vec<u8>,
    /// ROOT-signed [`KeySet`].
    pub key_set: Vec<u8>,
}

impl Answer {
    /// Seals it to the claimed DEV_KEM under the one-time secret.
    ///
    /// # Errors
    /// [`Malformed::Seal`], [`Malformed::Length`].
    pub fn seal(
        &self,
        address: &Address,
        device: &KemPublic,
        secret: &Psk,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Malformed> {
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.certificate)
            .bytes(2, &self.key_set)
            .encode();
        envelope::seal(
            MessageType::Enrolment,
            address,
            device,
            Some(secret),
            &payload,
            rng,
        )
    }
    /// Opens it and checks both parts against ROOT.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn open(
        bytes: &[u8],
        address: &Address,
        device: &KemSecret,
        secret: &Psk,
        root: &VerifyingKey,
    ) -> Result<(Self, DeviceCertificate, KeySet), Malformed> {
        let (kind, payload) = envelope::open(bytes, address, device, Some(secret))?;
        if kind != MessageType::Enrolment {
            return Err(Malformed::Format);
        }
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        let answer = Self {
            certificate: fields.blob(1)?.to_vec(),
            key_set: fields.blob(2)?.to_vec(),
        };
        fields.end()?;
        let certificate = DeviceCertificate::verify(&answer.certificate, root, address)?;
        let key_set = KeySet::verify(&answer.key_set, root, address)?;
        Ok((answer, certificate, key_set))
    }
}
