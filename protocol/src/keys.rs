//! The suite's keys: Ed25519 to sign, X25519 (HPKE, RFC 9180) to receive. Key material is erased from memory on drop and never printed.

use crate::Malformed;
use crate::id::{ClientId, KeyId};
use crate::rand_core::CryptoRng;
use hpke::{Deserializable, Serializable};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn short<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest = sha256(bytes);
    core::array::from_fn(|index| digest[index])
}

/// A secret Ed25519 key.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh one.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_bytes(&seed)
    }
    /// From its 32-byte seed (RFC 8032).
    #[must_use]
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }
    /// Its seed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        use ed25519_dalek::Signer;
        self.0.sign(message).to_bytes().to_vec()
    }
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigningKey({:?}, secret)", self.public())
    }
}

/// A public Ed25519 key, 32 bytes, as it arrived; judged when something is verified with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey(pub [u8; 32]);

impl VerifyingKey {
    /// The client id that belongs to this key.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        ClientId(short(&self.0))
    }
    /// Its short name in an envelope.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(short(&self.0))
    }
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Malformed> {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| Malformed::Signature)?;
        let signature =
            ed25519_dalek::Signature::from_slice(signature).map_err(|_| Malformed::Signature)?;
        // Strict: small-order keys and non-canonical points are refused, so a signature has one signer.
        key.verify_strict(message, &signature)
            .map_err(|_| Malformed::Signature)
    }
}

impl core::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VerifyingKey({})", self.key_id())
    }
}

type Kem = hpke::kem::X25519HkdfSha256;
type HpkeSecret = <Kem as hpke::Kem>::PrivateKey;
type HpkePublic = <Kem as hpke::Kem>::PublicKey;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::AesGcm256;

/// Length of HPKE's encapsulated key, bytes.
pub const ENCAPSULATED_LEN: usize = 32;
/// Length of the AES-256-GCM tag, bytes.
pub const TAG_LEN: usize = 16;

/// A secret X25519 key.
#[derive(Clone)]
pub struct KemSecret(Zeroizing<[u8; 32]>);

impl KemSecret {
    /// A fresh one.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }
    /// From its 32 bytes (RFC 7748).
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }
    /// Its 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }
    fn hpke(&self) -> HpkeSecret {
        HpkeSecret::from_bytes(self.0.as_ref()).expect("any 32 bytes are an X25519 secret key")
    }
    /// The public half.
    #[must_use]
    pub fn public(&self) -> KemPublic {
        KemPublic(<Kem as hpke::Kem>::sk_to_pk(&self.hpke()).to_bytes().into())
    }
    /// Opens what [`KemPublic::seal`] sealed: `enc` is 32 bytes, the result is 16 shorter than the ciphertext.
    ///
    /// # Errors
    /// [`Malformed::Seal`].
    pub fn open(
        &self,
        psk: Option<&Psk>,
        info: &[u8],
        aad: &[u8],
        enc: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(enc).map_err(|_| Malformed::Seal)?;
        let mode = match psk {
            Some(psk) => hpke::OpModeR::Psk(psk.bundle()),
            None => hpke::OpModeR::Base,
        };
        hpke::single_shot_open::<Aead, Kdf, Kem>(&mode, &self.hpke(), &enc, info, ciphertext, aad)
            .map(Zeroizing::new)
            .map_err(|_| Malformed::Seal)
    }
}

impl core::fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KemSecret(secret)")
    }
}

/// A public X25519 key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KemPublic(pub [u8; 32]);

impl KemPublic {
    /// Its short name in an envelope.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(short(&self.0))
    }
    /// Seals to this key: the encapsulated key (32 bytes) and the ciphertext (16 bytes longer than the plain text).
    ///
    /// # Errors
    /// [`Malformed::Seal`] when these 32 bytes are no usable public key (a point of small order).
    pub fn seal(
        &self,
        psk: Option<&Psk>,
        info: &[u8],
        aad: &[u8],
        plain: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<([u8; ENCAPSULATED_LEN], Vec<u8>), Malformed> {
        let key = HpkePublic::from_bytes(&self.0).map_err(|_| Malformed::Seal)?;
        let mode = match psk {
            Some(psk) => hpke::OpModeS::Psk(psk.bundle()),
            None => hpke::OpModeS::Base,
        };
        let (enc, ciphertext) =
            hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(&mode, &key, info, plain, aad, rng)
                .map_err(|_| Malformed::Seal)?;
        Ok((enc.to_bytes().into(), ciphertext))
    }
}

impl core::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KemPublic({})", self.key_id())
    }
}

/// The one-time secret of an enrolment bundle, HPKE's pre-shared key: 32 random bytes.
#[derive(Clone)]
pub struct Psk(pub Zeroizing<[u8; 32]>);

impl Psk {
    /// A fresh one.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }
    fn bundle(&self) -> hpke::PskBundle<'_> {
        hpke::PskBundle::new(self.0.as_ref(), b"homing/v1 enrolment").expect("both parts are given")
    }
}

impl core::fmt::Debug for Psk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Psk(secret)")
    }
}
