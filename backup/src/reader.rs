//! Blobs on their way out of the repository, neighbours read together. Changes nothing.

use crate::ahead::{Ahead, Piece};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Index, PackNumber};
use crate::pack::{BlobKind, Entry};
use crate::repository::Repository;
use crate::store::{Class, Kind, Name, Store};
use crate::tree::{self, Node};
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes read at once and held at most, for each kind: a pack of data as ours are made, which are up to a quarter larger than
/// they should be, and some of the one before; and as much of the trees as lies side by side.
const LIMITS: [Limits; 2] = [
    Limits {
        at_once: 10 << 20,
        held: 14 << 20,
    },
    Limits {
        at_once: 1 << 20,
        held: 3 << 20,
    },
];
/// Bytes of data read at once where the next piece is fetched meanwhile: two of them, and little more, are held instead of one.
const AHEAD_AT_ONCE: u64 = 6 << 20;
/// Where an index holds more blobs than this, some 14 MiB of it, its memory is not spent on fetching ahead.
const MOST_BLOBS_AHEAD: usize = 250_000;
/// Pieces of packs held at once, for each kind: programs that fill several packs at a time spread a file's neighbours over them.
const WINDOWS: usize = 6;
/// What nobody wants is read along where it is less than this: a request costs a server, and us, about as much.
const HOLE_BYTES: u64 = 128 << 10;
/// Bytes read ahead at first by those who do not say what they will want.
const FIRST_AHEAD: u64 = 64 << 10;
/// And at most.
const MOST_AHEAD: u64 = 1 << 20;

#[derive(Clone, Copy)]
struct Limits {
    at_once: u64,
    held: u64,
}

/// Loads blobs of one repository. Who says before what will be wanted ([`Reader::want`]) gets it in few requests, and little else.
pub struct Reader<'r, S> {
    repository: &'r Repository<S>,
    index: Index,
    /// A bit for each blob of the index.
    wanted: Vec<u64>,
    shelves: [Shelf; 2],
    ahead: Option<Ahead>,
    /// From this number on nothing is left to fetch ahead.
    end: usize,
    /// Room for the next piece that is fetched ahead.
    spare: Vec<u8>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

/// What is held of one kind.
struct Shelf {
    limits: Limits,
    /// The last used is last.
    windows: VecDeque<Window>,
    /// What is wanted was told.
    told: bool,
    /// Bytes to read at once now: less where what was read had to go before it was used, as with neighbours in many packs.
    at_once: u64,
    /// Bytes to read ahead where nothing was told.
    ahead: u64,
}

/// A piece of a pack, sealed.
struct Window {
    pack: PackNumber,
    /// Where it lies in the pack, as it was asked for.
    range: Range<u64>,
    /// What came: less, where the pack is shorter than its index says.
    bytes: Vec<u8>,
    /// Bytes of it that are wanted and were not used yet.
    unused: u64,
}

impl<S> std::fmt::Debug for Reader<'_, S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Reader({:?})", self.index)
    }
}

impl<'r, S: Store> Reader<'r, S> {
    /// Loads the repository's index.
    ///
    /// # Errors
    /// An index file cannot be loaded.
    pub fn new(repository: &'r Repository<S>) -> Result<Self> {
        Ok(Self::with_index(repository, repository.load_index()?))
    }

