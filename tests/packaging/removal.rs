//! Removing Homing from a phone that belongs to an account: the packages' own scripts with the real `homingd pin`. It must not remove anything.

use crate::{packaging, text};
use e2e::{PATIENCE, ours, wait_until};
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;

const PIN: &str = "135790";

/// A state directory with an identity, and homingd that works on it.
struct Phone {
    folder: tempfile::TempDir,
}

impl Phone {
    fn enrolled() -> Self {
        let phone = Self {
            folder: tempfile::tempdir().expect("a folder for a phone"),
        };
        std::fs::create_dir_all(phone.state().join("identity")).expect("a new folder");
        std::fs::write(phone.state().join("identity/identity.cbor"), "").expect("a new file");
        let configuration = format!("state_dir = {:?}\n", phone.state().display().to_string());
        std::fs::write(phone.folder.path().join("homingd.toml"), configuration)
            .expect("a new file");
        phone
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Only the folders and the program, which a test must not touch, are replaced.
    fn script(&self, name: &str) -> String {
        let folder = self.folder.path().display();
        text(&packaging().join(name))
            .replace("/var/lib/homing", &self.state().display().to_string())
            .replace("/run/", &format!("{folder}/run/"))
            .replace(
                "homingd pin check",
                &format!(
                    "{} pin check --config {folder}/homingd.toml",
                    ours("homingd").display()
                ),
            )
    }

    fn prerm(&self) -> Command {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &self.script("debian/homingd.prerm"),
            "prerm",
            "remove",
        ]);
        command
    }

    /// `homingd pin WORD` with these lines as its input.
    fn pin(&self, word: &str, lines: &str) -> Output {
        let mut command = Command::new(ours("homingd"));
        command
            .args(["pin", word, "--config"])
            .arg(self.folder.path().join("homingd.toml"));
        answered(command, lines)
    }
}

/// Runs it with these lines as its input.
fn answered(mut command: Command, lines: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell and homingd can be started");
    // One that ends without reading has closed it.
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(lines.as_bytes());
    }
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_package_is_not_removed_from_a_phone_that_belongs_to_an_account_but_by_its_pin() {
    let phone = Phone::enrolled();
    let without = answered(phone.prerm(), "135790\n");
    assert_eq!(without.status.code(), Some(1), "{}", said(&without));
    assert!(
        said(&without).contains("no Homing PIN is set"),
        "{}",
        said(&without)
    );
    assert!(
        said(&without).contains("homingd leave NAME"),
        "{}",
        said(&without)
    );

    let set = phone.pin("set", "135790\n135790\n");
    assert!(set.status.success(), "{}", said(&set));
    for (lines, why) in [
        ("", "no PIN was typed"),
        ("135791\n", "that is not the Homing PIN"),
        ("yes\n", "6 digits or more"),
    ] {
        let refused = answered(phone.prerm(), lines);
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{lines:?}: {}",
            said(&refused)
        );
        assert!(
            said(&refused).contains(why),
            "{lines:?}: {}",
            said(&refused)
        );
    }
    let removed = answered(phone.prerm(), "135790\n");
    assert!(removed.status.success(), "{}", said(&removed));

    // A lost phone would stay locked without what gives it back, whoever knows the PIN.
    let shown = phone.folder.path().join("state-actor/shown");
    std::fs::create_dir_all(&shown).unwrap();
    std::fs::write(shown.join("notice.json"), "{}").unwrap();
    let lost = answered(phone.prerm(), "135790\n");
    assert_eq!(lost.status.code(), Some(1), "{}", said(&lost));
    assert!(
        said(&lost).contains("this phone is lost"),
        "{}",
        said(&lost)
    );
    std::fs::remove_file(shown.join("notice.json")).unwrap();

    // An upgrade asks nobody.
    let script = phone.script("debian/homingd.prerm");
    let upgraded = Command::new("sh")
        .args(["-c", &script, "prerm", "upgrade", "1"])
        .status();
    assert!(upgraded.unwrap().success());
    std::fs::remove_file(phone.state().join("identity/identity.cbor")).unwrap();
    let nobodys = answered(phone.prerm(), "");
    assert!(
        nobodys.status.success(),
        "a phone without an account: {}",
        said(&nobodys)
    );
}

