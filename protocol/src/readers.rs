//! Who may read what a phone says: the ROOT-signed key set, and the seal of one content key to every reader in it.

use crate::cbor::{self, Fields, Map};
use crate::envelope::{self, Address, MessageType};
use crate::id::{ClientId, KeyId};
use crate::keys::{ENCAPSULATED_LEN, KemPublic, KemSecret, SigningKey, TAG_LEN, VerifyingKey};
use crate::rand_core::CryptoRng;
use crate::{Malformed, VERSION, signed};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use zeroize::Zeroizing;

/// Most readers of one phone (protocol v1).
pub const MOST_READERS: usize = 8;
/// Padded sizes of what is sealed to readers, bytes: the length of a status, a detail or a batch of positions says little of what is in it.
pub const PLAIN_BUCKETS: [usize; 4] = [256, 512, 1024, 2048];
const WRAP_LEN: usize = KeyId::LEN + ENCAPSULATED_LEN + 32 + TAG_LEN;
const INFO: &[u8] = b"homing/v1 content key";

/// What a reader may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reads {
    /// Receipts' details and the status in beacons.
    Status = 1,
    /// Those, and positions.
    Positions = 2,
}

/// One reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The client it is.
    pub client: ClientId,
    /// The key to seal to.
    pub key: KemPublic,
    /// What it may read.
    pub reads: Reads,
}

/// The readers of one phone, versioned like the authority list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// Whose readers.
    pub address: Address,
    /// Higher replaces lower.
    pub version: u64,
    /// At most [`MOST_READERS`].
    pub readers: Vec<Reader>,
}

impl KeySet {
    /// Signs it.
    ///
    /// # Errors
    /// [`Malformed::TooMany`].
    pub fn sign(&self, root: &SigningKey) -> Result<Vec<u8>, Malformed> {
        if self.readers.len() > MOST_READERS {
            return Err(Malformed::TooMany);
        }
        let readers = self.readers.iter().map(|reader| {
            Map::new()
                .bytes(0, &reader.client.0)
                .bytes(1, &reader.key.0)
                .uint(2, reader.reads as u64)
                .value()
        });
        let payload = Map::new()
            .uint(0, VERSION)
            .bytes(1, &self.address.account.0)
            .bytes(2, &self.address.device.0)
            .uint(3, self.version)
            .list(4, readers)
            .encode();
        Ok(signed::sign(
            root,
            &self.address.context(MessageType::KeySet),
            payload,
        ))
    }
    /// Verifies and reads a signed key set.
    ///
    /// # Errors
    /// Any [`Malformed`].
    pub fn verify(bytes: &[u8], root: &VerifyingKey, address: &Address) -> Result<Self, Malformed> {
        let payload = signed::verify(bytes, root, &address.context(MessageType::KeySet))?;
        let value = cbor::decode(&payload)?;
        let mut fields = Fields::of(&value)?;
        if fields.uint(0)? != VERSION {
            return Err(Malformed::Format);
        }
        if fields.bytes(1)? != address.account.0 || fields.bytes(2)? != address.device.0 {
            return Err(Malformed::Misdirected);
        }
        let version = fields.uint(3)?;
        let readers = fields
            .list(4, MOST_READERS)?
            .iter()
            .map(read_reader)
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Self {
            address: *address,
            version,
            readers,
        })
    }
    /// The keys of those who may read this much.
    #[must_use]
    pub fn keys(&self, reads: Reads) -> Vec<KemPublic> {
        self.readers
            .iter()
            .filter(|reader| reader.reads as u8 >= reads as u8)
            .map(|reader| reader.key)
            .collect()
    }
}

fn read_reader(value: &ciborium::Value) -> Result<Reader, Malformed> {
    let mut fields = Fields::of(value)?;
    let reader = Reader {
        client: ClientId(fields.bytes(0)?),
        key: KemPublic(fields.bytes(1)?),
        reads: match fields.uint(2)? {
            1 => Reads::Status,
            2 => Reads::Positions,
            _ => return Err(Malformed::Field(2)),
        },
    };
    fields.end()?;
    Ok(reader)
}

/// Seals plain text to every key: count (1 byte), per reader key id ‖ encapsulated key ‖ wrapped content key (104 bytes), then AES-256-GCM of the padded plain text ([`PLAIN_BUCKETS`]) under the one-time content key with a zero nonce.
///
/// # Errors
/// [`Malformed::TooMany`]; [`Malformed::Length`] for a plain text of more than 2,046 bytes; [`Malformed::Seal`] for an unusable key.
pub fn seal_to_readers(
    keys: &[KemPublic],
    context: &[u8],
    plain: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Malformed> {
    if keys.len() > MOST_READERS {
        return Err(Malformed::TooMany);
    }
    let (_, padded) = envelope::pad(plain, &PLAIN_BUCKETS)?;
    let mut content_key = Zeroizing::new([0; 32]);
    rng.fill_bytes(content_key.as_mut());
    let mut out = vec![u8::try_from(keys.len()).map_err(|_| Malformed::TooMany)?];
    for key in keys {
        let (enc, wrapped) = key.seal(None, INFO, context, content_key.as_ref(), rng)?;
        out.extend_from_slice(&key.key_id().0);
        out.extend_from_slice(&enc);
        out.extend_from_slice(&wrapped);
    }
    let aad = [context, &out].concat();
    let cipher = Aes256Gcm::new(&(*content_key).into());
    let ciphertext = cipher
        .encrypt(
            &[0; 12].into(),
            Payload {
                msg: &padded,
                aad: &aad,
            },
        )
        .map_err(|_| Malformed::Seal)?;
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

/// Opens what [`seal_to_readers`] made, with one reader's key.
///
/// # Errors
/// [`Malformed::Length`], [`Malformed::Padding`], [`Malformed::TooMany`]; [`Malformed::Seal`] also when this key is not among the readers.
pub fn open_as_reader(
    bytes: &[u8],
    context: &[u8],
    secret: &KemSecret,
) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let (&count, rest) = bytes.split_first().ok_or(Malformed::Length)?;
    let count = usize::from(count);
    if count > MOST_READERS {
        return Err(Malformed::TooMany);
    }
    let (wraps, ciphertext) = rest
        .split_at_checked(count * WRAP_LEN)
        .ok_or(Malformed::Length)?;
    let own = secret.public().key_id();
    let wrap = wraps
        .chunks_exact(WRAP_LEN)
        .find(|wrap| wrap[..KeyId::LEN] == own.0)
        .ok_or(Malformed::Seal)?;
    let (enc, wrapped) = wrap[KeyId::LEN..].split_at(ENCAPSULATED_LEN);
    let content_key = secret.open(None, INFO, context, enc, wrapped)?;
    let content_key: &[u8; 32] = content_key
        .as_slice()
        .try_into()
        .map_err(|_| Malformed::Seal)?;
    let aad = [context, &bytes[..=wraps.len()]].concat();
    let cipher = Aes256Gcm::new(content_key.into());
    let padded = cipher
        .decrypt(
            &[0; 12].into(),
            Payload {
                msg: ciphertext,
                aad: &aad,
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| Malformed::Seal)?;
    Ok(Zeroizing::new(
        envelope::unpad(&padded, &PLAIN_BUCKETS)?.to_vec(),
    ))
}
