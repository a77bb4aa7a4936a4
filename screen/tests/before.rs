//! `homing-lost-screen --before-passphrase` as a process on a simulated phone, as the initial RAM disk starts it. Says nothing about who wrote the file.
#![forbid(unsafe_code)]

mod simulated;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use homing_hal::sim::serve::Simulator;
use homing_hal::sim::track::Place;
use homing_hal::sim::world::World;
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a condition may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test: nothing ends by time that is not meant to.
const LONG: &str = "600";

/// A phone whose disk is not open yet.
struct Phone {
    folder: TempDir,
}

/// The screen's process, killed on drop.
struct Shown(Option<Child>);

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Shown {
    /// Its end by itself, with what it said.
    #[track_caller]
    fn ends(mut self) -> Output {
        let child = self.0.take().expect("a process");
        let output = child.wait_with_output().expect("its end");
        assert!(output.status.success(), "{output:?}");
        output
    }
}

impl Phone {
    fn new() -> Self {
        let phone = Self::without_panel();
        let began = Instant::now();
        let world = World::new(1, Place::from([52.5, 13.4]), began);
        Simulator::new(world, began)
            .serve(&phone.folder.path().join("sim.sock"))
            .expect("a simulator");
        phone
    }

    /// Nobody answers its drivers.
    fn without_panel() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[hal]\nbackend = \"sim\"\n[hal.sim]\nsocket = {:?}\n",
            folder.path().join("sim.sock")
        );
        fs::write(folder.path().join("homingd.toml"), config).expect("a configuration");
        Self { folder }
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("lost.json")
    }

    fn write(&self, message: &str) {
        let copy = simulated::notice(message, None);
        fs::write(self.copy(), copy.to_string()).expect("written");
    }

    fn command(&self, seconds: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing-lost-screen"));
        command
            .arg("--before-passphrase")
            .arg(self.copy())
            .args(["--for", seconds, "--config"])
            .arg(self.folder.path().join("homingd.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn show(&self, locale: &str, seconds: &str) -> Shown {
        let mut command = self.command(seconds);
        let child = command.args(["--locale", locale]).spawn();
        Shown(Some(child.expect("it starts")))
    }

    fn ask(&self, request: &Value) -> Value {
        simulated::ask(self.folder.path(), request)
    }

    fn seen(&self) -> Value {
        self.ask(&json!({"get": "world"}))["screen"].clone()
    }

    #[track_caller]
    fn wait_text(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            let lines = seen["text"].as_array().cloned().unwrap_or_default();
            if lines.iter().any(|line| line == text) {
                return;
            }
            assert!(Instant::now() < until, "never {text}: {seen}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_message_stands_on_panel_and_console_until_somebody_touches_it() {
    let phone = Phone::new();
    phone.write("Bring me home.\nPlease.");
    let shown = phone.show("en_GB.UTF-8", LONG);
    phone.wait_text("Bring me home.");
    phone.wait_text("+49 170 1234567");
    phone.wait_text("Touch to type the passphrase");
    phone.ask(&json!({"set": "touch", "x": 0.1, "y": 0.1}));
    let output = shown.ends();
    assert_eq!(phone.seen()["shows"], "session", "the prompt has the panel");
    let text = said(&output);
    for line in [
        "This phone is lost",
        "Bring me home.",
        "Please contact +49 170 1234567",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    assert!(!text.contains("7f"), "{text}");
}

#[test]
fn any_key_leads_on_to_the_prompt_and_the_words_are_the_phones_own_language() {
    let phone = Phone::new();
    phone.write("Bitte melden!");
    let shown = phone.show("de_DE.UTF-8", LONG);
    phone.wait_text("Berühren, um das Passwort einzugeben");
    phone.ask(&json!({"set": "key", "press": "power"}));
    assert!(said(&shown.ends()).contains("Bitte melden bei +49 170 1234567"));
    assert_eq!(phone.seen()["shows"], "session");
}

#[test]
fn a_start_that_needs_nobody_goes_on_by_itself() {
    let phone = Phone::new();
    phone.write("Bring me home.");
    phone.show("C", "1").ends();
    assert_eq!(phone.seen()["shows"], "session");
}

#[test]
fn without_a_copy_or_a_panel_the_start_goes_on_and_the_console_has_the_text() {
    let phone = Phone::without_panel();
    let output = phone.show("C", LONG).ends();
    assert!(
        output.stdout.is_empty(),
        "a phone that is not lost says nothing"
    );
    phone.write("Bring me home.");
    let output = phone.show("C", LONG).ends();
    assert!(said(&output).contains("Bring me home."));
}

#[test]
fn whatever_lies_there_instead_of_a_copy_holds_nothing_up() {
    let phone = Phone::without_panel();
    let copy = phone.copy();
    let run = |what: &str| {
        let output = phone.command(LONG).output().expect("it runs");
        let code = output.status.code().expect("no signal ended it");
        assert_ne!(code, 101, "{what}: {output:?}");
        assert!(output.stdout.is_empty(), "{what}: {output:?}");
    };
    let deep = "[".repeat(100_000);
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(1 << 20));
    for bytes in [
        &b""[..],
        b"{",
        b"\xff\xfe",
        b"null",
        deep.as_bytes(),
        long.as_bytes(),
    ] {
        fs::write(&copy, bytes).expect("written");
        run(&String::from_utf8_lossy(&bytes[..bytes.len().min(20)]));
    }
    fs::remove_file(&copy).expect("removed");
    nix::unistd::mkfifo(&copy, Mode::S_IRWXU).expect("a pipe");
    run("a pipe");
    for target in ["/dev/zero", "/"] {
        fs::remove_file(&copy).expect("removed");
        symlink(Path::new(target), &copy).expect("a link");
        run(target);
    }
}

#[test]
fn no_copy_orders_the_console_about_or_breaks_the_picture() {
    let phone = Phone::new();
    let escapes = "\u{1b}[2J\u{9b}31m\u{7}\r\u{8}\u{202e}Hello \u{1b}]0;x\u{7}".repeat(60);
    let copy = json!({
        "episode": "",
        "message": escapes,
        "contact": escapes,
        "code_digits": 255,
        "since_unix_s": i64::MIN,
    });
    fs::write(phone.copy(), copy.to_string()).expect("written");
    let output = phone.show("C", "1").ends();
    let text = said(&output);
    assert!(text.contains("Hello"));
    let ordered = text
        .chars()
        .find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(ordered, None, "{text:?}");
    assert!(text.len() < 8192, "{}", text.len());
    assert_eq!(phone.seen()["shows"], "session");
}
