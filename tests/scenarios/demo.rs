//! What ./demo promises a newcomer: the whole tour, and nothing left after Ctrl-C. Its steps check themselves.

use e2e::{PATIENCE, Proc, Scratch, ours, wait_until};
use nix::sys::signal::Signal;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Long enough on a crowded machine; the tour takes half a minute on an idle one.
const TOUR: Duration = Duration::from_secs(300);

#[test]
fn the_tour_succeeds_and_leaves_nothing_after_ctrl_c() {
    let scratch = Scratch::new();
    let temporary = scratch.folder("tmp");
    let mut command = Command::new(ours("homing-demo"));
    command.env("TMPDIR", &temporary).stdin(Stdio::null());
    let (home, cache) = (scratch.folder("home"), scratch.folder("cache"));
    command.env("HOME", &home).env("XDG_CACHE_HOME", &cache);
    let mut demo = Proc::start("demo", scratch.path(), &mut command);
    demo.wait_for_output(TOUR, "Your turn");
    demo.wait_for_output(PATIENCE, "Ctrl-C ends everything");
    // Agent, siren, `homing watch`, broker, simulator.
    assert!(running_in(&temporary) >= 5, "the household is at work");
    demo.signal(Signal::SIGINT);
    let status = demo.wait(PATIENCE);
    assert!(status.success(), "{status}: {}", demo.log());
    for folder in [&temporary, &home, &cache] {
        let left: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
        assert!(left.is_empty(), "files are left: {left:?}");
    }
    wait_until(PATIENCE, "every process of the demo to be gone", || {
        (running_in(&temporary) == 0).then_some(())
    });
}

#[test]
fn a_tour_that_is_interrupted_leaves_nothing_either() {
    let scratch = Scratch::new();
    let temporary = scratch.folder("tmp");
    let mut command = Command::new(ours("homing-demo"));
    command.env("TMPDIR", &temporary).stdin(Stdio::null());
    let mut demo = Proc::start("demo", scratch.path(), &mut command);
    demo.wait_for_output(TOUR, "1. The phone joins the account");
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait(PATIENCE).code(), Some(130));
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().flatten().collect();
    assert!(left.is_empty(), "files are left: {left:?}");
    wait_until(PATIENCE, "every process of the demo to be gone", || {
        (running_in(&temporary) == 0).then_some(())
    });
}

#[test]
fn a_tour_in_an_emulated_phone_that_nobody_prepared_says_so_and_ends() {
    let scratch = Scratch::new();
    let temporary = scratch.folder("tmp");
    let mut command = Command::new(ours("homing-demo"));
    command
        .args(["--qemu", "--once"])
        .env("TMPDIR", &temporary)
        .env_remove("HOMING_TEST_GUEST")
        .env_remove("HOMING_TEST_SYSTEM")
        .env("HOMING_TEST_GUEST_REASON", "QEMU is not here")
        .env("HOMING_TEST_SYSTEM_REASON", "there is no image")
        .stdin(Stdio::null());
    let mut demo = Proc::start("demo", scratch.path(), &mut command);
    assert_eq!(demo.wait(TOUR).code(), Some(1));
    let told = demo.log();
    assert!(told.contains("there is no image"), "{told}");
    assert!(told.contains("QEMU is not here"), "{told}");
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().flatten().collect();
    assert!(left.is_empty(), "files are left: {left:?}");
}

/// How many processes name this folder on their command line.
fn running_in(folder: &std::path::Path) -> usize {
    let name = folder.display().to_string();
    let processes = std::fs::read_dir("/proc")
        .expect("Linux has /proc")
        .flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&name))
        .count()
}
