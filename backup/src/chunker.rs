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

/// Rabin fingerprints over a sliding window, with the repository's own polynomial.
#[derive(Clone)]
pub struct Chunker {
    /// What a byte leaving the window contributed.
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
        let mut chunker = Self {
            leaving,
            reduction,
            shift: degree - 8,
            start: 0,
        };
        // restic lets a byte 1 into the empty window first.
        chunker.start = chunker.slide(0, 0, 1);
        Some(chunker)
    }

    #[inline]
    fn slide(&self, digest: u64, out: u8, byte: u8) -> u64 {
        let digest = digest ^ self.leaving[usize::from(out)];
        // The digest stays below the degree, so the index is one of 256 (the mask lets the compiler see it).
        let index = usize::from(u8::try_from(digest >> self.shift & 255).unwrap_or(0));
        (digest << 8 | u64::from(byte)) ^ self.reduction[index]
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
