//! Runs that are told what may have changed: the same trees as a look at everything, at a cost that grows with the changes.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use forest::{Forest, Random};
use homing_backup::archiver::{self, Changes, Done, Looked, Options, Reach, Unobserved};
use homing_backup::clock::{Clock, FixedClock, SystemClock};
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::store::MemoryStore;
use homing_backup::{Id, Timestamp};
use oracle::PASSWORD;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Changes a tree at random and notes what it did, as a tracker would: the names in folders that it touched, no more.
struct Gardener {
    random: Random,
    root: PathBuf,
    touched: Vec<PathBuf>,
    names: u64,
}

impl Gardener {
    fn new(seed: u64, root: &Path) -> Self {
        Self {
            random: Random(seed),
            root: root.into(),
            touched: Vec::new(),
            names: 0,
        }
    }

    /// One of the entries that fit, or nothing.
    fn pick(&mut self, fits: impl Fn(&std::fs::Metadata) -> bool) -> Option<PathBuf> {
        let (mut found, mut open) = (Vec::new(), vec![self.root.clone()]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let of = path.symlink_metadata().unwrap();
                if of.is_dir() {
                    open.push(path.clone());
                }
                if fits(&of) {
                    found.push(path);
                }
            }
        }
        found.sort();
        let count = found.len() as u64;
        (count > 0).then(|| found.swap_remove(usize::try_from(self.random.below(count)).unwrap()))
    }

    /// A path where nothing is yet.
    fn place(&mut self) -> PathBuf {
        self.names += 1;
        let name = format!("new-{}", self.names);
        let folder = self.pick(std::fs::Metadata::is_dir);
        folder.unwrap_or_else(|| self.root.clone()).join(name)
    }

    fn touch(&mut self, path: PathBuf) {
        self.touched.push(path);
    }

    fn write(&mut self, path: PathBuf) {
        let length = usize::try_from(self.random.below(50_000)).unwrap();
        std::fs::write(&path, forest::noise(self.random.next(), length)).unwrap();
        self.touch(path);
    }

    fn remove(&mut self, path: PathBuf) {
        match path.symlink_metadata().unwrap().is_dir() {
            true => std::fs::remove_dir_all(&path).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
        self.touch(path);
    }

    fn grow(&mut self, path: PathBuf) {
        std::fs::create_dir_all(path.join("deep/er")).unwrap();
        std::fs::write(path.join("deep/file"), "inside").unwrap();
        std::fs::hard_link(path.join("deep/file"), path.join("deep/er/twin")).unwrap();
        self.touch(path);
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) {
        if !to.starts_with(&from) {
            std::fs::rename(&from, &to).unwrap();
            self.touch(from);
            self.touch(to);
        }
    }

    fn step(&mut self) {
        let (is_dir, is_file) = (std::fs::Metadata::is_dir, std::fs::Metadata::is_file);
        let new = self.place();
        let old = match self.random.below(2) {
            0 => self.pick(is_file),
            _ => self.pick(|_| true),
        };
        match (self.random.below(12), old) {
            (0, _) => self.write(new),
            (1, _) => self.grow(new),
            (2, Some(old)) => self.remove(old),
            (3 | 4, Some(old)) => self.rename(old, new),
            (5, Some(old)) if !old.is_symlink() => {
                let mode = [0o700, 0o755, 0o500][usize::try_from(self.random.below(3)).unwrap()];
                std::fs::set_permissions(&old, std::fs::Permissions::from_mode(mode)).unwrap();
                self.touch(old);
            }
            (6, _) => {
                if let Some(file) = self.pick(is_file) {
                    std::fs::hard_link(file, &new).unwrap();
                    self.touch(new);
                }
            }
            (7, _) => {
                // A file where a folder was.
                if let Some(folder) = self.pick(is_dir) {
                    self.remove(folder.clone());
                    self.write(folder);
                }
            }
            (8, Some(old)) => {
                // A folder where something else was, or another folder of the same name.
                self.remove(old.clone());
                self.grow(old);
            }
            (9, _) => {
                if let Some(file) = self.pick(is_file) {
                    self.write(file);
                }
            }
            (10, _) => {
                // One file takes another's place.
                if let (Some(from), Some(to)) = (self.pick(is_file), self.pick(is_file)) {
                    self.rename(from, to);
                }
            }
            (11, _) => {
                std::os::unix::fs::symlink("somewhere", &new).unwrap();
                self.touch(new);
                self.touch(self.root.join("was/never/there"));
                self.touch(PathBuf::from("/etc/elsewhere"));
            }
            _ => {}
        }
    }

    /// What was touched since the last call.
    fn changes(&mut self) -> Changes {
        let mut changes = Changes::since(None);
        for path in self.touched.drain(..) {
            changes.add(path, Reach::Entry);
        }
        changes
    }
}

