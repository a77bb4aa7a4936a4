//! The simulator: it conforms, it fails when told to, and its siren is heard for no other reason than its sound.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use homing_hal::capability::identity::Identity;
use homing_hal::capability::lockdown::{Lockdown, Standing};
use homing_hal::capability::network::Network;
use homing_hal::capability::position::PositionSource;
use homing_hal::capability::power::Power;
use homing_hal::capability::siren::{SirenOutput, SoundCard};
use homing_hal::conformance;
use homing_hal::fault::{Cancel, Fault};
use homing_hal::sim::client::{
    SimAttention, SimIdentity, SimLockdown, SimNetwork, SimPosition, SimPower, SimSoundCard,
};
use homing_hal::sim::request::Attraction;
use homing_hal::{Hal, HalSettings, Roots};
use homing_protocol::measure::{Charging, Metered, NetworkKind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::phone::Phone;

/// A second of a 3 kHz tone at full scale.
fn tone(output: &dyn SirenOutput) -> Vec<i16> {
    let rate = f64::from(output.sample_rate());
    let wave = |n: u32| (f64::from(n) * 3_000.0 / rate * std::f64::consts::TAU).sin();
    #[expect(clippy::cast_possible_truncation, reason = "a sine times 32,767 fits")]
    (0..output.sample_rate())
        .map(|n| (wave(n) * 32_767.0) as i16)
        .collect()
}

/// Plays for a second and a half, making it loud again before each tenth if `assertion` says so, and then until it is heard for that reason or not heard for want of it, at most half a minute; tells what is heard.
fn play(phone: &mut Phone, output: &mut dyn SirenOutput, assertion: Assertion) -> Value {
    let tone = tone(output);
    let mut heard = Value::Null;
    for (number, tenth) in tone.chunks(tone.len() / 10).cycle().enumerate().take(300) {
        if assertion == Assertion::Repeated {
            output.assert_loud().unwrap();
        }
        output.write(tenth).unwrap();
        heard = phone.ask(r#"{"get":"siren"}"#);
        // On a crowded machine a moment without a writer is a moment without sound.
        if number >= 14 && heard["heard"] == (assertion == Assertion::Repeated) {
            break;
        }
    }
    heard
}

#[derive(Clone, Copy, PartialEq)]
enum Assertion {
    Repeated,
    None,
}

#[test]
fn the_simulated_receiver_conforms() {
    let phone = Phone::start();
    let mut source = SimPosition::new(&phone.socket);
    conformance::a_working_position_source(&mut source, (52.5, 13.4), Duration::from_secs(15));
}

#[test]
fn a_simulated_receiver_indoors_conforms() {
    let mut phone = Phone::start();
    phone.order(r#"{"set":"position","indoors":true}"#);
    conformance::a_position_source_without_a_fix(&mut SimPosition::new(&phone.socket));
}

#[test]
fn an_absent_simulator_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conformance::an_absent_position_source(&mut SimPosition::new(&folder.path().join("none")));
}

#[test]
fn the_simulated_sound_card_conforms() {
    let phone = Phone::start();
    conformance::a_working_sound_card(&mut SimSoundCard::new(&phone.socket));
}

#[test]
fn the_simulated_vibrator_and_torch_conform() {
    let mut phone = Phone::start();
    for which in [Attraction::Vibrator, Attraction::Torch] {
        conformance::a_working_attention(&mut SimAttention::new(&phone.socket, which));
        let asked = format!(r#"{{"get":"{}"}}"#, which.name());
        assert_eq!(phone.ask(&asked), json!({"on": false, "pulses": 1}));
    }
}

#[test]
fn the_simulated_lockdown_conforms_and_ends_a_session_that_is_opened_again() {
    let mut phone = Phone::start();
    let mut lockdown = SimLockdown::new(&phone.socket);
    conformance::a_working_lockdown(&mut lockdown);
    lockdown.enter().unwrap();
    phone.order(r#"{"set":"session","to":"open"}"#);
    let standing = lockdown.standing();
    assert!(matches!(standing, Ok(Standing::Partly(_))), "{standing:?}");
    lockdown.enter().unwrap();
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["session"], "ended");
    // Another process gives back what this one took.
    SimLockdown::new(&phone.socket).leave().unwrap();
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["session"], "open");
    phone.order(r#"{"fail":"lockdown","how":"broken"}"#);
    assert!(matches!(lockdown.enter(), Err(Fault::Broken(_))));
}

#[test]
fn the_simulated_network_conforms() {
    let phone = std::cell::RefCell::new(Phone::start());
    let mut network = SimNetwork::new(&phone.borrow().socket);
    let change = || {
        phone
            .borrow_mut()
            .order(r#"{"set":"network","kind":"cellular","metered":"yes"}"#)
    };
    conformance::a_working_network(&mut network, Some(&change));
    let path = network.path_to([127, 0, 0, 1].into()).unwrap();
    assert_eq!(
        (path.kind, path.metered),
        (NetworkKind::Cellular, Metered::Yes)
    );
    phone
        .borrow_mut()
        .order(r#"{"set":"network","kind":"none"}"#);
    assert!(matches!(
        network.path_to([127, 0, 0, 1].into()),
        Err(Fault::Absent(_))
    ));
}

#[test]
fn the_simulated_battery_and_identity_conform() {
    let mut phone = Phone::start();
    let mut power = SimPower::new(&phone.socket);
    conformance::a_working_battery(&mut power);
    phone.order(r#"{"set":"battery","percent":20,"charging":"charging"}"#);
    let battery = power.battery().unwrap();
    assert_eq!(
        (battery.percent, battery.charging),
        (Some(20), Charging::Charging)
    );
    conformance::a_working_identity(&mut SimIdentity::new(&phone.socket));
}

#[test]
fn a_muted_phone_in_a_headset_is_heard_because_the_siren_makes_it_loud() {
    let mut phone = Phone::start();
    phone.order(r#"{"set":"mixer","mute":true,"volume":0}"#);
    phone.order(r#"{"set":"route","to":"headset"}"#);
    let mut output = SimSoundCard::new(&phone.socket).open().unwrap();
    let heard = play(&mut phone, &mut *output, Assertion::Repeated);
    assert_eq!(heard["heard"], true, "{heard}");
    assert_eq!(heard["muted_by_user"], true, "{heard}");
    assert_eq!(heard["route"], "speaker", "{heard}");
    output.release().unwrap();
    let mixer = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    assert_eq!(
        mixer,
        json!({"volume": 0, "mute": true, "route": "headset"}),
        "as found"
    );
}

#[test]
fn a_successor_that_is_told_puts_back_the_mixer_that_a_dead_siren_found() {
    let mut phone = Phone::start();
    phone.order(r#"{"set":"mixer","mute":true,"volume":30}"#);
    let mut first = SimSoundCard::new(&phone.socket).open().unwrap();
    let found = first.found().unwrap();
    first.assert_loud().unwrap();
    // As a killed process leaves it.
    drop(first);
    let mut card = SimSoundCard::new(&phone.socket);
    let mut opened = None;
    conformance::eventually("the loudspeaker is free again", || {
        opened = card.open().ok();
        opened.is_some()
    });
    let mut second = opened.unwrap();
    assert_ne!(second.found().unwrap(), found, "loud");
    assert!(second.take_over("nonsense").is_err());
    second.take_over(&found.mixer).unwrap();
    second.release().unwrap();
    let mixer = phone.ask(r#"{"get":"world"}"#)["mixer"].clone();
    assert_eq!(
        mixer,
        json!({"volume": 30, "mute": true, "route": "speaker"})
    );
}

#[test]
fn a_mixer_is_put_back_although_somebody_plays() {
    let mut phone = Phone::start();
    phone.order(r#"{"set":"mixer","mute":true,"volume":30}"#);
    phone.order(r#"{"fail":"siren","how":"busy"}"#);
    let mut card = SimSoundCard::new(&phone.socket);
    assert!(card.open().is_err(), "somebody plays");
    let quiet = json!({"volume": 5, "mute": false, "route": "headset"});
    card.put_back(&quiet.to_string()).unwrap();
    assert_eq!(phone.ask(r#"{"get":"world"}"#)["mixer"], quiet);
}

#[test]
fn a_siren_that_does_not_get_the_lock_says_which_control_others_can_turn() {
    let mut phone = Phone::start();
    let mut output = SimSoundCard::new(&phone.socket).open().unwrap();
    output.assert_loud().unwrap();
    assert!(output.unlocked().is_empty());
    phone.order(r#"{"set":"mixer","lock":"refused"}"#);
    output.assert_loud().unwrap();
    assert_eq!(output.unlocked(), ["Speaker"]);
}

#[test]
fn a_siren_that_is_muted_while_it_plays_is_heard_again_only_by_asserting_anew() {
    let mut phone = Phone::start();
    let mut output = SimSoundCard::new(&phone.socket).open().unwrap();
    let heard = play(&mut phone, &mut *output, Assertion::Repeated);
    assert_eq!(heard["heard"], true, "{heard}");
    phone.order(r#"{"set":"mixer","mute":true}"#);
    let heard = play(&mut phone, &mut *output, Assertion::None);
    assert_eq!(heard["heard"], false, "without the assertion: {heard}");
    let heard = play(&mut phone, &mut *output, Assertion::Repeated);
    assert_eq!(heard["heard"], true, "with the assertion: {heard}");
}

#[test]
fn a_siren_that_plays_silence_is_not_heard() {
    let mut phone = Phone::start();
    let mut output = SimSoundCard::new(&phone.socket).open().unwrap();
    output.assert_loud().unwrap();
    output
        .write(&vec![0; output.sample_rate() as usize])
        .unwrap();
    let heard = phone.ask(r#"{"get":"siren"}"#);
    assert_eq!(heard["heard"], false, "{heard}");
    assert!(heard["played_ms"].as_u64().unwrap() >= 500, "{heard}");
}

#[test]
fn every_fault_on_request_reaches_the_drivers_as_its_class() {
    let mut phone = Phone::start();
    for how in ["absent", "busy", "denied", "broken"] {
        for capability in ["position", "siren", "battery", "network", "identity"] {
            phone.order(&format!(r#"{{"fail":"{capability}","how":"{how}"}}"#));
        }
        let faults = [
            SimPosition::new(&phone.socket)
                .locate(Duration::from_secs(9), &Cancel::new())
                .unwrap_err(),
            SimSoundCard::new(&phone.socket).open().err().unwrap(),
            SimPower::new(&phone.socket).battery().unwrap_err(),
            SimNetwork::new(&phone.socket)
                .path_to([127, 0, 0, 1].into())
                .unwrap_err(),
            SimIdentity::new(&phone.socket).identity().unwrap_err(),
        ];
        let class = |fault: &Fault| match fault {
            Fault::Absent(_) => "absent",
            Fault::Busy(_) => "busy",
            Fault::Denied(_) => "denied",
            Fault::Broken(_) => "broken",
            Fault::TimedOut(_) | Fault::Cancelled(_) => "other",
        };
        assert_eq!(faults.each_ref().map(class), [how; 5], "{faults:?}");
    }
    phone.order(r#"{"fail":"battery","how":"none"}"#);
    SimPower::new(&phone.socket).battery().unwrap();
    phone.order(r#"{"fail":"battery","how":"slow","ms":300}"#);
    let began = std::time::Instant::now();
    SimPower::new(&phone.socket).battery().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_siren_that_breaks_while_it_plays_says_so() {
    let mut phone = Phone::start();
    let mut output = SimSoundCard::new(&phone.socket).open().unwrap();
    phone.order(r#"{"fail":"siren","how":"broken"}"#);
    assert!(matches!(output.write(&[0; 480]), Err(Fault::Broken(_))));
}

#[test]
fn requests_that_cannot_be_meant_are_answered_with_a_sentence() {
    let mut phone = Phone::start();
    for line in [
        "",
        "hello",
        "{}",
        r#"{"set":"weather"}"#,
        r#"{"do":"pcm","samples":9}"#.replace("pcm", "dance").as_str(),
    ] {
        let answer = phone.ask(line);
        assert!(
            answer["error"]
                .as_str()
                .is_some_and(|sentence| sentence.len() > 10),
            "{line}: {answer}"
        );
    }
    assert!(phone.ask(r#"{"get":"world"}"#)["position"]["lat"].is_number());
}

#[test]
fn a_simulator_that_is_told_to_end_leaves_no_socket_behind() {
    let mut phone = Phone::start();
    let pid = Pid::from_raw(i32::try_from(phone.process.0.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(phone.process.0.wait().unwrap().success());
    assert!(!phone.socket.exists());
}

#[test]
fn a_second_simulator_on_the_same_socket_is_refused() {
    let phone = Phone::start();
    let second = Command::new(env!("CARGO_BIN_EXE_homing-sim"))
        .arg("--socket")
        .arg(&phone.socket)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(74));
    assert!(UnixStream::connect(&phone.socket).is_ok());
}

#[test]
fn wrong_arguments_are_a_usage_error() {
    for arguments in [
        &[][..],
        &["--nmea"],
        &["--socket", "/x", "--place", "91,0"],
        &["--moon"],
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_homing-sim"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(64), "{arguments:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[test]
fn a_hal_over_the_simulator_locates_and_names_every_driver() {
    let phone = Phone::start();
    let settings = json!({"backend": "sim", "sim": {"socket": phone.socket}});
    let settings: HalSettings = serde_json::from_value(settings).unwrap();
    let hal = Hal::open(&settings, &Roots::default());
    let names: Vec<_> = hal
        .probe_all()
        .into_iter()
        .map(|line| (line.capability, line.driver))
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
        .map(|capability| (capability, "simulator"))
    );
    let fix = hal.locate(Duration::from_secs(15), &Cancel::new()).unwrap();
    conformance::is_near(&fix, (52.5, 13.4));
}
