//! The files a package installs, held to their promises by systemd's own tools; must not need a running systemd.
#![forbid(unsafe_code)]

mod lost;
mod passphrase;
mod removal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The most that `systemd-analyze security` may say of either service, in its tenths.
const EXPOSURE_LIMIT: f64 = 1.5;

const SERVICES: [&str; 2] = ["homingd-agent.service", "homingd-siren.service"];

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn unit(name: &str) -> PathBuf {
    tree().join("usr/lib/systemd/system").join(name)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs `systemd-analyze`; `None`, and a word about it, where there is none.
fn systemd_analyze(arguments: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: systemd-analyze is not here ({error})");
            None
        }
    }
}

#[test]
fn each_service_is_exposed_no_more_than_promised() {
    let others = lost::SERVICES.map(|service| (service, lost::EXPOSURE_LIMIT));
    for (service, limit) in SERVICES
        .map(|service| (service, EXPOSURE_LIMIT))
        .into_iter()
        .chain(others)
    {
        let path = unit(service);
        let Some(output) =
            systemd_analyze(&["security", "--offline=true", &path.display().to_string()])
        else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let score: f64 = said
            .lines()
            .find_map(|line| line.split_once(&format!("exposure level for {service}: ")))
            .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| {
                panic!(
                    "no score in:\n{said}{}",
                    String::from_utf8_lossy(&output.stderr)
                )
            });
        assert!(
            score <= limit,
            "{service} is exposed {score}, more than {limit}:\n{said}"
        );
    }
}

/// Only the path of the binary and the manual pages, which are not installed where tests run, are replaced.
#[test]
fn systemd_finds_nothing_to_correct_in_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for name in [
        "homingd-agent.service",
        "homingd-siren.service",
        "homingd-siren.path",
        "homingd-enrol.service",
        "homingd-actor.socket",
        "homingd-actor.service",
        "homing-lost.target",
        "homing-lost-screen.service",
        "homing-lost-keys.service",
        "homing-lost-resume.service",
    ] {
        let copy = folder.path().join(name);
        let changed: String = text(&unit(name))
            .replace("/usr/bin/homingd", "/bin/true")
            .replace("/usr/bin/homing-lost-screen", "/bin/true")
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&copy, changed).unwrap();
        paths.push(copy.display().to_string());
    }
    let mut arguments = vec!["verify"];
    arguments.extend(paths.iter().map(String::as_str));
    let Some(output) = systemd_analyze(&arguments) else {
        return;
    };
    // systemd also speaks of the machine's own units; only lines about ours count.
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_ours: Vec<&str> = errors
        .lines()
        .filter(|line| line.contains("homingd-") || line.contains("homing-lost"))
        .collect();
    assert!(about_ours.is_empty(), "{}", about_ours.join("\n"));
}

/// The unit of the owner's own systemd; another unit's text is as in the test above.
#[test]
fn systemd_finds_nothing_to_correct_in_the_owners_unit() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = text(&tree().join("usr/lib/systemd/user/homing-watch.service"));
    let copy = folder.path().join("homing-watch.service");
    let changed: String = shipped
        .replace("/usr/bin/homing", "/bin/true")
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&copy, changed).unwrap();
    let Some(output) = systemd_analyze(&["verify", "--user", &copy.display().to_string()]) else {
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_ours: Vec<&str> = errors
        .lines()
        .filter(|line| line.contains("homing-watch"))
        .collect();
    assert!(about_ours.is_empty(), "{}", about_ours.join("\n"));
    for line in [
        "Type=notify",
        "Restart=always",
        "RestartPreventExitStatus=64 77 78",
        "StartLimitIntervalSec=0",
        "ProtectSystem=strict",
        "ReadWritePaths=%h/.local/share/homing",
        "NoNewPrivileges=yes",
        "WantedBy=default.target",
    ] {
        assert!(shipped.lines().any(|found| found == line), "{line}");
    }
    // A user's manager cannot take away what its user has not got, and fails where it is told to.
    for needs_privileges in [
        "CapabilityBoundingSet",
        "PrivateDevices",
        "ProtectKernel",
        "ProtectClock",
        "User=",
    ] {
        assert!(
            !shipped.contains(&format!("\n{needs_privileges}")),
            "{needs_privileges}"
        );
    }
}

