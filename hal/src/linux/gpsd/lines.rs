//! A line reader with a hard limit, sans I/O: bytes go in, whole lines come out, and no peer can make it grow.

/// Longest line that is looked at, bytes. gpsd's own largest response buffer is 10 KiB (`GPS_JSON_RESPONSE_MAX` in gps_json.h); six times that leaves room for what it may become.
pub const LINE_LIMIT: usize = 64 * 1024;

/// Cuts a byte stream into lines of at most [`LINE_LIMIT`] bytes; longer ones are dropped whole, up to and including their line feed.
#[derive(Debug, Default)]
pub struct LineReader {
    buffer: Vec<u8>,
    skipping: Skipping,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Skipping {
    #[default]
    No,
    UntilLineFeed,
}

impl LineReader {
    /// A reader that holds nothing; memory is taken as lines arrive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands each completed line, without its line feed, to `each`. A line that straddles two calls is kept meanwhile.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.skipping == Skipping::UntilLineFeed {
                self.skipping = Skipping::No;
            } else if self.buffer.is_empty() {
                if line.len() <= LINE_LIMIT {
                    each(line);
                }
            } else if self.keep(line) {
                each(&self.buffer);
            }
            self.buffer.clear();
        }
        if self.skipping == Skipping::No && !self.keep(bytes) {
            self.skipping = Skipping::UntilLineFeed;
            self.buffer = Vec::new();
        }
    }

    /// Bytes of memory held now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Appends within the limit; `false` when the line is too long.
    fn keep(&mut self, bytes: &[u8]) -> bool {
        let wanted = self.buffer.len() + bytes.len();
        if wanted > LINE_LIMIT {
            return false;
        }
        if wanted > self.buffer.capacity() {
            // Doubling as Vec would, but never past the limit.
            let target = (self.buffer.capacity() * 2).clamp(wanted, LINE_LIMIT);
            self.buffer.reserve_exact(target - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut reader = LineReader::new();
        let mut found = Vec::new();
        for chunk in chunks {
            reader.push(chunk, |line| found.push(line.to_vec()));
        }
        found
    }

    #[test]
    fn half_lines_are_joined() {
        assert_eq!(lines(&[b"ab", b"", b"c\nd", b"e\n"]), [b"abc", &b"de"[..]]);
    }

    #[test]
    fn a_line_of_a_megabyte_is_dropped_and_the_next_one_is_read() {
        let long = vec![b'x'; 1_000_000];
        assert_eq!(lines(&[&long, b"x\nnext\n"]), [b"next"]);
    }

    #[test]
    fn the_limit_itself_still_passes() {
        let mut long = vec![b'x'; LINE_LIMIT];
        long.push(b'\n');
        assert_eq!(lines(&[&long]).len(), 1);
        long.insert(0, b'x');
        assert!(lines(&[&long]).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_grow_it_past_the_limit(
            chunks in proptest::collection::vec((any::<u8>(), 0_usize..70_000, any::<bool>()), 0..12)
        ) {
            let mut reader = LineReader::new();
            for (byte, length, ends) in chunks {
                let mut chunk = vec![byte; length];
                if ends { chunk.push(b'\n'); }
                reader.push(&chunk, |line| assert!(line.len() <= LINE_LIMIT));
                prop_assert!(reader.capacity() <= LINE_LIMIT);
            }
        }
    }
}
