//! Packs: many sealed blobs, then a sealed header that lists them, then its length. Must not store anything itself.

use crate::crypto::{Key, NONCE_BYTES, OVERHEAD_BYTES};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::sealer::Sealer;

/// Bytes of a header entry without and with an uncompressed length.
const PLAIN_ENTRY: usize = 37;
const COMPRESSED_ENTRY: usize = 41;
/// The little-endian length at a pack's end.
pub const LENGTH_BYTES: usize = 4;
/// No blob is bigger, compressed or not: trees of enormous folders are the largest.
pub const MAX_BLOB_BYTES: usize = 1 << 30;
/// Room for a pack of the usual size, by a quarter larger than it should be, with the header of its smallest blobs.
const ROOM_BYTES: usize = 12 << 20;
/// What a blob is for. The two never share a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// A folder.
    Tree,
}

impl BlobKind {
    /// Its name in an index.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tree => "tree",
        }
    }
}

/// A blob within a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the plain content.
    pub id: Id,
    /// What it is for.
    pub kind: BlobKind,
    /// First byte within the pack.
    pub offset: u32,
    /// Sealed length in bytes.
    pub length: u32,
    /// Plain length in bytes if it is compressed.
    pub uncompressed: Option<u32>,
}

/// Collects blobs of one kind until they are a pack.
pub struct PackWriter {
    kind: BlobKind,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The name, once the header stands behind the blobs, and where it begins.
    finished: Option<(Id, usize)>,
}

impl PackWriter {
    /// An empty pack for blobs of that kind.
    #[must_use]
    pub const fn new(kind: BlobKind) -> Self {
        Self {
            kind,
            bytes: Vec::new(),
            entries: Vec::new(),
            finished: None,
        }
    }

    /// Appends a blob, sealed and checked; returns where it lies.
    ///
    /// # Errors
    /// Sealing failed; the pack is as it was before.
    pub fn add(&mut self, key: &Key, sealer: &mut Sealer, id: Id, content: &[u8]) -> Result<Entry> {
        // A pack that could not be stored may be filled further.
        if let Some((_, blobs)) = self.finished.take() {
            self.bytes.truncate(blobs);
        }
        if self.bytes.capacity() == 0 {
            // What is not used of it takes no memory; growing would for a moment take twice what is there.
            self.bytes.reserve_exact(ROOM_BYTES);
        }
        let start = self.bytes.len();
        let too_big = |_| Error::Malformed("a pack of more than 4 GiB");
        let added =
            sealer
                .append(key, content, &mut self.bytes)
                .and_then(|(length, uncompressed)| {
                    Ok(Entry {
                        id,
                        kind: self.kind,
                        offset: u32::try_from(start).map_err(too_big)?,
                        length: u32::try_from(length).map_err(too_big)?,
                        uncompressed,
                    })
                });
        match &added {
            Ok(entry) => self.entries.push(*entry),
            Err(_) => self.bytes.truncate(start),
        }
        added
    }

    /// Bytes so far, the header not counted.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Is there nothing in it?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Seals the header behind the blobs: now these bytes are a pack. Asked again, it gives the same bytes: a pack whose
    /// storing failed is tried again under the same name.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn finish(&mut self, key: &Key) -> Result<(Id, &[u8])> {
        if let Some((id, _)) = self.finished {
            return Ok((id, &self.bytes));
        }
        let start = self.bytes.len();
        self.bytes.resize(start + NONCE_BYTES, 0);
        for entry in &self.entries {
            write_entry(&mut self.bytes, entry);
        }
        key.seal(&mut self.bytes, start)?;
        let length = u32::try_from(self.bytes.len() - start)
            .map_err(|_| Error::Malformed("a pack header of more than 4 GiB"))?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        let id = Id::of(&self.bytes);
        self.finished = Some((id, start));
        Ok((id, &self.bytes))
    }

    /// Makes room for the next pack (the memory is kept) and hands out what the last one held.
    pub fn restart(&mut self) -> Vec<Entry> {
        self.bytes.clear();
        self.finished = None;
        std::mem::take(&mut self.entries)
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    let kind = match (entry.kind, entry.uncompressed) {
        (BlobKind::Data, None) => 0,
        (BlobKind::Tree, None) => 1,
        (BlobKind::Data, Some(_)) => 2,
        (BlobKind::Tree, Some(_)) => 3,
    };
    out.push(kind);
    out.extend_from_slice(&entry.length.to_le_bytes());
    if let Some(uncompressed) = entry.uncompressed {
        out.extend_from_slice(&uncompressed.to_le_bytes());
    }
    out.extend_from_slice(entry.id.bytes());
}

/// Length of the sealed header, from a pack's last four bytes and its size.
///
/// # Errors
/// No header of that length fits a pack of that size.
pub fn header_length(last: [u8; LENGTH_BYTES], pack_bytes: u64) -> Result<usize> {
    let length = u32::from_le_bytes(last);
    let fits = u64::from(length) + LENGTH_BYTES as u64 <= pack_bytes;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if fits && length >= OVERHEAD_BYTES + PLAIN_ENTRY {
        Ok(length)
    } else {
        Err(Error::Malformed("a pack whose header length is impossible"))
    }
}

