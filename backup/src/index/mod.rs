//! Which blob lies where, compactly: 48 bytes and a table slot for each. Reads and writes index JSON; loads no files.

mod read;
mod text;

use crate::error::Result;
use crate::id::Id;
use crate::pack::{BlobKind, Entry};
use crate::timestamp::Timestamp;
use std::fmt;

pub use read::read_packs;
pub(crate) use text::write_json;
pub use text::{to_json, to_json_with_marks};

/// Slots are allocated in runs, so that growing never copies or doubles what is there.
const RUN: usize = 1 << 14;
/// The top bit of a slot's pack number says that it is a tree.
const TREE: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Slot {
    id: Id,
    /// Pack number, with [`TREE`].
    pack: u32,
    offset: u32,
    length: u32,
    /// Plain length; `u32::MAX` where it is not compressed.
    uncompressed: u32,
}

/// Number of a pack within one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackNumber(u32);

/// All blobs that are known to lie in the repository.
#[derive(Default)]
pub struct Index {
    packs: Vec<Id>,
    runs: Vec<Vec<Slot>>,
    /// Slot number + 1 at the place its id points to or after it; 0 is free. Its length is a power of two.
    table: Vec<u32>,
    count: usize,
    /// Packs that a prune has marked: they count as absent.
    marked: Vec<Id>,
}

impl fmt::Debug for Index {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Index({} blobs in {} packs)",
            self.count,
            self.packs.len()
        )
    }
}

impl Index {
    /// Blobs known.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Is nothing known?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The packs known, in the order of their numbers.
    #[must_use]
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// Packs that a prune has marked for removal; their blobs are not known here.
    #[must_use]
    pub fn marked(&self) -> &[Id] {
        &self.marked
    }

    /// A blob's number in the order of [`Index::iter`].
    #[must_use]
    pub fn number(&self, kind: BlobKind, id: &Id) -> Option<usize> {
        self.place_of(kind, id).map(|number| number - 1)
    }

    /// The blob of a number, below [`Index::len`], and its pack.
    pub(crate) fn at(&self, number: usize) -> (PackNumber, Entry) {
        let slot = self.slot(number + 1);
        (PackNumber(slot.pack & !TREE), entry(slot))
    }

    /// The blob of the number `other`, if it is one of the same kind from the same pack as that of `number`. Blobs of a pack
    /// have numbers in a row, in the order in which they lie, for they are read so from an index.
    pub(crate) fn beside(&self, number: usize, other: usize) -> Option<Entry> {
        let beside = (other < self.count).then(|| self.slot(other + 1))?;
        (beside.pack == self.slot(number + 1).pack).then(|| entry(beside))
    }

    /// A number for a pack; its name may follow with [`Index::name_pack`].
    pub fn add_pack(&mut self, id: Id) -> PackNumber {
        self.packs.push(id);
        // 2^31 packs of any size are more than all blobs of a repository.
        PackNumber(u32::try_from(self.packs.len() - 1).unwrap_or(0) & !TREE)
    }

    /// Gives a pack the name it has only now that it is complete.
    pub fn name_pack(&mut self, pack: PackNumber, id: Id) {
        if let Some(name) = self.packs.get_mut(pack.0 as usize) {
            *name = id;
        }
    }

    /// Notes a blob. One that is known already stays where it was first found.
    pub fn insert(&mut self, pack: PackNumber, entry: &Entry) {
        self.make_room(self.count + 1);
        let Err(free) = self.probe(entry.kind, &entry.id) else {
            return;
        };
        if self.count.is_multiple_of(RUN) {
            self.runs.push(Vec::with_capacity(RUN));
        }
        let tree = if entry.kind == BlobKind::Tree {
            TREE
        } else {
            0
        };
        if let Some(run) = self.runs.last_mut() {
            run.push(Slot {
                id: entry.id,
                pack: pack.0 | tree,
                offset: entry.offset,
                length: entry.length,
                uncompressed: entry.uncompressed.unwrap_or(u32::MAX),
            });
        }
        self.count += 1;
        // Memory ends long before 2^32 blobs.
        self.table[free] = u32::try_from(self.count).unwrap_or(0);
    }

