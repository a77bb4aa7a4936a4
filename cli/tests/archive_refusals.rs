//! What the archive's commands say when a repository or a disk refuses: one sentence and an exit code, and nothing claimed that is not so. Knows no account.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use homing_backup::repository::Repository;
use homing_backup::store::{Kind, LocalStore};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PASSWORD: &str = "correct horse battery";
/// Commands, and whether a lock of somebody else stops them: a restore and a check change nothing.
const COMMANDS: [(&[&str], Stopped); 5] = [
    (&["backup", "notes"], Stopped::ByLocks),
    (&["restore", "latest", "--to", "back"], Stopped::Never),
    (&["verify"], Stopped::Never),
    (&["forget", "--keep-last", "1"], Stopped::ByLocks),
    (&["prune"], Stopped::ByLocks),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    ByLocks,
    Never,
}

/// A folder with a note, a password, and a repository with one snapshot.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::write(place.path("password"), PASSWORD).unwrap();
        std::fs::create_dir(place.path("notes")).unwrap();
        std::fs::write(place.path("notes/list"), "milk\n").unwrap();
        for words in [&["init-repository"][..], &["backup", "notes"]] {
            let done = place.run(words);
            assert_eq!(code(&done), 0, "{}", said(&done));
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn command(&self, words: &[&str], repository: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        command
            .args(words)
            .args(["--repository", repository, "--password-file"])
            .arg(self.path("password"))
            .current_dir(self.0.path())
            .env_remove("HOME")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words, "repository").output().unwrap()
    }

    fn open(&self) -> Repository<LocalStore> {
        let store = LocalStore::new(self.path("repository"));
        Repository::open(store, PASSWORD.as_bytes()).unwrap()
    }

    /// Every command refuses with that code, in one sentence with these words, and has restored nothing.
    fn refuses(&self, repository: &str, expected: i32, word: &str) {
        for (words, _) in COMMANDS {
            let refused = self.command(words, repository).output().unwrap();
            self.is_refusal(words, &refused, expected, word);
        }
    }

    fn is_refusal(&self, words: &[&str], refused: &Output, expected: i32, word: &str) {
        assert_eq!(code(refused), expected, "{words:?}: {}", said(refused));
        assert!(said(refused).contains(word), "{words:?}: {}", said(refused));
        assert_eq!(
            said(refused).lines().count(),
            1,
            "{words:?}: {}",
            said(refused)
        );
        assert!(refused.stdout.is_empty(), "{words:?} claims something");
        assert!(!self.path("back").exists(), "{words:?}");
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_password_no_repository_and_a_newer_format_are_each_told() {
    let place = Place::new();
    place.refuses("notes", 78, "homing init-repository");
    std::fs::write(place.path("password"), "wrong horse battery").unwrap();
    place.refuses("repository", 77, "wrong password");
    std::fs::write(place.path("password"), PASSWORD).unwrap();
    // A later version of the format, sealed as it would be.
    let later = place
        .open()
        .key()
        .sealed(br#"{"version":3,"shape":"other"}"#)
        .unwrap();
    let config = place.path("repository/config");
    std::fs::remove_file(&config).unwrap();
    std::fs::write(&config, later).unwrap();
    place.refuses("repository", 78, "format version 3");
}

#[test]
fn a_lock_of_somebody_at_work_stops_what_writes_and_nothing_else() {
    let place = Place::new();
    let json = br#"{"time":"2020-01-01T00:00:00Z","exclusive":true,"hostname":"elsewhere","username":"anna","pid":77}"#;
    place.open().save_file(Kind::Lock, json).unwrap();
    for (words, stopped) in COMMANDS {
        let output = place.run(words);
        if stopped == Stopped::ByLocks {
            place.is_refusal(
                words,
                &output,
                75,
                "locked by process 77 of anna on elsewhere",
            );
        } else {
            assert_eq!(code(&output), 0, "{words:?}: {}", said(&output));
            let _ = std::fs::remove_dir_all(place.path("back"));
        }
    }
    assert_eq!(place.open().snapshots().unwrap().len(), 1);
}

/// Serves a repository's folder, and answers each change, or everything, with one status.
struct Server {
    address: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refuses {
    Everything,
    Changes,
}

impl Server {
    /// Its threads end with the test's process.
    fn start(root: PathBuf, refuses: Refuses, status: u16) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || serve(&stream, &root, refuses, status));
            }
        });
        Self { address }
    }

    fn place(&self) -> String {
        format!("rest:http://{}/", self.address)
    }
}

/// Answers one request; `None` when the client is gone.
fn serve(mut stream: &TcpStream, root: &Path, refuses: Refuses, status: u16) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?.trim_matches('/'));
    let reads = ["GET", "HEAD"].contains(&method);
    let (status, kind, body) = match reads && refuses == Refuses::Changes {
        false => (status, "text/plain", Vec::new()),
        true => found(root, path),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    if method == "GET" {
        stream.write_all(&body).ok()?;
    }
    Some(())
}

