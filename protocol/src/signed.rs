//! COSE_Sign1 (RFC 9052) with exactly one header, Ed25519 as fully specified by RFC 9864, and strict verification. No other algorithm, no unprotected header, no tag.

use crate::Malformed;
use crate::keys::{SigningKey, VerifyingKey};
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};

/// The protected header's only allowed bytes: `{1: -19}`.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x32];

/// Signs a payload; `context` is bound but not carried (COSE's external AAD).
#[must_use]
pub fn sign(key: &SigningKey, context: &[u8], payload: Vec<u8>) -> Vec<u8> {
    CoseSign1Builder::new()
        .protected(
            HeaderBuilder::new()
                .algorithm(iana::Algorithm::Ed25519)
                .build(),
        )
        .payload(payload)
        .create_signature(context, |message| key.sign(message))
        .build()
        .to_vec()
        .expect("a COSE_Sign1 made here always encodes")
}

/// A COSE_Sign1 whose shape is right and whose signature nobody has checked; its payload may be used only to choose the key.
#[derive(Debug)]
pub struct Unverified(CoseSign1);

impl Unverified {
    /// Parses the one allowed shape.
    ///
    /// # Errors
    /// [`Malformed::NotCanonical`] or [`Malformed::Header`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let message = CoseSign1::from_slice(bytes).map_err(|_| Malformed::NotCanonical)?;
        let header = message.protected.original_data.as_deref();
        if header != Some(&PROTECTED[..]) || !message.unprotected.is_empty() {
            return Err(Malformed::Header);
        }
        if message.payload.is_none() || message.clone().to_vec().ok().as_deref() != Some(bytes) {
            return Err(Malformed::NotCanonical);
        }
        Ok(Self(message))
    }
    /// What it claims to say.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.0.payload.as_deref().unwrap_or_default()
    }
    /// Checks the signature and gives the payload.
    ///
    /// # Errors
    /// [`Malformed::Signature`].
    pub fn verify(self, key: &VerifyingKey, context: &[u8]) -> Result<Vec<u8>, Malformed> {
        self.0
            .verify_signature(context, |signature, message| key.verify(message, signature))?;
        self.0.payload.ok_or(Malformed::NotCanonical)
    }
}

/// Parses and verifies in one step.
///
/// # Errors
/// As [`Unverified::parse`] and [`Unverified::verify`].
pub fn verify(bytes: &[u8], key: &VerifyingKey, context: &[u8]) -> Result<Vec<u8>, Malformed> {
    Unverified::parse(bytes)?.verify(key, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_other_shape_is_refused() {
        let good = sign(
            &SigningKey::from_bytes(&[7; 32]),
            b"context",
            b"payload".to_vec(),
        );
        assert!(Unverified::parse(&good).is_ok());
        let with = |change: fn(&mut CoseSign1)| {
            let mut message = CoseSign1::from_slice(&good).expect("read");
            change(&mut message);
            Unverified::parse(&message.to_vec().expect("written")).err()
        };
        let unprotected = with(|message| message.unprotected.key_id = vec![1]);
        assert_eq!(unprotected, Some(Malformed::Header));
        let bare = with(|message| message.protected = coset::ProtectedHeader::default());
        assert_eq!(bare, Some(Malformed::Header));
        let detached = with(|message| message.payload = None);
        assert_eq!(detached, Some(Malformed::NotCanonical));
        // The same four parts, counted in two bytes.
        assert_eq!(good[0], 0x84);
        let longer = [&[0x98, 0x04], &good[1..]].concat();
        assert_eq!(
            Unverified::parse(&longer).err(),
            Some(Malformed::NotCanonical)
        );
    }
}
