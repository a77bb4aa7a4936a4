//! The archive's commands as a person gives them: results, words and exit codes of the real program. Knows no account.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder with something to back up, a password, and room for a repository.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        std::fs::write(place.path("password"), "correct horse battery\n").unwrap();
        std::fs::create_dir_all(place.path("photos/2026")).unwrap();
        std::fs::create_dir_all(place.path("notes")).unwrap();
        std::fs::write(place.path("photos/2026/sea.jpg"), noise(1, 3_000_000)).unwrap();
        std::fs::write(place.path("notes/list"), "milk\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// `homing WORDS… --repository … --password-file …`.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        command
            .args(words)
            .arg("--repository")
            .arg(self.path("repository"))
            .arg("--password-file")
            .arg(self.path("password"))
            .current_dir(self.folder.path())
            .env_remove("HOME")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs it; it must succeed. Every line of its answer as JSON.
    fn json(&self, words: &[&str]) -> Vec<Value> {
        let output = self.run(&[words, &["--json"]].concat());
        assert_eq!(code(&output), 0, "{words:?}: {}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn with_repository() -> Self {
        let place = Self::new();
        place.json(&["init-repository"]);
        place
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn folders_are_backed_up_listed_restored_verified_forgotten_and_pruned() {
    let place = Place::with_repository();
    let first = &place.json(&["backup", "photos", "notes"])[0];
    assert_eq!(
        (&first["files_new"], &first["complete"]),
        (&2.into(), &true.into())
    );
    let second = &place.json(&["backup", "notes", "photos"])[0];
    assert_eq!(second["parent"], first["snapshot"]);
    assert_eq!(second["files_unmodified"], 2);

    let snapshots = place.json(&["snapshots"]);
    assert_eq!(snapshots.len(), 2);
    assert_eq!(snapshots[1]["id"], second["snapshot"]);
    let listed = place.json(&["ls", "latest", "--recursive"]);
    let paths: Vec<&str> = listed
        .iter()
        .filter_map(|line| line["path"].as_str())
        .collect();
    let sea = place.path("photos/2026/sea.jpg");
    assert!(paths.contains(&sea.to_str().unwrap()), "{paths:?}");

    let planned = place.run(&["restore", "latest", "--to", "back", "--dry-run"]);
    assert!(String::from_utf8_lossy(&planned.stdout).contains("would restore 2 files"));
    assert!(!place.path("back").exists());
    let restored = &place.json(&["restore", "latest", sea.to_str().unwrap(), "--to", "back"])[0];
    assert_eq!(restored["files"], 1);
    let back = place.path("back").join(sea.strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(back).unwrap(), noise(1, 3_000_000));

    assert_eq!(
        place.json(&["verify", "--all"])[0]["damage"],
        Value::Array(vec![])
    );
    let forgotten = &place.json(&["forget", "--keep-last", "1"])[0];
    assert_eq!(
        forgotten["removed"],
        Value::Array(vec![first["snapshot"].clone()])
    );
    place.json(&["prune", "--grace", "0s"]);
    place.json(&["rebuild-index"]);
    assert_eq!(place.json(&["verify", "--all"])[0]["snapshots"], 1);
}

#[test]
fn a_backup_that_is_told_the_changes_looks_at_nothing_else() {
    let place = Place::with_repository();
    place.json(&["backup", "photos", "notes"]);
    std::fs::write(place.path("notes/list"), "milk, bread\n").unwrap();
    std::fs::write(place.path("notes/untold"), "not looked at\n").unwrap();
    std::fs::remove_dir_all(place.path("photos/2026")).unwrap();
    std::fs::write(place.path("told"), "notes/list\0photos/2026\0elsewhere\0").unwrap();
    let told = place.run(&["backup", "photos", "notes", "--changes", "told", "--json"]);
    assert!(
        said(&told).contains("1 of 3 changes lie in none"),
        "{}",
        said(&told)
    );
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&told["followed_changes"], &told["files_changed"]),
        (&true.into(), &1.into())
    );
    let listed = place.json(&["ls", "latest", "--recursive"]);
    let names: Vec<&str> = listed
        .iter()
        .filter_map(|line| line["path"].as_str())
        .collect();
    assert_eq!(names, [place.path("notes/list").to_str().unwrap()]);
    let scan = &place.json(&["backup", "photos", "notes"])[0];
    assert_eq!(
        (&scan["files_new"], &scan["followed_changes"]),
        (&1.into(), &false.into())
    );

    let words = ["backup", "notes", "--changes", "told", "--json"];
    let first = place.run(&words);
    assert!(
        said(&first).contains("no earlier snapshot"),
        "{}",
        said(&first)
    );
    let first: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(
        (&first["followed_changes"], &first["files_new"]),
        (&false.into(), &2.into())
    );
}

#[test]
fn every_refusal_is_one_sentence_with_its_own_exit_code() {
    let place = Place::with_repository();
    std::fs::write(place.path("other"), "wrong horse battery").unwrap();
    let mut wrong = place.command(&["snapshots"]);
    let cases = [
        (
            wrong
                .arg("--password-file")
                .arg(place.path("other"))
                .output()
                .unwrap(),
            64,
            "password-file",
        ),
        (place.run(&["init-repository"]), 78, "already"),
        (place.run(&["backup", "absent"]), 74, "absent"),
        (place.run(&["ls", "00"]), 64, "no snapshot"),
        (
            place.run(&["restore", "latest", "x", "--to", "y"]),
            64,
            "absolute",
        ),
        (place.run(&["forget"]), 64, "--keep"),
    ];
    for (output, expected, word) in cases {
        assert_eq!(code(&output), expected, "{}", said(&output));
        assert!(said(&output).contains(word), "{word}: {}", said(&output));
    }
    std::fs::rename(place.path("other"), place.path("password")).unwrap();
    let refused = place.run(&["snapshots"]);
    assert_eq!((code(&refused), said(&refused).lines().count()), (77, 1));
    assert!(
        said(&refused).contains("wrong password"),
        "{}",
        said(&refused)
    );
    std::fs::remove_dir_all(place.path("repository")).unwrap();
    let absent = place.run(&["snapshots"]);
    assert_eq!(code(&absent), 78, "{}", said(&absent));
    assert!(said(&absent).contains("homing init-repository"));
}

#[test]
fn a_relative_cache_home_is_ignored_as_specified_and_that_is_told() {
    let place = Place::with_repository();
    let backup = |cache: &str| {
        let mut command = place.command(&["backup", "notes"]);
        command.env("HOME", place.path("home"));
        command.env("XDG_CACHE_HOME", cache).output().unwrap()
    };
    let told = backup("elsewhere");
    assert_eq!(code(&told), 0, "{}", said(&told));
    assert!(said(&told).contains("XDG_CACHE_HOME is elsewhere"));
    assert!(!place.path("elsewhere").exists());
    assert!(place.path("home/.cache/homing/archive").exists());
    // Set to nothing it counts as not set.
    assert_eq!(said(&backup("")), "");
}

#[test]
fn a_password_in_an_address_is_refused_and_not_repeated() {
    let place = Place::new();
    let output = Command::new(env!("CARGO_BIN_EXE_homing"))
        .args([
            "snapshots",
            "--repository",
            "rest:https://anna:hunter2@localhost/",
        ])
        .arg("--password-file")
        .arg(place.path("password"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 64);
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
}

#[test]
fn a_server_that_is_not_there_is_tried_for_the_time_given_and_then_named() {
    let place = Place::new();
    // Port 1 of this machine: nobody listens there.
    let output = Command::new(env!("CARGO_BIN_EXE_homing"))
        .args([
            "snapshots",
            "--repository",
            "rest:http://127.0.0.1:1/",
            "--patience",
            "3s",
        ])
        .arg("--password-file")
        .arg(place.path("password"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 74, "{}", said(&output));
    assert!(said(&output).contains("trying again"), "{}", said(&output));
}

#[test]
fn a_repository_is_exported_and_used_from_there() {
    let place = Place::with_repository();
    let first = &place.json(&["backup", "photos"])[0];
    place.json(&["backup", "notes"]);
    let one = &place.json(&[
        "export-repository",
        "one",
        &first["snapshot"].as_str().unwrap()[..8],
    ])[0];
    assert_eq!(
        (&one["snapshots"], &one["damage"]),
        (&1.into(), &Value::Array(vec![]))
    );
    let all = &place.json(&["export-repository", "all"])[0];
    assert_eq!(all["snapshots"], 2);
    // The copies need nothing of the original.
    std::fs::remove_dir_all(place.path("repository")).unwrap();
    std::fs::rename(place.path("one"), place.path("repository")).unwrap();
    assert_eq!(place.json(&["verify", "--all"])[0]["snapshots"], 1);
    let refused = place.run(&["export-repository", "notes/list"]);
    assert_eq!(code(&refused), 74, "{}", said(&refused));
}

#[test]
fn the_archives_help_names_no_account() {
    for command in ["backup", "restore", "export-repository"] {
        let output = Command::new(env!("CARGO_BIN_EXE_homing"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(
            help.contains("--json") && !help.contains("--home"),
            "{help}"
        );
    }
    let output = Command::new(env!("CARGO_BIN_EXE_homing"))
        .args(["locate", "--help"])
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("--home"));
}

#[test]
fn ctrl_c_while_a_server_is_waited_for_is_no_failure() {
    use std::io::{BufRead, BufReader};
    let place = Place::new();
    let child = Command::new(env!("CARGO_BIN_EXE_homing"))
        .args(["snapshots", "--repository", "rest:http://127.0.0.1:1/"])
        .arg("--password-file")
        .arg(place.path("password"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("trying again"), "{first}");
    kill(Pid::from_raw(running.0.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(75));
    let last = lines.map_while(Result::ok).last().unwrap();
    assert!(last.contains("stopped on request"), "{last}");
}

/// A `homing` that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn packs(repository: &Path) -> usize {
    let folders = std::fs::read_dir(repository.join("data"))
        .unwrap()
        .flatten();
    folders
        .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap())
        .flatten()
        .filter(|file| file.file_name().len() == 64)
        .count()
}

#[test]
fn ctrl_c_ends_a_backup_in_order_with_everything_indexed() {
    let place = Place::with_repository();
    for number in 0..12 {
        let path = place.path(&format!("photos/{number}"));
        std::fs::write(path, noise(number, 8 << 20)).unwrap();
    }
    let child = place
        .command(&["backup", "photos"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(60);
    while packs(&place.path("repository")) == 0 {
        assert!(Instant::now() < deadline, "no pack after a minute");
        assert!(running.0.try_wait().unwrap().is_none(), "it ended before");
        std::thread::yield_now();
    }
    let process = Pid::from_raw(running.0.id().cast_signed());
    // As restic does when it judges a lock.
    kill(process, Signal::SIGHUP).unwrap();
    kill(process, Signal::SIGINT).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(75), "stopped in order");
    let found = &place.json(&["verify", "--all"])[0];
    assert_eq!(found["unindexed_packs"], 0);
    assert_eq!(
        std::fs::read_dir(place.path("repository/locks"))
            .unwrap()
            .count(),
        0
    );
    let next = &place.json(&["backup", "photos"])[0];
    assert_eq!(next["complete"], true);
    assert!(next["data_added"].as_u64() < next["total_bytes_processed"].as_u64());
}

#[test]
fn a_lock_that_stands_in_the_way_is_named_and_unlock_is_the_way_out() {
    let place = Place::with_repository();
    let lock = place.path("repository/locks").join("5".repeat(64));
    std::fs::write(&lock, "no lock").unwrap();
    let refused = place.run(&["backup", "notes"]);
    assert_eq!(code(&refused), 75, "{}", said(&refused));
    assert!(
        said(&refused).contains(&"5".repeat(64)),
        "{}",
        said(&refused)
    );
    let left = &place.json(&["unlock"])[0];
    assert_eq!(left["left"].as_array().unwrap().len(), 1);
    let removed = &place.json(&["unlock", "--all"])[0];
    assert_eq!(removed["removed"].as_array().unwrap().len(), 1);
    assert!(!lock.exists());
    place.json(&["backup", "notes"]);
    assert_eq!(
        place.json(&["prune", "--trust-clock"])[0]["removed_packs"],
        0
    );
}

#[test]
fn a_backup_that_misses_something_says_so_and_is_no_success() {
    let place = Place::with_repository();
    // A file of /proc that may be listed but not read.
    if std::fs::read("/proc/self/attr/exec").is_ok() {
        eprintln!("SKIPPED: this kernel lets /proc/self/attr be read");
        return;
    }
    let output = place.run(&["backup", "/proc/self/attr"]);
    assert_eq!(code(&output), 74, "{}", said(&output));
    assert!(said(&output).contains("not complete"), "{}", said(&output));
    assert!(place.json(&["snapshots"])[0]["errors"].as_u64() > Some(0));
}

#[test]
fn damage_and_what_stands_in_the_way_are_named_and_no_success() {
    let place = Place::with_repository();
    place.json(&["backup", "notes"]);
    place.json(&["restore", "latest", "--to", "back"]);
    let list = place.path("notes/list");
    let there = place.path("back").join(list.strip_prefix("/").unwrap());
    std::fs::write(&there, "bread").unwrap();
    let kept = place.run(&["restore", "latest", "--to", "back"]);
    assert_eq!(code(&kept), 74, "{}", said(&kept));
    assert!(said(&kept).contains("--replace"), "{}", said(&kept));
    assert_eq!(std::fs::read(&there).unwrap(), b"bread");
    place.json(&["restore", "latest", "--to", "back", "--replace"]);
    assert_eq!(std::fs::read(&there).unwrap(), b"milk\n");

    let data = std::fs::read_dir(place.path("repository/data")).unwrap();
    for folder in data.flatten() {
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
    let damaged = place.run(&["verify", "--json"]);
    assert_eq!(code(&damaged), 78, "{}", said(&damaged));
    let found: Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert!(found["damage"].as_array().is_some_and(|it| !it.is_empty()));
}
