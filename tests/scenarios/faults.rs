//! What people and machines get wrong: a full disk, files that are not what they should be, a broker that is none. One clear sentence each, the documented exit code, and nothing changed.

use e2e::{Answer, Broker, Handset, Household, Owner, PASSPHRASE, PATIENCE, PHONE, Proc, Receiver};
use e2e::{Scratch, Sim, free_port, wait_until};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set in a process that may mount what nobody else sees.
const INSIDE: &str = "HOMING_TEST_INSIDE";

/// Runs this very test again where it may mount; `true` in there. Says so loudly where the system does not allow it.
fn may_mount(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let scratch = Scratch::new();
    // As root a mount namespace of its own; as anybody else with a user namespace around it.
    let allowed = ["-m", "-Urm"].into_iter().find(|flag| {
        let probe = Command::new("unshare")
            .args([flag, "mount", "-t", "tmpfs", "-o", "size=64k", "none"])
            .arg(scratch.path())
            .stderr(Stdio::null())
            .status();
        probe.is_ok_and(|status| status.success())
    });
    let Some(flag) = allowed else {
        eprintln!(
            "SKIPPED {test}: neither root nor user namespaces here, so no small disk can be made"
        );
        return false;
    };
    let mut command = Command::new("unshare");
    command
        .arg(flag)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null());
    let mut inside = Proc::start("inside", scratch.path(), &mut command);
    let status = inside.wait(PATIENCE * 3);
    let log = inside.log();
    assert!(status.success() && log.contains("1 passed"), "{log}");
    false
}

/// Writes until not one more byte fits.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap();
    for size in [64 * 1024, 4096, 64, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    let full = file.write_all(b"x").unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    path
}

#[test]
fn a_phone_whose_disk_is_full_to_the_last_byte_still_rings_and_answers() {
    if !may_mount("faults::a_phone_whose_disk_is_full_to_the_last_byte_still_rings_and_answers") {
        return;
    }
    let mut household = Household::without_phone(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    let disk = household.handset.state();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "none"])
        .arg(&disk)
        .status();
    assert!(mounted.unwrap().success());
    std::fs::create_dir(disk.join("siren")).unwrap();

    // Nothing of an enrolment that does not fit stays behind.
    let full = fill(&disk);
    let bundle = household.scratch.path().join("early.homing");
    let out = bundle.display().to_string();
    let _ = household
        .owner
        .homing(&["device", "add", "early", "--out", &out])
        .expect_success();
    let refused = household.handset.homingd(&["enrol", &out, "--yes"]);
    assert!(refused.sentence("homingd", 74).contains("No space left"));
    std::fs::remove_file(full).unwrap();
    household.enrol();

    for restart in [false, true] {
        let full = fill(&disk);
        if restart {
            household.handset.kill9_agent();
            household.handset.kill9_siren();
            household.handset.start();
        }
        rings_and_stops(&household);
        let _ = household.owner.homing(&["locate", PHONE]).expect_success();
        std::fs::remove_file(full).unwrap();
        // With space again everything is as before, the next full disk included.
        rings_and_stops(&household);
    }
    // A folder that is mounted upon cannot be removed.
    household.handset.stop();
    let freed = Command::new("umount").arg("-l").arg(&disk).status();
    assert!(freed.unwrap().success());
}

