//! Copies of repositories: whole or in part, interrupted and taken up again, judged by restic.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
mod pass_on;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod server;

use forest::Forest;
use homing_backup::archiver::{self, Options, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::export::{self, Chosen, Exported};
use homing_backup::repository::Repository;
use homing_backup::store::{
    Fault, Kind, LocalStore, MemoryStore, Name, RestOptions, RestStore, Store, StoreError,
};
use homing_backup::verify::{self, Depth};
use homing_backup::{Error, Id};
use oracle::{PASSWORD, Restic};
use server::{Server, Version};
use std::cell::Cell;

/// A repository with two snapshots of two different trees.
fn planted() -> (Repository<MemoryStore>, [Forest; 2], [Id; 2]) {
    let store = MemoryStore::default();
    let repository = Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let forests = [Forest::grow(400), Forest::grow(401)];
    forests[0].add_large(6 << 20);
    let options = Options {
        pack_bytes: 1 << 20,
        ..forest::options()
    };
    let ids = [0, 1].map(|number: usize| {
        let folder = [forests[number].path()];
        archiver::backup(
            &repository,
            &folder,
            &options,
            &SystemClock,
            &mut Unobserved,
        )
        .unwrap()
        .id
    });
    (repository, forests, ids)
}

fn export<T: Store>(
    from: &Repository<MemoryStore>,
    to: T,
    chosen: &Chosen,
) -> Result<Exported, Error> {
    export::export(from, to, chosen, &SystemClock, &mut |_, _| false)
}

#[test]
fn a_copy_of_everything_is_a_repository_that_restic_checks_and_restores() {
    let (repository, forests, ids) = planted();
    let folder = tempfile::tempdir().unwrap();
    let to = LocalStore::new(folder.path());
    let done = export(&repository, to.clone(), &Chosen::Everything).unwrap();
    assert_eq!(
        (done.snapshots, done.already_there, done.verified),
        (2, 0, done.files)
    );
    assert!(done.damage.is_empty(), "{:?}", done.damage);
    let again = export(&repository, to, &Chosen::Everything).unwrap();
    assert_eq!((again.files, again.verified), (0, done.verified));
    assert!(repository.list(Kind::Lock).unwrap().is_empty());
    let Some(restic) = Restic::on(folder.path()) else {
        return;
    };
    restic.check();
    let target = tempfile::tempdir().unwrap();
    let words = [
        "restore",
        &ids[0].to_string(),
        "--target",
        target.path().to_str().unwrap(),
    ];
    restic.run(&words);
    let inside = target
        .path()
        .join(forests[0].path().strip_prefix("/").unwrap());
    forest::assert_same(forests[0].path(), &inside);
}

/// A store in which a backup ends right after the first list of packs, indexes or snapshots is taken.
struct Growing {
    store: MemoryStore,
    before: Vec<Name>,
    listed: Cell<bool>,
}

impl Store for Growing {
    pass_on::pass_on!(store: prepare, size, get, get_range, put, remove);

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        let content = matches!(kind, Kind::Pack | Kind::Index | Kind::Snapshot);
        let all = self.listed.get() || !content;
        self.listed.set(self.listed.get() || content);
        self.store.list(kind, &mut |id, size| {
            if all || self.before.contains(&Name::File(kind, id)) {
                each(id, size);
            }
        })
    }
}

