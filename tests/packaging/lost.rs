//! What a package installs for a lost phone: units, conditions, the generator and OpenRC's script, tried on folders of the test's own.

use crate::{text, tree, unit};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The most that `systemd-analyze security` may say of what a lost phone runs.
pub(crate) const EXPOSURE_LIMIT: f64 = 2.5;
pub(crate) const SERVICES: [&str; 4] = [
    "homingd-actor.service",
    "homing-lost-screen.service",
    "homing-lost-keys.service",
    "homing-lost-resume.service",
];

/// The file whose presence is "this phone is lost".
const NOTICE: &str = "/var/lib/homing-actor/shown/notice.json";

#[test]
fn what_gives_a_screen_a_prompt_or_the_files_does_not_start_while_the_notice_is_there() {
    let units = tree().join("usr/lib/systemd/system");
    for entry in fs::read_dir(&units).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !name.ends_with(".d") {
            continue;
        }
        let condition = text(&entry.path().join("50-homing-lost.conf"));
        let line = format!("ConditionPathExists=!{NOTICE}");
        assert!(condition.lines().any(|found| found == line), "{name}");
    }
}

#[test]
fn the_screen_and_the_actor_are_never_given_up_while_the_phone_is_lost() {
    for name in ["homing-lost-screen.service", "homingd-actor.service"] {
        let unit = text(&unit(name));
        for line in ["StartLimitIntervalSec=0", "OOMScoreAdjust="] {
            let found = unit.lines().any(|found| found.starts_with(line));
            assert!(found, "{name}: {line}");
        }
    }
    let screen = text(&unit("homing-lost-screen.service"));
    for line in [
        "Restart=always",
        "OOMScoreAdjust=-1000",
        "User=homing-lost",
        "PartOf=homing-lost.target",
    ] {
        assert!(screen.lines().any(|found| found == line), "{line}");
    }
    let target = text(&unit("homing-lost.target"));
    assert!(target.contains("AllowIsolate=yes\n"));
    for wanted in [
        "homing-lost-screen.service",
        "homingd-agent.service",
        "homing-lost-resume.service",
    ] {
        let found = target
            .lines()
            .any(|line| line.starts_with("Wants=") && line.contains(wanted));
        assert!(found, "{wanted}");
    }
}

/// Runs the generator as systemd does, on a system below `root`; only where that lies is replaced.
fn generate(root: &Path) {
    let script = tree().join("usr/lib/systemd/system-generators/homing-lost-generator");
    let place = root.display();
    let moved = text(&script)
        .replace("/etc/systemd", &format!("{place}/etc/systemd"))
        .replace(" /usr/lib/systemd", &format!(" {place}/usr/lib/systemd"))
        .replace(" /lib/systemd", &format!(" {place}/lib/systemd"))
        .replace(NOTICE, &format!("{place}{NOTICE}"));
    for folder in ["normal", "early", "late"] {
        let folder = root.join(folder);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a new folder");
    }
    let ended = Command::new("sh")
        .args(["-c", &moved, "generator"])
        .args(["normal", "early", "late"].map(|folder| root.join(folder)))
        .status();
    assert!(ended.is_ok_and(|status| status.success()));
}

#[test]
fn a_lost_phone_starts_lost_and_keeps_what_is_enabled_of_what_brings_it_home() {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    let wants = root
        .path()
        .join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&units).unwrap();
    fs::create_dir_all(&wants).unwrap();
    for name in [
        "NetworkManager.service",
        "ModemManager.service",
        "cups.service",
        "wg-quick@.service",
    ] {
        fs::write(units.join(name), "").unwrap();
    }
    for (link, name) in [
        ("NetworkManager.service", "NetworkManager.service"),
        ("cups.service", "cups.service"),
        ("wg-quick@home.service", "wg-quick@.service"),
    ] {
        std::os::unix::fs::symlink(units.join(name), wants.join(link)).unwrap();
    }
    generate(root.path());
    let early = root.path().join("early");
    assert!(!early.join("default.target").is_symlink(), "it is not lost");
    let mut kept: Vec<_> = fs::read_dir(early.join("homing-lost.target.wants"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["NetworkManager.service", "wg-quick@home.service"]);

    let notice = root.path().join(NOTICE.trim_start_matches('/'));
    fs::create_dir_all(notice.parent().unwrap()).unwrap();
    fs::write(&notice, "{}").unwrap();
    generate(root.path());
    let target = fs::read_link(early.join("default.target")).unwrap();
    assert!(target.ends_with("homing-lost.target"), "{target:?}");
    fs::remove_file(&notice).unwrap();
    generate(root.path());
    assert!(
        !early.join("default.target").is_symlink(),
        "it is given back"
    );
}

#[test]
fn openrcs_script_reads_the_same_notice() {
    let script = tree().join("etc/init.d/homing-lost");
    assert!(text(&script).contains(&format!("notice={NOTICE}")));
    let screen = tree().join("etc/init.d/homing-lost-screen");
    assert!(text(&screen).contains("command_args=\"--resident\""));
    for script in [script, screen] {
        let checked = Command::new("sh").arg("-n").arg(&script).status().unwrap();
        assert!(checked.success());
    }
}
