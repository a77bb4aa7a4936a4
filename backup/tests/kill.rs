//! Backups and restores by a process that is killed at random moments of its work. The process is this very program, started with two variables set.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod victim;

use forest::{Forest, Random, noise};
use homing_backup::archiver::{self, Options, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::{Kind, LocalStore};
use homing_backup::verify::{self, Depth};
use oracle::{PASSWORD, Restic};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use victim::Victim;

/// Kills of each run; only those count that met a process at work.
const KILLS: u64 = 20;
const PACK_BYTES: usize = 1 << 20;

fn open(repository: &Path) -> Repository<LocalStore> {
    Repository::open(LocalStore::new(repository), PASSWORD.as_bytes()).unwrap()
}

#[test]
fn a_child_backs_up_what_its_parent_named() {
    let Some((repository, folder)) = victim::told() else {
        return;
    };
    let options = Options {
        pack_bytes: PACK_BYTES,
        ..forest::options()
    };
    let repository = open(&repository);
    let clock = SystemClock;
    archiver::backup(&repository, &[&folder], &options, &clock, &mut Unobserved).unwrap();
}

#[test]
fn a_child_restores_what_its_parent_named() {
    let Some((repository, folder)) = victim::told() else {
        return;
    };
    let repository = open(&repository);
    let (_, snapshot) = repository.snapshots().unwrap().pop().unwrap();
    let mut reader = Reader::new(&repository).unwrap();
    let restored = restore::execute(
        &mut reader,
        snapshot.tree,
        &Selection::default(),
        &folder,
        Conflicts::Keep,
        &mut Unwatched,
    )
    .unwrap();
    assert_eq!(restored.errors, 0);
}

/// All files below a folder in which somebody else may be at work.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found
}

fn names(folder: &Path) -> HashSet<PathBuf> {
    files(folder).into_iter().collect()
}

/// Moments of kills, which follow the machine's speed: later after a kill, earlier after a run that was quicker.
struct Moments {
    latest: Duration,
    random: Random,
}

impl Moments {
    fn new(seed: u64) -> Self {
        Self {
            latest: Duration::from_millis(200),
            random: Random(seed),
        }
    }

    fn next(&mut self) -> Duration {
        self.latest.mul_f64(self.random.below(1000) as f64 / 1000.0)
    }

    fn learn(&mut self, killed: bool) {
        self.latest = self.latest.mul_f64(if killed { 1.15 } else { 0.6 });
    }
}

/// Bytes of blobs that lie in more than one pack: what was sent again although it was there.
fn stored_twice(ours: &Repository<LocalStore>) -> u64 {
    let mut seen = HashSet::new();
    let mut twice = 0;
    for (pack, size) in ours.list(Kind::Pack).unwrap() {
        for entry in ours.pack_entries(pack, size).unwrap() {
            if !seen.insert((entry.kind, entry.id)) {
                twice += u64::from(entry.length);
            }
        }
    }
    twice
}

