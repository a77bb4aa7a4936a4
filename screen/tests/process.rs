//! `homing-lost-screen` as a process on a simulated phone, with a privileged half that the test plays. Says nothing about orders.
#![forbid(unsafe_code)]

mod simulated;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use homing_hal::sim::screen::GEOMETRY;
use homing_hal::sim::serve::Simulator;
use homing_hal::sim::track::Place;
use homing_hal::sim::world::World;
use homing_protocol::actor::{Answer, CodeAnswer, Request};
use homing_screen::canvas::Rect;
use homing_screen::layout::{Main, Part, Scale, Wanted};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind, listen, recv,
    send, socket,
};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a condition may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A phone with a lost screen, killed on drop.
struct Phone {
    screen: Child,
    folder: TempDir,
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.screen.kill();
        let _ = self.screen.wait();
    }
}

/// Looks until the condition holds, and says at the end of the patience what was seen instead.
#[track_caller]
fn wait_until(what: &str, mut look: impl FnMut() -> Result<(), Value>) {
    let until = Instant::now() + PATIENCE;
    while let Err(seen) = look() {
        assert!(Instant::now() < until, "never: {what}: {seen}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

impl Phone {
    fn start() -> Self {
        Self::with("")
    }

    /// A phone with these lines at the configuration's end.
    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let began = Instant::now();
        let world = World::new(1, Place::from([52.5, 13.4]), began);
        Simulator::new(world, began)
            .serve(&folder.path().join("sim.sock"))
            .expect("a simulator");
        let config = format!(
            "actor_dir = {actor:?}\nactor_socket = {socket:?}\n[hal]\nbackend = \"sim\"\n[hal.sim]\nsocket = {sim:?}\n{more}",
            actor = folder.path().join("actor"),
            socket = folder.path().join("actor.sock"),
            sim = folder.path().join("sim.sock"),
        );
        fs::write(folder.path().join("homingd.toml"), config).expect("a configuration");
        Self {
            screen: screen(&folder, &["--resident"]),
            folder,
        }
    }

    /// Its process dies, and the supervisor starts it again with these arguments.
    fn killed_and_started(&mut self, arguments: &[&str]) {
        self.screen.kill().expect("killed");
        self.screen.wait().expect("reaped");
        self.wait("the panel to be free", |screen| screen["held"] == false);
        assert_eq!(self.seen()["shows"], "nothing");
        self.screen = screen(&self.folder, arguments);
    }

    fn notice(&self) -> PathBuf {
        self.folder.path().join("actor/shown/notice.json")
    }

    fn lose(&self, message: &str) {
        self.show(&simulated::notice(message, Some(8)));
    }

    /// What the actor writes.
    fn show(&self, notice: &Value) {
        let path = self.notice();
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path.with_extension("new"), notice.to_string()).expect("written");
        fs::rename(path.with_extension("new"), path).expect("shown");
    }

    fn ask(&self, request: &Value) -> Value {
        simulated::ask(self.folder.path(), request)
    }

    fn seen(&self) -> Value {
        self.ask(&json!({"get": "world"}))["screen"].clone()
    }

    fn wait(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) {
        wait_until(what, || {
            let seen = self.seen();
            if holds(&seen) { Ok(()) } else { Err(seen) }
        });
    }

    fn wait_text(&self, text: &str) {
        self.wait(text, |screen| {
            let lines = screen["text"].as_array();
            lines.is_some_and(|lines| lines.iter().any(|line| line == text))
        });
    }

    fn press_power(&self) {
        self.ask(&json!({"set": "key", "press": "power"}));
    }

    fn tap(&self, key: Rect) {
        let part = |at: i32, whole: u16| f64::from(at) / f64::from(whole);
        self.ask(&json!({
            "set": "touch",
            "x": part(key.x + key.w / 2, GEOMETRY.width_px),
            "y": part(key.y + key.h / 2, GEOMETRY.height_px),
        }));
    }

    /// Where everything is on a page whose phone can call for help, or cannot.
    fn page(emergency: Part) -> Main {
        Scale::of(&GEOMETRY).main(Wanted {
            contact: Part::There,
            code_entry: Part::There,
            emergency,
            code_size: 0,
        })
    }

    /// Touches the button for an emergency call, or the one that ends it: they are at the same place.
    fn touch_emergency(&self) {
        self.tap(Self::page(Part::There).emergency);
    }

    fn call(&self) -> Value {
        self.ask(&json!({"get": "world"}))["call"].clone()
    }

    fn wait_call(&self, state: &str) {
        wait_until(state, || {
            let call = self.call();
            if call["state"] == state {
                Ok(())
            } else {
                Err(call)
            }
        });
    }

    /// Touches the place of the contact, which is a button while its number calls.
    fn touch_contact(&self) {
        self.tap(Self::page(Part::There).contact);
    }

    fn enter_code(&self) {
        self.tap(Self::page(Part::Absent).enter_code);
    }

    /// Types digits, each once the one before is seen.
    fn type_in(&self, digits: &[usize]) {
        let keys = Scale::of(&GEOMETRY).pad().keys;
        for (typed, digit) in digits.iter().enumerate() {
            self.wait_text(&format!("{typed}/8"));
            self.tap(keys[digit.checked_sub(1).unwrap_or(10)]);
        }
    }

    /// Context switches of all of the screen's threads.
    fn switches(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.screen.id());
        let mut found = Vec::new();
        for task in fs::read_dir(tasks).expect("its threads").flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            found.extend(lines.map(|line| format!("{:?} {line}", task.file_name())));
        }
        found.sort();
        found
    }
}

