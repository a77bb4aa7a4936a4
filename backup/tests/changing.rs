//! Files that change, grow, shrink, vanish or cannot be read while they are backed up: each is counted and named, and no such run is clean.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[expect(dead_code, reason = "this test program uses a part of it")]
mod forest;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod oracle;
#[expect(dead_code, reason = "this test program uses a part of it")]
mod victim;

use homing_backup::archiver::{self, Observer, Problem, Progress, Trouble};
use homing_backup::clock::SystemClock;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::restore::{self, Conflicts, Selection, Unwatched};
use homing_backup::store::{LocalStore, MemoryStore};
use homing_backup::verify::{self, Depth};
use oracle::PASSWORD;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Somebody who works in the folder while it is backed up.
struct Busy<F> {
    work: F,
    problems: Vec<Problem>,
}

impl<F: FnMut(&Progress)> Observer for Busy<F> {
    fn progress(&mut self, progress: &Progress) -> bool {
        (self.work)(progress);
        false
    }

    fn problem(&mut self, problem: &Problem) {
        self.problems.push(problem.clone());
    }
}

/// Backs up while somebody works; what is told must be what the snapshot says.
fn back_up(path: &Path, work: impl FnMut(&Progress)) -> Vec<Problem> {
    let store = MemoryStore::default();
    let ours = Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let mut busy = Busy {
        work,
        problems: Vec::new(),
    };
    let done =
        archiver::backup(&ours, &[path], &forest::options(), &SystemClock, &mut busy).unwrap();
    let summary = done.snapshot.summary.unwrap();
    let problems = busy.problems;
    assert_eq!(summary.errors, problems.len() as u64);
    for problem in &problems {
        assert!(summary.unreadable.contains(&problem.to_string()));
    }
    // What is in the snapshot can be restored, whatever went on.
    let found = verify::verify(&ours, Depth::All, &mut |_, _| false).unwrap();
    assert_eq!(found.damage, Vec::<String>::new());
    let target = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(&ours).unwrap();
    let restored = restore::execute(
        &mut reader,
        done.snapshot.tree,
        &Selection::default(),
        target.path(),
        Conflicts::Keep,
        &mut Unwatched,
    )
    .unwrap();
    assert_eq!(restored.errors, 0);
    problems
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        std::fs::write(path.join(name), forest::noise(number as u64, 3 << 20)).unwrap();
    }
    (folder, path)
}

fn told(problems: &[Problem], path: &Path, trouble: Trouble) {
    let about: Vec<_> = problems
        .iter()
        .map(|it| (it.path.clone(), it.trouble))
        .collect();
    assert_eq!(about, [(path.to_path_buf(), trouble)], "{problems:?}");
}

#[test]
fn a_file_that_changes_all_the_time_is_named() {
    let (_folder, path) = folder();
    let (busy, mut count) = (path.join("b"), 0_u64);
    let problems = back_up(&path, |_| {
        count += 1;
        let file = OpenOptions::new().write(true).open(&busy).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, &count.to_le_bytes(), 1 << 20).unwrap();
    });
    told(&problems, &busy, Trouble::Changing);
}

#[test]
fn a_file_that_grows_all_the_time_is_named_and_its_size_is_what_was_read() {
    let (_folder, path) = folder();
    let busy = path.join("b");
    let problems = back_up(&path, |_| {
        let mut file = OpenOptions::new().append(true).open(&busy).unwrap();
        file.write_all(b"one more line\n").unwrap();
    });
    told(&problems, &busy, Trouble::Changing);
}

#[test]
fn a_file_that_shrinks_all_the_time_is_named() {
    let (_folder, path) = folder();
    let busy = path.join("b");
    let problems = back_up(&path, |_| {
        let file = OpenOptions::new().write(true).open(&busy).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length * 9 / 10).unwrap();
    });
    told(&problems, &busy, Trouble::Changing);
}

#[test]
fn a_file_that_changes_once_is_read_again_and_is_no_trouble() {
    let (_folder, path) = folder();
    let (busy, mut done) = (path.join("b"), false);
    let problems = back_up(&path, |progress| {
        // In the middle of it: the first file is read already.
        if !done && progress.bytes > 4 << 20 {
            done = true;
            std::fs::write(&busy, forest::noise(77, 2 << 20)).unwrap();
        }
    });
    assert!(done);
    assert_eq!(problems, []);
}

#[test]
fn a_file_or_folder_that_vanishes_after_it_was_listed_is_named() {
    let (_folder, path) = folder();
    let mut gone = false;
    let vanishing = path.join("c");
    let problems = back_up(&path, |progress| {
        if !gone && progress.bytes > 0 {
            gone = true;
            std::fs::remove_file(&vanishing).unwrap();
        }
    });
    told(&problems, &vanishing, Trouble::Vanished);
}

#[test]
fn a_file_that_becomes_a_pipe_does_not_hold_the_run_up() {
    let (_folder, path) = folder();
    let mut swapped = false;
    let busy = path.join("c");
    let problems = back_up(&path, |progress| {
        if !swapped && progress.bytes > 0 {
            swapped = true;
            std::fs::remove_file(&busy).unwrap();
            let mode = rustix::fs::Mode::from(0o600);
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &busy, kind, mode, 0).unwrap();
        }
    });
    told(&problems, &busy, Trouble::Unreadable);
}

#[test]
fn a_child_backs_up_as_nobody() {
    let Some((repository, folder)) = victim::told() else {
        return;
    };
    assert!(std::fs::read(folder.join("closed")).is_err());
    let store = LocalStore::new(repository.join("mine"));
    let ours = Repository::create(store, PASSWORD.as_bytes(), &forest::maker()).unwrap();
    let mut busy = Busy {
        work: |_: &Progress| {},
        problems: Vec::new(),
    };
    let done = archiver::backup(
        &ours,
        &[&folder],
        &forest::options(),
        &SystemClock,
        &mut busy,
    )
    .unwrap();
    let mut about: Vec<_> = busy.problems.iter().map(|it| it.path.clone()).collect();
    about.sort();
    assert_eq!(about, [folder.join("closed"), folder.join("locked")]);
    let summary = done.snapshot.summary.unwrap();
    assert_eq!((summary.errors, summary.files_new), (2, 3));
}

#[test]
fn what_one_may_not_read_is_counted_and_named() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let repository = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::write(path.join("closed"), "a file").unwrap();
    std::fs::create_dir(path.join("locked")).unwrap();
    std::fs::write(path.join("locked/inside"), "unseen").unwrap();
    mode(&path.join("closed"), 0);
    mode(&path.join("locked"), 0);
    mode(folder.path(), 0o755);
    mode(repository.path(), 0o777);
    let child = "a_child_backs_up_as_nobody";
    // The superuser may read everything: the child is nobody.
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let before: &[&str] = match rustix::process::geteuid().is_root() {
        true => &nobody,
        false => &[],
    };
    // Nobody may start a program that lies in somebody's home.
    let program = std::env::current_exe().unwrap();
    let copy = repository.path().join("program");
    std::fs::copy(program, &copy).unwrap();
    let mut command = victim::command(before, child, repository.path(), &path);
    if !before.is_empty() {
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let envs = [victim::REPOSITORY, victim::FOLDER];
        command = std::process::Command::new(before[0]);
        command
            .args(&before[1..])
            .arg(&copy)
            .args(&arguments[before.len()..])
            .envs(envs.iter().zip([repository.path(), &path]));
    }
    let done = command.output();
    mode(&path.join("locked"), 0o700);
    let Ok(done) = done else {
        eprintln!("SKIPPED: there is no setpriv here");
        return;
    };
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
