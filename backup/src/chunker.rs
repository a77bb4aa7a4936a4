//! Where a file's content is cut: by its content as restic does, or on aligned blocks. Reads no file and keeps no data.

use crate::polynomial::Polynomial;

/// No chunk but a file's last is smaller.
pub const MIN_BYTES: usize = 512 * 1024;
/// No chunk is bigger.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes the fingerprint looks at.
const WINDOW: usize = 64;
/// A cut where the fingerprint's low 20 bits are zero: one byte in a million.
const MASK: u64 = (1 << 20) - 1;
/// The size of blocks in files that are changed in place, such as databases.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// Stretches looked at side by side: a fingerprint waits for the byte before, and the processor has more to do than wait.
const LANES: usize = 4;
/// Bytes of one stretch: many more than the window before it, few beside what lies between two cuts.
const LANE_BYTES: usize = 4 * 1024;

/// Rabin fingerprints over a sliding window, with the repository's own polynomial.
#[derive(Clone)]
pub struct Chunker {
    /// What a byte leaving the window contributed, moved on and reduced as the fingerprint will be at the next byte.
    leaving: [u64; 256],
    /// Reduction of the eight bits above the degree.
    reduction: [u64; 256],
    shift: u32,
    start: u64,
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The polynomial hides where private data is cut.
        formatter.write_str("Chunker(redacted)")
    }
}

impl Chunker {
    /// Prepares the tables; `None` when the polynomial's degree is not between 8 and 53, which no repository has.
    #[must_use]
    pub fn new(polynomial: Polynomial) -> Option<Self> {
        let degree = polynomial.degree();
        if !(8..=53).contains(&degree) {
            return None;
        }
        let mut leaving = [0; 256];
        let mut reduction = [0; 256];
        for (byte, (out, rest)) in (0_u64..).zip(leaving.iter_mut().zip(&mut reduction)) {
            let mut hash = Polynomial(byte).modulo(polynomial);
            for _ in 0..WINDOW - 1 {
                hash = Polynomial(hash.0 << 8).modulo(polynomial);
            }
            *out = hash.0;
            let high = byte << degree;
            *rest = Polynomial(high).modulo(polynomial).0 | high;
        }
        let shift = degree - 8;
        for out in &mut leaving {
            *out = *out << 8 ^ reduction[low_byte(*out >> shift)];
        }
        let mut chunker = Self {
            leaving,
            reduction,
            shift,
            start: 0,
        };
        // restic lets a byte 1 into the empty window first.
        chunker.start = chunker.slide(0, 0, 1);
        Some(chunker)
    }

    #[inline]
    fn slide(&self, digest: u64, out: u8, byte: u8) -> u64 {
        // Reduction is linear: what leaves was reduced beforehand, so that only the digest itself must be waited for.
        let change = self.leaving[usize::from(out)] ^ u64::from(byte);
        let index = low_byte(digest.wrapping_shr(self.shift));
        digest << 8 ^ self.reduction[index] ^ change
    }

    /// The fingerprint at the end of stretches that follow one window, or `None` when there is a cut in one of them. `digest` is
    /// that window's.
    fn across(&self, digest: u64, data: &[u8]) -> Option<u64> {
        let mut lanes = [&[0; WINDOW + LANE_BYTES]; LANES];
        let mut digests = [digest; LANES];
        for (number, lane) in lanes.iter_mut().enumerate() {
            *lane = data.get(number * LANE_BYTES..)?.first_chunk()?;
            if number > 0 {
                let window = lane[..WINDOW].iter();
                digests[number] = window.fold(0, |digest, byte| self.slide(digest, 0, *byte));
            }
        }
        for at in 0..LANE_BYTES {
            let mut is_cut = false;
            for (digest, lane) in digests.iter_mut().zip(lanes) {
                *digest = self.slide(*digest, lane[at], lane[at + WINDOW]);
                is_cut |= *digest & MASK == 0;
            }
            if is_cut {
                return None;
            }
        }
        Some(digests[LANES - 1])
    }