fn screen(folder: &TempDir, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_homing-lost-screen"))
        .args(arguments)
        .arg("--config")
        .arg(folder.path().join("homingd.toml"))
        .args(["--locale", "en_GB.UTF-8"])
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// A privileged half that gives these answers, one after the other, and takes the notice away for the right code. What it was asked comes out.
fn actor(phone: &Phone, answers: Vec<CodeAnswer>) -> Receiver<String> {
    let path = phone.folder.path().join("actor.sock");
    let listener: OwnedFd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).expect("bound");
    listen(&listener, Backlog::new(4).expect("a number")).expect("listening");
    let notice = phone.notice();
    let (told, asked) = channel();
    thread::spawn(move || {
        for answer in answers {
            let stream = accept(listener.as_raw_fd()).expect("a question");
            let mut packet = vec![0; 4096];
            let length = recv(stream, &mut packet, MsgFlags::empty()).expect("a packet");
            let Ok(Request::Code { digits }) = Request::decode(&packet[..length]) else {
                return;
            };
            let _ = told.send(digits.to_string());
            if answer == CodeAnswer::Right {
                let _ = fs::remove_file(&notice);
            }
            let packet = Answer::Code(answer).encode();
            let _ = send(stream, &packet, MsgFlags::MSG_NOSIGNAL);
            let _ = nix::unistd::close(stream);
        }
    });
    asked
}

