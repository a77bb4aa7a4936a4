//! An index file's JSON being written, in the order of fields that restic uses. Reads nothing.

use super::Mark;
use crate::id::Id;
use crate::pack::Entry;
use std::io::Write;

/// Writes an index file's JSON.
#[must_use]
pub fn to_json(packs: &[(Id, Vec<Entry>)]) -> Vec<u8> {
    to_json_with_marks(packs, &[])
}

/// Writes an index file's JSON, with packs that are to be removed.
#[must_use]
pub fn to_json_with_marks(
    packs: &[(Id, Vec<Entry>)],
    marked: &[(Id, Vec<Entry>, Mark)],
) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing into a vector cannot fail.
    let _ = write_json(&mut out, packs, marked);
    out
}

/// The same into anything that takes bytes: the text of many tiny blobs is large.
///
/// # Errors
/// Of the writer.
pub(crate) fn write_json(
    out: &mut impl Write,
    packs: &[(Id, Vec<Entry>)],
    marked: &[(Id, Vec<Entry>, Mark)],
) -> std::io::Result<()> {
    out.write_all(b"{\"packs\":[")?;
    for (number, (pack, entries)) in packs.iter().enumerate() {
        write_pack(out, number, pack, entries)?;
        out.write_all(b"}")?;
    }
    if !marked.is_empty() {
        out.write_all(b"],\"packs_to_delete\":[")?;
    }
    for (number, (pack, entries, mark)) in marked.iter().enumerate() {
        write_pack(out, number, pack, entries)?;
        write!(out, ",\"time\":\"{}\"}}", mark.at)?;
    }
    out.write_all(b"]}")
}

/// All of a pack but its closing brace.
fn write_pack(
    out: &mut impl Write,
    number: usize,
    pack: &Id,
    entries: &[Entry],
) -> std::io::Result<()> {
    let comma = if number == 0 { "" } else { "," };
    write!(out, "{comma}{{\"id\":\"{pack}\",\"blobs\":[")?;
    for (number, entry) in entries.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let (id, kind) = (entry.id, entry.kind.name());
        let (offset, length) = (entry.offset, entry.length);
        write!(
            out,
            "{comma}{{\"id\":\"{id}\",\"type\":\"{kind}\",\"offset\":{offset},\"length\":{length}"
        )?;
        if let Some(uncompressed) = entry.uncompressed {
            write!(out, ",\"uncompressed_length\":{uncompressed}")?;
        }
        out.write_all(b"}")?;
    }
    out.write_all(b"]")
}