#[test]
fn a_service_is_not_restarted_after_what_a_restart_cannot_heal() {
    for service in SERVICES {
        let unit = text(&unit(service));
        assert!(
            unit.lines()
                .any(|line| line == "RestartPreventExitStatus=64 77 78")
        );
        assert!(unit.lines().any(|line| line == "Type=notify"));
        assert!(unit.lines().any(|line| line.starts_with("WatchdogSec=")));
        assert!(
            unit.lines().any(|line| line == "StartLimitIntervalSec=0"),
            "{service} must not be given up"
        );
    }
}

#[test]
fn the_siren_waits_for_the_file_in_the_folder_both_users_share() {
    let path = text(&unit("homingd-siren.path"));
    assert!(path.contains("PathExists=/var/lib/homing/siren/intent.json\n"));
    let tmpfiles = text(&tree().join("usr/lib/tmpfiles.d/homing.conf"));
    assert!(tmpfiles.contains("/var/lib/homing/siren 2770 homing homing-siren"));
    // The agent is woken by what stands here.
    assert!(tmpfiles.contains("/var/lib/homing-actor/shown 0755 root root"));
    let sysusers = text(&tree().join("usr/lib/sysusers.d/homing.conf"));
    for line in [
        "u homing ",
        "u homing-siren ",
        "m homing-siren audio",
        "m homing ",
        "u homing-lost ",
        "m homing-lost  homing-actor",
        "m homing       homing-actor",
    ] {
        assert!(sysusers.contains(line), "{line}");
    }
}

/// The two tools that make users and folders at installation read our files into an empty root.
#[test]
fn users_and_folders_are_made_as_written() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["etc", "var/lib", "run", "usr/lib"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let groups = "audio:x:29:\nvideo:x:44:\ninput:x:104:\ntty:x:5:\n";
    std::fs::write(root.path().join("etc/group"), groups).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "").unwrap();
    let file = tree().join("usr/lib/sysusers.d/homing.conf");
    let made = Command::new("systemd-sysusers")
        .arg(format!("--root={}", root.path().display()))
        .arg(&file)
        .output();
    let Ok(output) = made else {
        eprintln!("SKIPPED: systemd-sysusers is not here");
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let passwd = text(&root.path().join("etc/passwd"));
    assert!(passwd.contains("homing:x:") && passwd.contains("homing-siren:x:"));
    let group = text(&root.path().join("etc/group"));
    assert!(
        group
            .lines()
            .any(|line| line.starts_with("audio:") && line.ends_with(":homing-siren")),
        "{group}"
    );
    assert!(
        group
            .lines()
            .any(|line| line.starts_with("homing-siren:") && line.ends_with(":homing")),
        "{group}"
    );
}

#[test]
fn the_init_scripts_are_shell_and_run_the_same_commands_as_the_units() {
    for (script, command) in [
        ("homingd-agent", "\"agent\""),
        ("homingd-siren", "\"siren --resident\""),
        ("homingd-actor", "\"actor\""),
    ] {
        let path = tree().join("etc/init.d").join(script);
        assert!(text(&path).contains(&format!("command_args={command}")));
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{script}");
    }
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

#[test]
fn every_script_of_the_packages_is_shell() {
    for script in [
        "debian/homingd.postinst",
        "debian/homingd.prerm",
        "debian/homingd.postrm",
        "tarball/install.sh",
        "tarball/uninstall.sh",
        "alpine/APKBUILD",
        "alpine/homing-daemon.pre-install",
        "alpine/homing-daemon.post-upgrade",
        "alpine/homing-daemon.pre-deinstall",
        "trial.sh",
        "trial-openrc.sh",
        "trial-tarball.sh",
    ] {
        let checked = Command::new("sh")
            .arg("-n")
            .arg(packaging().join(script))
            .status();
        assert!(checked.unwrap().success(), "{script}");
    }
}