/// Kills backups until so many kills met one that held its lock; returns how many of them had stored packs by then.
fn kill_backups(kills: u64, seed: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let ours =
        Repository::create(LocalStore::new(at), PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let mut forest = Forest::grow(seed);
    let mut moments = Moments::new(seed);
    let (mut killed, mut with_packs, mut round) = (0, 0, 0);
    while killed < kills {
        round += 1;
        assert!(round < 5 * kills, "only {killed} kills met a run at work");
        forest.change();
        std::fs::write(forest.path().join("new"), noise(seed + round, 4 << 20)).unwrap();
        let before = names(at);
        let mut victim = Victim::start("a_child_backs_up_what_its_parent_named", at, forest.path());
        let locks = at.join("locks");
        let unfinished = |path: &Path| path.to_string_lossy().contains("-tmp-");
        let is_lock = |path: &PathBuf| !before.contains(path) && !unfinished(path);
        victim.until(|| files(&locks).iter().any(is_lock));
        // Its own lock is still there: it was at work.
        let was_killed = victim.kill_after(moments.next());
        let after = names(at);
        let new: Vec<&PathBuf> = after.difference(&before).collect();
        let left = new.iter().filter(|path| path.starts_with(&locks));
        let is_real = was_killed && left.copied().any(is_lock);
        moments.learn(is_real);
        killed += u64::from(is_real);
        let data = at.join("data");
        let packs = new.into_iter().filter(|path| path.starts_with(&data));
        let (halves, whole): (Vec<&PathBuf>, Vec<&PathBuf>) =
            packs.partition(|path| unfinished(path));
        with_packs += u64::from(is_real && !whole.is_empty());
        // What was under way when it died is all that must be sent again.
        assert!(halves.len() <= 1, "kill {round}: {halves:?}");
        let found = verify::verify(&ours, Depth::Structure, &mut |_, _| false).unwrap();
        assert_eq!(found.damage, Vec::<String>::new(), "after kill {round}");
        if round % 10 == 0
            && let Some(restic) = Restic::on(at)
        {
            restic.run(&["check", "--no-lock"]);
        }
    }
    if let Some(restic) = Restic::on(at) {
        restic.check_beside_locks();
    }
    let last = Victim::start("a_child_backs_up_what_its_parent_named", at, forest.path());
    assert!(last.end().success());
    let found = verify::verify(&ours, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!((found.damage, found.unindexed_packs), (Vec::new(), 0));
    let locks = ours.list(Kind::Lock).unwrap();
    assert!(locks.is_empty(), "no lock is left for a person to remove");
    assert_eq!(stored_twice(&ours), 0, "bytes were stored a second time");
    if let Some(restic) = Restic::on(at) {
        restic.check();
        let target = tempfile::tempdir().unwrap();
        let to = target.path().to_str().unwrap();
        restic.run(&["restore", "latest", "--target", to]);
        let inside = target.path().join(forest.path().strip_prefix("/").unwrap());
        forest::assert_same(forest.path(), &inside);
    }
    with_packs
}

/// Is a file of an unfinished restore what it is called?
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    name.starts_with(".homing-restore-")
}

/// Kills restores until so many kills met one that had begun to write.
fn kill_restores(kills: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let forest = Forest::grow(seed);
    forest.add_large(6 << 20);
    for number in 0..200 {
        let name = forest.path().join(format!("small {number}"));
        std::fs::write(name, noise(number, 3000)).unwrap();
    }
    Repository::create(LocalStore::new(at), PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let first = Victim::start("a_child_backs_up_what_its_parent_named", at, forest.path());
    assert!(first.end().success());
    let mut moments = Moments::new(seed);
    let (mut killed, mut round) = (0, 0);
    let mut target = tempfile::tempdir().unwrap();
    while killed < kills {
        round += 1;
        assert!(round < 5 * kills, "only {killed} kills met a run at work");
        let to = target.path().to_path_buf();
        let before = names(&to);
        let mut victim = Victim::start("a_child_restores_what_its_parent_named", at, &to);
        victim.until(|| names(&to) != before);
        let was_killed = victim.kill_after(moments.next());
        moments.learn(was_killed);
        killed += u64::from(was_killed);
        // Each file is whole or not there, and nothing else is.
        let inside = to.join(forest.path().strip_prefix("/").unwrap());
        for path in files(&to).into_iter().filter(|path| !is_unfinished(path)) {
            let source = forest.path().join(path.strip_prefix(&inside).unwrap());
            if source.symlink_metadata().unwrap().is_file() {
                let same = std::fs::read(&source).unwrap() == std::fs::read(&path).unwrap();
                assert!(same, "{} is not whole", path.display());
            }
        }
        // Interrupted several times, then to the end, then anew.
        if !was_killed || round % 4 == 0 {
            let last = Victim::start("a_child_restores_what_its_parent_named", at, &to);
            assert!(last.end().success(), "the restore does not go on");
            forest::assert_same(forest.path(), &inside);
            target = tempfile::tempdir().unwrap();
        }
    }
}

#[test]
fn kills_at_random_moments_leave_a_clean_repository_and_the_next_run_is_complete() {
    let with_packs = kill_backups(KILLS, 21);
    assert!(with_packs > 0, "no kill met a run that had stored anything");
}

#[test]
fn a_restore_killed_at_any_moment_leaves_whole_files_only_and_goes_on() {
    kill_restores(6, 22);
}

/// Every file is on the disk before it has its name: between its last byte and its name there is a `syncfs`.
#[test]
fn no_file_gets_its_name_before_it_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let forest = Forest::grow(23);
    Repository::create(LocalStore::new(at), PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let first = Victim::start("a_child_backs_up_what_its_parent_named", at, forest.path());
    assert!(first.end().success());
    let (target, log) = (tempfile::tempdir().unwrap(), folder.path().join("calls"));
    let child = "a_child_restores_what_its_parent_named";
    let calls = "trace=openat,syncfs,renameat2,renameat,linkat";
    let strace = std::env::var("HOMING_TEST_STRACE").unwrap_or_else(|_| "strace".into());
    let tried = Command::new(&strace).args(["-f", "true"]).output();
    if !tried.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: there is no strace here that may trace a child");
        return;
    }
    let before = [&strace, "-f", "-e", calls, "-o", log.to_str().unwrap()];
    let traced = victim::command(&before, child, at, target.path()).output();
    let traced = traced.unwrap();
    assert!(traced.status.success(), "{traced:?}");
    let (mut written, mut named) = (HashSet::new(), 0);
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let unfinished = line
            .split('"')
            .find(|part| part.starts_with(".homing-restore-"));
        match unfinished {
            _ if line.contains("syncfs(") => written.clear(),
            Some(name) if line.contains("openat(") && line.contains("O_CREAT") => {
                written.insert(name.to_owned());
            }
            Some(name) if line.contains("renameat") => {
                named += 1;
                assert!(!written.contains(name), "{line}");
            }
            _ => {}
        }
    }
    assert!(named > 3, "{named} files were named");
}

#[test]
#[ignore = "by hand: cargo xtask campaign archive-kills"]
fn a_campaign_of_archive_kills() {
    let (kills, seed) = victim::wanted(100);
    let began = Instant::now();
    let (mut left, mut with_packs, mut run) = (kills, 0, 0);
    // Several repositories, so that none grows without bounds.
    while left > 0 {
        let now = left.min(50);
        with_packs += kill_backups(now, seed + run);
        left -= now;
        run += 1;
        eprintln!("{} of {kills} kills", kills - left);
    }
    kill_restores(kills / 2, seed);
    let seconds = began.elapsed().as_secs();
    victim::tell(&format!(
        "{{\n  \"campaign\": \"archive-kills\",\n  \"first_seed\": {seed},\n  \"backups_killed_at_work\": {kills},\n  \"of_them_with_packs_stored\": {with_packs},\n  \"restores_killed_at_work\": {},\n  \"bytes_stored_twice\": 0,\n  \"violations\": 0,\n  \"seconds\": {seconds}\n}}",
        kills / 2
    ));
}