/// apk takes the files whatever the script says: what it can refuse is to stop the agent.
#[test]
fn alpines_package_stops_the_agent_only_for_the_pin() {
    let phone = Phone::enrolled();
    let script = phone
        .script("alpine/homing-daemon.pre-deinstall")
        .replace("rc-", "echo rc-");
    let removal = || {
        let mut command = Command::new("sh");
        command.args(["-c", &script, "pre-deinstall", "0.1.0"]);
        command
    };
    let set = phone.pin("set", "135790\n135790\n");
    assert!(set.status.success(), "{}", said(&set));
    let refused = answered(removal(), "135791\n");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(!said(&refused).contains("stop"), "{}", said(&refused));
    let shown = phone.folder.path().join("state-actor/shown");
    std::fs::create_dir_all(&shown).unwrap();
    std::fs::write(shown.join("notice.json"), "{}").unwrap();
    let refused = answered(removal(), "135791\n");
    assert!(shown.join("notice.json").exists(), "{}", said(&refused));
    let removed = answered(removal(), "135790\n");
    assert!(removed.status.success(), "{}", said(&removed));
    assert!(
        said(&removed).contains("homingd-agent stop"),
        "{}",
        said(&removed)
    );
    // apk takes the files away: a lost phone is given back before, or it would stay locked.
    assert!(!shown.join("notice.json").exists());
    assert!(said(&removed).contains("homingd-actor restart"));
}

#[test]
fn a_new_pin_needs_the_one_until_now_and_wrong_ones_make_even_the_right_one_wait() {
    let phone = Phone::enrolled();
    assert_eq!(phone.pin("check", "135790\n").status.code(), Some(78));
    assert_eq!(phone.pin("set", "135790\n135791\n").status.code(), Some(64));
    assert_eq!(
        phone.pin("check", "135790\n").status.code(),
        Some(78),
        "nothing was set"
    );
    assert!(phone.pin("set", "135790\n135790\n").status.success());
    let other = phone.pin("set", "111111\n222222\n222222\n");
    assert_eq!(other.status.code(), Some(77), "{}", said(&other));
    assert!(
        phone
            .pin("set", "135790\n246801\n246801\n")
            .status
            .success()
    );
    for _ in 0..5 {
        assert_eq!(phone.pin("check", "135790\n").status.code(), Some(77));
    }
    let waiting = phone.pin("check", "246801\n");
    assert_eq!(waiting.status.code(), Some(77));
    assert!(
        said(&waiting).contains("too many wrong PINs: wait"),
        "{}",
        said(&waiting)
    );
}

#[test]
fn what_is_typed_on_a_terminal_is_not_shown_and_a_question_that_waits_holds_up_no_other() {
    let phone = Phone::enrolled();
    assert!(phone.pin("set", "135790\n135790\n").status.success());
    let terminal = openpty(None, None).unwrap();
    let slave = File::from(terminal.slave);
    let mut command = phone.prerm();
    command
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave);
    let mut child = command.spawn().unwrap();
    // The command holds the other ends, without which the terminal does not end.
    drop(command);
    let mut master = File::from(terminal.master);
    let mut reader = master.try_clone().unwrap();
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            let _ = tell.send(buffer[..length].to_vec());
        }
    });
    let mut shown = String::new();
    wait_until(PATIENCE, "the question", || {
        for bytes in told.try_iter() {
            shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        shown.contains("Homing PIN: ").then_some(())
    });
    // A question that waits here keeps nobody from answering it elsewhere.
    let mut elsewhere = Command::new("timeout");
    elsewhere.arg((PATIENCE * 4).as_secs().to_string());
    elsewhere.arg(ours("homingd")).args(["pin", "check"]);
    elsewhere
        .arg("--config")
        .arg(phone.folder.path().join("homingd.toml"));
    let elsewhere = answered(elsewhere, &format!("{PIN}\n"));
    assert!(elsewhere.status.success(), "{}", said(&elsewhere));
    writeln!(master, "{PIN}").unwrap();
    assert!(child.wait().unwrap().success(), "{shown}");
    thread.join().unwrap();
    for bytes in told.iter() {
        shown.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(shown.contains("The PIN is right."), "{shown}");
    assert!(!shown.contains(PIN), "{shown}");
}