    /// With an index that was loaded otherwise.
    #[must_use]
    pub fn with_index(repository: &'r Repository<S>, index: Index) -> Self {
        Self {
            repository,
            index,
            wanted: Vec::new(),
            shelves: LIMITS.map(Shelf::new),
            ahead: None,
            end: usize::MAX,
            spare: Vec::new(),
            sealed: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// The repository.
    #[must_use]
    pub const fn repository(&self) -> &'r Repository<S> {
        self.repository
    }

    /// The index.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Says that a blob will be asked for, once or more: it may be read together with others that are wanted, and from now on
    /// nothing else of its kind is read ahead. `false` when no index names it.
    pub fn want(&mut self, kind: BlobKind, id: &Id) -> bool {
        let Some(number) = self.index.number(kind, id) else {
            return false;
        };
        self.shelves[shelf_of(kind)].told = true;
        self.end = usize::MAX;
        if self.wanted.is_empty() {
            self.wanted.resize(self.index.len().div_ceil(64), 0);
        }
        if let Some(bits) = self.wanted.get_mut(number / 64) {
            *bits |= 1 << (number % 64);
        }
        true
    }

    /// From now on the next piece of the packs with what is wanted is fetched while the last one is used, where the store
    /// takes its time to answer. For who takes blobs mostly in the order in which they were stored.
    pub fn fetch_ahead(&mut self) {
        if self.index.len() > MOST_BLOBS_AHEAD {
            return;
        }
        self.ahead = self.repository.store().ahead().and_then(Ahead::start);
        if self.ahead.is_some() {
            let shelf = &mut self.shelves[shelf_of(BlobKind::Data)];
            shelf.limits.at_once = AHEAD_AT_ONCE;
            shelf.at_once = shelf.at_once.min(AHEAD_AT_ONCE);
        }
    }

    /// A blob's checked content, valid until the next call.
    ///
    /// # Errors
    /// It is in no index, its pack cannot be read, or it is damaged.
    pub fn blob(&mut self, kind: BlobKind, id: &Id) -> Result<&[u8]> {
        let number = self.index.number(kind, id).ok_or(Error::NoSuchBlob(*id))?;
        let (pack, entry) = self.index.at(number);
        let held = self.shelves[shelf_of(kind)].take(pack, &entry);
        let mut window = match held {
            Some(window) => window,
            None => match self.fetched(pack, &entry) {
                Some(window) => window,
                None => self.load(number)?,
            },
        };
        if let Some(bits) = self.wanted.get_mut(number / 64)
            && *bits & 1 << (number % 64) != 0
        {
            *bits &= !(1 << (number % 64));
            window.unused = window.unused.saturating_sub(entry.length.into());
        }
        self.sealed.clear();
        self.sealed.extend_from_slice(window.part(&entry));
        self.order_next(number, &window);
        self.shelves[shelf_of(kind)].windows.push_back(window);
        let name = self.index.pack(pack);
        self.repository
            .open_blob(name, &entry, &mut self.sealed, &mut self.plain)?;
        Ok(&self.plain)
    }

    /// A folder's entries.
    ///
    /// # Errors
    /// As [`Reader::blob`], or it is not a tree.
    pub fn tree(&mut self, id: &Id) -> Result<Vec<Node>> {
        tree::parse(self.blob(BlobKind::Tree, id)?)
    }

    /// A folder's entries, by one who will go on with all the folders among them.
    ///
    /// # Errors
    /// As [`Reader::tree`].
    pub fn tree_with_all_below(&mut self, id: &Id) -> Result<Vec<Node>> {
        let nodes = self.tree(id)?;
        for tree in nodes.iter().filter_map(|node| node.subtree) {
            self.want(BlobKind::Tree, &tree);
        }
        Ok(nodes)
    }

    /// Plain length of a blob in bytes, without loading it.
    #[must_use]
    pub fn plain_length(&self, id: &Id) -> Option<u64> {
        let (_, entry) = self.index.find(BlobKind::Data, id)?;
        let overhead = u32::try_from(crate::crypto::OVERHEAD_BYTES).unwrap_or(0);
        Some(u64::from(
            entry
                .uncompressed
                .unwrap_or(entry.length.saturating_sub(overhead)),
        ))
    }

    /// The window with a blob, if it is the one that was fetched ahead; another one that has come is put to the rest.
    fn fetched(&mut self, pack: PackNumber, entry: &Entry) -> Option<Window> {
        if entry.kind != BlobKind::Data {
            return None;
        }
        let own = span(entry);
        let (piece, bytes) = self.ahead.as_mut()?.take(pack, &own)?;
        let shelf = &mut self.shelves[shelf_of(BlobKind::Data)];
        self.spare = shelf.make_room(bytes.capacity() as u64);
        let window = Window {
            pack: piece.pack,
            range: piece.range,
            bytes,
            unused: piece.wanted,
        };
        if window.holds(pack, &own) {
            return Some(window);
        }
        shelf.windows.push_back(window);
        None
    }

    /// Orders the piece that will be wanted after this window, which holds the blob of that number.
    fn order_next(&mut self, number: usize, window: &Window) {
        let is_idle = self.ahead.as_ref().is_some_and(Ahead::is_idle);
        if !is_idle || number >= self.end || self.index.at(number).1.kind != BlobKind::Data {
            return;
        }
        let shelf = &self.shelves[shelf_of(BlobKind::Data)];
        let next = (number + 1..self.index.len()).find(|number| {
            if !self.is_wanted(*number) {
                return false;
            }
            let (pack, entry) = self.index.at(*number);
            let held = |window: &Window| window.holds(pack, &span(&entry));
            entry.kind == BlobKind::Data && !held(window) && !shelf.windows.iter().any(held)
        });
        let Some(next) = next else {
            self.end = number;
            return;
        };
        let (pack, entry) = self.index.at(next);
        let (range, wanted) = self.forwards(next, &span(&entry), shelf.at_once, true);
        let piece = Piece {
            pack,
            range,
            wanted,
        };
        let name = Name::File(Kind::Pack, self.index.pack(pack));
        if let Some(ahead) = &mut self.ahead {
            ahead.order(name, piece, std::mem::take(&mut self.spare));
        }
    }

    /// Reads a blob and its surroundings.
    fn load(&mut self, number: usize) -> Result<Window> {
        let (pack, entry) = self.index.at(number);
        let (range, unused) = self.surroundings(number);
        let shelf = &mut self.shelves[shelf_of(entry.kind)];
        let mut bytes = shelf.make_room(range.end - range.start);
        let name = Name::File(Kind::Pack, self.index.pack(pack));
        let store = self.repository.store();
        let mut get = |range: &Range<u64>| {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            store.get_range(name, range.start, length, &mut bytes)
        };
        let own = span(&entry);
        let (range, unused) = match get(&range) {
            Ok(()) => (range, unused),
            // What cannot be read may be a neighbour; less is read at once from here on, and only the blob itself is held.
            Err(error) if error.class == Class::Permanent && range != own => {
                get(&own)?;
                shelf.at_once = FIRST_AHEAD;
                let wanted = unused.min(entry.length.into());
                (own, wanted)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Window {
            pack,
            range,
            bytes,
            unused,
        })
    }

    /// What to read along with a blob: wanted neighbours, first those behind it, for that is the order of most. And how many
    /// bytes of that are wanted.
    fn surroundings(&mut self, number: usize) -> (Range<u64>, u64) {
        let (pack, entry) = self.index.at(number);
        let own = span(&entry);
        let shelf = &mut self.shelves[shelf_of(entry.kind)];
        let most = shelf.most_now(pack, &own);
        let told = shelf.told;
        let (mut range, mut unused) = self.forwards(number, &own, most, told);
        // Those who do not tell go forward.
        let before = (0..number)
            .rev()
            .take_while(|_| told)
            .map_while(|at| Some((at, self.index.beside(number, at)?)));
        for (at, other) in before {
            let other = span(&other);
            if other.end > range.start
                || range.start - other.end > HOLE_BYTES
                || range.end - other.start > most
            {
                break;
            }
            if self.is_wanted(at) {
                unused += other.end - other.start;
                range.start = other.start;
            }
        }
        // Where nothing was told nobody counts what is used.
        (range, if told { unused } else { 0 })
    }

    /// A blob with those behind it in its pack, all or the wanted ones, as far as they are read along; and how many bytes of
    /// that are wanted.
    fn forwards(
        &self,
        number: usize,
        own: &Range<u64>,
        most: u64,
        told: bool,
    ) -> (Range<u64>, u64) {
        let mut range = own.clone();
        let mut unused = if self.is_wanted(number) {
            own.end - own.start
        } else {
            0
        };
        let behind = (number + 1..).map_while(|at| Some((at, self.index.beside(number, at)?)));
        for (at, other) in behind {
            let other = span(&other);
            if other.start < range.end
                || other.start - range.end > HOLE_BYTES
                || other.end - range.start > most
            {
                break;
            }
            if !told || self.is_wanted(at) {
                unused += other.end - other.start;
                range.end = other.end;
            }
        }
        (range, unused)
    }

    fn is_wanted(&self, number: usize) -> bool {
        let bits = self.wanted.get(number / 64).copied().unwrap_or(0);
        bits & 1 << (number % 64) != 0
    }
}

impl Shelf {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            windows: VecDeque::new(),
            told: false,
            at_once: limits.at_once,
            ahead: FIRST_AHEAD,
        }
    }

