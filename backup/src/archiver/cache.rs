//! The repository's index files as they were read before, so that the next run need not fetch and parse them. Only ever a hint:
//! what is damaged, torn or gone from the repository is read there or not believed.

use crate::error::Result;
use crate::id::Id;
use crate::index::{Index, read_packs};
use crate::pack::{BlobKind, Entry};
use crate::repository::Repository;
use crate::store::{Kind, Store};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How the file begins; the digit is the layout's version.
const MAGIC: &[u8; 8] = b"HOMINGI1";
/// Bytes of a blob: name, kind, place, plain length.
const BLOB_BYTES: usize = 32 + 1 + 3 * 4;
/// A segment is one index file; none is bigger.
const MOST_BYTES: u64 = 1 << 30;
/// Stands for a blob that is not compressed.
const PLAIN: u32 = u32::MAX;

/// Loads the repository's index, as far as possible from a file of this machine, which is brought up to date.
pub(super) fn load<S: Store>(repository: &Repository<S>, file: &Path) -> Result<Index> {
    let there: HashSet<Id> = repository
        .list(Kind::Index)?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let mut index = Index::default();
    let known = Known::read(file, repository.config().id, &there, &mut index);
    let mut missing: Vec<Id> = there.difference(&known.files).copied().collect();
    missing.sort_unstable();
    let mut into = known.appending(file, repository.config().id);
    for id in missing {
        let mut body = Vec::new();
        read_packs(
            &repository.load_file(Kind::Index, id)?,
            &mut |pack, entries, mark| {
                write_pack(&mut body, &pack, mark.is_some(), &entries);
                index.take_pack(pack, &entries, mark.is_some());
            },
        )?;
        // A file that cannot be written makes the next run read the index files once more.
        into = into.filter(|file| write_segment(file, &id, &body).is_ok());
    }
    Ok(index)
}

/// What the file held.
#[derive(Debug, Default)]
struct Known {
    files: HashSet<Id>,
    /// Where the last whole segment ends.
    end: u64,
    /// It holds index files that the repository has no more.
    stale: bool,
}

impl Known {
    fn read(file: &Path, repository: Id, there: &HashSet<Id>, index: &mut Index) -> Self {
        let mut known = Self::default();
        let Ok(file) = File::open(file) else {
            return known;
        };
        let bytes = file.metadata().map_or(0, |data| data.len()).min(MOST_BYTES);
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut start = [0; MAGIC.len() + 32];
        if reader.read_exact(&mut start).is_err() || start != header(repository) {
            return known;
        }
        known.end = start.len() as u64;
        index.make_room(usize::try_from(bytes).unwrap_or(0) / BLOB_BYTES);
        let mut body = Vec::new();
        while let Some(id) = read_segment(&mut reader, &mut body) {
            if there.contains(&id) && !known.files.contains(&id) {
                if read_body(&body, index).is_none() {
                    break;
                }
                known.files.insert(id);
            } else {
                known.stale = true;
            }
            known.end += (32 + 8 + body.len() + 32) as u64;
        }
        known
    }

    /// The file, cut behind its last whole segment, or begun anew.
    fn appending(&self, path: &Path, repository: Id) -> Option<File> {
        if self.stale {
            // What is gone from the repository would stay in it for ever. The next run begins a new one.
            let _ = std::fs::remove_file(path);
            return None;
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .ok()?;
        file.set_len(self.end).ok()?;
        if self.end == 0 {
            file.write_all(&header(repository)).ok()?;
        }
        Some(file)
    }
}

fn header(repository: Id) -> [u8; MAGIC.len() + 32] {
    let mut bytes = [0; MAGIC.len() + 32];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(repository.bytes());
    bytes
}

fn write_segment(mut file: &File, id: &Id, body: &[u8]) -> std::io::Result<()> {
    let mut bytes = id.bytes().to_vec();
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    let sum = Id::of(&bytes);
    bytes.extend_from_slice(sum.bytes());
    file.write_all(&bytes)
}

/// The next segment's index file, its content in `body`; `None` where no whole one follows.
fn read_segment(reader: &mut impl Read, body: &mut Vec<u8>) -> Option<Id> {
    let mut start = [0; 32 + 8];
    reader.read_exact(&mut start).ok()?;
    let (id, length) = start.split_first_chunk::<32>()?;
    let length = u64::from_le_bytes(length.try_into().ok()?);
    if length > MOST_BYTES {
        return None;
    }
    body.clear();
    body.extend_from_slice(&start);
    let wanted = start.len() as u64 + length + 32;
    let got = reader.take(length + 32).read_to_end(body).ok()?;
    let whole = body.len() as u64 == wanted && got > 0;
    let (content, sum) = body.split_last_chunk::<32>()?;
    if !whole || Id::of(content).bytes() != sum {
        return None;
    }
    body.truncate(body.len() - 32);
    body.drain(..start.len());
    Some(Id::from_bytes(*id))
}

fn write_pack(body: &mut Vec<u8>, pack: &Id, marked: bool, entries: &[Entry]) {
    body.extend_from_slice(pack.bytes());
    body.push(u8::from(marked));
    body.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    for entry in entries {
        body.extend_from_slice(entry.id.bytes());
        body.push(u8::from(entry.kind == BlobKind::Tree));
        for number in [
            entry.offset,
            entry.length,
            entry.uncompressed.unwrap_or(PLAIN),
        ] {
            body.extend_from_slice(&number.to_le_bytes());
        }
    }
}

fn read_body(mut rest: &[u8], index: &mut Index) -> Option<()> {
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (pack, after) = rest.split_first_chunk::<32>()?;
        let (marked, after) = after.split_first()?;
        let (count, after) = after.split_first_chunk::<8>()?;
        let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
        let (blobs, after) = after.split_at_checked(count.checked_mul(BLOB_BYTES)?)?;
        rest = after;
        entries.clear();
        entries.extend(blobs.chunks_exact(BLOB_BYTES).map(read_blob));
        index.take_pack(Id::from_bytes(*pack), &entries, *marked != 0);
    }
    Some(())
}

