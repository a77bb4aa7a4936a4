//! One blob's way from plain to sealed: compressed where that helps, sealed, opened again and compared. Must not choose where it lies.

use crate::crypto::Key;
use crate::error::{Error, Result};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::compress_bound;

/// zstd's own default: beyond it, text shrinks little and costs much.
const LEVEL: i32 = 3;
/// Pieces in which a compressed blob is unpacked again.
const PIECE: usize = 128 * 1024;
/// Blocks of 16 bytes in which a sealed blob is opened again.
const OPENED_BLOCKS: usize = 1024;
/// A blob is tried before it is compressed as a whole if it has so many bytes: pictures and sound do not shrink.
const TRIED_BYTES: usize = 256 << 10;
/// Pieces of it that are tried, and the bytes of each.
const SAMPLES: usize = 16;
const SAMPLE_BYTES: usize = 4 << 10;
/// It is compressed if they shrink by one part in 64.
const WORTH_BYTES: usize = SAMPLES * SAMPLE_BYTES / 64;

/// Compresses, seals and checks blobs; its buffers are used again and again.
pub struct Sealer {
    compressor: zstd::bulk::Compressor<'static>,
    decoder: Decoder<'static>,
    compressed: Vec<u8>,
    plain: Vec<u8>,
    opened: Vec<[u8; 16]>,
}

impl Sealer {
    /// Makes the compression contexts.
    ///
    /// # Errors
    /// No memory for them.
    pub fn new() -> Result<Self> {
        let failed = |source| Error::Compression {
            what: "preparing compression",
            source,
        };
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(LEVEL).map_err(failed)?,
            decoder: Decoder::new().map_err(failed)?,
            compressed: Vec::new(),
            plain: vec![0; PIECE],
            opened: vec![[0; 16]; OPENED_BLOCKS],
        })
    }

    /// Compresses and seals `content` at the end of `out`, then opens it again and compares. Returns the sealed length and,
    /// where compression helped, the plain one.
    pub(crate) fn append(
        &mut self,
        key: &Key,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<u32>)> {
        let start = out.len();
        let shrinks = self.may_shrink(content)? && self.compress(content)? < content.len();
        let uncompressed = shrinks
            .then(|| u32::try_from(content.len()))
            .transpose()
            .map_err(|_| Error::Malformed("a blob of more than 4 GiB"))?;
        let body = match shrinks {
            true => &self.compressed,
            false => content,
        };
        key.seal_onto(body, out)?;
        self.check(key, &out[start..], content, uncompressed.is_some())?;
        Ok((out.len() - start, uncompressed))
    }

    /// Is it worth compressing? A small blob always is; of a large one a few pieces are tried, which lie in no rhythm that the
    /// content may have.
    fn may_shrink(&mut self, content: &[u8]) -> Result<bool> {
        if content.len() < TRIED_BYTES {
            return Ok(true);
        }
        let part = content.len() / SAMPLES;
        let mut saved = 0;
        for (number, part) in content.chunks_exact(part).take(SAMPLES).enumerate() {
            let place = sample_place(number, part.len());
            let sample = &part[place..place + SAMPLE_BYTES];
            // Each by itself: in a row of noise zstd soon looks at every hundredth byte only.
            saved += SAMPLE_BYTES.saturating_sub(self.compress(sample)?);
            if saved >= WORTH_BYTES {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Compresses into `self.compressed`; returns how many bytes there are.
    fn compress(&mut self, content: &[u8]) -> Result<usize> {
        self.compressed.clear();
        self.compressed.reserve(compress_bound(content.len()));
        self.compressor
            .compress_to_buffer(content, &mut self.compressed)
            .map_err(|source| Error::Compression {
                what: "compressing a blob",
                source,
            })
    }

    /// Opens what was just sealed and compares it with what it was made from.
    fn check(&mut self, key: &Key, sealed: &[u8], content: &[u8], compressed: bool) -> Result<()> {
        let mut rest = content;
        let mut same = |piece: &[u8]| match rest.split_at_checked(piece.len()) {
            Some((expected, after)) if expected == piece => {
                rest = after;
                Ok(())
            }
            _ => Err(Error::SealedWrongly),
        };
        if compressed {
            self.decoder.reinit().map_err(|_| Error::SealedWrongly)?;
            let (decoder, plain) = (&mut self.decoder, &mut self.plain);
            key.open_again(sealed, &mut self.opened, |piece| {
                let mut input = InBuffer::around(piece);
                loop {
                    let mut output = OutBuffer::around(&mut plain[..]);
                    decoder
                        .run(&mut input, &mut output)
                        .map_err(|_| Error::SealedWrongly)?;
                    let written = output.pos();
                    same(&plain[..written])?;
                    // A full output may hide more of it.
                    if input.pos() == piece.len() && written < PIECE {
                        return Ok(());
                    }
                }
            })
        } else {
            key.open_again(sealed, &mut self.opened, same)
        }
        .map_err(|_| Error::SealedWrongly)?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Error::SealedWrongly)
        }
    }
}

