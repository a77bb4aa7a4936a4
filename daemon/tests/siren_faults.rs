//! Every place at which the siren asks the kernel for a file of its folder fails once: the places are found by watching one ring with strace. In doubt the phone is heard, and the mixer is put back.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on fails it, as an assertion does"
)]

mod phone;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use homingd::siren::intent::{self, Found};
use phone::{Phone, Process};

const RING: &str = "00112233445566778899aabbccddeeff";
/// How long each ring is, on a busy machine long enough to be traced into its beginning; a siren whose tracer is gone ends
/// with it.
const LASTING: Duration = Duration::from_secs(5);
/// System calls that have to do with files and their descriptors.
const CALLS: &str = "openat,read,pread64,write,pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat,link,\
                     linkat,mkdir,fchmod,fstat,newfstatat,statx,inotify_add_watch";

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

/// Starts a siren under strace, as a supervisor would start it.
fn start_traced(phone: &Phone, arguments: &[String]) -> Process {
    let plain = phone.command(&["siren"]);
    let mut traced = strace();
    traced
        .args(["-f", "-qq", "-y"])
        .args(arguments)
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    Process(traced.spawn().unwrap())
}

/// Every call on a file below the siren's folder.
fn find_sites() -> Vec<(String, String)> {
    let phone = Phone::new();
    let log = phone.root().join("strace");
    phone.order(RING, LASTING);
    let trace = format!("trace={CALLS}");
    let arguments = ["-e", &trace, "-o", &log.display().to_string()].map(str::to_owned);
    assert_eq!(start_traced(&phone, &arguments).exit_code(), Some(0));
    let folder = phone.siren().display().to_string();
    let mut sites = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let Some((_, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((call, arguments)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if let Some(at) = arguments.find(&folder) {
            let path = arguments[at..].split(['"', '>']).next().unwrap();
            let site = (call.to_owned(), path[folder.len()..].to_owned());
            *sites.entry(site).or_insert(0) += 1;
        }
    }
    sites.into_keys().collect()
}

/// One ring with one fault: it is heard, and afterwards everything is as before.
fn ring_with(call: &str, path: &str, fault: &str) {
    let what = format!("{call}({path}) {fault}");
    let phone = Phone::new();
    phone.ask(r#"{"set":"mixer","volume":9,"mute":true}"#);
    let before = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    phone.order(RING, LASTING);
    let inject = format!("inject={call}:{fault}:when=1");
    let path = format!("{}{path}", phone.siren().display());
    let arguments = ["-P", &path, "-e", &inject, "-o", "/dev/null"].map(str::to_owned);
    let mut first = start_traced(&phone, &arguments);
    let code = first.exit_code();
    assert!(matches!(code, Some(0 | 74)), "{what}: {code:?}");
    if code == Some(74) {
        // The supervisor starts it again, and now the disk works.
        let mut again = phone.start_siren(&[]);
        assert_eq!(again.exit_code(), Some(0), "{what}");
    }
    assert!(phone.played_ms() >= 100, "{what}: nobody heard it");
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["mixer"], before, "{what}");
    // An order that could not be put away is put away by the next siren, without a sound.
    let played = phone.played_ms();
    assert_eq!(phone.start_siren(&[]).exit_code(), Some(0), "{what}");
    assert_eq!(
        intent::load(&phone.siren()).unwrap(),
        Found::Nothing,
        "{what}"
    );
    assert_eq!(phone.played_ms(), played, "{what}: it sounds after its end");
}

#[test]
fn whatever_file_operation_of_the_siren_fails_once_the_phone_is_heard_and_left_as_it_was() {
    if !has_strace() {
        eprintln!(
            "SKIPPED: strace is missing or may not trace here, so nothing can be made to fail"
        );
        return;
    }
    let sites = find_sites();
    assert!(sites.len() >= 12, "only {} sites: {sites:?}", sites.len());
    std::thread::scope(|scope| {
        // They mostly wait for sound to be played.
        for part in sites.chunks(sites.len().div_ceil(6)) {
            scope.spawn(move || {
                for (number, (call, path)) in part.iter().enumerate() {
                    let fault = match call.as_str() {
                        "write" if number % 2 == 0 => "retval=0",
                        "write" => "error=ENOSPC",
                        _ => "error=EIO",
                    };
                    ring_with(call, path, fault);
                }
            });
        }
    });
}
