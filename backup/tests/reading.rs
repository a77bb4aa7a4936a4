//! How much is asked of a store to read what lies in it: few requests, and little that nobody wants. Measures no time.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
mod pass_on;

use homing_backup::Id;
use homing_backup::archiver::{self, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::pack::BlobKind;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::{Class, Kind, LocalStore, MemoryStore, Name, Store, StoreError};
use homing_backup::verify::{self, Depth};
use oracle::{PASSWORD, Restic};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Packs of the repositories here.
const PACK_BYTES: u64 = 4 << 20;
/// Files in each of the folders.
const FILES: u64 = 40;
/// Folders in each of the folders that hold any.
const FOLDERS: u64 = 12;

fn repository() -> Repository<MemoryStore> {
    forest::repository(MemoryStore::default(), PASSWORD)
}

fn back_up<S: Store>(repository: &Repository<S>, path: &Path) -> Id {
    let (options, clock) = (forest::options(), SystemClock);
    archiver::backup(repository, &[path], &options, &clock, &mut Unobserved)
        .unwrap()
        .snapshot
        .tree
}

/// Folders with files and folders in turn, so that neither order of them is that of the packs: some 27 MB of noise.
fn fill(root: &Path, seed: u64) {
    for number in 0..FOLDERS {
        let outer = root.join(format!("{:02}", number * 7 % FOLDERS));
        for place in 0..FILES {
            let name = format!("{:02}", place * 3 % FILES);
            let inner = outer.join(format!("{:02}-inner", place % 4 * 10));
            std::fs::create_dir_all(&inner).unwrap();
            let content = |more| {
                let seed = seed + number * 1_000 + place * 10 + more;
                forest::noise(
                    seed,
                    usize::try_from(5_000 + seed * 7_919 % 50_000).unwrap(),
                )
            };
            std::fs::write(outer.join(&name), content(1)).unwrap();
            std::fs::write(inner.join(&name), content(2)).unwrap();
        }
    }
}

/// Restores into a new folder as the command does; returns requests, bytes asked for, and the folder.
fn restored(
    repository: &Repository<MemoryStore>,
    tree: Id,
    paths: Vec<PathBuf>,
) -> (u64, u64, tempfile::TempDir) {
    let mut reader = Reader::new(repository).unwrap();
    let store = repository.store();
    let before = (store.ranges_read(), store.range_bytes_asked());
    let target = tempfile::tempdir().unwrap();
    let (selection, to) = (Selection { paths }, target.path());
    restore::plan(&mut reader, tree, &selection, to).unwrap();
    let (keep, mut unwatched) = (Conflicts::Keep, Unwatched);
    let done = restore::execute(&mut reader, tree, &selection, to, keep, &mut unwatched).unwrap();
    assert_eq!((done.errors, done.already_there), (0, 0));
    (
        store.ranges_read() - before.0,
        store.range_bytes_asked() - before.1,
        target,
    )
}

fn sealed_bytes(repository: &Repository<MemoryStore>, kind: BlobKind) -> u64 {
    let index = repository.load_index().unwrap();
    let blobs = index.iter().filter(|(_, entry)| entry.kind == kind);
    blobs.map(|(_, entry)| u64::from(entry.length)).sum()
}

#[test]
fn a_restore_asks_for_each_pack_about_once_and_for_hardly_more_than_it_needs() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    fill(&path, 0);
    let tree = back_up(&repository, &path);
    let (requests, asked, target) = restored(&repository, tree, Vec::new());
    let data = sealed_bytes(&repository, BlobKind::Data);
    let packs = data.div_ceil(PACK_BYTES);
    assert!(packs >= 6, "{data}");
    assert!(
        requests <= 2 * packs + 4,
        "{requests} requests, {packs} packs"
    );
    // The trees are read twice: for the plan, and for the deed.
    let needed = data + 2 * sealed_bytes(&repository, BlobKind::Tree);
    assert!(asked <= needed + needed / 50, "{asked} of {needed} bytes");
    let inside = target.path().join(path.strip_prefix("/").unwrap());
    forest::assert_same(&path, &inside);
}

#[test]
fn what_other_snapshots_and_other_files_left_between_is_not_asked_for() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    fill(&path, 0);
    back_up(&repository, &path);
    // One file of 200 KB between those of each folder: what is chosen lies far apart.
    let chosen: Vec<PathBuf> = (0..FOLDERS)
        .map(|number| path.join(format!("{number:02}/05-chosen")))
        .collect();
    for (seed, file) in (50_000..).zip(&chosen) {
        std::fs::write(file, forest::noise(seed, 200_000)).unwrap();
    }
    fill(&path, 100_000);
    let tree = back_up(&repository, &path);
    let (requests, asked, _target) = restored(&repository, tree, chosen);
    assert!(requests <= 2 * FOLDERS + 8, "{requests}");
    let needed = FOLDERS * 200_100 + 2 * sealed_bytes(&repository, BlobKind::Tree);
    let holes = FOLDERS * (128 << 10);
    assert!(asked <= needed + holes, "{asked} of {needed} bytes");
}

