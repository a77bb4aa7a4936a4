//! The siren as a process on the simulated phone: what is heard beside it, not what it says, decides.
#![forbid(unsafe_code)]

mod phone;

use std::fs;
use std::time::{Duration, Instant};

use homingd::siren::intent::{self, Found};
use homingd::siren::report::Phase;
use nix::sys::signal::Signal;
use phone::{PATIENCE, Phone, Process};

const FIRST: &str = "00112233445566778899aabbccddeeff";
const SECOND: &str = "ffeeddccbbaa99887766554433221100";

fn is_heard(heard: &serde_json::Value) -> bool {
    heard["heard"] == true
}

#[test]
fn a_muted_phone_with_a_headset_is_heard_and_left_as_it_was_found() {
    let phone = Phone::new();
    phone.ask(r#"{"set":"mixer","volume":0,"mute":true}"#);
    phone.ask(r#"{"set":"route","to":"headset"}"#);
    let before = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    phone.order(FIRST, PATIENCE);
    let mut siren = phone.start_siren(&[]);
    phone.listen_until(is_heard);
    intent::withdraw(&phone.siren()).unwrap();
    assert_eq!(siren.exit_code(), Some(0));
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["mixer"], before);
}

#[test]
fn a_phone_muted_while_it_sounds_is_loud_again_within_a_second() {
    let phone = Phone::new();
    phone.order(FIRST, PATIENCE);
    let _siren = phone.start_siren(&[]);
    phone.listen_until(is_heard);
    for change in [
        r#"{"set":"mixer","volume":0,"mute":true}"#,
        r#"{"set":"route","to":"headset"}"#,
    ] {
        let before = phone.hushed_ms();
        phone.ask(change);
        let until = Instant::now() + PATIENCE;
        loop {
            let mixer = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
            if mixer["volume"] == 100 && mixer["mute"] == false && mixer["route"] == "speaker" {
                break;
            }
            assert!(Instant::now() < until, "{mixer}");
            phone::pause();
        }
        // The ear listens over one second: at most half of it was mute.
        phone.listen_until(|heard| is_heard(heard) && heard["level_dbfs"].as_f64().unwrap() > -7.0);
        // Measured in sound, so that a crowded machine does not count.
        let hushed = phone.hushed_ms() - before;
        assert!(hushed <= 1_000, "{hushed} ms");
    }
}

#[test]
fn hardly_any_sound_comes_after_the_order_to_stop() {
    let phone = Phone::new();
    phone.order(FIRST, PATIENCE);
    let mut siren = phone.start_siren(&[]);
    phone.listen_until(is_heard);
    intent::withdraw(&phone.siren()).unwrap();
    let played = phone.played_ms();
    let report = phone.read_report(|report| report.phase == Phase::Ended);
    assert_eq!(report.reason.as_deref(), Some("stopped"));
    assert_eq!(siren.exit_code(), Some(0));
    let after = phone.played_ms() - played;
    // Two blocks wait in the card and one more may be on its way there: as much comes where the siren's process has to wait
    // for a processor just then.
    assert!(after <= 300, "{after} ms");
}

#[test]
fn a_siren_that_was_killed_carries_on_when_it_is_started_again_and_keeps_the_deadline() {
    let phone = Phone::new();
    let began = Instant::now();
    let lasting = Duration::from_secs(6);
    phone.order(FIRST, lasting);
    let killed = phone.start_siren(&[]);
    phone.listen_until(is_heard);
    killed.signal(Signal::SIGKILL);
    drop(killed);
    let played = phone.played_ms();
    let mut siren = phone.start_siren(&[]);
    phone.listen_until(|heard| heard["played_ms"].as_u64().unwrap() > played + 300);
    assert_eq!(siren.exit_code(), Some(0));
    assert!(began.elapsed() >= lasting - Duration::from_millis(100));
    // A time of its own for the second siren would show in the sound.
    let sounded = phone.played_ms();
    assert!(sounded <= 6_300, "{sounded} ms of 6 s");
    let report = phone.read_report(|report| report.phase == Phase::Ended);
    assert_eq!(report.reason.as_deref(), Some("deadline"));
    assert_eq!(intent::load(&phone.siren()).unwrap(), Found::Nothing);
}

#[test]
fn a_siren_killed_while_it_sounds_has_its_mixer_put_back_by_the_next_whether_it_sounds_or_not() {
    let phone = Phone::new();
    phone.ask(r#"{"set":"mixer","volume":7,"mute":true}"#);
    phone.ask(r#"{"set":"route","to":"headset"}"#);
    let before = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    for stopped_meanwhile in [false, true] {
        phone.order(FIRST, PATIENCE);
        for _ in 0..2 {
            let killed = phone.start_siren(&[]);
            phone.read_report(|report| {
                report.pid == killed.0.id() && report.phase == Phase::Sounding
            });
            killed.signal(Signal::SIGKILL);
            drop(killed);
            assert_ne!(phone.ask(r#"{"get":"world"}"#)["mixer"], before);
        }
        if stopped_meanwhile {
            intent::withdraw(&phone.siren()).unwrap();
            // Somebody plays by now: the mixer is put back without ending that.
            phone.ask(r#"{"fail":"siren","how":"busy"}"#);
        }
        let mut siren = phone.start_siren(&[]);
        if !stopped_meanwhile {
            phone.read_report(|report| {
                report.pid == siren.0.id() && report.phase == Phase::Sounding
            });
            intent::withdraw(&phone.siren()).unwrap();
        }
        assert_eq!(siren.exit_code(), Some(0));
        assert_eq!(phone.ask(r#"{"get":"world"}"#)["mixer"], before);
        assert!(!phone.siren().join("mixer-simulated.json").exists());
    }
}

#[test]
fn a_ringing_phone_shakes_and_blinks_and_does_neither_afterwards_though_its_siren_was_killed() {
    let phone = Phone::new();
    let pulsing = |which: &str| phone.ask(&format!(r#"{{"get":"{which}"}}"#));
    let wait_for = |which: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| {
        let until = Instant::now() + PATIENCE;
        while !wanted(&pulsing(which)) {
            assert!(Instant::now() < until, "{}", pulsing(which));
            phone::pause();
        }
    };
    phone.order(FIRST, PATIENCE * 3);
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = pulsing("torch")["pulses"].as_u64().unwrap();
        let killed = phone.start_siren(&[]);
        wait_for("torch", &|torch| torch["pulses"].as_u64() >= Some(seen + 2));
        wait_for("torch", &|torch| torch["on"] == true);
        killed.signal(Signal::SIGKILL);
        drop(killed);
        // It may have ended the pulse just before it was killed: one that shines is wanted, which nobody ends.
        if pulsing("torch")["on"] == true {
            break;
        }
        assert!(Instant::now() < until, "no pulse outlives its siren");
    }
    let mut next = phone.start_siren(&[]);
    let before = pulsing("vibrator")["pulses"].as_u64();
    wait_for("vibrator", &|vibrator| vibrator["pulses"].as_u64() > before);
    intent::withdraw(&phone.siren()).unwrap();
    assert_eq!(next.exit_code(), Some(0));
    for which in ["torch", "vibrator"] {
        assert_eq!(pulsing(which)["on"], false, "{which}");
    }
    let left = fs::read_dir(phone.siren()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["state.json"]);
}

#[test]
fn a_mixer_of_an_earlier_start_of_the_phone_is_not_put_back() {
    let phone = Phone::new();
    let old = r#"{"boot_id":"00000000-0000-0000-0000-000000000000","driver":"simulator","found":"{\"volume\":1,\"mute\":true,\"route\":\"headset\"}"}"#;
    fs::write(phone.siren().join("mixer-simulated.json"), old).unwrap();
    let before = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    phone.order(FIRST, Duration::from_millis(300));
    assert_eq!(phone.start_siren(&[]).exit_code(), Some(0));
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["mixer"], before);
}

#[test]
fn a_siren_told_to_end_restores_the_mixer_and_leaves_the_order_to_its_next_start() {
    let phone = Phone::new();
    phone.ask(r#"{"set":"mixer","volume":7,"mute":true}"#);
    let before = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    phone.order(FIRST, PATIENCE);
    let mut siren = phone.start_siren(&["--resident"]);
    phone.listen_until(is_heard);
    siren.signal(Signal::SIGTERM);
    assert_eq!(siren.exit_code(), Some(0));
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["mixer"], before);
    let report = phone.read_report(|_| true);
    assert_eq!(
        (report.phase, report.reason.as_deref()),
        (Phase::Failed, Some("interrupted"))
    );
    assert!(matches!(
        intent::load(&phone.siren()).unwrap(),
        Found::Intent(_)
    ));
    let again = phone.start_siren(&["--resident"]);
    phone.read_report(|report| report.phase == Phase::Sounding && report.pid == again.0.id());
}

#[test]
fn a_resident_siren_serves_one_order_after_the_other() {
    let phone = Phone::new();
    let mut siren = phone.start_siren(&["--resident"]);
    for command in [FIRST, SECOND] {
        phone.order(command, Duration::from_secs(5));
        phone.read_report(|report| {
            report.command.as_deref() == Some(command) && report.phase == Phase::Sounding
        });
        let report = phone.read_report(|report| {
            report.command.as_deref() == Some(command) && report.phase == Phase::Ended
        });
        assert_eq!(report.reason.as_deref(), Some("deadline"));
    }
    assert!(phone.played_ms() > 300);
    siren.signal(Signal::SIGTERM);
    assert_eq!(siren.exit_code(), Some(0));
}

#[test]
fn a_busy_sound_card_is_reported_and_sounds_once_it_is_free() {
    let phone = Phone::new();
    phone.ask(r#"{"fail":"siren","how":"busy"}"#);
    phone.order(FIRST, PATIENCE);
    let _siren = phone.start_siren(&[]);
    let report = phone.read_report(|report| report.phase == Phase::Failed);
    assert!(
        report.reason.as_deref().unwrap().starts_with("busy"),
        "{report:?}"
    );
    phone.ask(r#"{"fail":"siren","how":"none"}"#);
    phone.listen_until(is_heard);
}

#[test]
fn a_sound_card_that_breaks_while_it_sounds_is_heard_again_once_it_works() {
    let phone = Phone::new();
    phone.order(FIRST, PATIENCE * 3);
    let _siren = phone.start_siren(&[]);
    phone.listen_until(is_heard);
    phone.ask(r#"{"fail":"siren","how":"broken"}"#);
    phone.read_report(|report| report.phase == Phase::Failed);
    phone.listen_until(|heard| !is_heard(heard));
    phone.ask(r#"{"fail":"siren","how":"none"}"#);
    phone.listen_until(is_heard);
    phone.read_report(|report| report.phase == Phase::Sounding);
}

#[test]
fn an_order_of_an_earlier_start_of_the_phone_makes_no_sound() {
    let phone = Phone::new();
    let text = format!(
        r#"{{"command":"{FIRST}","boot_id":"00000000-0000-0000-0000-000000000000","started_boottime_ms":0,"deadline_boottime_ms":18446744073709551615}}"#
    );
    fs::write(phone.siren().join("intent.json"), text).unwrap();
    assert_eq!(phone.start_siren(&[]).exit_code(), Some(0));
    assert_eq!(phone.played_ms(), 0);
    assert_eq!(phone.read_report(|_| true).phase, Phase::Failed);
    // A second start by a path unit would find nothing.
    assert_eq!(intent::load(&phone.siren()).unwrap(), Found::Nothing);
}

#[test]
fn a_longer_limit_is_in_force_after_sighup() {
    let phone = Phone::new();
    phone.configure("[ring]\nlongest_s = 1\n");
    let siren: Process = phone.start_siren(&["--resident"]);
    phone.order(FIRST, PATIENCE);
    let refused = phone.read_report(|report| report.phase == Phase::Failed);
    assert!(refused.reason.unwrap().contains("ring.longest_s"));
    phone.configure("[ring]\nlongest_s = 60\n");
    siren.signal(Signal::SIGHUP);
    phone.order(SECOND, PATIENCE);
    phone.read_report(|report| {
        report.command.as_deref() == Some(SECOND) && report.phase == Phase::Sounding
    });
}

#[test]
fn a_missing_state_directory_is_one_clear_sentence_and_nothing_is_made() {
    let phone = Phone::new();
    fs::remove_dir_all(phone.state_dir()).unwrap();
    let output = phone.command(&["siren", "--resident"]).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = phone::said(&output);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("homingd: cannot use the folder"),
        "{said:?}"
    );
    assert!(!phone.state_dir().exists());
}
