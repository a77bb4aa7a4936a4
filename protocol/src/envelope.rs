//! The outer layer of every message: a fixed header, then either a seal to one recipient or a signed message in the clear, padded so that a ring and an erase look alike. Judges nothing inside.

use crate::Malformed;
use crate::id::{AccountId, DeviceId, KeyId};
use crate::keys::{ENCAPSULATED_LEN, KemPublic, KemSecret, Psk, TAG_LEN};
use crate::rand_core::CryptoRng;
use zeroize::Zeroizing;

/// First byte of every envelope.
pub const FORMAT: u8 = 1;
/// Ed25519, X25519, HKDF-SHA256, AES-256-GCM. Other numbers are free for a post-quantum hybrid.
pub const SUITE: u8 = 1;
/// Format, suite, type, bucket, key id.
pub const HEADER_LEN: usize = 4 + KeyId::LEN;
/// The padded sizes, bytes; the bucket byte is the index.
pub const BUCKETS: [usize; 4] = [512, 1024, 2048, 4096];
/// No envelope is longer: header, encapsulated key, largest bucket, tag.
pub const LONGEST: usize = HEADER_LEN + ENCAPSULATED_LEN + 4096 + TAG_LEN;
/// What fits into the largest bucket besides its own length, bytes.
pub const LONGEST_CONTENT: usize = 4096 - 2;

const SEAL_INFO: &[u8] = b"homing/v1 envelope";

/// What an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// An order, sealed to the device.
    Command = 1,
    /// The second signature of an erase, sealed to the device.
    Approval = 2,
    /// A sign of life, signed by the device.
    Beacon = 3,
    /// What became of a command, signed by the device.
    Receipt = 4,
    /// Positions, signed by the device.
    Report = 5,
    /// Up to which report a reader has stored, sealed to the device.
    ReportAck = 6,
    /// The list of clients and their capabilities, signed by ROOT, sealed to the device.
    Authority = 7,
    /// The list of readers, signed by ROOT, sealed to the device.
    KeySet = 8,
    /// A phone's claim of a bundle, and the owner's answer.
    Enrolment = 9,
    /// The device's keys, signed by ROOT; never on the wire alone.
    DeviceCertificate = 10,
    /// What the phone's privileged half says it did, signed by ACT_SIG; never on the wire alone.
    Attestation = 11,
}

impl MessageType {
    const ALL: [Self; 11] = [
        Self::Command,
        Self::Approval,
        Self::Beacon,
        Self::Receipt,
        Self::Report,
        Self::ReportAck,
        Self::Authority,
        Self::KeySet,
        Self::Enrolment,
        Self::DeviceCertificate,
        Self::Attestation,
    ];
    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
    /// Whether it travels signed in the clear instead of sealed.
    const fn in_the_clear(self) -> bool {
        matches!(self, Self::Beacon | Self::Receipt | Self::Report)
    }
}

/// Whose messages these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
}

impl Address {
    /// What signatures and seals of this type are bound to: `homing/v1`, type, account, device; 42 bytes.
    #[must_use]
    pub fn context(&self, kind: MessageType) -> Vec<u8> {
        let mut out = b"homing/v1".to_vec();
        out.push(kind as u8);
        out.extend_from_slice(&self.account.0);
        out.extend_from_slice(&self.device.0);
        out
    }
    /// The context of what ROOT says to all devices of the account: the device is sixteen zero bytes.
    #[must_use]
    pub fn account_context(account: AccountId, kind: MessageType) -> Vec<u8> {
        Self {
            account,
            device: DeviceId([0; 16]),
        }
        .context(kind)
    }
}

/// The header of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is inside.
    pub kind: MessageType,
    /// The key it is sealed to, or that signed it.
    pub key: KeyId,
    bucket: u8,
}

impl Header {
    /// Reads and checks the header and the total length, before anything is allocated.
    ///
    /// # Errors
    /// [`Malformed::Length`], [`Malformed::Format`].
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (&[format, suite, kind, bucket], rest) =
            bytes.split_first_chunk::<4>().ok_or(Malformed::Length)?;
        let (key, _) = rest.split_first_chunk::<8>().ok_or(Malformed::Length)?;
        if format != FORMAT || suite != SUITE {
            return Err(Malformed::Format);
        }
        let kind = MessageType::from_code(kind).ok_or(Malformed::Format)?;
        let size = *BUCKETS.get(usize::from(bucket)).ok_or(Malformed::Format)?;
        let around = if kind.in_the_clear() {
            HEADER_LEN
        } else {
            HEADER_LEN + ENCAPSULATED_LEN + TAG_LEN
        };
        if bytes.len() != around + size {
            return Err(Malformed::Length);
        }
        Ok(Self {
            kind,
            key: KeyId(*key),
            bucket,
        })
    }
    fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [
            FORMAT,
            SUITE,
            self.kind as u8,
            self.bucket,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        out[4..].copy_from_slice(&self.key.0);
        out
    }
}

/// Length (2 bytes, big-endian), content, zeros up to the smallest bucket that holds them; gives the bucket's index too.
pub(crate) fn pad(
    content: &[u8],
    buckets: &[usize; 4],
) -> Result<(u8, Zeroizing<Vec<u8>>), Malformed> {
    let length = u16::try_from(content.len()).map_err(|_| Malformed::Length)?;
    let index = buckets
        .iter()
        .position(|size| content.len() + 2 <= *size)
        .ok_or(Malformed::Length)?;
    let mut padded = Zeroizing::new(Vec::with_capacity(buckets[index]));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(buckets[index], 0);
    Ok((u8::try_from(index).map_err(|_| Malformed::Length)?, padded))
}