fn rings_and_stops(household: &Household) {
    let rung = household.owner.json(&["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    let stopped = household.owner.json(&["ring", PHONE, "--stop"]);
    assert_eq!(stopped["state"], "done", "{stopped}");
    household.sim.wait_silent(PATIENCE);
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            all.extend(content(&entry.path()));
        } else {
            all.insert(entry.path(), std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// A phone that nobody has enrolled, and its world.
fn fresh_phone(scratch: &Scratch) -> (Handset, Sim) {
    let sim = Sim::start(&scratch.folder("sim"));
    let handset = Handset::new(&scratch.folder("phone"), &sim, None);
    (handset, sim)
}

#[test]
fn a_wrong_configuration_is_told_with_its_place_and_what_was_meant() {
    let scratch = Scratch::new();
    let (handset, _sim) = fresh_phone(&scratch);
    for (text, expected) in [
        ("[ring]\nlongst_s = 5\n", "longest_s"),
        ("[ring]\nlongest_s = 0\n", "86400"),
        ("[ring]\nlongest_s = \"long\"\n", "ring.longest_s"),
        ("[rings]\n", "ring"),
        ("log = \"loud\"\n", "debug"),
        ("[mqtt]\nkeep_alive_s = 99999\n", "65535"),
        ("state_dir = \"here\"\n", "absolute"),
        ("log = \n", "x.toml:1"),
    ] {
        handset.configure("x", text);
        for subcommand in ["agent", "siren", "status", "check-config"] {
            let sentence = handset.homingd(&[subcommand]).sentence("homingd", 78);
            assert!(
                sentence.contains(expected) && sentence.contains("x.toml"),
                "{subcommand} {text:?}: {sentence}"
            );
        }
    }
    handset.configure("x", "");
    assert!(
        handset
            .homingd(&["agent"])
            .sentence("homingd", 78)
            .contains("homingd enrol")
    );
    for wrong in [
        &["agnet"][..],
        &["agent", "--fast"],
        &["enrol"],
        &["agent", "--clock-offset", "late"],
    ] {
        let _ = handset.homingd(wrong).sentence("homingd", 64);
    }
    assert_eq!(content(&handset.state()).len(), 0, "nothing was changed");
}

#[test]
fn a_bundle_that_is_none_leaves_the_phone_as_it_was() {
    let scratch = Scratch::new();
    let (handset, _sim) = fresh_phone(&scratch);
    let owner = Owner::new(&scratch.folder("laptop"), PASSPHRASE);
    owner.init(free_port());
    let good = scratch.path().join("good");
    let out = good.display().to_string();
    let _ = owner
        .homing(&["device", "add", PHONE, "--out", &out])
        .expect_success();
    let bytes = std::fs::read(&good).unwrap();

    let mut attempts: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("text".into(), b"this is my bundle\n".to_vec()),
        ("huge".into(), vec![0xa1; 3_000_000]),
        ("longer".into(), [&bytes[..], b"\0"].concat()),
        ("twice".into(), bytes.repeat(2)),
    ];
    attempts.extend(
        [1, 2, 16, bytes.len() / 2, bytes.len() - 1]
            .map(|length| (format!("first {length}"), bytes[..length].to_vec())),
    );
    attempts.extend((0..24).map(|part| {
        let mut bent = bytes.clone();
        let at = part * (bytes.len() - 1) / 23;
        bent[at] ^= 1 << (part % 8);
        (format!("bit {} of byte {at}", part % 8), bent)
    }));
    let path = scratch.path().join("bad");
    for (what, content_of_it) in attempts {
        std::fs::write(&path, content_of_it).unwrap();
        let answer = handset.homingd(&["enrol", &path.display().to_string(), "--yes"]);
        assert!(!answer.status.success(), "{what} was taken: {answer}");
        let sentence = answer.sentence("homingd", 78);
        assert!(
            sentence.contains("not a bundle of Homing, or it is damaged"),
            "{what}: {sentence}"
        );
        assert_eq!(content(&handset.state()).len(), 0, "{what} left something");
    }
    let missing = handset.homingd(&["enrol", "/nonexistent/bundle", "--yes"]);
    let _ = missing.sentence("homingd", 74);
    let unasked = handset.homingd(&["enrol", &out]);
    assert!(unasked.sentence("homingd", 78).contains("must agree"));
    handset.enrol(&good);
    for again in [&good, &path] {
        let _ = handset
            .homingd(&["enrol", &again.display().to_string(), "--yes"])
            .sentence("homingd", 78);
    }
}

#[test]
fn a_damaged_state_of_the_phone_is_told_and_left_as_it_is() {
    let mut household = Household::enrolled(Receiver::Simulated);
    household.handset.stop();
    let state = household.handset.state();
    let spoil = |name: &str, how: &dyn Fn(&mut Vec<u8>)| {
        let path = state.join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        how(&mut bad);
        std::fs::write(&path, &bad).unwrap();
        let before = content(&state);
        let said = household.handset.homingd(&["agent"]);
        let sentence = said.sentence("homingd", 74);
        assert!(
            sentence.contains("damaged")
                || sentence.contains("malformed")
                || sentence.contains("not a database"),
            "{name}: {sentence}"
        );
        // SQLite's own files beside the journal come and go.
        let same = |all: BTreeMap<PathBuf, Vec<u8>>| -> Vec<(PathBuf, Vec<u8>)> {
            let kept = |path: &PathBuf| {
                let text = path.display().to_string();
                !text.ends_with("-wal") && !text.ends_with("-shm")
            };
            all.into_iter().filter(|(path, _)| kept(path)).collect()
        };
        assert!(same(content(&state)) == same(before), "{name} was changed");
        std::fs::write(&path, good).unwrap();
    };
    for name in ["identity/identity.cbor", "agent.db"] {
        spoil(name, &|bytes| bytes.fill(b'#'));
        spoil(name, &|bytes| bytes.truncate(bytes.len() / 3));
    }
    spoil("identity/identity.cbor", &Vec::clear);
    spoil("identity/identity.cbor", &|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    household.handset.start();
    rings_and_stops(&household);

    household.handset.stop();
    let elsewhere = state.with_file_name("elsewhere");
    std::fs::rename(&state, &elsewhere).unwrap();
    let _ = household
        .handset
        .homingd(&["siren"])
        .sentence("homingd", 74);
    File::create(&state).unwrap();
    let _ = household
        .handset
        .homingd(&["agent"])
        .sentence("homingd", 74);
}

#[test]
fn a_state_that_may_not_be_read_is_a_matter_of_permission() {
    let scratch = Scratch::new();
    let (handset, _sim) = fresh_phone(&scratch);
    if std::fs::read("/etc/shadow").is_ok() {
        eprintln!("SKIPPED: root may read everything");
        return;
    }
    let closed = |open: u32| {
        let mode = std::fs::Permissions::from_mode(open);
        std::fs::set_permissions(handset.state(), mode).unwrap();
    };
    closed(0o000);
    let agent = handset.homingd(&["agent"]);
    closed(0o700);
    let _ = agent.sentence("homingd", 77);
}

/// What was said is one sentence of ours a line, at most so many.
#[track_caller]
fn sentences(answer: &Answer, code: i32, most: usize) -> String {
    assert_eq!(answer.status.code(), Some(code), "{answer}");
    let lines: Vec<&str> = answer.stderr.lines().collect();
    assert!(
        (1..=most).contains(&lines.len())
            && lines.iter().all(|line| line.starts_with("homing: "))
            && !answer.stderr.contains("panicked"),
        "{answer}"
    );
    answer.stderr.clone()
}

#[test]
fn a_state_of_the_owner_that_is_missing_or_damaged_is_one_sentence() {
    let scratch = Scratch::new();
    let folder = scratch.folder("laptop");
    let owner = Owner::new(&folder, PASSPHRASE);
    for command in [
        &["devices"][..],
        &["locate", PHONE],
        &["ring", PHONE],
        &["log", PHONE],
        &["watch"],
        &["status"],
        &["kit"],
        &["device", "add", PHONE, "--out", "b"],
    ] {
        let sentence = owner.homing(command).sentence("homing", 78);
        assert!(sentence.contains("there is no account"), "{sentence}");
    }
    assert_eq!(content(&folder).len(), 0, "asking makes nothing");
    let _ = Owner::new(&folder, "short")
        .homing(&["init", "--broker", "mqtts://127.0.0.1:1"])
        .sentence("homing", 64);
    for broker in ["127.0.0.1", "mqtt://127.0.0.1:1", "mqtts://", "mqtts://h:x"] {
        let _ = owner
            .homing(&["init", "--broker", broker])
            .sentence("homing", 64);
    }
    let ca = folder.join("ca");
    std::fs::write(&ca, "no certificate").unwrap();
    let ca = ca.display().to_string();
    let _ = owner
        .homing(&["init", "--broker", "mqtts://h:1", "--ca", &ca])
        .sentence("homing", 78);
    assert_eq!(content(&folder).len(), 1, "a failed init leaves nothing");

    owner.init(free_port());
    let stranger = Owner::new(&folder, "not the passphrase");
    let add = ["device", "add", PHONE, "--out", "bundle"];
    let wrong = stranger.homing(&add).sentence("homing", 77);
    assert!(wrong.contains("wrong passphrase"), "{wrong}");
    assert!(!folder.join("bundle").exists());
    let nobody = owner.homing(&["locate", "nobody"]);
    assert!(nobody.sentence("homing", 64).contains("no phone is called"));

    let database = owner.home().join("homing.db");
    for content in [&b"#".repeat(8192)[..], b"SQLite format 3\0"] {
        for side in ["homing.db-wal", "homing.db-shm"] {
            let _ = std::fs::remove_file(owner.home().join(side));
        }
        std::fs::write(&database, content).unwrap();
        let _ = owner.homing(&["devices"]).sentence("homing", 74);
        assert_eq!(std::fs::read(&database).unwrap(), content, "changed");
    }
}

/// Somebody else's port: takes connections and talks another language.
fn not_a_broker(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
}

#[test]
fn a_broker_that_is_away_or_none_or_anothers_keeps_orders_queued_and_says_why() {
    let mut household = Household::enrolled(Receiver::Simulated);
    let port = household.broker.port();
    let neighbour = Owner::new(&household.scratch.folder("neighbour"), PASSPHRASE);
    neighbour.init(free_port());
    let kit = household
        .scratch
        .path()
        .join("kit.json")
        .display()
        .to_string();
    let _ = household
        .owner
        .homing(&["kit", "--out", &kit])
        .expect_success();
    let fresh = Owner::new(&household.scratch.folder("fresh"), PASSPHRASE);

    household.broker.stop();
    let unhappy = |reason: &str| {
        let located = household.owner.homing(&["locate", PHONE, "--wait", "5s"]);
        let why = sentences(&located, 75, 2);
        assert!(why.to_lowercase().contains(reason), "{why}");
        assert!(why.contains("stays queued"), "{why}");
        let shown = household.owner.homing(&["devices"]);
        assert!(sentences(&shown, 0, 1).contains("not connected"), "{shown}");
        let recovered = fresh.homing(&["recover", "--kit", &kit]);
        let why = recovered.sentence("homing", 74);
        assert!(why.to_lowercase().contains(reason), "{why}");
        assert!(!fresh.home().join("homing.db").exists());
        wait_until(PATIENCE, "the agent to say why", || {
            let status = household.status();
            (status["agent"]["broker"] == "waiting").then_some(())
        });
    };
    unhappy("nothing listens");
    let theirs = Broker::start_on(&neighbour.broker_folder(), port);
    unhappy("certificate");
    drop(theirs);
    not_a_broker(port);
    unhappy("tls");
}