#[test]
fn a_notice_takes_the_panel_from_the_session_and_the_right_code_gives_it_back() {
    let phone = Phone::start();
    let asked = actor(
        &phone,
        vec![
            CodeAnswer::Wrong { wait_s: 0 },
            CodeAnswer::Wait { wait_s: 3600 },
            CodeAnswer::Right,
        ],
    );
    assert_eq!(phone.seen()["shows"], "session");
    phone.lose("Bitte melden!");
    phone.wait_text("Bitte melden!");
    phone.wait_text("+49 170 1234567");
    assert_eq!(phone.seen()["shows"], "program");
    phone.lose("Another message.");
    phone.wait_text("Another message.");

    phone.enter_code();
    phone.type_in(&[1, 2, 3, 4, 5, 6, 7, 0]);
    assert_eq!(asked.recv_timeout(PATIENCE).as_deref(), Ok("12345670"));
    phone.wait_text("Wrong code");
    phone.type_in(&[1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(asked.recv_timeout(PATIENCE).as_deref(), Ok("11111111"));
    phone.wait("the wait", |screen| {
        let lines = screen["text"].as_array().cloned().unwrap_or_default();
        lines.iter().any(|line| {
            let line = line.as_str().unwrap_or_default();
            line.starts_with("Wait 59:") || line == "Wait 1:00:00"
        })
    });
    // The owner ends it from afar.
    fs::remove_file(phone.notice()).expect("removed");
    phone.wait("the session", |screen| screen["shows"] == "session");

    phone.lose("Lost again.");
    phone.wait_text("Lost again.");
    phone.enter_code();
    phone.type_in(&[8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(asked.recv_timeout(PATIENCE).as_deref(), Ok("87654321"));
    phone.wait("the session", |screen| screen["shows"] == "session");
}

#[test]
fn help_is_called_from_the_screen_hung_up_and_a_call_that_fails_is_said_to_have_failed() {
    const CALLING: &str = "Calling 112 – Hang up";
    const FAILED: &str = "The call failed – Emergency call";
    let phone = Phone::with("[lost]\ncall_audio_tested = true\n");
    phone.lose("Hello.");
    phone.wait_text("Emergency call");
    // The modem cannot even try.
    phone.ask(&json!({"fail": "calls", "how": "broken"}));
    phone.touch_emergency();
    phone.wait_text(FAILED);
    assert_eq!(phone.call()["dialled"], 0);
    phone.ask(&json!({"fail": "calls", "how": "none"}));

    phone.touch_emergency();
    phone.wait_call("dialling");
    assert_eq!(phone.call()["number"], "112");
    phone.ask(&json!({"set": "call", "to": "connected"}));
    // Another message of the owner's does not take the button away that ends it.
    phone.lose("Hello again.");
    phone.wait_text("Hello again.");
    phone.wait_text(CALLING);
    phone.touch_emergency();
    phone.wait_call("ended");
    phone.wait_text("Emergency call");

    // Nobody is reached.
    phone.touch_emergency();
    phone.wait_call("dialling");
    phone.ask(&json!({"set": "call", "to": "failed"}));
    phone.wait_text(FAILED);
    // Who answered and hangs up has not failed.
    phone.touch_emergency();
    phone.wait_call("dialling");
    phone.ask(&json!({"set": "call", "to": "connected"}));
    phone.ask(&json!({"set": "call", "to": "ended"}));
    phone.wait_text("Emergency call");
    assert_eq!(phone.call()["dialled"], 3);
}

#[test]
fn the_owner_s_call_lights_the_panel_is_answered_and_ended_and_nobody_else_s_is_shown() {
    let phone = Phone::with("[lost]\ncall_audio_tested = true\n");
    phone.lose("Hello.");
    phone.wait_text("Emergency call");
    phone.touch_contact();
    phone.press_power();
    phone.wait("darkness", |screen| screen["backlight_percent"] == 0);
    // A stranger's call wakes nobody: the owner's, which comes after it, is the first that is shown.
    phone.ask(&json!({"set": "ring", "from": "+49 30 7654321"}));
    phone.ask(&json!({"set": "call", "to": "ended"}));
    phone.ask(&json!({"set": "ring", "from": "01701234567"}));
    phone.wait_text("The owner is calling");
    phone.wait_text("Answer");
    phone.wait("light", |screen| screen["backlight_percent"] != 0);
    assert_eq!(phone.ask(&json!({"get": "vibrator"}))["on"], true);
    assert_eq!(phone.call()["state"], "ringing");

    phone.touch_contact();
    phone.wait_call("connected");
    phone.wait_text("Hang up");
    assert_eq!(phone.ask(&json!({"get": "vibrator"}))["on"], false);
    // Another message does not take the button away that ends it.
    phone.lose("Hello again.");
    phone.wait_text("Hello again.");
    phone.wait_text("Hang up");
    phone.touch_contact();
    phone.wait_call("ended");
    phone.wait_text("Please contact");
    // Whoever is no contact any more is a stranger, although it still rings.
    phone.ask(&json!({"set": "ring", "from": "01701234567"}));
    phone.wait_text("Answer");
    let mut notice = simulated::notice("By mail.", Some(8));
    notice["contact"] = json!("me@example.org");
    phone.show(&notice);
    phone.wait_text("By mail.");
    phone.wait("no button", |screen| {
        !screen["text"].to_string().contains("Answer")
    });
    assert_eq!(phone.call()["state"], "ringing");
}

#[test]
fn where_no_call_was_ever_heard_no_help_is_called_and_the_screen_says_so() {
    let phone = Phone::start();
    phone.lose("Hello.");
    phone.wait_text("No emergency calls from this screen");
    phone.touch_emergency();
    // Nor is its owner's call offered, whom the finder would not hear.
    phone.ask(&json!({"set": "ring", "from": "+49 170 1234567"}));
    phone.enter_code();
    phone.wait_text("0/8");
    assert_eq!(phone.call()["dialled"], 0);
    assert_eq!(phone.call()["state"], "ringing");
}

#[test]
fn a_screen_that_is_killed_shows_no_session_and_its_successor_goes_on_or_gives_the_panel_back() {
    let mut phone = Phone::start();
    phone.lose("Hello.");
    phone.wait_text("Hello.");
    phone.killed_and_started(&["--resident"]);
    phone.wait_text("Hello.");
    phone.killed_and_started(&["--undo"]);
    assert!(phone.screen.wait().expect("it ends").success());
    assert_eq!(phone.seen()["shows"], "nothing", "the phone is still lost");
    fs::remove_file(phone.notice()).expect("removed");
    phone.screen = screen(&phone.folder, &["--undo"]);
    assert!(phone.screen.wait().expect("it ends").success());
    assert_eq!(phone.seen()["shows"], "session");

    phone.lose("Hello again.");
    phone.screen = screen(&phone.folder, &[]);
    phone.wait_text("Hello again.");
    let pid = Pid::from_raw(i32::try_from(phone.screen.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("told");
    assert!(phone.screen.wait().expect("it ends").success());
    phone.wait("a locked console", |screen| screen["held"] == false);
    assert_eq!(phone.seen()["shows"], "nothing", "the phone is still lost");
    phone.screen = screen(&phone.folder, &[]);
    phone.wait_text("Hello again.");
    fs::remove_file(phone.notice()).expect("removed");
    assert!(phone.screen.wait().expect("it ends").success());
    assert_eq!(phone.seen()["shows"], "session");
}

#[test]
fn the_power_key_switches_the_panel_and_while_it_is_off_nothing_of_the_process_wakes() {
    let phone = Phone::start();
    phone.lose("Hello.");
    phone.wait_text("Hello.");
    phone.press_power();
    phone.wait("a dark panel", |screen| screen["backlight_percent"] == 0);
    // What a busy machine has left over comes to its end: then no thread of it runs for two seconds.
    let mut rests = (phone.switches(), Instant::now());
    wait_until("two seconds of rest", || {
        let now = phone.switches();
        if now != rests.0 {
            rests = (now, Instant::now());
        }
        let rested = rests.1.elapsed();
        if rested >= Duration::from_secs(2) {
            Ok(())
        } else {
            Err(json!(rested.as_millis()))
        }
    });
    phone.press_power();
    phone.wait_text("Hello.");
}

#[test]
fn the_process_stays_below_fifteen_megabytes() {
    let phone = Phone::start();
    phone.lose(&"Lost in the park, please call. ".repeat(5));
    phone.wait_text("+49 170 1234567");
    phone.enter_code();
    phone.wait_text("0/8");
    let status = fs::read_to_string(format!("/proc/{}/status", phone.screen.id()));
    let status = status.expect("its status");
    let kib = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key));
        let words = line.and_then(|line| line.split_whitespace().nth(1));
        words.and_then(|word| word.parse().ok()).expect("a size")
    };
    println!(
        "resident {} KiB, of it anonymous {} KiB",
        kib("VmHWM"),
        kib("RssAnon")
    );
    assert!(kib("VmHWM") <= 15 * 1024, "{status}");
}

#[test]
fn wrong_arguments_and_configurations_are_told_apart() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_homing-lost-screen"))
            .args(arguments)
            .output()
            .expect("it runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(run(&["--wrong"]).0, Some(64));
    assert_eq!(run(&["--config"]).0, Some(64));
    assert_eq!(run(&["--config", "/nowhere.toml"]).0, Some(78));
    assert_eq!(run(&["--can-show", "Grüße"]), (Some(0), String::new()));
    let (code, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("--resident"));
}