    /// Length of the chunk at the start of `data`, or `None` when more data must be seen. `scan` remembers how far was
    /// looked; it starts fresh with each chunk, and `data` may only have grown since. At a file's end, what is left is a chunk.
    #[must_use]
    pub fn cut(&self, data: &[u8], scan: &mut Scan) -> Option<usize> {
        if data.len() < MIN_BYTES {
            return None;
        }
        let mut digest = scan.digest;
        if scan.seen == 0 {
            digest = self.start;
            // The window holds nothing but that byte 1; it leaves when the window is full.
            for (count, byte) in data[MIN_BYTES - WINDOW..MIN_BYTES].iter().enumerate() {
                digest = self.slide(digest, u8::from(count == WINDOW - 1), *byte);
            }
            scan.seen = MIN_BYTES;
            if digest & MASK == 0 {
                return Some(MIN_BYTES);
            }
        }
        let end = data.len().min(MAX_BYTES);
        while let Some(ahead) = data[..end].get(scan.seen - WINDOW..)
            && let Some(after) = self.across(digest, ahead)
        {
            digest = after;
            scan.seen += LANES * LANE_BYTES;
        }
        let entering = &data[scan.seen..end];
        let leaving = &data[scan.seen - WINDOW..];
        for (count, (byte, out)) in entering.iter().zip(leaving).enumerate() {
            digest = self.slide(digest, *out, *byte);
            if digest & MASK == 0 {
                return Some(scan.seen + count + 1);
            }
        }
        *scan = Scan { seen: end, digest };
        (end == MAX_BYTES).then_some(MAX_BYTES)
    }
}

/// The mask lets the compiler see that a table of 256 is enough.
fn low_byte(number: u64) -> usize {
    usize::from(u8::try_from(number & 255).unwrap_or(0))
}

/// How far a chunk was looked at.
#[derive(Clone, Copy, Default)]
pub struct Scan {
    seen: usize,
    digest: u64,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Scan(seen {} bytes)", self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .take(length)
        .collect()
    }

    /// Slow and plain: the fingerprint of the last 64 bytes by long division.
    fn fingerprint(window: &[u8], polynomial: Polynomial) -> u64 {
        window
            .iter()
            .fold(Polynomial(0), |hash, byte| {
                Polynomial(hash.0 << 8 | u64::from(*byte)).modulo(polynomial)
            })
            .0
    }

    #[test]
    fn cuts_lie_where_the_fingerprint_says_and_nowhere_before() {
        let polynomial = Polynomial(0x003D_A335_8B4D_C173);
        let chunker = Chunker::new(polynomial).unwrap();
        let data = noise(12 << 20);
        let length = chunker.cut(&data, &mut Scan::default()).unwrap();
        assert!((MIN_BYTES..MAX_BYTES).contains(&length));
        assert_eq!(
            fingerprint(&data[length - WINDOW..length], polynomial) & MASK,
            0
        );
    }

    #[test]
    fn every_cut_is_found_wherever_it_falls_among_the_stretches() {
        let polynomial = Polynomial(0x003D_A335_8B4D_C173);
        let chunker = Chunker::new(polynomial).unwrap();
        let data = noise(12 << 20);
        // What a window with a cut looks like is taken from the first one and put elsewhere.
        let length = chunker.cut(&data, &mut Scan::default()).unwrap();
        let window = data[length - WINDOW..length].to_vec();
        let plain = data[..MIN_BYTES + 3 * LANES * LANE_BYTES].to_vec();
        assert!(length > plain.len(), "nothing else is cut there");
        let (lane, all) = (LANE_BYTES, LANES * LANE_BYTES);
        for after in [
            0,
            1,
            63,
            64,
            65,
            lane - 1,
            lane,
            lane + 1,
            lane + 64,
            3 * lane,
            all - 1,
            all,
            all + 1,
            2 * all + 7,
        ] {
            let mut data = plain.clone();
            let cut = MIN_BYTES + after;
            data[cut - WINDOW..cut].copy_from_slice(&window);
            assert_eq!(
                chunker.cut(&data, &mut Scan::default()),
                Some(cut),
                "{after}"
            );
        }
    }

    #[test]
    fn zeros_are_cut_at_the_smallest_size_and_the_rest_of_a_file_is_one_chunk() {
        let chunker = Chunker::new(Polynomial(0x003D_A335_8B4D_C173)).unwrap();
        let cut = |data: &[u8]| chunker.cut(data, &mut Scan::default());
        assert_eq!(cut(&vec![0; MAX_BYTES]), Some(MIN_BYTES));
        assert_eq!(cut(&[0; 1000]), None);
        assert_eq!(cut(&[]), None);
        assert!(Chunker::new(Polynomial(3)).is_none());
    }

    #[test]
    fn data_seen_in_pieces_is_cut_at_the_same_place() {
        let chunker = Chunker::new(Polynomial(0x003D_A335_8B4D_C173)).unwrap();
        let data = noise(9 << 20);
        let expected = chunker.cut(&data, &mut Scan::default());
        let mut scan = Scan::default();
        let found = (0..=data.len())
            .step_by(100_001)
            .find_map(|length| chunker.cut(&data[..length], &mut scan));
        assert_eq!(found, expected);
    }
}
