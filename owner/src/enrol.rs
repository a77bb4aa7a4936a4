//! How a phone joins: judges claims (the first one wins) and answers the accepted one with ROOT's certificate. Stores nothing, asks nobody.
use crate::Error;
use crate::account::Unlocked;
use homing_protocol::certificate::{DeviceCertificate, DeviceKeys};
use homing_protocol::enrolment::{Answer, Claim};
use homing_protocol::envelope::Address;
use homing_protocol::keys::{KemSecret, Psk};
use homing_protocol::rand_core::CryptoRng;
use homing_protocol::readers::{KeySet, Reader};

/// What the owner keeps of a bundle until the phone has joined, and afterwards to notice a second claim.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Account and the id the phone will have.
    pub address: Address,
    /// Its enrolment number.
    pub epoch: u32,
    /// The bundle's one-time secret.
    pub secret: Psk,
    /// The highest version of a key set that was ever signed for this id: a set of an earlier enrolment must not replace one of this.
    pub key_sets: u64,
}

/// What a claim is, compared with the one that came first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nobody claimed before.
    First(Claim),
    /// The same phone again: its answer may have been lost.
    Again(Claim),
    /// Other keys: somebody else holds a copy of the bundle. An alarm; never answered.
    Rival(Claim),
}

impl Invitation {
    /// Opens a claim and compares it with the keys that claimed first, if any did.
    ///
    /// # Errors
    /// [`Error::Hear`] when it was not made with this bundle.
    pub fn judge(
        &self,
        bytes: &[u8],
        owner: &KemSecret,
        first: Option<&DeviceKeys>,
    ) -> Result<Verdict, Error> {
        let claim = Claim::open(bytes, &self.address, self.epoch, owner, &self.secret)
            .map_err(Error::Hear)?;
        Ok(match first {
            None => Verdict::First(claim),
            Some(keys) if *keys == claim.keys => Verdict::Again(claim),
            Some(_) => Verdict::Rival(claim),
        })
    }

    /// Certifies the claimed keys and names the readers: every client of the account that may read, and `reader`.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn accept(
        &self,
        claim: &Claim,
        account: &Unlocked,
        reader: Reader,
        rng: &mut impl CryptoRng,
    ) -> Result<Accepted, Error> {
        let root = &account.full.root;
        let certificate = DeviceCertificate {
            address: self.address,
            epoch: self.epoch,
            keys: claim.keys,
        }
        .sign(root);
        let mut readers = account.readers(self.address.device)?;
        if !readers.iter().any(|known| known.client == reader.client) {
            readers.push(reader);
        }
        let set = KeySet {
            address: self.address,
            version: self.key_sets + 1,
            readers,
        };
        let answer = Answer {
            certificate,
            key_set: set.sign(root).map_err(Error::Seal)?,
        };
        let envelope = answer
            .seal(&self.address, &claim.keys.kem, &self.secret, rng)
            .map_err(Error::Seal)?;
        Ok(Accepted {
            certificate: answer.certificate,
            key_set: answer.key_set,
            envelope,
        })
    }
}

/// What joins a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// ROOT-signed device certificate.
    pub certificate: Vec<u8>,
    /// ROOT-signed key set.
    pub key_set: Vec<u8>,
    /// The sealed answer to publish, again until a beacon comes.
    pub envelope: Vec<u8>,
}
