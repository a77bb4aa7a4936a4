//! A file's content on its way into blobs: cut, hashed, holes skipped. Reads one file at a time through one buffer.

use super::database::HEADER;
use super::writer::Writer;
use crate::chunker::{BLOCK_BYTES, Chunker, MAX_BYTES, MIN_BYTES, Scan};
use crate::error::Result;
use crate::id::Id;
use crate::os::source;
use crate::pack::BlobKind;
use crate::store::Store;
use rustix::fs::Stat;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes read at a time once a file is longer than the smallest chunk.
const STEP: usize = 1 << 20;
/// A file with fewer blocks than bytes has holes; a block of `st_blocks` is 512 bytes.
const STAT_BLOCK: u64 = 512;
/// Most bytes read of a file that says it is empty.
const UNSIZED_BYTES: u64 = 16 << 20;

/// What a file's content became.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) blobs: Vec<Id>,
    pub(super) bytes: u64,
}

/// Why a file's content did not become blobs.
pub(super) enum Failure {
    /// The file cannot be read.
    Source(std::io::Error),
    /// The repository cannot be written: nothing goes on.
    Repository(crate::error::Error),
}

/// Cuts files, one after the other.
pub(super) struct Cutter {
    chunker: Chunker,
    /// Room for what is read; only `ahead` of it holds anything.
    buffer: Vec<u8>,
    /// Where in the buffer lies what was read and is in no chunk yet.
    ahead: Range<usize>,
    /// Name of the smallest chunk full of zeros, once there was one.
    zeros: Option<Id>,
    /// Where the file ends, as it was when it was opened: one that grows as fast as it is read would never end.
    end: u64,
}

impl Cutter {
    pub(super) const fn new(chunker: Chunker) -> Self {
        Self {
            chunker,
            buffer: Vec::new(),
            ahead: 0..0,
            zeros: None,
            end: 0,
        }
    }

    /// Stores a file's content. `stop` is asked between chunks; when it says so, what was stored stays and the rest is not read.
    pub(super) fn store<S: Store>(
        &mut self,
        file: &File,
        stat: &Stat,
        writer: &mut Writer<'_, S>,
        stop: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Content, Failure> {
        let sparse = source::number(stat.st_blocks).saturating_mul(STAT_BLOCK)
            < source::number(stat.st_size);
        let mut content = Content {
            blobs: Vec::new(),
            bytes: 0,
        };
        let mut blocks = false;
        self.end = match source::number(stat.st_size) {
            // What the kernel makes up as it is read has no size.
            0 => UNSIZED_BYTES,
            size => size,
        };
        self.ahead = 0..0;
        loop {
            if sparse && !blocks {
                self.skip_hole(file, source::number(stat.st_size), &mut content, writer)?;
            }
            let length = if blocks {
                self.fill(file, content.bytes, BLOCK_BYTES)
                    .map_err(Failure::Source)?
                    .min(BLOCK_BYTES)
            } else {
                self.next_chunk(file, content.bytes)
                    .map_err(Failure::Source)?
            };
            if length == 0 {
                return Ok(content);
            }
            // A database is changed in place: cuts that depend on content would wander.
            let chunk = &self.buffer[self.ahead.start..self.ahead.start + length];
            if content.bytes == 0 && chunk.starts_with(HEADER) && length > BLOCK_BYTES {
                blocks = true;
                continue;
            }
            let id = writer
                .add(BlobKind::Data, chunk)
                .map_err(Failure::Repository)?;
            content.blobs.push(id);
            content.bytes += length as u64;
            self.ahead.start += length;
            if stop(length as u64) {
                return Err(Failure::Repository(crate::error::Error::Stopped));
            }
        }
    }

    /// Length of the chunk that starts at `position`, which is where what was read ahead starts.
    fn next_chunk(&mut self, file: &File, position: u64) -> std::io::Result<usize> {
        let mut scan = Scan::default();
        let mut wanted = MIN_BYTES;
        loop {
            let there = self.fill(file, position, wanted)?;
            if let Some(length) = self
                .chunker
                .cut(&self.buffer[self.ahead.clone()], &mut scan)
            {
                return Ok(length);
            }
            if there < wanted {
                return Ok(there);
            }
            wanted = (there + STEP).min(MAX_BYTES + STEP);
        }
    }

    /// Reads until `wanted` bytes are ahead or the file ends; returns how many there are.
    fn fill(&mut self, file: &File, position: u64, wanted: usize) -> std::io::Result<usize> {
        let left = self.end.saturating_sub(position);
        let wanted = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.ahead.len() >= wanted {
            return Ok(self.ahead.len());
        }
        self.make_room(wanted);
        let wanted_end = self.ahead.start + wanted;
        while self.ahead.end < wanted_end {
            let at = position + self.ahead.len() as u64;
            match file.read_at(&mut self.buffer[self.ahead.end..wanted_end], at) {
                Ok(0) => break,
                Ok(count) => self.ahead.end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ahead = 0..0;
                    return Err(error);
                }
            }
        }
        Ok(self.ahead.len())
    }

    /// Makes room for `wanted` bytes ahead. The room stays, so that it is filled with zeros only once.
    fn make_room(&mut self, wanted: usize) {
        if self.ahead.start + wanted <= self.buffer.len() {
            return;
        }
        self.buffer.copy_within(self.ahead.clone(), 0);
        self.ahead = 0..self.ahead.len();
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
        }
    }

    /// Where a hole begins at a chunk's start, restic's cuts fall at the smallest size, again and again: no need to read it.
    fn skip_hole<S: Store>(
        &mut self,
        file: &File,
        size: u64,
        content: &mut Content,
        writer: &mut Writer<'_, S>,
    ) -> Result<(), Failure> {
        let data = source::next_data(file, content.bytes)
            .map_err(|errno| Failure::Source(errno.into()))?
            .unwrap_or(size);
        let chunks = data.saturating_sub(content.bytes) / MIN_BYTES as u64;
        if chunks == 0 {
            return Ok(());
        }
        let zeros = match self.zeros {
            Some(id) => id,
            None => writer
                .add(BlobKind::Data, &vec![0; MIN_BYTES])
                .map_err(Failure::Repository)?,
        };
        self.zeros = Some(zeros);
        for _ in 0..chunks {
            content.blobs.push(zeros);
        }
        content.bytes += chunks * MIN_BYTES as u64;
        self.ahead = 0..0;
        Ok(())
    }
}