#[test]
fn verifying_a_structure_reads_trees_that_lie_side_by_side_together() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    for number in 0..300 {
        let folder = path.join(format!("{}/{number}", number % 10));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), number.to_string()).unwrap();
    }
    back_up(&repository, &path);
    let before = repository.store().ranges_read();
    let findings = verify::verify(&repository, Depth::Structure, &mut |_, _| false).unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
    let requests = repository.store().ranges_read() - before;
    assert!(requests <= 30, "{requests} for some 310 trees");
}

#[test]
fn a_pack_that_was_cut_short_costs_only_what_lay_behind_the_cut() {
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    for name in ["a", "b", "c"] {
        let content = forest::noise(u64::from(name.as_bytes()[0]), 100_000);
        std::fs::write(path.join(name), content).unwrap();
    }
    let tree = back_up(&repository, &path);
    let index = repository.load_index().unwrap();
    let data = |entry: &homing_backup::pack::Entry| entry.kind == BlobKind::Data;
    let (number, _) = index.iter().find(|(_, entry)| data(entry)).unwrap();
    let name = Name::File(Kind::Pack, index.pack(number));
    repository.store().tamper(name, |mut bytes| {
        bytes.truncate(250_000);
        Some(bytes)
    });
    let mut reader = Reader::new(&repository).unwrap();
    let target = tempfile::tempdir().unwrap();
    let (all, to, keep) = (Selection::default(), target.path(), Conflicts::Keep);
    restore::plan(&mut reader, tree, &all, to).unwrap();
    let done = restore::execute(&mut reader, tree, &all, to, keep, &mut Unwatched).unwrap();
    assert_eq!((done.files, done.errors), (2, 1));
}

/// A store of whose packs a stretch cannot be read: every request that touches it fails for good.
struct Worn {
    inner: MemoryStore,
    stretch: std::ops::Range<u64>,
    requests: Cell<u64>,
    bytes: Cell<u64>,
}

impl Store for Worn {
    pass_on::pass_on!(inner: prepare, list, size, get, put, remove);

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.inner.get_range(name, offset, length, buffer)?;
        // Trees lie in packs of their own, which are small.
        if self.inner.size(name)? < 1 << 20 {
            return Ok(());
        }
        self.requests.set(self.requests.get() + 1);
        self.bytes.set(self.bytes.get() + length as u64);
        let end = offset + length as u64;
        if offset < self.stretch.end && self.stretch.start < end {
            return Err(StoreError {
                what: "reading",
                subject: name.to_string(),
                reason: "the disk has a bad sector there".into(),
                class: Class::Permanent,
            });
        }
        Ok(())
    }
}

#[test]
fn a_stretch_of_a_pack_that_cannot_be_read_costs_what_lies_on_it_and_few_more_bytes() {
    const FILES: u64 = 60;
    let repository = repository();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    for number in 0..FILES {
        let content = forest::noise(number, 50_000);
        std::fs::write(path.join(format!("{number:02}")), content).unwrap();
    }
    let tree = back_up(&repository, &path);
    let index = repository.load_index().unwrap();
    let data = index
        .iter()
        .filter(|(_, entry)| entry.kind == BlobKind::Data);
    let mut spans: Vec<(u64, u64)> = data
        .map(|(_, entry)| (u64::from(entry.offset), u64::from(entry.length)))
        .collect();
    spans.sort_unstable();
    assert_eq!(spans.len() as u64, FILES, "one pack, a blob for each file");
    let whole: u64 = spans.iter().map(|(_, length)| length).sum();
    let (from, length) = spans[spans.len() - 5];
    let worn = Worn {
        inner: repository.store().clone(),
        stretch: from + length / 2..from + length / 2 + 512,
        requests: Cell::new(0),
        bytes: Cell::new(0),
    };
    let worn = Repository::open(worn, PASSWORD.as_bytes()).unwrap();
    let mut reader = Reader::new(&worn).unwrap();
    let target = tempfile::tempdir().unwrap();
    let (all, to, keep) = (Selection::default(), target.path(), Conflicts::Keep);
    restore::plan(&mut reader, tree, &all, to).unwrap();
    let done = restore::execute(&mut reader, tree, &all, to, keep, &mut Unwatched).unwrap();
    assert_eq!((done.files, done.errors), (FILES - 1, 1));
    let (requests, bytes) = (worn.store().requests.get(), worn.store().bytes.get());
    // Once as a whole in vain, then piece by piece; asking for the rest of the pack with each file would be thirty times that.
    assert!(bytes <= 3 * whole, "{bytes} bytes asked for, of {whole}");
    assert!(requests <= 2 * FILES, "{requests} requests");
}