fn run(
    repository: &Repository<MemoryStore>,
    folder: &Path,
    changes: Option<Changes>,
    state: Option<&Path>,
    round: i64,
) -> Done {
    // The clock runs ahead: what was made a moment ago is old enough to be believed.
    let clock = FixedClock(Timestamp::new(SystemClock.now().seconds + 10 * round, 0));
    let options = Options {
        hostname: if state.is_some() { "told" } else { "looking" }.into(),
        pack_bytes: 1 << 20,
        state: state.map(Into::into),
        ..forest::options()
    };
    archiver::archive(
        repository,
        &[folder],
        changes,
        &options,
        &clock,
        &mut Unobserved,
    )
    .unwrap()
}

fn create() -> Repository<MemoryStore> {
    let store = MemoryStore::default();
    Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap()
}

fn inner(repository: &Repository<MemoryStore>, done: &Done, folder: &Path) -> Id {
    let mut reader = Reader::new(repository).unwrap();
    forest::subtree(&mut reader, done.snapshot.tree, folder)
}

#[test]
fn changes_lead_to_the_same_trees_as_a_look_at_everything() {
    let mut followed = 0;
    for seed in 300..312 {
        let (repository, state) = (create(), tempfile::tempdir().unwrap());
        let forest = Forest::grow(seed);
        let mut gardener = Gardener::new(seed, forest.path());
        for round in 1..10 {
            let changes = Some(gardener.changes());
            let told = run(
                &repository,
                forest.path(),
                changes,
                Some(state.path()),
                round,
            );
            let looking = run(&repository, forest.path(), None, None, round);
            assert_eq!(
                inner(&repository, &told, forest.path()),
                inner(&repository, &looking, forest.path()),
                "seed {seed}, round {round}, {:?}",
                told.looked
            );
            followed += u32::from(told.looked == Looked::AtChanges);
            for _ in 0..gardener.random.below(6) {
                gardener.step();
            }
        }
    }
    assert!(
        followed > 60,
        "only {followed} of 96 runs could follow their changes"
    );
}

/// A wide tree and a state of it.
fn planted(repository: &Repository<MemoryStore>, state: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    for number in 0..40 {
        let within = path.join(format!("{number}/inner"));
        std::fs::create_dir_all(&within).unwrap();
        std::fs::write(within.join("file"), format!("{number}")).unwrap();
    }
    run(repository, &path, None, Some(state), 1);
    (folder, path)
}

fn changed(paths: &[(&Path, Reach)]) -> Option<Changes> {
    let mut changes = Changes::since(None);
    for (path, reach) in paths {
        changes.add(path.into(), *reach);
    }
    Some(changes)
}

#[test]
fn only_the_folders_on_the_way_to_a_change_are_opened() {
    let (repository, state) = (create(), tempfile::tempdir().unwrap());
    let (_folder, path) = planted(&repository, state.path());
    let file = path.join("7/inner/file");
    std::fs::write(&file, "changed").unwrap();
    // Something that nobody tells of stays as it was: it was not looked at.
    std::fs::write(path.join("8/inner/file"), "untold").unwrap();
    let before = repository.store().ranges_read();
    let told = changed(&[(&file, Reach::Entry)]);
    let done = run(&repository, &path, told, Some(state.path()), 2);
    assert_eq!(done.looked, Looked::AtChanges);
    let above = path.components().count() as u64;
    assert!(repository.store().ranges_read() - before <= above + 2);
    assert_eq!(
        (done.stored.data_blobs, done.stored.tree_blobs <= above + 2),
        (1, true)
    );
    let summary = done.snapshot.summary.unwrap();
    assert_eq!(
        (summary.files_changed, summary.total_files_processed),
        (1, 1)
    );
    // A look at everything finds the other one.
    let scan = run(&repository, &path, None, Some(state.path()), 3);
    assert_eq!(
        (scan.looked, scan.stored.data_blobs),
        (Looked::AtEverything, 1)
    );
}

