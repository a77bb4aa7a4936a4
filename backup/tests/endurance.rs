//! Runs that die at every change of the store, and bits that flip. Whatever happens, restic finds a clean repository.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;

use forest::Forest;
use homing_backup::Error;
use homing_backup::archiver::{self, Done, Observer, Options, Problem, Progress, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::repository::Repository;
use homing_backup::store::{Class, Fault, Kind, LocalStore, MemoryStore, Name, Store};
use homing_backup::verify::{self, Depth, Findings};
use oracle::{PASSWORD, Restic};

fn create(store: &MemoryStore) -> Repository<MemoryStore> {
    Repository::create(store.clone(), PASSWORD.as_bytes(), &forest::maker()).unwrap()
}

fn back_up<S: Store>(repository: &Repository<S>, forest: &Forest) -> Result<Done, Error> {
    // Small packs: many places to die in.
    let options = Options {
        pack_bytes: 1 << 20,
        ..forest::options()
    };
    archiver::backup(
        repository,
        &[forest.path()],
        &options,
        &SystemClock,
        &mut Unobserved,
    )
}

fn findings(repository: &Repository<MemoryStore>) -> Findings {
    verify::verify(repository, Depth::All, &mut |_, _| false).unwrap()
}

/// Locks left by this process, which is alive, are rewritten as if a process that is dead had left them.
fn bury(store: &MemoryStore, repository: &Repository<MemoryStore>) {
    for (id, _) in repository.list(Kind::Lock).unwrap() {
        let json = String::from_utf8(repository.load_file(Kind::Lock, id).unwrap()).unwrap();
        let own = format!("\"pid\":{}", std::process::id());
        store.remove(Name::File(Kind::Lock, id)).unwrap();
        repository
            .save_file(Kind::Lock, json.replace(&own, "\"pid\":4194304").as_bytes())
            .unwrap();
    }
}

/// Writes a store in memory into a folder, for restic to see.
fn export(store: &MemoryStore, to: &std::path::Path) {
    let local = LocalStore::new(to);
    local.prepare().unwrap();
    for name in store.names() {
        local.put(name, &store.get(name).unwrap()).unwrap();
    }
}

#[test]
fn a_run_killed_at_any_change_leaves_a_clean_repository_and_the_next_sends_at_most_one_pack_again()
{
    let forest = Forest::grow(11);
    forest.add_large(5 << 20);
    // One repository for all runs: where a file is cut, and so how many packs there are, depends on its random polynomial.
    let empty = MemoryStore::default();
    create(&empty);
    let open = |store: &MemoryStore| {
        let repository = Repository::open(store.clone(), PASSWORD.as_bytes()).unwrap();
        store.inject(Fault::None);
        repository
    };
    let fresh = empty.fork();
    let repository = open(&fresh);
    back_up(&repository, &forest).unwrap();
    let (whole, changes) = (fresh.pack_bytes_sent(), fresh.changes());
    assert!(
        changes > 6,
        "the run is too small to be killed in many places"
    );
    let largest = repository
        .list(Kind::Pack)
        .unwrap()
        .into_iter()
        .map(|(_, size)| size)
        .max()
        .unwrap();

    for at in 0..changes {
        for fault in [Fault::CrashAt(at), Fault::CrashAfter(at)] {
            let store = empty.fork();
            let repository = open(&store);
            store.inject(fault);
            let died = back_up(&repository, &forest);
            let sent_before = store.pack_bytes_sent();
            store.inject(Fault::None);
            assert!(died.is_err() || at + 1 >= changes, "{fault:?}");
            assert_eq!(
                findings(&repository).damage,
                Vec::<String>::new(),
                "{fault:?}"
            );
            bury(&store, &repository);
            store.inject(Fault::None);
            let done = back_up(&repository, &forest).unwrap();
            let sent = sent_before + store.pack_bytes_sent();
            assert!(
                sent <= whole + largest,
                "{fault:?}: {sent} bytes instead of {whole}"
            );
            assert_eq!(done.snapshot.summary.unwrap().errors, 0);
            let found = findings(&repository);
            assert_eq!(
                (found.damage, found.unindexed_packs),
                (Vec::new(), 0),
                "{fault:?}"
            );
            assert!(
                repository.list(Kind::Lock).unwrap().is_empty(),
                "{fault:?} left a lock"
            );
        }
    }
}

#[test]
fn restic_accepts_what_a_killed_run_left() {
    let probe = tempfile::tempdir().unwrap();
    let Some(_) = Restic::on(probe.path()) else {
        return;
    };
    let forest = Forest::grow(12);
    forest.add_large(9 << 20);
    for at in [0, 1, 2, 3, 4, 5] {
        let store = MemoryStore::default();
        let repository = create(&store);
        store.inject(Fault::CrashAfter(at));
        let _ = back_up(&repository, &forest);
        store.inject(Fault::None);
        bury(&store, &repository);
        let folder = tempfile::tempdir().unwrap();
        export(&store, folder.path());
        Restic::on(folder.path()).unwrap().check_beside_locks();
    }
}

#[test]
fn a_store_that_is_full_or_refuses_is_reported_and_what_was_stored_is_used() {
    let forest = Forest::grow(13);
    forest.add_large(13 << 20);
    for class in [
        Class::Full,
        Class::Denied,
        Class::Temporary,
        Class::Permanent,
    ] {
        let store = MemoryStore::default();
        let repository = create(&store);
        // Change 0 is the lock, 1 the first pack.
        store.inject(Fault::FailOnce(2, class));
        let error = back_up(&repository, &forest).unwrap_err();
        assert!(
            matches!(error, Error::Store(ref error) if error.class == class),
            "{error}"
        );
        assert!(repository.list(Kind::Snapshot).unwrap().is_empty());
        let found = findings(&repository);
        assert_eq!((found.damage.len(), found.unindexed_packs), (0, 0));
        assert!(repository.list(Kind::Lock).unwrap().is_empty());
        let stored = back_up(&repository, &forest).unwrap().stored;
        // The pack that got through is not sent again; how much it holds depends on the repository's random polynomial.
        assert!(stored.plain_bytes < 13 << 20, "{stored:?}");
    }
}

struct StopAt(u64);

impl Observer for StopAt {
    fn progress(&mut self, progress: &Progress) -> bool {
        progress.bytes >= self.0
    }

    fn problem(&mut self, problem: &Problem) {
        panic!("{problem}");
    }
}

#[test]
fn a_run_that_is_stopped_has_indexed_all_it_stored_and_nothing_is_sent_again() {
    let forest = Forest::grow(14);
    forest.add_large(14 << 20);
    let store = MemoryStore::default();
    let repository = create(&store);
    let stopped = archiver::backup(
        &repository,
        &[forest.path()],
        &forest::options(),
        &SystemClock,
        &mut StopAt(9 << 20),
    );
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert!(repository.list(Kind::Lock).unwrap().is_empty());
    let before = findings(&repository);
    assert_eq!((before.damage.len(), before.unindexed_packs), (0, 0));
    let done = back_up(&repository, &forest).unwrap();
    let total = done.snapshot.summary.unwrap().total_bytes_processed;
    assert!(
        done.stored.plain_bytes + (8 << 20) < total,
        "{:?} of {total}",
        done.stored
    );
}

#[test]
fn one_flipped_bit_in_any_object_is_found_and_the_object_is_named() {
    let store = MemoryStore::default();
    let repository = create(&store);
    back_up(&repository, &Forest::grow(15)).unwrap();
    assert!(findings(&repository).damage.is_empty());
    let mut random = forest::Random(3);
    for name in store.names() {
        let Name::File(kind, id) = name else { continue };
        if kind == Kind::Key {
            continue;
        }
        let whole = store.get(name).unwrap();
        for _ in 0..8 {
            let bit = usize::try_from(random.below(whole.len() as u64 * 8)).unwrap();
            store.tamper(name, |mut bytes| {
                bytes[bit / 8] ^= 1 << (bit % 8);
                Some(bytes)
            });
            let damage = findings(&repository).damage;
            assert!(
                damage.iter().any(|line| line.contains(&id.to_string())),
                "bit {bit} of {name}: {damage:?}"
            );
            store.tamper(name, |_| Some(whole.clone()));
        }
        for cut in [0, whole.len() / 2, whole.len() - 1] {
            store.tamper(name, |mut bytes| {
                bytes.truncate(cut);
                Some(bytes)
            });
            assert!(
                !findings(&repository).damage.is_empty(),
                "{name} cut to {cut}"
            );
            store.tamper(name, |_| Some(whole.clone()));
        }
        if kind == Kind::Pack {
            store.tamper(name, |_| None);
            let damage = findings(&repository).damage;
            assert!(
                damage.iter().any(|line| line.contains(&id.to_string())),
                "{name} missing: {damage:?}"
            );
            store.tamper(name, |_| Some(whole.clone()));
        }
    }
    assert!(findings(&repository).damage.is_empty());
}

#[test]
fn samples_of_as_many_days_as_there_are_parts_read_every_pack_once_and_find_the_damaged_one() {
    const DAYS: usize = 3;
    let store = MemoryStore::default();
    let repository = create(&store);
    let forest = Forest::grow(16);
    forest.add_large(9 << 20);
    back_up(&repository, &forest).unwrap();
    let packs = repository.list(Kind::Pack).unwrap();
    assert!(packs.len() > DAYS, "{}", packs.len());
    // Content that nobody reads who looks at the structure alone.
    let (damaged, _) = packs.iter().max_by_key(|(_, size)| *size).unwrap();
    store.tamper(Name::File(Kind::Pack, *damaged), |mut bytes| {
        bytes[1000] ^= 1;
        Some(bytes)
    });
    let structure = verify::verify(&repository, Depth::Structure, &mut |_, _| false).unwrap();
    assert_eq!((structure.damage.len(), structure.packs_read), (0, 0));
    let (mut read, mut found) = (0, Vec::new());
    for first in 0..DAYS {
        let sample = Depth::Sample { every: DAYS, first };
        let findings = verify::verify(&repository, sample, &mut |_, _| false).unwrap();
        assert!(findings.packs_read <= packs.len().div_ceil(DAYS));
        read += findings.packs_read;
        found.extend(findings.damage);
    }
    assert_eq!(read, packs.len());
    let names_it = |line: &String| line.contains(&damaged.to_string());
    assert!(!found.is_empty() && found.iter().all(names_it), "{found:?}");
}

#[test]
fn a_damaged_config_or_key_is_not_taken_for_a_wrong_password_or_an_empty_place() {
    let store = MemoryStore::default();
    create(&store);
    store.tamper(Name::Config, |mut bytes| {
        bytes[20] ^= 1;
        Some(bytes)
    });
    let error = Repository::open(store, PASSWORD.as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Damaged {
                name: Name::Config,
                ..
            }
        ),
        "{error}"
    );
}