/// A folder that is said to take its time; counts what its second way is asked for.
#[derive(Clone)]
struct Far {
    folder: LocalStore,
    /// Is this the second way?
    second: bool,
    works: bool,
    asked: Arc<[AtomicU64; 2]>,
    /// Requests on the second.
    times: Arc<AtomicU64>,
}

impl Store for Far {
    pass_on::pass_on!(folder: prepare, list, size, get, put, remove);

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let asked = &self.asked[usize::from(self.second)];
        asked.fetch_add(length as u64, Ordering::SeqCst);
        self.times.fetch_add(self.second.into(), Ordering::SeqCst);
        if self.second && !self.works {
            return Err(StoreError {
                what: "reading",
                subject: name.to_string(),
                reason: "the second way is closed".into(),
                class: Class::Temporary,
            });
        }
        self.folder.get_range(name, offset, length, buffer)
    }

    fn ahead(&self) -> Option<Box<dyn Store + Send>> {
        let second = true;
        Some(Box::new(Self {
            second,
            ..self.clone()
        }))
    }
}

#[test]
fn what_comes_next_is_fetched_ahead_and_little_twice_and_a_failure_of_that_costs_nothing() {
    for works in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let far = Far {
            folder: LocalStore::new(folder.path()),
            second: false,
            works,
            asked: Arc::default(),
            times: Arc::default(),
        };
        let (asked, times) = (Arc::clone(&far.asked), Arc::clone(&far.times));
        let repository = forest::repository(far, PASSWORD);
        let source = tempfile::tempdir().unwrap();
        let path = source.path().canonicalize().unwrap();
        fill(&path, 0);
        let tree = back_up(&repository, &path);
        asked
            .iter()
            .for_each(|bytes| bytes.store(0, Ordering::SeqCst));
        let mut reader = Reader::new(&repository).unwrap();
        reader.fetch_ahead();
        let target = tempfile::tempdir().unwrap();
        let (all, to, keep) = (Selection::default(), target.path(), Conflicts::Keep);
        restore::plan(&mut reader, tree, &all, to).unwrap();
        let done = restore::execute(&mut reader, tree, &all, to, keep, &mut Unwatched).unwrap();
        assert_eq!((done.errors, done.already_there), (0, 0));
        let inside = target.path().join(path.strip_prefix("/").unwrap());
        forest::assert_same(&path, &inside);
        let [first, second] = [0, 1].map(|way| asked[way].load(Ordering::SeqCst));
        let index = repository.load_index().unwrap();
        let data = index
            .iter()
            .filter(|(_, entry)| entry.kind == BlobKind::Data);
        let data: u64 = data.map(|(_, entry)| u64::from(entry.length)).sum();
        if works {
            assert!(second > data / 2, "{second} of {data} bytes");
            // With the trees, which are read twice, and what had to go before it was used: how much depends on who is quicker.
            let both = first + second;
            assert!(both <= data + data / 2, "{both} for {data} bytes");
        } else {
            assert!(second > 0 && first >= data, "{first}, {second} of {data}");
            // A way that has failed may take its time to fail again.
            assert_eq!(times.load(Ordering::SeqCst), 1);
        }
    }
}

#[test]
fn a_repository_of_restics_is_read_in_few_requests_too() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    restic.run(&["init", "--repository-version", "2"]);
    let source = tempfile::tempdir().unwrap();
    let path = source.path().canonicalize().unwrap();
    fill(&path, 0);
    restic.run(&["backup", path.to_str().unwrap()]);
    let local = LocalStore::new(folder.path());
    let memory = MemoryStore::default();
    memory
        .put(Name::Config, &local.get(Name::Config).unwrap())
        .unwrap();
    for kind in Kind::ALL {
        let mut ids = Vec::new();
        local.list(kind, &mut |id, _| ids.push(id)).unwrap();
        for id in ids {
            let name = Name::File(kind, id);
            memory.put(name, &local.get(name).unwrap()).unwrap();
        }
    }
    let theirs = Repository::open(memory, PASSWORD.as_bytes()).unwrap();
    let tree = theirs.snapshots().unwrap()[0].1.tree;
    let (requests, asked, target) = restored(&theirs, tree, Vec::new());
    let needed = sealed_bytes(&theirs, BlobKind::Data) + 2 * sealed_bytes(&theirs, BlobKind::Tree);
    // How restic spreads neighbours over its packs is another way each time: 11 to 20 requests, up to 1.6 times the bytes.
    assert!(requests <= 60, "{requests} for some thousand files");
    assert!(asked <= 2 * needed, "{asked} of {needed} bytes");
    let inside = target.path().join(path.strip_prefix("/").unwrap());
    forest::assert_same(&path, &inside);
}
