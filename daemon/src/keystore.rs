//! What makes this phone this account's phone: its keys and what the bundle said, in one file. It must not hold what changes while the phone lives; that is the journal's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homing_protocol::Malformed;
use homing_protocol::cbor::{self, Fields, Map};
use homing_protocol::certificate::{DeviceCertificate, DeviceKeys};
use homing_protocol::enrolment::Bundle;
use homing_protocol::keys::{KemSecret, SigningKey, VerifyingKey};
use homing_protocol::rand_core::UnwrapErr;
use zeroize::Zeroizing;

use crate::durable::{self, Access};
use crate::error::Error;
use crate::folder;

/// The operating system's randomness; a phone without it must not go on.
pub type Randomness = UnwrapErr<getrandom::SysRng>;

/// Opens the operating system's randomness.
#[must_use]
pub fn randomness() -> Randomness {
    UnwrapErr(getrandom::SysRng)
}

const MAGIC: &str = "homing identity";

/// The identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the owner gave; its one-time secret is wiped once the certificate is there.
    pub bundle: Bundle,
    /// DEV_SIG.
    pub agent: SigningKey,
    /// DEV_KEM.
    pub kem: KemSecret,
    /// ACT_SIG's public half; the secret lies in a folder of its own.
    pub actor: VerifyingKey,
    /// When the person at the phone consented, seconds since 1970 UTC.
    pub consent_at: u64,
    /// The retention consented to, days.
    pub retention_days: u16,
    /// The ROOT-signed device certificate, once the owner has answered.
    pub certificate: Option<Vec<u8>>,
    /// The ROOT-signed key set that came with it; the journal holds newer ones.
    pub first_key_set: Vec<u8>,
}

impl Identity {
    /// Makes fresh keys for a bundle. ACT_SIG's secret goes to `{state_dir}/actor/act_sig` at once.
    ///
    /// # Errors
    /// [`Error::Replace`], [`Error::Folder`].
    pub fn create(state_dir: &Path, bundle: Bundle, consent_at: u64) -> Result<Self, Error> {
        let (identity, actor) = Self::fresh(bundle, consent_at);
        let folder = state_dir.join("actor");
        folder::ensure(&folder)?;
        durable::replace(
            &folder.join("act_sig"),
            actor.to_bytes().as_ref(),
            Access::Private,
        )?;
        Ok(identity)
    }

    /// Fresh keys for a bundle, with ACT_SIG's secret; nothing is written.
    #[must_use]
    pub fn fresh(bundle: Bundle, consent_at: u64) -> (Self, SigningKey) {
        let rng = &mut randomness();
        let actor = SigningKey::generate(rng);
        let identity = Self {
            retention_days: bundle.retention_days,
            bundle,
            agent: SigningKey::generate(rng),
            kem: KemSecret::generate(rng),
            actor: actor.public(),
            consent_at,
            certificate: None,
            first_key_set: Vec::new(),
        };
        (identity, actor)
    }

    /// The public keys as the owner certifies them.
    #[must_use]
    pub fn public(&self) -> DeviceKeys {
        DeviceKeys {
            agent: self.agent.public(),
            kem: self.kem.public(),
            actor: self.actor,
        }
    }

    /// Stores it.
    ///
    /// # Errors
    /// [`Error::Replace`], [`Error::Folder`].
    pub fn store(&self, state_dir: &Path) -> Result<(), Error> {
        let path = path(state_dir);
        folder::ensure(path.parent().unwrap_or(state_dir))?;
        durable::replace(&path, &self.encode(), Access::Private)
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut map = Map::new()
            .text(0, MAGIC)
            .bytes(1, &self.bundle.encode())
            .bytes(2, self.agent.to_bytes().as_ref())
            .bytes(3, self.kem.to_bytes().as_ref())
            .bytes(4, &self.actor.0)
            .uint(5, self.consent_at)
            .uint(6, self.retention_days.into());
        if let Some(certificate) = &self.certificate {
            map = map.bytes(7, certificate).bytes(8, &self.first_key_set);
        }
        Zeroizing::new(map.encode())
    }

    /// Loads it; `None` when this phone has not claimed a bundle.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub fn load(state_dir: &Path) -> Result<Option<Self>, Error> {
        let path = path(state_dir);
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let damaged = |source| Error::Damaged {
                    what: format!("the identity file {}", path.display()),
                    source,
                };
                Self::decode(&bytes).map(Some).map_err(damaged)
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let value = cbor::decode(bytes)?;
        let mut fields = Fields::of(&value)?;
        if fields.text(0, 32)? != MAGIC {
            return Err(Malformed::Format);
        }
        let mut identity = Self {
            bundle: Bundle::decode(fields.blob(1)?)?,
            agent: SigningKey::from_bytes(&fields.bytes(2)?),
            kem: KemSecret::from_bytes(&fields.bytes(3)?),
            actor: VerifyingKey(fields.bytes(4)?),
            consent_at: fields.uint(5)?,
            retention_days: fields.narrow(6)?,
            certificate: fields.maybe(7).and_then(|value| value.as_bytes().cloned()),
            first_key_set: Vec::new(),
        };
        if identity.certificate.is_some() {
            identity.first_key_set = fields.blob(8)?.to_vec();
        }
        fields.end()?;
        if let Some(certificate) = &identity.certificate {
            let certificate = DeviceCertificate::verify(
                certificate,
                &identity.bundle.root,
                &identity.bundle.address,
            )?;
            if certificate.keys != identity.public() {
                return Err(Malformed::Misdirected);
            }
        }
        Ok(identity)
    }
}

/// Where the identity lies.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("identity").join("identity.cbor")
}