#[test]
fn a_folder_is_looked_at_as_far_as_its_change_reaches() {
    let (repository, state) = (create(), tempfile::tempdir().unwrap());
    let (_folder, path) = planted(&repository, state.path());
    std::fs::remove_dir_all(path.join("1")).unwrap();
    std::fs::write(path.join("extra"), "extra").unwrap();
    std::fs::write(path.join("2/inner/file"), "not reached by that").unwrap();
    std::fs::write(path.join("3/inner/file"), "reached").unwrap();
    let told = changed(&[(&path, Reach::Entry), (&path.join("3"), Reach::Below)]);
    let done = run(&repository, &path, told, Some(state.path()), 2);
    let summary = done.snapshot.summary.clone().unwrap();
    assert_eq!((summary.files_new, summary.files_changed), (1, 1));
    let mut reader = Reader::new(&repository).unwrap();
    let tree = forest::subtree(&mut reader, done.snapshot.tree, &path);
    let names: Vec<_> = reader
        .tree(&tree)
        .unwrap()
        .into_iter()
        .map(|node| node.name)
        .collect();
    assert!(names.contains(&b"extra".to_vec()) && !names.contains(&b"1".to_vec()));
}

#[test]
fn changes_that_fit_nothing_are_told_and_everything_is_looked_at() {
    let (repository, state) = (create(), tempfile::tempdir().unwrap());
    let (_folder, path) = planted(&repository, state.path());
    std::fs::write(path.join("5/inner/file"), "nobody told").unwrap();
    let nothing = || Some(Changes::since(None));
    let instead = |done: &Done| matches!(done.looked, Looked::AtEverythingInstead(_));
    let found = |done: &Done| done.stored.data_blobs;

    let stranger = Some(Changes::since(Some(Id::of(b"another snapshot"))));
    let done = run(&repository, &path, stranger, Some(state.path()), 2);
    assert_eq!((instead(&done), found(&done)), (true, 1));

    std::fs::write(path.join("5/inner/file"), "nor this time").unwrap();
    std::fs::remove_file(state.path().join("state")).unwrap();
    let done = run(&repository, &path, nothing(), Some(state.path()), 3);
    assert_eq!((instead(&done), found(&done)), (true, 1));

    // A file that had one name has two now, and only the new one is told: the old entry is wrong too.
    assert_eq!(path.join("6/inner/file").metadata().unwrap().nlink(), 1);
    std::fs::hard_link(path.join("6/inner/file"), path.join("link")).unwrap();
    let told = || changed(&[(&path.join("link"), Reach::Entry)]);
    let done = run(&repository, &path, told(), Some(state.path()), 4);
    assert!(instead(&done));
    std::fs::set_permissions(path.join("link"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let done = run(&repository, &path, told(), Some(state.path()), 5);
    assert_eq!(done.looked, Looked::AtChanges, "both names are known now");
    let whole = run(&repository, &path, None, None, 5);
    assert_eq!(
        inner(&repository, &done, &path),
        inner(&repository, &whole, &path)
    );
}

#[test]
fn what_could_not_be_read_is_tried_again_although_nobody_tells_of_it() {
    // /proc has files that may be listed and not read, by root neither.
    let path = Path::new("/proc/self/attr").canonicalize().unwrap();
    if std::fs::read(path.join("exec")).is_ok() {
        eprintln!("SKIPPED: this kernel lets /proc/self/attr be read");
        return;
    }
    let (repository, state) = (create(), tempfile::tempdir().unwrap());
    let unreadable = |changes, round| {
        let done = run(&repository, &path, changes, Some(state.path()), round);
        (done.looked, done.snapshot.summary.unwrap().errors)
    };
    let (_, errors) = unreadable(None, 1);
    assert!(errors > 0);
    let again = unreadable(Some(Changes::since(None)), 2);
    assert_eq!(again, (Looked::AtChanges, errors));
}
