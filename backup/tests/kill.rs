//! Backups by a process that is killed at random moments. The process is this very program, started with two variables set.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod forest;
mod oracle;

use forest::{Forest, Random, noise};
use homing_backup::archiver::{self, Options, Unobserved};
use homing_backup::clock::SystemClock;
use homing_backup::repository::Repository;
use homing_backup::store::{Kind, LocalStore};
use homing_backup::verify::{self, Depth};
use oracle::{PASSWORD, Restic};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const REPOSITORY: &str = "ARCHIVE_KILL_TEST_REPOSITORY";
const FOLDER: &str = "ARCHIVE_KILL_TEST_FOLDER";
const KILLS: u64 = 30;

#[test]
fn a_child_backs_up_what_its_parent_named() {
    let (Some(repository), Some(folder)) = (std::env::var_os(REPOSITORY), std::env::var_os(FOLDER))
    else {
        return;
    };
    let repository = Repository::open(LocalStore::new(repository), PASSWORD.as_bytes()).unwrap();
    let options = Options {
        pack_bytes: 1 << 20,
        ..forest::options()
    };
    archiver::backup(
        &repository,
        &[Path::new(&folder)],
        &options,
        &SystemClock,
        &mut Unobserved,
    )
    .unwrap();
}

/// A child that is killed when it is dropped.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Victim {
    fn start(repository: &Path, folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_child_backs_up_what_its_parent_named",
                "--nocapture",
            ])
            .env(REPOSITORY, repository)
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits for its end, at most so long; was it in time?
    fn ends_within(&mut self, time: Duration) -> bool {
        let mut output = self.0.stdout.take().unwrap();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            // Its output ends when it does.
            let _ = output.read_to_end(&mut Vec::new());
            let _ = ended.send(());
        });
        end.recv_timeout(time).is_ok()
    }
}

#[test]
fn thirty_kills_at_random_moments_leave_a_clean_repository_and_the_next_run_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Repository::create(
        LocalStore::new(folder.path()),
        PASSWORD.as_bytes(),
        &forest::maker(),
    )
    .unwrap();
    let mut forest = Forest::grow(21);
    let mut random = Random(4);
    let mut killed = 0;
    // The latest moment of a kill follows the machine's speed: later after a kill, earlier after a run that was quicker.
    let mut latest = Duration::from_millis(400);
    for round in 0..KILLS {
        forest.change();
        std::fs::write(forest.path().join("new"), noise(round, 4 << 20)).unwrap();
        let mut victim = Victim::start(folder.path(), forest.path());
        if victim.ends_within(latest.mul_f64(random.below(1000) as f64 / 1000.0)) {
            latest = latest.mul_f64(0.6);
        } else {
            killed += 1;
            latest = latest.mul_f64(1.2);
        }
        drop(victim);
        let found = verify::verify(&ours, Depth::Structure, &mut |_, _| false).unwrap();
        assert_eq!(found.damage, Vec::<String>::new(), "after kill {round}");
    }
    assert!(
        killed > KILLS / 3,
        "only {killed} were killed before they were done"
    );
    if let Some(restic) = Restic::on(folder.path()) {
        restic.check_beside_locks();
    }
    let mut last = Victim::start(folder.path(), forest.path());
    assert!(last.ends_within(Duration::from_secs(120)));
    assert!(last.0.wait().unwrap().success());
    let found = verify::verify(&ours, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!((found.damage, found.unindexed_packs), (Vec::new(), 0));
    assert!(
        ours.list(Kind::Lock).unwrap().is_empty(),
        "no lock is left for a person to remove"
    );
    if let Some(restic) = Restic::on(folder.path()) {
        restic.check();
        let target = tempfile::tempdir().unwrap();
        restic.run(&[
            "restore",
            "latest",
            "--target",
            target.path().to_str().unwrap(),
        ]);
        let inside = target.path().join(forest.path().strip_prefix("/").unwrap());
        forest::assert_same(forest.path(), &inside);
    }
}