    /// Where a blob lies: the pack's number and the place in it.
    #[must_use]
    pub fn find(&self, kind: BlobKind, id: &Id) -> Option<(PackNumber, Entry)> {
        let slot = self.slot(self.place_of(kind, id)?);
        Some((PackNumber(slot.pack & !TREE), entry(slot)))
    }

    /// Number of a blob's slot, counted from 1.
    fn place_of(&self, kind: BlobKind, id: &Id) -> Option<usize> {
        match self.table.is_empty() {
            true => None,
            false => self.probe(kind, id).ok(),
        }
    }

    /// Number of a blob's slot, counted from 1, or the free place in the table, which is never full, where that belongs.
    fn probe(&self, kind: BlobKind, id: &Id) -> Result<usize, usize> {
        let mask = self.table.len() - 1;
        let mut at = place(id) & mask;
        loop {
            let number = self.table[at] as usize;
            if number == 0 {
                return Err(at);
            }
            let slot = self.slot(number);
            if slot.id == *id && slot_kind(slot) == kind {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
    }

    /// Is the blob known?
    #[must_use]
    pub fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        self.find(kind, id).is_some()
    }

    /// The name of a pack.
    #[must_use]
    pub fn pack(&self, number: PackNumber) -> Id {
        self.packs
            .get(number.0 as usize)
            .copied()
            .unwrap_or_default()
    }

    /// All blobs with their packs, in the order they became known.
    pub fn iter(&self) -> impl Iterator<Item = (PackNumber, Entry)> + '_ {
        let slots = self.runs.iter().flatten();
        slots.map(|slot| (PackNumber(slot.pack & !TREE), entry(slot)))
    }

    fn slot(&self, number: usize) -> &Slot {
        &self.runs[(number - 1) / RUN][(number - 1) % RUN]
    }

    fn enter(&mut self, number: usize) {
        let mask = self.table.len() - 1;
        let mut at = place(&self.slot(number).id) & mask;
        while self.table[at] != 0 {
            at = (at + 1) & mask;
        }
        // Memory ends long before 2^32 blobs.
        self.table[at] = u32::try_from(number).unwrap_or(0);
    }

    /// Makes the table ready for so many blobs: who knows their number spares it from growing step by step.
    pub(crate) fn make_room(&mut self, blobs: usize) {
        let mut size = self.table.len().max(1024);
        while blobs.saturating_mul(4) > size.saturating_mul(3) {
            size *= 2;
        }
        if size == self.table.len() {
            return;
        }
        self.table = Vec::new();
        self.table = vec![0; size];
        for number in 1..=self.count {
            self.enter(number);
        }
    }

    /// Takes in the JSON of an index file.
    ///
    /// # Errors
    /// Not the JSON of an index. What was read before the fault stays known.
    pub fn read(&mut self, json: &[u8]) -> Result<()> {
        read_packs(json, &mut |pack, entries, mark| {
            self.take_pack(pack, &entries, mark.is_some());
        })
    }

    /// Takes in a pack of an index file; of one that is marked for removal only its name.
    pub(crate) fn take_pack(&mut self, pack: Id, entries: &[Entry], marked: bool) {
        if marked {
            self.marked.push(pack);
            return;
        }
        let number = self.add_pack(pack);
        for entry in entries {
            self.insert(number, entry);
        }
    }
}

fn place(id: &Id) -> usize {
    // Any part of a digest will do.
    usize::try_from(id.prefix() & 0xffff_ffff).unwrap_or(0)
}

const fn slot_kind(slot: &Slot) -> BlobKind {
    if slot.pack & TREE == 0 {
        BlobKind::Data
    } else {
        BlobKind::Tree
    }
}

fn entry(slot: &Slot) -> Entry {
    Entry {
        id: slot.id,
        kind: slot_kind(slot),
        offset: slot.offset,
        length: slot.length,
        uncompressed: (slot.uncompressed != u32::MAX).then_some(slot.uncompressed),
    }
}

