//! Sealing and opening with the repository's master key: AES-256-CTR and Poly1305-AES. Must not choose what is sealed.

use crate::error::{Error, Result};
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use aes::{Aes128Enc, Aes256Enc};
use ctr::{Ctr128BE, CtrCore};
use poly1305::Poly1305;
use poly1305::universal_hash::UniversalHash;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes before the ciphertext.
pub const NONCE_BYTES: usize = 16;
/// Bytes after the ciphertext.
pub const TAG_BYTES: usize = 16;
/// What sealing adds to a plaintext.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The 64 bytes of a key as the format orders them: encryption key, then the two halves of the authentication key.
#[derive(Clone)]
pub struct KeyBytes(Zeroizing<[u8; 64]>);

impl KeyBytes {
    /// A new random key from the system.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn random() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 64]);
        fill_random(&mut bytes[..])?;
        Ok(Self(bytes))
    }

    /// A key from its 64 bytes.
    #[must_use]
    pub const fn new(bytes: Zeroizing<[u8; 64]>) -> Self {
        Self(bytes)
    }

    /// AES-256 key, 32 bytes.
    #[must_use]
    pub fn encrypt(&self) -> &[u8] {
        &self.0[..32]
    }

    /// AES-128 key that turns nonces into pads, 16 bytes.
    #[must_use]
    pub fn mac_k(&self) -> &[u8] {
        &self.0[32..48]
    }

    /// Poly1305 point, 16 bytes.
    #[must_use]
    pub fn mac_r(&self) -> &[u8] {
        &self.0[48..]
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyBytes(redacted)")
    }
}

/// A key made ready: its ciphers' round keys are computed once.
#[derive(Clone)]
pub struct Key {
    cipher: Aes256Enc,
    pad: Aes128Enc,
    point: Zeroizing<[u8; 16]>,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(redacted)")
    }
}

impl Key {
    /// Makes the key ready for use.
    #[must_use]
    pub fn new(bytes: &KeyBytes) -> Self {
        let mut point = Zeroizing::new([0; 16]);
        point.copy_from_slice(bytes.mac_r());
        let mut cipher = [0; 32];
        cipher.copy_from_slice(bytes.encrypt());
        let mut pad = [0; 16];
        pad.copy_from_slice(bytes.mac_k());
        Self {
            cipher: Aes256Enc::new(&cipher.into()),
            pad: Aes128Enc::new(&pad.into()),
            point,
        }
    }

    /// Seals `buffer[start + 16..]` where it stands: a fresh nonce goes into the 16 bytes at `start`, the tag is appended.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn seal(&self, buffer: &mut Vec<u8>, start: usize) -> Result<()> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        buffer[start..start + NONCE_BYTES].copy_from_slice(&nonce);
        let text = &mut buffer[start + NONCE_BYTES..];
        self.keystream(&nonce).apply_keystream(text);
        let tag = self.tag(&nonce, text);
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// A sealed copy of a plaintext.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn sealed(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
        buffer.resize(NONCE_BYTES, 0);
        buffer.extend_from_slice(plaintext);
        self.seal(&mut buffer, 0)?;
        Ok(buffer)
    }

    /// Opens sealed bytes where they stand and returns the part that is now plaintext.
    ///
    /// # Errors
    /// [`Error::Forged`]: shorter than nonce and tag, or the tag does not fit.
    pub fn open<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let (nonce, length) = self.authenticate(sealed)?;
        let text = &mut sealed[NONCE_BYTES..NONCE_BYTES + length];
        self.keystream(&nonce).apply_keystream(text);
        Ok(text)
    }

    /// Opens sealed bytes piece by piece without changing them; pieces of at most `scratch.len()` bytes go to `sink` in order.
    ///
    /// # Errors
    /// [`Error::Forged`] as [`Key::open`], before any piece is handed out; or what `sink` returns.
    pub fn open_in_pieces(
        &self,
        sealed: &[u8],
        scratch: &mut [u8],
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (nonce, length) = self.authenticate(sealed)?;
        let mut stream = self.keystream(&nonce);
        for piece in sealed[NONCE_BYTES..NONCE_BYTES + length].chunks(scratch.len()) {
            let plain = &mut scratch[..piece.len()];
            plain.copy_from_slice(piece);
            stream.apply_keystream(plain);
            sink(plain)?;
        }
        Ok(())
    }

    fn authenticate(&self, sealed: &[u8]) -> Result<([u8; NONCE_BYTES], usize)> {
        let length = sealed
            .len()
            .checked_sub(OVERHEAD_BYTES)
            .ok_or(Error::Forged)?;
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&sealed[..NONCE_BYTES]);
        let (text, stored) = sealed[NONCE_BYTES..].split_at(length);
        let tag = self.tag(&nonce, text);
        // All bits are looked at, so that the time taken tells nothing.
        let difference = tag.iter().zip(stored).fold(0, |sum, (a, b)| sum | (a ^ b));
        if difference == 0 {
            Ok((nonce, length))
        } else {
            Err(Error::Forged)
        }
    }

    fn keystream(&self, nonce: &[u8; NONCE_BYTES]) -> Ctr128BE<Aes256Enc> {
        let core = CtrCore::inner_iv_init(self.cipher.clone(), nonce.into());
        Ctr128BE::from_core(core)
    }

    /// Poly1305-AES: the one-time key is the point r and the nonce encrypted under k.
    fn tag(&self, nonce: &[u8; NONCE_BYTES], ciphertext: &[u8]) -> [u8; TAG_BYTES] {
        let mut pad = (*nonce).into();
        self.pad.encrypt_block(&mut pad);
        let mut key = Zeroizing::new([0; 32]);
        key[..16].copy_from_slice(&self.point[..]);
        key[16..].copy_from_slice(&pad);
        let mut mac = Poly1305::new((&*key).into());
        let (blocks, rest) = poly1305::Block::slice_as_chunks(ciphertext);
        mac.update(blocks);
        mac.compute_unpadded(rest).into()
    }
}

/// Fills a buffer from the system's random numbers.
pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<()> {
    getrandom::fill(buffer).map_err(|_| Error::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(&KeyBytes::random().unwrap())
    }

    #[test]
    fn what_was_sealed_opens_whatever_its_length() {
        let key = key();
        for length in [0, 1, 15, 16, 17, 63, 64, 1000, 100_003] {
            let plain: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            let mut sealed = key.sealed(&plain).unwrap();
            assert_eq!(sealed.len(), plain.len() + OVERHEAD_BYTES);
            let mut pieces = Vec::new();
            key.open_in_pieces(&sealed, &mut [0; 77], |piece| {
                pieces.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            assert_eq!(pieces, plain);
            assert_eq!(key.open(&mut sealed).unwrap(), plain);
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let key = key();
        let sealed = key.sealed(b"a secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(key.open(&mut damaged), Err(Error::Forged)));
        }
        for length in 0..sealed.len() {
            assert!(key.open(&mut sealed[..length].to_vec()).is_err());
        }
    }

    #[test]
    fn two_seals_of_the_same_bytes_differ() {
        let key = key();
        assert_ne!(key.sealed(b"x").unwrap(), key.sealed(b"x").unwrap());
    }

    #[test]
    fn a_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", key()), "Key(redacted)");
    }
}
