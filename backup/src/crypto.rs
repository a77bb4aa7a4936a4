//! Sealing and opening with the repository's master key: AES-256-CTR and Poly1305-AES. Must not choose what is sealed.

use crate::error::{Error, Result};
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc, Block};
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
/// Bytes of one block of AES.
const BLOCK_BYTES: usize = 16;
/// Blocks of a stream made at a time: as many as the widest processor takes at once, and few enough for its nearest memory.
const STREAM_BLOCKS: usize = 128;

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
        self.stream(&nonce).apply(text);
        let tag = self.tag(&nonce, text);
        buffer.extend_from_slice(&tag);
        Ok(())
    }

    /// Seals a plaintext at the end of `out`: what [`Key::seal`] does, in one pass.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn seal_onto(&self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        out.reserve(plaintext.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        let (mut stream, mut mac) = (self.stream(&nonce), self.mac(&nonce));
        // Each piece is still in the processor's nearest memory when the next step comes to it.
        for piece in plaintext.chunks(STREAM_BLOCKS * BLOCK_BYTES) {
            let from = out.len();
            out.extend_from_slice(piece);
            stream.apply(&mut out[from..]);
            mac.update(poly1305::Block::slice_as_chunks(&out[from..]).0);
        }
        let rest = plaintext.len() % BLOCK_BYTES;
        let tag = mac.compute_unpadded(&out[out.len() - rest..]);
        out.extend_from_slice(&tag);
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
        let (nonce, text, stored) = parts(sealed)?;
        let length = text.len();
        judge(&self.tag(&nonce, text), stored)?;
        let text = &mut sealed[NONCE_BYTES..NONCE_BYTES + length];
        self.stream(&nonce).apply(text);
        Ok(text)
    }

    /// Opens what was sealed a moment ago, to compare it: pieces of at most `scratch.len()` blocks, of which there must be one,
    /// go to `sink` in order, before the tag behind them is judged. So it is for nobody else's bytes.
    ///
    /// # Errors
    /// [`Error::Forged`] as [`Key::open`]; or what `sink` returns.
    pub fn open_again(
        &self,
        sealed: &[u8],
        scratch: &mut [[u8; BLOCK_BYTES]],
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (nonce, text, stored) = parts(sealed)?;
        let (mut stream, mut mac) = (self.stream(&nonce), self.mac(&nonce));
        let scratch = scratch.as_flattened_mut();
        for piece in text.chunks(scratch.len()) {
            mac.update(poly1305::Block::slice_as_chunks(piece).0);
            let plain = &mut scratch[..piece.len()];
            plain.copy_from_slice(piece);
            stream.apply(plain);
            sink(plain)?;
        }
        let rest = text.len() % BLOCK_BYTES;
        judge(&mac.compute_unpadded(&text[text.len() - rest..]), stored)
    }

    fn stream(&self, nonce: &[u8; NONCE_BYTES]) -> Stream<'_> {
        Stream {
            cipher: &self.cipher,
            counter: u128::from_be_bytes(*nonce),
        }
    }

    fn tag(&self, nonce: &[u8; NONCE_BYTES], ciphertext: &[u8]) -> [u8; TAG_BYTES] {
        let mut mac = self.mac(nonce);
        let (blocks, rest) = poly1305::Block::slice_as_chunks(ciphertext);
        mac.update(blocks);
        mac.compute_unpadded(rest).into()
    }

    /// Poly1305-AES: the one-time key is the point r and the nonce encrypted under k.
    fn mac(&self, nonce: &[u8; NONCE_BYTES]) -> Poly1305 {
        let mut pad = (*nonce).into();
        self.pad.encrypt_block(&mut pad);
        let mut key = Zeroizing::new([0; 32]);
        key[..16].copy_from_slice(&self.point[..]);
        key[16..].copy_from_slice(&pad);
        Poly1305::new((&*key).into())
    }
}

/// Nonce, ciphertext and tag.
fn parts(sealed: &[u8]) -> Result<([u8; NONCE_BYTES], &[u8], &[u8])> {
    let (nonce, rest) = sealed.split_first_chunk().ok_or(Error::Forged)?;
    let length = rest.len().checked_sub(TAG_BYTES).ok_or(Error::Forged)?;
    let (text, tag) = rest.split_at(length);
    Ok((*nonce, text, tag))
}

/// Are the two tags one? All bits are looked at, so that the time taken tells nothing.
fn judge(tag: &[u8], stored: &[u8]) -> Result<()> {
    let difference = tag.iter().zip(stored).fold(0, |sum, (a, b)| sum | (a ^ b));
    match difference {
        0 => Ok(()),
        _ => Err(Error::Forged),
    }
}

/// AES-256 in counter mode. Counters are made by the hundred before they are encrypted: one by one, each would wait for the
/// processor to write and read it again, which took longer than the encryption.
struct Stream<'k> {
    cipher: &'k Aes256Enc,
    /// The nonce, as a number that grows by one with each block.
    counter: u128,
}

impl Stream<'_> {
    /// Encrypts or decrypts the next bytes. Only the last call may end within a block.
    fn apply(&mut self, text: &mut [u8]) {
        let mut blocks = [Block::default(); STREAM_BLOCKS];
        for piece in text.chunks_mut(STREAM_BLOCKS * BLOCK_BYTES) {
            let blocks = &mut blocks[..piece.len().div_ceil(BLOCK_BYTES)];
            for block in blocks.iter_mut() {
                *block = self.counter.to_be_bytes().into();
                self.counter = self.counter.wrapping_add(1);
            }
            self.cipher.encrypt_blocks(blocks);
            for (byte, mask) in piece.iter_mut().zip(Block::slice_as_flattened(blocks)) {
                *byte ^= mask;
            }
        }
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
            key.open_again(&sealed, &mut [[0; 16]; 5], |piece| {
                pieces.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            assert_eq!(pieces, plain);
            assert_eq!(key.open(&mut sealed).unwrap(), plain);
            let mut after = b"before".to_vec();
            key.seal_onto(&plain, &mut after).unwrap();
            assert_eq!(key.open(&mut after[6..]).unwrap(), plain);
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
            let again = key.open_again(&damaged, &mut [[0; 16]], |_| Ok(()));
            assert!(matches!(again, Err(Error::Forged)));
        }
        for length in 0..sealed.len() {
            assert!(key.open(&mut sealed[..length].to_vec()).is_err());
        }
    }

    /// Bytes written as hexadecimal digits.
    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_stream_is_that_of_the_standard_and_its_counter_carries_through_all_its_bytes() {
        // NIST SP 800-38A, F.5.5.
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let plain = hex(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        );
        let expected = hex(
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
                            2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        );
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&key);
        let key = Key::new(&KeyBytes::new(Zeroizing::new(bytes)));
        let mut text = plain.clone();
        let nonce = <[u8; 16]>::try_from(&counter[..]).unwrap();
        key.stream(&nonce).apply(&mut text);
        assert_eq!(text, expected);
        let stream = |start: u128, length: usize| {
            let mut text = vec![0; length];
            key.stream(&start.to_be_bytes()).apply(&mut text);
            text
        };
        let whole = stream(u128::MAX - 1, 5 * 16);
        assert_eq!(whole[32..], stream(0, 3 * 16));
        let high = 7 << 64 | u128::from(u64::MAX);
        assert_eq!(stream(high, 32)[16..], stream(8 << 64, 16));
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