/// Reads an opened header. The entries lie one after the other from the pack's start; `blobs_bytes` is where the header begins.
///
/// # Errors
/// An unknown type, a torn entry, or lengths that do not add up to where the header begins.
pub fn parse_header(mut header: &[u8], blobs_bytes: u64) -> Result<Vec<Entry>> {
    let torn = Error::Malformed("a pack header with a torn entry");
    let mut entries = Vec::with_capacity(header.len() / PLAIN_ENTRY);
    let mut offset = 0_u32;
    while let Some(&kind) = header.first() {
        let size = if kind < 2 {
            PLAIN_ENTRY
        } else {
            COMPRESSED_ENTRY
        };
        let Some((entry, rest)) = header.split_at_checked(size) else {
            return Err(torn);
        };
        header = rest;
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&entry[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        let mut id = [0; 32];
        id.copy_from_slice(&entry[size - 32..]);
        let length = number(1);
        entries.push(Entry {
            id: Id::from_bytes(id),
            kind: match kind {
                0 | 2 => BlobKind::Data,
                1 | 3 => BlobKind::Tree,
                _ => return Err(Error::Malformed("a pack header with an unknown blob type")),
            },
            offset,
            length,
            uncompressed: (kind >= 2).then(|| number(5)),
        });
        offset = offset
            .checked_add(length)
            .ok_or(Error::Malformed("a pack of more than 4 GiB"))?;
    }
    if u64::from(offset) == blobs_bytes {
        Ok(entries)
    } else {
        Err(Error::Malformed(
            "a pack header that does not add up to the pack",
        ))
    }
}

/// Opens blobs. What decompresses them is made once: that takes longer than decompressing a small one.
pub struct Opener {
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Opener {
    /// Makes the decompression context.
    ///
    /// # Errors
    /// No memory for it.
    pub fn new() -> Result<Self> {
        let decompressor =
            zstd::bulk::Decompressor::new().map_err(|source| Error::Compression {
                what: "preparing decompression",
                source,
            })?;
        Ok(Self { decompressor })
    }

    /// Opens and decompresses a blob and checks its name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(
        &mut self,
        key: &Key,
        entry: &Entry,
        sealed: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if sealed.len() != entry.length as usize {
            return Err("the pack ends before it");
        }
        let plain = key.open(sealed).map_err(|_| "its seal does not fit")?;
        out.clear();
        match entry.uncompressed {
            None => out.extend_from_slice(plain),
            Some(length) => {
                let length = length as usize;
                if length > MAX_BLOB_BYTES {
                    return Err("it claims an absurd size");
                }
                out.resize(length, 0);
                let written = self
                    .decompressor
                    .decompress_to_buffer(plain, &mut out[..])
                    .map_err(|_| "it does not decompress")?;
                if written != length {
                    return Err("it decompresses to another size");
                }
            }
        }
        if Id::of(out) == entry.id {
            Ok(())
        } else {
            Err("its content has another name")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyBytes;

    fn pack(key: &Key, contents: &[Vec<u8>]) -> (Vec<u8>, Vec<Entry>) {
        let mut sealer = Sealer::new().unwrap();
        let mut writer = PackWriter::new(BlobKind::Data);
        for content in contents {
            writer
                .add(key, &mut sealer, Id::of(content), content)
                .unwrap();
        }
        let bytes = writer.finish(key).unwrap().1.to_vec();
        (bytes, writer.restart())
    }

    fn contents() -> Vec<Vec<u8>> {
        let text = b"hello world ".repeat(50_000);
        let noise: Vec<u8> = (0..300_000_u64)
            .map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[4])
            .collect();
        vec![b"a".to_vec(), text, noise, Vec::new(), vec![0; 3_000_000]]
    }

    #[test]
    fn a_pack_lists_and_returns_what_was_put_in() {
        let key = Key::new(&KeyBytes::random().unwrap());
        let (bytes, entries) = pack(&key, &contents());
        let (rest, last) = bytes.split_last_chunk::<4>().unwrap();
        let length = header_length(*last, bytes.len() as u64).unwrap();
        let (blobs, header) = rest.split_at(rest.len() - length);
        let header = &mut header.to_vec();
        let read = parse_header(key.open(header).unwrap(), blobs.len() as u64).unwrap();
        assert_eq!(read, entries);
        let (mut opener, mut out) = (Opener::new().unwrap(), Vec::new());
        for (entry, content) in entries.iter().zip(contents()) {
            let from = entry.offset as usize;
            let mut sealed = blobs[from..from + entry.length as usize].to_vec();
            opener.open(&key, entry, &mut sealed, &mut out).unwrap();
            assert_eq!(out, content);
        }
        assert!(entries[1].uncompressed.is_some() && entries[0].uncompressed.is_none());
    }

    #[test]
    fn headers_that_do_not_add_up_are_refused() {
        let entry = Entry {
            id: Id::of(b"x"),
            kind: BlobKind::Tree,
            offset: 0,
            length: 40,
            uncompressed: Some(99),
        };
        let mut header = Vec::new();
        write_entry(&mut header, &entry);
        assert_eq!(parse_header(&header, 40).unwrap(), [entry]);
        assert!(parse_header(&header, 41).is_err());
        assert!(parse_header(&header[..header.len() - 1], 40).is_err());
        header[0] = 4;
        assert!(parse_header(&header, 40).is_err());
        for (length, size) in [(0, 100), (68, 100), (97, 100), (u32::MAX, 100)] {
            assert!(header_length(length.to_le_bytes(), size).is_err());
        }
        assert_eq!(header_length(69_u32.to_le_bytes(), 100).unwrap(), 69);
    }
}