    /// The window that holds a blob, out of its row.
    fn take(&mut self, pack: PackNumber, entry: &Entry) -> Option<Window> {
        let own = span(entry);
        let holds = |window: &Window| window.holds(pack, &own);
        let place = self.windows.iter().rposition(holds)?;
        self.windows.remove(place)
    }

    /// How many bytes may be read now. Where nothing was told, reading on where the last piece ended pays for reading more;
    /// jumping about does not.
    fn most_now(&mut self, pack: PackNumber, own: &Range<u64>) -> u64 {
        if self.told {
            return self.at_once;
        }
        let goes_on = self.windows.back().is_some_and(|last| {
            last.pack == pack && (last.range.end..=last.range.end + self.ahead).contains(&own.start)
        });
        self.ahead = match goes_on {
            true => (self.ahead * 2).min(MOST_AHEAD),
            false => FIRST_AHEAD,
        };
        self.ahead
    }

    /// Lets windows go until so many bytes fit, first those that are used up; returns a buffer, if possible one of theirs.
    fn make_room(&mut self, bytes: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        loop {
            let held: u64 = self.windows.iter().map(Window::memory).sum();
            if self.windows.len() < WINDOWS && held + bytes <= self.limits.held {
                return buffer;
            }
            let used_up = self.windows.iter().position(|window| window.unused == 0);
            let Some(gone) = self.windows.remove(used_up.unwrap_or(0)) else {
                return buffer;
            };
            self.at_once = match gone.unused {
                0 => (self.at_once + self.at_once / 8).min(self.limits.at_once),
                _ => (self.at_once / 2).max(FIRST_AHEAD),
            };
            // One that is far too large would be held for little.
            let memory = gone.memory();
            buffer = match (bytes..=bytes.saturating_mul(2)).contains(&memory) {
                true => gone.bytes,
                false => Vec::new(),
            };
        }
    }
}

impl Window {
    fn holds(&self, pack: PackNumber, part: &Range<u64>) -> bool {
        self.pack == pack && self.range.start <= part.start && part.end <= self.range.end
    }

    fn memory(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    /// The bytes of a blob within it, as far as they came.
    fn part(&self, entry: &Entry) -> &[u8] {
        let own = span(entry);
        let place = |at: u64| {
            let at = usize::try_from(at - self.range.start).unwrap_or(usize::MAX);
            at.min(self.bytes.len())
        };
        &self.bytes[place(own.start)..place(own.end)]
    }
}

const fn shelf_of(kind: BlobKind) -> usize {
    match kind {
        BlobKind::Data => 0,
        BlobKind::Tree => 1,
    }
}

/// Where a blob lies in its pack.
fn span(entry: &Entry) -> Range<u64> {
    let start = u64::from(entry.offset);
    start..start + u64::from(entry.length)
}
