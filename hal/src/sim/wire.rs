//! Lines of JSON over a Unix socket, for both ends of the control socket. Bounded, blocking, without buffers that outlive a line.

use std::io::{self, ErrorKind, Read};

/// Longest line of the control socket, bytes: a track of a thousand points fits.
pub const LINE_LIMIT: usize = 64 * 1024;

/// Bytes that were read from a stream and not used yet.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// An empty inbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next whole line without its line feed, if it has arrived.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when the line is longer than [`LINE_LIMIT`] or not UTF-8.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return match self.bytes.len() > LINE_LIMIT {
                true => Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "a line is longer than 64 KiB",
                )),
                false => Ok(None),
            };
        };
        let line: Vec<u8> = self.bytes.drain(..=end).take(end).collect();
        String::from_utf8(line)
            .map(Some)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "a line is not UTF-8"))
    }

    /// This many raw bytes, if they have arrived.
    #[must_use]
    pub fn raw(&mut self, length: usize) -> Option<Vec<u8>> {
        (self.bytes.len() >= length).then(|| self.bytes.drain(..length).collect())
    }

    /// Reads once; `false` at the stream's end.
    ///
    /// # Errors
    /// The stream's.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk)?;
        self.bytes
            .extend_from_slice(chunk.get(..length).unwrap_or_default());
        Ok(length > 0)
    }
}

/// Samples as the socket carries them.
#[must_use]
pub fn to_bytes(samples: &[i16]) -> Vec<u8> {
    samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect()
}

/// The samples back; a lone last byte is dropped.
#[must_use]
pub fn to_samples(bytes: &[u8]) -> Vec<i16> {
    bytes
        .chunks_exact(2)
        .map(|pair| match pair {
            [low, high] => i16::from_le_bytes([*low, *high]),
            _ => 0,
        })
        .collect()
}