#[test]
fn a_copy_made_while_a_backup_ends_holds_no_snapshot_without_its_packs() {
    let (repository, _forests, _) = planted();
    let before = repository.store().names();
    let later = Forest::grow(402);
    let folder = [later.path()];
    let options = forest::options();
    archiver::backup(
        &repository,
        &folder,
        &options,
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
    let growing = Growing {
        store: repository.store().clone(),
        before,
        listed: Cell::new(false),
    };
    let growing = Repository::open(growing, PASSWORD.as_bytes()).unwrap();
    let to = MemoryStore::default();
    let copied = export::export(
        &growing,
        to.clone(),
        &Chosen::Everything,
        &SystemClock,
        &mut |_, _| false,
    );
    assert_eq!(copied.unwrap().snapshots, 2);
    let copy = Repository::open(to, PASSWORD.as_bytes()).unwrap();
    let found = verify::verify(&copy, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!((found.snapshots, found.damage), (2, Vec::new()));
}

#[test]
fn a_copy_of_one_snapshot_holds_what_it_needs_and_can_grow() {
    let (repository, _forests, ids) = planted();
    let folder = tempfile::tempdir().unwrap();
    let to = LocalStore::new(folder.path());
    let one = export(&repository, to.clone(), &Chosen::Snapshots(vec![ids[1]])).unwrap();
    assert_eq!((one.snapshots, one.damage.len()), (1, 0));
    let copy = Repository::open(to.clone(), PASSWORD.as_bytes()).unwrap();
    let found = verify::verify(&copy, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!(
        (found.snapshots, found.damage, found.unindexed_packs),
        (1, Vec::new(), 0)
    );
    assert!(found.packs < repository.list(Kind::Pack).unwrap().len());
    let other = export(&repository, to, &Chosen::Snapshots(vec![ids[0], ids[1]])).unwrap();
    assert!(other.snapshots == 2 && other.already_there > 0);
    let found = verify::verify(&copy, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!(
        (found.snapshots, found.damage, found.unindexed_packs),
        (2, Vec::new(), 0)
    );
    if let Some(restic) = Restic::on(folder.path()) {
        restic.check();
    }
}

#[test]
fn an_export_that_dies_at_any_change_leaves_a_repository_and_the_next_sends_nothing_twice() {
    let (repository, _forests, ids) = planted();
    for chosen in [Chosen::Everything, Chosen::Snapshots(vec![ids[0]])] {
        let whole = MemoryStore::default();
        export(&repository, whole.clone(), &chosen).unwrap();
        let sent = whole.pack_bytes_sent();
        for death in 0..whole.changes() {
            let to = MemoryStore::default();
            to.inject(Fault::CrashAfter(death));
            export(&repository, to.clone(), &chosen).unwrap_err();
            let before = to.pack_bytes_sent();
            to.inject(Fault::None);
            if to.get(Name::Config).is_ok() {
                let copy = Repository::open(to.clone(), PASSWORD.as_bytes()).unwrap();
                let found = verify::verify(&copy, Depth::Structure, &mut |_, _| false).unwrap();
                assert_eq!(found.damage, Vec::<String>::new(), "died at {death}");
            }
            let done = export(&repository, to.clone(), &chosen).unwrap();
            assert_eq!(before + to.pack_bytes_sent(), sent, "died at {death}");
            assert!(done.damage.is_empty() && done.snapshots > 0);
        }
    }
}

#[test]
fn damage_is_named_and_not_copied_and_a_damaged_copy_is_noticed() {
    let (repository, _forests, _) = planted();
    let to = MemoryStore::default();
    let pack = repository.list(Kind::Pack).unwrap()[0].0;
    let flip = |mut bytes: Vec<u8>| {
        bytes[100] ^= 1;
        Some(bytes)
    };
    export(&repository, to.clone(), &Chosen::Everything).unwrap();
    to.tamper(Name::File(Kind::Pack, pack), flip);
    let done = export(&repository, to.clone(), &Chosen::Everything).unwrap();
    assert!(
        done.damage.len() == 1 && done.damage[0].contains("the copy of"),
        "{:?}",
        done.damage
    );
    to.tamper(Name::File(Kind::Pack, pack), |_| None);
    repository
        .store()
        .tamper(Name::File(Kind::Pack, pack), flip);
    let done = export(&repository, to.clone(), &Chosen::Everything).unwrap();
    assert!(
        done.damage.len() == 1 && done.damage[0].contains("not copied"),
        "{:?}",
        done.damage
    );
    assert!(to.get(Name::File(Kind::Pack, pack)).is_err());
}

#[test]
fn another_repository_in_the_way_is_left_alone() {
    let (repository, _forests, _) = planted();
    let other = MemoryStore::default();
    Repository::create(other.clone(), PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let names = other.names();
    let refused = export(&repository, other.clone(), &Chosen::Everything);
    assert!(matches!(refused, Err(Error::AlreadyARepository)));
    assert_eq!(other.names(), names);
}

#[test]
fn a_copy_on_a_server_is_whole_and_growing_it_sends_only_what_is_new() {
    let (repository, forests, ids) = planted();
    for version in [Version::One, Version::Two] {
        let server = Server::start(version, None);
        let to = || RestStore::new(&server.address("copy/"), &RestOptions::default()).unwrap();
        let first = export(&repository, to(), &Chosen::Snapshots(vec![ids[0]])).unwrap();
        assert_eq!((first.snapshots, first.already_there), (1, 0));
        let rest = export(&repository, to(), &Chosen::Everything).unwrap();
        assert!(first.damage.is_empty() && rest.damage.is_empty());
        assert!(rest.already_there > 0 && rest.files > 0, "{rest:?}");
        let copy = Repository::open(to(), PASSWORD.as_bytes()).unwrap();
        let found = verify::verify(&copy, Depth::All, &mut |_, _| false).unwrap();
        assert_eq!((found.snapshots, &*found.damage), (2, &[][..]));
        let mut reader = homing_backup::reader::Reader::new(&copy).unwrap();
        for (_, snapshot) in copy.snapshots().unwrap() {
            let target = tempfile::tempdir().unwrap();
            let restored = homing_backup::restore::execute(
                &mut reader,
                snapshot.tree,
                &homing_backup::restore::Selection::default(),
                target.path(),
                homing_backup::restore::Conflicts::Keep,
                &mut homing_backup::restore::Unwatched,
            )
            .unwrap();
            assert_eq!(restored.errors, 0);
            let forest = forests
                .iter()
                .find(|forest| snapshot.paths == [forest.path().to_str().unwrap()])
                .unwrap();
            let inside = target.path().join(forest.path().strip_prefix("/").unwrap());
            forest::assert_same(forest.path(), &inside);
        }
    }
}