fn read_blob(bytes: &[u8]) -> Entry {
    let number = |at: usize| {
        let mut number = [0; 4];
        number.copy_from_slice(&bytes[at..at + 4]);
        u32::from_le_bytes(number)
    };
    let mut id = [0; 32];
    id.copy_from_slice(&bytes[..32]);
    let uncompressed = number(41);
    Entry {
        id: Id::from_bytes(id),
        kind: match bytes[32] {
            0 => BlobKind::Data,
            _ => BlobKind::Tree,
        },
        offset: number(33),
        length: number(37),
        uncompressed: (uncompressed != PLAIN).then_some(uncompressed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Maker;
    use crate::store::{MemoryStore, Name};
    use crate::{Timestamp, index};

    fn repository() -> Repository<MemoryStore> {
        let maker = Maker {
            user: "anna".into(),
            host: "phone".into(),
            at: Timestamp::new(1_790_000_000, 5),
        };
        Repository::create(MemoryStore::default(), b"correct horse", &maker).unwrap()
    }

    fn add(repository: &Repository<MemoryStore>, from: u32) -> Id {
        let entries = (from..from + 5).map(|number| Entry {
            id: Id::of(&number.to_le_bytes()),
            kind: if number.is_multiple_of(2) {
                BlobKind::Tree
            } else {
                BlobKind::Data
            },
            offset: number,
            length: 50,
            uncompressed: number.is_multiple_of(3).then_some(70),
        });
        let packs = [(
            Id::of(&[1, 2, u8::try_from(from).unwrap()]),
            entries.collect(),
        )];
        repository
            .save_file(Kind::Index, &index::to_json(&packs))
            .unwrap()
    }

    fn found(index: &Index) -> Vec<(Id, Entry)> {
        let mut all: Vec<_> = index
            .iter()
            .map(|(pack, entry)| (index.pack(pack), entry))
            .collect();
        all.sort_by_key(|(_, entry)| entry.id);
        all
    }

    #[test]
    fn an_index_file_is_read_once_and_one_that_is_gone_is_forgotten() {
        let (repository, folder) = (repository(), tempfile::tempdir().unwrap());
        let file = folder.path().join("index");
        let first = add(&repository, 0);
        add(&repository, 10);
        let expected = found(&repository.load_index().unwrap());
        assert_eq!(found(&load(&repository, &file).unwrap()), expected);
        // Nobody reads it there any more.
        repository
            .store()
            .tamper(Name::File(Kind::Index, first), |_| Some(b"x".to_vec()));
        assert!(repository.load_index().is_err());
        assert_eq!(found(&load(&repository, &file).unwrap()), expected);
        add(&repository, 20);
        assert_eq!(load(&repository, &file).unwrap().len(), 15);
        repository
            .store()
            .tamper(Name::File(Kind::Index, first), |_| None);
        for _ in 0..3 {
            let index = load(&repository, &file).unwrap();
            assert_eq!(found(&index), found(&repository.load_index().unwrap()));
        }
    }

    #[test]
    fn a_cache_that_is_damaged_torn_or_of_another_repository_changes_nothing() {
        let (ours, folder) = (repository(), tempfile::tempdir().unwrap());
        let file = folder.path().join("index");
        add(&ours, 0);
        add(&ours, 10);
        let expected = found(&load(&ours, &file).unwrap());
        let whole = std::fs::read(&file).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..whole.len())
            .step_by(7)
            .map(|end| whole[..end].to_vec())
            .collect();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x11;
            cases.push(damaged);
        }
        for case in cases {
            std::fs::write(&file, case).unwrap();
            assert_eq!(found(&load(&ours, &file).unwrap()), expected);
            assert_eq!(found(&load(&ours, &file).unwrap()), expected);
        }
        let other = repository();
        assert_eq!(load(&other, &file).unwrap().len(), 0);
    }
}