/// A file, or the list of a folder's.
fn found(root: &Path, path: &str) -> (u16, &'static str, Vec<u8>) {
    let there = match path.split_once('/') {
        Some(("data", id)) => root.join("data").join(&id[..2]).join(id),
        _ => root.join(path),
    };
    if let Ok(bytes) = std::fs::read(&there) {
        return (200, "application/octet-stream", bytes);
    }
    let below = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = below(&there).collect();
    if path == "data" {
        files = files
            .iter()
            .flat_map(|folder| below(&folder.path()))
            .collect();
    }
    let files = files.iter().filter(|entry| entry.path().is_file());
    let files = files.map(|entry| {
        let (name, size) = (entry.file_name(), entry.metadata().unwrap().len());
        format!(r#"{{"name":"{}","size":{size}}}"#, name.to_string_lossy())
    });
    let list: Vec<String> = files.collect();
    let list = format!("[{}]", list.join(",")).into_bytes();
    (200, "application/vnd.x.restic.rest.v2", list)
}

#[test]
fn a_server_that_denies_or_has_no_room_is_told_at_once() {
    let place = Place::new();
    let root = place.path("repository");
    for (status, word) in [(401, "401"), (403, "403")] {
        let server = Server::start(root.clone(), Refuses::Everything, status);
        place.refuses(&server.place(), 77, word);
    }
    for (status, expected, word) in [(507, 74, "no room left on the server"), (403, 77, "403")] {
        let server = Server::start(root.clone(), Refuses::Changes, status);
        for (words, stopped) in COMMANDS {
            let output = place.command(words, &server.place()).output().unwrap();
            if stopped == Stopped::ByLocks {
                place.is_refusal(words, &output, expected, word);
            } else {
                assert_eq!(code(&output), 0, "{words:?}: {}", said(&output));
                let _ = std::fs::remove_dir_all(place.path("back"));
            }
        }
    }
    assert_eq!(place.open().snapshots().unwrap().len(), 1);
}

/// Runs a command where a folder is a disk of two megabytes of its own, with what `before` puts there; `None` where nothing
/// may be mounted.
fn on_a_small_disk(command: &Command, disk: &Path, before: &str) -> Option<Output> {
    let may = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none"])
        .arg(disk)
        .output();
    if !may.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: nothing may be mounted here");
        return None;
    }
    let script = format!(
        r#"disk="$1"; shift; mount -t tmpfs -o size=2m none "$disk" && {before} && exec "$@""#
    );
    let mut unshared = Command::new("unshare");
    unshared.args(["-rm", "sh", "-c", &script, "sh"]).arg(disk);
    unshared.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshared.env(name, value),
            None => unshared.env_remove(name),
        };
    }
    let folder = command.get_current_dir().unwrap();
    Some(
        unshared
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap(),
    )
}

/// What does not shrink.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let numbers = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    let mut bytes: Vec<u8> = numbers
        .take(length.div_ceil(8))
        .flat_map(u64::to_le_bytes)
        .collect();
    bytes.truncate(length);
    bytes
}

#[test]
fn a_full_disk_is_told_by_a_backup_into_it_and_by_a_restore_onto_it() {
    let place = Place::new();
    std::fs::write(place.path("notes/large"), noise(6 << 20)).unwrap();
    std::fs::create_dir(place.path("disk")).unwrap();
    let disk = place.path("disk");
    let command = place.command(&["backup", "notes"], "disk");
    let Some(full) = on_a_small_disk(&command, &disk, r#"cp -r repository/. disk"#) else {
        return;
    };
    place.is_refusal(&["backup"], &full, 74, "No space left on device");

    let whole = place.run(&["backup", "notes"]);
    assert_eq!(code(&whole), 0, "{}", said(&whole));
    let command = place.command(&["restore", "latest", "--to", "disk"], "repository");
    let full = on_a_small_disk(&command, &disk, "true").unwrap();
    assert_eq!(code(&full), 74, "{}", said(&full));
    let said = said(&full);
    // Which file, why, and that it is no success.
    assert!(
        said.contains("notes/large") && said.contains("No space left on device"),
        "{said}"
    );
    assert!(said.contains("1 items could not be restored"), "{said}");
}

#[test]
fn what_may_not_be_written_is_told_as_that() {
    let place = Place::new();
    // Where nobody can make anything, root neither.
    let place_of_none = "/proc/self/attr/repository";
    let refused = place
        .command(&["init-repository"], place_of_none)
        .output()
        .unwrap();
    assert!([74, 77].contains(&code(&refused)), "{}", said(&refused));
    assert!(said(&refused).contains(place_of_none), "{}", said(&refused));
    let refused = place.run(&["restore", "latest", "--to", "/proc/self/attr/back"]);
    assert!([74, 77].contains(&code(&refused)), "{}", said(&refused));
    assert_eq!(said(&refused).lines().count(), 1, "{}", said(&refused));
    if is_root() {
        eprintln!("SKIPPED: root may read and write every folder");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = |mode| {
        let folder = place.path("repository");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o000);
    place.refuses("repository", 77, "Permission denied");
    mode(0o700);
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