/// Where in its part of so many bytes the sample of that number begins; it ends within the part.
const fn sample_place(number: usize, part_bytes: usize) -> usize {
    // Multiples of the golden section spread evenly whatever their number is (Knuth, TAOCP 3, 6.4). In 64 bits, because the
    // product of a part of 128 KiB does not fit in 32; the place is less than the part, so that it fits again.
    let turn = number as u64 * 40_503 % 65_536;
    (turn * (part_bytes - SAMPLE_BYTES) as u64 / 65_536) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyBytes;

    #[test]
    fn a_blob_sealed_wrongly_is_noticed_before_it_is_stored() {
        let key = Key::new(&KeyBytes::random().unwrap());
        let mut sealer = Sealer::new().unwrap();
        let mut out = Vec::new();
        let content = b"hello world ".repeat(50_000);
        sealer.append(&key, &content, &mut out).unwrap();
        let other = b"hello w0rld ".repeat(50_000);
        for wrong in [&other[..], &content[1..], b""] {
            assert!(matches!(
                sealer.check(&key, &out, wrong, true),
                Err(Error::SealedWrongly)
            ));
        }
    }

    #[test]
    fn samples_lie_within_their_parts_on_machines_of_32_bits_too() {
        for blob_bytes in [512 << 10, 64 << 20] {
            let part = blob_bytes / SAMPLES;
            let room = part - SAMPLE_BYTES;
            let mut products = Vec::new();
            for number in 0..SAMPLES {
                let turn = number as u128 * 40_503 % 65_536;
                let place = sample_place(number, part);
                assert_eq!(place as u128, turn * room as u128 / 65_536);
                assert!(place + SAMPLE_BYTES <= part);
                products.push(turn * room as u128);
            }
            let small = blob_bytes < TRIED_BYTES * 4;
            let fits = products
                .iter()
                .all(|product| *product <= u128::from(u32::MAX));
            assert_eq!(fits, small, "the larger blob needs more than 32 bits");
        }
    }

    #[test]
    fn what_shrinks_only_in_places_is_compressed_and_noise_is_not() {
        let mut sealer = Sealer::new().unwrap();
        let mut state = 7_u64;
        let mut noise = |length: usize| -> Vec<u8> {
            let next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            };
            std::iter::repeat_with(next).take(length).collect()
        };
        assert!(!sealer.may_shrink(&noise(1 << 20)).unwrap());
        assert!(
            sealer.may_shrink(&noise(1000)).unwrap(),
            "too small to be tried"
        );
        assert!(sealer.may_shrink(&b"hello ".repeat(100_000)).unwrap());
        // A rhythm of 64 KiB, whatever the length is of which the samples are parts.
        for length in [TRIED_BYTES, 1 << 20, (1 << 20) + 5, 3 << 20] {
            let mut sound = Vec::new();
            while sound.len() < length {
                sound.extend(noise(48 << 10));
                sound.resize(sound.len() + (16 << 10), 0);
            }
            sound.truncate(length);
            assert!(sealer.may_shrink(&sound).unwrap(), "{length}");
        }
    }
}