/// The content of what [`pad`] made.
pub(crate) fn unpad<'a>(padded: &'a [u8], buckets: &[usize; 4]) -> Result<&'a [u8], Malformed> {
    let (length, rest) = padded.split_first_chunk::<2>().ok_or(Malformed::Length)?;
    let (content, padding) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or(Malformed::Padding)?;
    // A smaller bucket must have been chosen where one fits, or one content would have several envelopes.
    let smallest = buckets.iter().find(|size| content.len() + 2 <= **size);
    if padding.iter().any(|byte| *byte != 0) || smallest != Some(&padded.len()) {
        return Err(Malformed::Padding);
    }
    Ok(content)
}

/// Seals content to one recipient.
///
/// # Errors
/// [`Malformed::Length`] when it is longer than [`LONGEST_CONTENT`]; [`Malformed::Seal`] for an unusable public key.
pub fn seal(
    kind: MessageType,
    address: &Address,
    recipient: &KemPublic,
    psk: Option<&Psk>,
    content: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, Malformed> {
    let (bucket, padded) = pad(content, &BUCKETS)?;
    let header = Header {
        kind,
        key: recipient.key_id(),
        bucket,
    }
    .bytes();
    let aad = [&header[..], &address.context(kind)].concat();
    let (enc, ciphertext) = recipient.seal(psk, SEAL_INFO, &aad, &padded, rng)?;
    Ok([&header[..], &enc, &ciphertext].concat())
}

/// Opens what [`seal`] made for this key.
///
/// # Errors
/// Any of [`Malformed`] but those of signatures and fields; [`Malformed::Seal`] also when it is sealed to another key.
pub fn open(
    bytes: &[u8],
    address: &Address,
    secret: &KemSecret,
    psk: Option<&Psk>,
) -> Result<(MessageType, Zeroizing<Vec<u8>>), Malformed> {
    let header = Header::read(bytes)?;
    if header.kind.in_the_clear() {
        return Err(Malformed::Format);
    }
    if header.key != secret.public().key_id() {
        return Err(Malformed::Seal);
    }
    let aad = [&header.bytes()[..], &address.context(header.kind)].concat();
    let (enc, ciphertext) = bytes[HEADER_LEN..].split_at(ENCAPSULATED_LEN);
    let padded = secret.open(psk, SEAL_INFO, &aad, enc, ciphertext)?;
    Ok((
        header.kind,
        Zeroizing::new(unpad(&padded, &BUCKETS)?.to_vec()),
    ))
}

/// Wraps a message that the device signed.
///
/// # Errors
/// [`Malformed::Length`] when it is longer than [`LONGEST_CONTENT`].
pub fn carry(kind: MessageType, signer: KeyId, content: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (bucket, padded) = pad(content, &BUCKETS)?;
    let header = Header {
        kind,
        key: signer,
        bucket,
    }
    .bytes();
    Ok([&header[..], &padded].concat())
}

/// Unwraps what [`carry`] made, if it is of the wanted type and names this signer.
///
/// # Errors
/// [`Malformed::Format`] for another type, [`Malformed::Signature`] for another signer, and those of [`Header::read`].
pub fn carried(bytes: &[u8], kind: MessageType, signer: KeyId) -> Result<&[u8], Malformed> {
    let header = Header::read(bytes)?;
    if header.kind != kind || !kind.in_the_clear() {
        return Err(Malformed::Format);
    }
    if header.key != signer {
        return Err(Malformed::Signature);
    }
    unpad(&bytes[HEADER_LEN..], &BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_any_part_of_another_version_is_refused() {
        let good = carry(MessageType::Beacon, KeyId([1; KeyId::LEN]), b"content").expect("short");
        assert!(Header::read(&good).is_ok());
        for at in 0..4 {
            let mut other = good.clone();
            other[at] = 0xee;
            assert_eq!(Header::read(&other), Err(Malformed::Format), "byte {at}");
        }
        let signer = KeyId([1; KeyId::LEN]);
        let carried = |kind, signer| carried(&good, kind, signer).map(<[u8]>::to_vec);
        assert_eq!(
            carried(MessageType::Beacon, signer),
            Ok(b"content".to_vec())
        );
        let other = carried(MessageType::Receipt, signer);
        assert_eq!(other, Err(Malformed::Format));
        let other = carried(MessageType::Beacon, KeyId([2; KeyId::LEN]));
        assert_eq!(other, Err(Malformed::Signature));
        let longer = [&good[..], &[0]].concat();
        assert_eq!(Header::read(&longer), Err(Malformed::Length));
    }

    #[test]
    fn what_is_padded_otherwise_than_we_pad_is_refused() {
        let (_, good) = pad(&[7; 510], &BUCKETS).expect("short");
        assert_eq!(unpad(&good, &BUCKETS), Ok(&[7; 510][..]));
        let padded = |content: usize, size: usize, last: u8| {
            let mut bytes = u16::try_from(content)
                .expect("short")
                .to_be_bytes()
                .to_vec();
            bytes.resize(size - 1, 0);
            bytes.push(last);
            bytes
        };
        assert!(unpad(&padded(509, 512, 0), &BUCKETS).is_ok());
        // A byte in the padding, a bucket that is larger than needed, a length beyond the end.
        for (content, size, last) in [(509, 512, 1), (510, 1024, 0), (511, 512, 0)] {
            let bytes = padded(content, size, last);
            assert_eq!(
                unpad(&bytes, &BUCKETS),
                Err(Malformed::Padding),
                "{content}"
            );
        }
        assert_eq!(unpad(&[0], &BUCKETS), Err(Malformed::Length));
    }
}