/// When a pack was marked for removal. rustic marks packs in the same way; restic does not see marked packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// At this time.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(number: u32) -> Entry {
        Entry {
            id: Id::of(&number.to_le_bytes()),
            kind: if number.is_multiple_of(3) {
                BlobKind::Tree
            } else {
                BlobKind::Data
            },
            offset: number,
            length: number + 40,
            uncompressed: number.is_multiple_of(2).then_some(number + 7),
        }
    }

    #[test]
    fn everything_inserted_is_found_and_nothing_else() {
        let mut index = Index::default();
        assert!(!index.contains(BlobKind::Data, &Id::default()));
        let pack = index.add_pack(Id::of(b"pack"));
        for number in 0..50_000 {
            index.insert(pack, &blob(number));
            index.insert(pack, &blob(number));
        }
        assert_eq!(index.len(), 50_000);
        for number in 0..50_000 {
            let expected = blob(number);
            assert_eq!(
                index.find(expected.kind, &expected.id),
                Some((pack, expected))
            );
        }
        assert!(
            !index.contains(BlobKind::Data, &blob(0).id),
            "a tree is not data"
        );
        assert!(!index.contains(BlobKind::Data, &blob(50_000).id));
        assert_eq!(index.iter().count(), 50_000);
    }

    #[test]
    fn what_other_programs_write_as_null_is_nothing() {
        let (pack, id) = (Id::of(b"p"), Id::of(b"b"));
        // As rustic writes a blob that is not compressed, and Go a list that was never made.
        let blob = format!(
            r#"{{"id":"{id}","type":"data","offset":0,"length":53,"uncompressed_length":null}}"#
        );
        let json = format!(
            r#"{{"supersedes":null,"packs":[{{"id":"{pack}","blobs":[{blob}],"time":null}},{{"id":"{id}","blobs":null}}],"packs_to_delete":null}}"#
        );
        let mut index = Index::default();
        index.read(json.as_bytes()).unwrap();
        let (_, entry) = index.find(BlobKind::Data, &id).unwrap();
        assert_eq!((entry.length, entry.uncompressed), (53, None));
        assert_eq!(index.len(), 1);
        index.read(br#"{"packs":null}"#).unwrap();
        for nonsense in [r#"{"packs":1}"#, r#"{"packs":"x"}"#, r#"{"packs":{}}"#] {
            assert!(index.read(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn an_index_reads_back_and_ignores_fields_it_does_not_know() {
        let packs = vec![
            (Id::of(b"p"), (0..10).map(blob).collect::<Vec<_>>()),
            (Id::of(b"q"), vec![blob(11)]),
        ];
        let json = String::from_utf8(to_json(&packs)).unwrap();
        let json = json.replacen('{', r#"{"supersedes":["x"],"new":{"a":[1]},"#, 1);
        let mut read = Vec::new();
        read_packs(json.as_bytes(), &mut |id, entries, _| {
            read.push((id, entries))
        })
        .unwrap();
        assert_eq!(read, packs);
        for cut in 0..json.len() {
            assert!(read_packs(&json.as_bytes()[..cut], &mut |_, _, _| {}).is_err());
        }
    }

    #[test]
    fn marked_packs_are_read_back_and_their_blobs_count_as_absent() {
        let mark = Mark {
            at: Timestamp::new(1_790_000_000, 0),
        };
        let json = to_json_with_marks(
            &[(Id::of(b"p"), vec![blob(1)])],
            &[(Id::of(b"q"), vec![blob(2)], mark)],
        );
        let mut marks = Vec::new();
        read_packs(&json, &mut |id, entries, mark| {
            marks.push((id, entries.len(), mark));
        })
        .unwrap();
        let expected = [(Id::of(b"p"), 1, None), (Id::of(b"q"), 1, Some(mark))];
        assert_eq!(marks, expected);
        let mut index = Index::default();
        index.read(&json).unwrap();
        assert_eq!((index.len(), index.marked()), (1, &[Id::of(b"q")][..]));
    }
}
