//! homingd's commands as a person or a supervisor meets them: exit codes, sentences, limits, signals.
#![forbid(unsafe_code)]

mod phone;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use homingd::signal::{Signal, Signals};
use phone::{PATIENCE, Phone, Process, homingd, said};

#[test]
fn a_wrong_command_line_is_one_sentence_and_64() {
    for words in [
        &["sirne"][..],
        &[],
        &["siren", "--no-such-flag"],
        &["doctor", "too", "much"],
    ] {
        let output = homingd().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        let said = said(&output);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("homingd: "), "{said:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    for words in [
        &["--help"][..],
        &["siren", "--help"],
        &["--version"],
        &["doctor", "-h"],
    ] {
        let output = homingd().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{words:?}"
        );
    }
}

#[test]
fn check_config_says_ok_or_every_fault_on_a_line_of_its_own_and_78() {
    let phone = Phone::new();
    let output = phone.command(&["check-config"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?}", said(&output));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("OK: ")
    );

    phone.configure("[ring]\nlongest_s = 0\n[rnig]\n");
    let output = phone.command(&["check-config"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = said(&output);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.iter().all(|line| line.starts_with("homingd: ")),
        "{said:?}"
    );
    assert!(said[1].contains("did you mean \"ring\"?"), "{said:?}");
}

#[test]
fn check_config_looks_at_each_file_named() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (
        folder.path().join("good.toml"),
        folder.path().join("bad.toml"),
    );
    fs::write(&good, "log = \"warn\"\n").unwrap();
    fs::write(&bad, "log = \n").unwrap();
    let output = homingd()
        .arg("check-config")
        .args([&good, &bad])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{}: OK\n", good.display())
    );
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("bad.toml:1: ")
    );
}

#[test]
fn every_command_refuses_the_simulator_without_the_flag() {
    let phone = Phone::new();
    for subcommand in ["siren", "check-config", "doctor"] {
        let output = homingd()
            .arg(subcommand)
            .arg("--config")
            .arg(phone.config())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{subcommand}");
        assert!(
            said(&output)[0].contains("--allow-simulator"),
            "{subcommand}"
        );
    }
}

#[test]
fn the_doctor_tells_what_each_feature_uses_and_what_is_weak_and_succeeds() {
    let phone = Phone::new();
    let output = phone.command(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?}", said(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["enrolled"], false);
    let ring = answer["features"]
        .as_array()
        .unwrap()
        .iter()
        .find(|feature| feature["feature"] == "ring")
        .unwrap();
    assert!(
        ring["uses"].as_str().unwrap().starts_with("simulator"),
        "{ring}"
    );
    let names: Vec<&str> = answer["drivers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["capability"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "position",
            "siren",
            "vibration",
            "light",
            "power",
            "network",
            "identity",
            "lockdown",
            "panel",
            "touch"
        ]
    );
    assert!(
        answer["weak"]
            .as_array()
            .unwrap()
            .iter()
            .any(|weakness| weakness["what"] == "enrolment")
    );

    let text = phone.command(&["doctor"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for part in [
        "not enrolled",
        "Drivers",
        "Features",
        "Weak",
        "  enrolment: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_feature_without_a_driver_is_weak_with_the_reason() {
    let phone = Phone::new();
    // No gpsd listens on the discard port.
    let text = format!(
        "state_dir = {:?}\n[hal.position]\ngpsd = '127.0.0.1:9'\n",
        phone.state_dir()
    );
    fs::write(phone.config(), text).unwrap();
    let output = phone.command(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?}", said(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let weak = answer["weak"].as_array().unwrap();
    let locate = weak
        .iter()
        .find(|weakness| weakness["what"] == "locate")
        .unwrap();
    let why = locate["why"].as_str().unwrap();
    assert!(
        why.contains("cannot be told where") && why.contains("gpsd says"),
        "{why}"
    );
}

#[test]
fn a_process_that_runs_can_leave_no_core_dump() {
    let phone = Phone::new();
    let siren = phone.start_siren(&["--resident"]);
    let limits = format!("/proc/{}/limits", siren.0.id());
    let began = std::time::Instant::now();
    loop {
        let text = fs::read_to_string(&limits).unwrap();
        let core = text
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        if core.split_whitespace().nth(4) == Some("0")
            && core.split_whitespace().nth(5) == Some("0")
        {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{core}");
        phone::pause();
    }
}

#[test]
fn the_supervisor_is_told_when_the_siren_is_ready_waits_and_ends() {
    let phone = Phone::new();
    let path = phone.root().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = phone.command(&["siren", "--resident"]);
    let siren = Process(
        command
            .env("NOTIFY_SOCKET", &path)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let told = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(told(), "STATUS=silent, waiting for an order");
    siren.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn a_watched_siren_shows_life_also_while_it_waits() {
    let phone = Phone::new();
    let path = phone.root().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = phone.command(&["siren", "--resident"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let _siren = Process(command.stderr(Stdio::null()).spawn().unwrap());
    let mut signs = 0;
    while signs < 3 {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        signs += usize::from(buffer[..length].starts_with(b"WATCHDOG=1"));
    }
}

#[test]
fn signals_reach_an_async_loop_each_once_and_a_stop_goes_first() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut signals = Signals::install().unwrap().into_async().unwrap();
        for _ in 0..3 {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
            for wanted in [Signal::Stop, Signal::Reload] {
                let signal = tokio::time::timeout(PATIENCE, signals.next())
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(signal, wanted);
            }
        }
        let none = tokio::time::timeout(std::time::Duration::from_millis(50), signals.next()).await;
        assert!(none.is_err(), "{none:?}");
    });
}
