//! Every place at which the agent asks the kernel for a file fails once: the places are found by watching a story with strace, and the story is told again for each. It must not name any place itself.

mod story;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use tempfile::TempDir;

/// Set in the child that tells the story, to the folder in which it does.
const FOLDER: &str = "HOMING_TEST_IO_FOLDER";
/// What the child looks for when its setting is done; it is nowhere.
const BEGINS: &str = "/homing-the-story-begins";
/// The same before what the story led to is judged.
const ENDS: &str = "/homing-the-story-ends";
/// System calls that have to do with files and their descriptors.
const CALLS: &str = "openat,read,pread64,write,pwrite64,fsync,fdatasync,ftruncate,fallocate,rename,renameat,renameat2,\
                     unlink,unlinkat,link,linkat,mkdir,mkdirat,fchmod,fstat,newfstatat,statx,mmap,flock";
/// How often each site fails in a campaign.
const MOST_HITS: u32 = 5;

/// One place: a system call on one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    call: String,
    path: String,
}

/// How often a site is passed in the setting, and in the story.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    before: u32,
    within: u32,
}

/// Debian's strace, from the PATH or where `cargo xtask test` has unpacked it.
fn strace() -> Command {
    Command::new(std::env::var_os("HOMING_TEST_STRACE").unwrap_or_else(|| "strace".into()))
}

fn has_strace() -> bool {
    strace()
        .args(["-qq", "-o", "/dev/null", "true"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Tells the story in a child of its own under strace with these arguments.
fn tell(folder: &Path, arguments: &[&str]) -> Output {
    strace()
        .args(["-f", "-qq", "-y"])
        .args(arguments)
        .arg(std::env::current_exe().expect("this test has a file"))
        .args([
            "--exact",
            "wiring::io_faults::the_story",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .output()
        .expect("strace runs")
}

/// An empty folder.
pub(super) fn folder() -> TempDir {
    // Where there is one, a disk in memory: what fails is decided here, not by a disk.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).expect("folder")
    } else {
        tempfile::tempdir().expect("folder")
    }
}

/// Reads one line of strace's log: the thread, the call, and the path below `folder` that it is about.
fn read_line<'a>(line: &'a str, folder: &str) -> Option<(&'a str, &'a str, Option<&'a str>)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    if !call
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return None;
    }
    let path = arguments.find(folder).and_then(|at| {
        let path = &arguments[at..];
        path.split(['"', '>']).next()
    });
    Some((thread, call, path))
}

/// Tells the story once without a fault and finds every site of the thread that tells it.
fn find_sites() -> BTreeMap<Site, Passed> {
    let place = folder();
    let name = place.path().display().to_string();
    let log = place.path().with_extension("strace");
    let trace = format!("trace={CALLS}");
    let told = tell(
        place.path(),
        &["-e", &trace, "-o", &log.display().to_string()],
    );
    let text = std::fs::read_to_string(&log).expect("strace's log");
    std::fs::remove_file(&log).expect("strace's log");
    assert_told(&told, "without a fault");
    let mark = |word: &str| text.lines().position(|line| line.contains(word));
    let begins = mark(BEGINS).expect("the story's beginning is in the log");
    let ends = mark(ENDS).expect("the story's end is in the log");
    let teller = text
        .lines()
        .nth(begins)
        .and_then(|line| line.split(' ').next());
    let mut sites: BTreeMap<Site, Passed> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().take(ends) {
        let Some((thread, call, Some(path))) = read_line(line, &name) else {
            continue;
        };
        if Some(thread) != teller {
            continue;
        }
        let site = Site {
            call: call.to_owned(),
            path: path[name.len()..].to_owned(),
        };
        let passed = sites.entry(site).or_default();
        if number < begins {
            passed.before += 1;
        } else {
            passed.within += 1;
        }
    }
    sites.retain(|_, passed| passed.within > 0);
    sites
}

fn assert_told(told: &Output, what: &str) {
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success() && said.contains("the story was told"),
        "{what}:\n{said}\n{}",
        String::from_utf8_lossy(&told.stderr)
    );
}

/// Tells the story with one fault.
fn tell_with(site: &Site, passed: Passed, hit: u32, fault: &str) {
    let place = folder();
    let path = format!("{}{}", place.path().display(), site.path);
    let when = passed.before + hit;
    let inject = format!("inject={}:{fault}:when={when}", site.call);
    let told = tell(
        place.path(),
        &["-P", &path, "-e", &inject, "-o", "/dev/null"],
    );
    assert_told(
        &told,
        &format!("{}({}) {fault}, hit {hit}", site.call, site.path),
    );
}

/// Which faults a call may show. A short write that the kernel admits to writes nothing: anything else that strace could
/// pretend would be a lie.
fn faults(site: &Site) -> &'static [&'static str] {
    match site.call.as_str() {
        "write" | "pwrite64" => &["error=ENOSPC", "error=EIO", "retval=0"],
        "openat" | "ftruncate" | "fallocate" | "mkdir" | "link" | "rename" => {
            &["error=EIO", "error=ENOSPC"]
        }
        _ => &["error=EIO"],
    }
}

#[test]
#[ignore = "told by the other tests of this file, in a child of their own"]
fn the_story() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let begins = || drop(std::fs::metadata(BEGINS));
        let ends = || drop(std::fs::metadata(ENDS));
        story::tell(Path::new(&folder), begins, ends);
        println!("the story was told");
    }
}

#[test]
fn whatever_file_operation_fails_once_the_agent_stays_honest_and_finding_goes_on() {
    if !has_strace() {
        eprintln!(
            "SKIPPED: strace is missing or may not trace here, so nothing can be made to fail"
        );
        return;
    }
    let sites = find_sites();
    assert!(sites.len() >= 30, "only {} sites: {sites:?}", sites.len());
    for (number, (site, passed)) in sites.iter().enumerate() {
        let faults = faults(site);
        tell_with(site, *passed, 1, faults[number % faults.len()]);
    }
}

#[test]
fn a_journal_that_the_disk_opened_for_reading_only_is_opened_again() {
    if !has_strace() {
        eprintln!("SKIPPED: strace is missing or may not trace here");
        return;
    }
    let sites = find_sites();
    for path in ["/state/agent.db", "/state/agent.db-shm"] {
        let (site, passed) = sites
            .iter()
            .find(|(site, _)| site.call == "openat" && site.path == path)
            .expect("the journal is opened");
        for hit in 1..=passed.within {
            tell_with(site, *passed, hit, "error=EIO");
        }
    }
}

#[test]
#[ignore = "by hand: cargo xtask campaign io-faults"]
fn a_campaign_of_io_faults() {
    let most = std::env::var("HOMING_CAMPAIGN_COUNT").ok();
    let most = most.and_then(|text| text.parse().ok()).unwrap_or(MOST_HITS);
    let began = Instant::now();
    let sites = find_sites();
    let mut told = 0;
    for (site, passed) in &sites {
        for hit in 1..=most.min(passed.within) {
            for fault in faults(site) {
                tell_with(site, *passed, hit, fault);
                told += 1;
            }
        }
    }
    let result = serde_json::json!({
        "campaign": "io-faults",
        "sites": sites.len(),
        "hits_of_each": most,
        "stories": told,
        "violations": 0,
        "seconds": began.elapsed().as_secs(),
        "names": sites.keys().map(|site| format!("{} {}", site.call, site.path)).collect::<Vec<_>>(),
    });
    if let Some(path) = std::env::var_os("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(path, format!("{result:#}\n")).expect("written");
    }
}
