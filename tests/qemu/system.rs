//! The whole system: the flashed image joins by itself under a real systemd, and the siren takes the loudspeaker from a session's PipeWire and gives it back.

use crate::finding::{is_at_the_receiver, memory};
use crate::household::{Home, Machine, every_kit, figures};
use crate::impostor;
use crate::sound::{hush, is_the_siren, kill};
use e2e::{
    BootPartition, Firmware, Fittings, GUEST_PATIENCE, Guest, PHONE, Recording, Scratch, Sound,
    SystemKit, wait_until,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Longer than the story: the owner ends it.
const RING: &str = "600s";
/// What the phone's user plays: `tone.wav` of the harness, Hz.
const USERS_TONE: u32 = 1_000;

/// The image; where there is none, says why the story is skipped.
pub(crate) fn system() -> Option<SystemKit> {
    let _ = every_kit()?;
    match SystemKit::find() {
        Ok(kit) => Some(kit),
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

#[test]
fn a_flashed_phone_joins_by_the_bundle_on_its_boot_partition_and_a_second_one_is_an_alarm() {
    let Some(kit) = system() else { return };
    let machine = Machine::System(kit, Firmware::Uefi);
    let mut home = Home::enrolled(machine.clone(), Fittings::default());
    let guest = home.guest();
    let rest = guest.run("ls /boot/efi/phone.homing 2>&1; systemctl --failed --no-legend");
    assert!(!rest.text.contains("●"), "a unit failed: {}", rest.text);
    assert!(
        rest.text.contains("No such file"),
        "the bundle stays: {}",
        rest.text
    );
    let size = guest
        .run("df --output=size -B1M / | tail -1")
        .expect_success();
    let size_mib: u64 = size.text.trim().parse().unwrap_or(0);
    assert!(
        size_mib > 2_000,
        "the system has {size_mib} MiB of its card"
    );
    is_confined(guest, "homingd-agent", "homing", MAY_NOTHING);
    let exposed = exposure(guest, "homingd-agent");
    assert!(exposed <= 1.5, "the agent is exposed: {exposed}");

    let _receiver = home.guest().receiver();
    let order = home.order_position();
    assert_eq!(home.wait_end(&order), "done");
    is_at_the_receiver(&home.wait_position());
    impostor::is_not_believed(&mut home);
    let booted = home.guest().run("systemd-analyze time").text;
    let connected = home.guest().run("journalctl -b -u homingd-agent -o short-monotonic --no-pager | grep -m 1 'connected to'").text;
    let held = memory(home.guest());
    let fingerprint = home.guest().status()["fingerprint"].clone();
    home.power_cut();

    let status = a_second_one_is_an_alarm(&mut home, &machine);
    assert_ne!(status["fingerprint"], fingerprint, "{status}");
    let devices = home.ask(&["devices"]);
    figures(&json!({
        "systemd-analyze": booted,
        "connected, by the journal": connected,
        "agent": held,
        "the agent's exposure": exposed,
        "devices": devices,
    }));
}

/// A phone with the same bundle on a card that is slower than systemd waits for devices: it is up meanwhile, joins when the card shows
/// itself, and its claim is the second. Returns its status.
#[track_caller]
fn a_second_one_is_an_alarm(home: &mut Home, machine: &Machine) -> Value {
    let scratch = Scratch::new();
    let folder = scratch.folder("second");
    let late = Fittings {
        boot_partition: BootPartition::Held,
        ..Fittings::default()
    };
    let mut second = machine.boot(&folder, late, Some(&home.bundle()));
    wait_until(GUEST_PATIENCE, "an agent that nobody has enrolled", || {
        let said = second.run("systemctl show -p ExecMainStatus --value homingd-agent");
        (said.text == "78").then_some(())
    });
    let partition = r"dev-disk-by\x2dlabel-HOMING.device";
    let patience = second.run(&format!(
        "systemctl show -p ActiveState -p JobRunningTimeoutUSec --value '{partition}'"
    ));
    let patience: Vec<_> = patience.text.lines().collect();
    assert!(
        patience.contains(&"infinity") && patience.contains(&"inactive"),
        "{patience:?}"
    );
    wait_until(GUEST_PATIENCE, "the rest of the phone to be up", || {
        let said = second.run("systemctl is-active multi-user.target");
        (said.text == "active").then_some(())
    });
    assert_eq!(second.status()["enrolled"], "no");
    second.show_boot_partition();
    home.wait_news("rival-claim");
    let status = second.status();
    assert_ne!(status["enrolled"], "yes", "{status}");
    status
}

/// Bit 5 of a set of capabilities: CAP_KILL (linux/capability.h).
const MAY_KILL: &str = "0000000000000020";
const MAY_NOTHING: &str = "0000000000000000";

/// A service runs as its unit says: another user, no right but those named, no new one, a filter on system calls, and a system that it
/// cannot write.
#[track_caller]
fn is_confined(guest: &mut Guest, service: &str, user: &str, rights: &str) {
    let line = format!(
        "pid=$(systemctl show -p MainPID --value {service}); cat /proc/$pid/status; \
         echo Root: $(grep ' / / ' /proc/$pid/mountinfo | tail -1 | cut -d ' ' -f 6); \
         echo Net: $(readlink /proc/$pid/ns/net); echo Ours: $(readlink /proc/1/ns/net); id -u {user}"
    );
    let status = guest.run(&line).expect_success().text;
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|rest| rest.split_whitespace().next().unwrap_or("").to_owned())
    };
    for set in ["CapEff:", "CapBnd:", "CapPrm:"] {
        assert_eq!(field(set).as_deref(), Some(rights), "{set} {status}");
    }
    assert_eq!(field("NoNewPrivs:").as_deref(), Some("1"), "{status}");
    assert_eq!(field("Seccomp:").as_deref(), Some("2"), "{status}");
    assert_eq!(field("Uid:").as_deref(), status.lines().last(), "{status}");
    let root = field("Root:").unwrap_or_default();
    assert!(root.starts_with("ro"), "{status}");
    let alone = field("Net:") != field("Ours:");
    assert_eq!(alone, service == "homingd-siren", "its network: {status}");
}

/// What systemd itself says of a running service, from 0 (confined) to 10.
#[track_caller]
pub(crate) fn exposure(guest: &mut Guest, service: &str) -> f64 {
    let line = format!("systemd-analyze security --no-pager {service} | grep exposure.level");
    let said = guest.run(&line).expect_success().text;
    let number = said.split_whitespace().find_map(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {said:?}"))
}

#[test]
fn a_phone_whose_session_plays_through_pipewire_is_heard_whoever_mutes_or_dies_and_plays_on_afterwards()
 {
    let Some(kit) = system() else { return };
    let fittings = Fittings {
        sound: Sound::Usb,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(Machine::System(kit, Firmware::None), fittings);
    let wav = home.guest().recording();
    log_in(home.guest());
    plays(home.guest(), &wav);
    gives_up_when_asked(home.guest(), &wav);

    hush(home.guest());
    let before = mixer(home.guest());
    let server = pipewire(home.guest());
    play_on(home.guest());
    wait_until(GUEST_PATIENCE, "PipeWire to hold the card", || {
        is_held(home.guest()).then_some(())
    });
    start_muting(home.guest());
    let begun = ring_through_deaths(&mut home, &wav);
    let tried = stop_muting(home.guest());
    let sound = Recording::read(&wav).after(&begun);
    is_the_siren(&sound);
    wait_until(GUEST_PATIENCE, "the session to have its sink again", || {
        has_sink(home.guest()).then_some(())
    });
    assert_eq!(mixer(home.guest()), before, "as the user had left it");
    let politely = pipewire(home.guest()) == server;
    unhush(home.guest());
    plays(home.guest(), &wav);
    let exposed = exposure(home.guest(), "homingd-siren");
    assert!(exposed <= 1.5, "the siren is exposed: {exposed}");
    figures(&json!({
        "level, dBFS": sound.level_dbfs(),
        "sounding, s": sound.sounding().as_secs_f64(),
        "muted, s": sound.muted().as_secs_f64(),
        "times that amixer and wpctl tried": tried,
        "PipeWire was asked and not ended": politely,
    }));
}

/// Rings while agent and siren are killed, until the owner ends it; returns what was recorded before the siren sounded.
#[track_caller]
fn ring_through_deaths(home: &mut Home, wav: &Path) -> Recording {
    let ring = home
        .owner
        .start("ring", &["ring", PHONE, "--for", RING, "--json"]);
    wait_until(GUEST_PATIENCE, "the siren to sound", || {
        let state = home.guest().run("cat /var/lib/homing/siren/state.json");
        state.text.contains(r#""phase":"sounding""#).then_some(())
    });
    is_confined(home.guest(), "homingd-siren", "homing-siren", MAY_KILL);
    let begun = Recording::read(wav);
    let heard = |more: Duration| {
        let wanted = Recording::read(wav).sounding() + more;
        wait_until(GUEST_PATIENCE, "more of the siren in the recording", || {
            (Recording::read(wav).sounding() >= wanted).then_some(())
        });
    };
    heard(Duration::from_secs(1));
    kill(home.guest(), "agent");
    heard(Duration::from_millis(500));
    kill(home.guest(), "siren");
    heard(Duration::from_millis(500));
    home.wait_connected();
    stop_playing(home.guest());
    home.stop_ringing();
    drop(ring);
    begun
}

/// Switch and volume in words; the card's other contents tell whether somebody plays.
fn mixer(guest: &mut Guest) -> String {
    let said = guest.run("amixer -c 0 cget numid=2 && amixer -c 0 cget numid=3");
    said.expect_success().text
}

/// Undoes [`hush`]: PipeWire does not know this card's own controls and turns the samples alone.
fn unhush(guest: &mut Guest) {
    let loud = "amixer -q -c 0 cset numid=2 on && amixer -q -c 0 cset numid=3 240";
    let _ = guest.run(loud).expect_success();
}

/// A user with a session of their own that lasts, and a sound server that has found the card.
#[track_caller]
fn log_in(guest: &mut Guest) {
    // Waited for by its own name: the bus gives a service 25 s to start, which an emulated phone may not keep.
    let _ = guest
        .run(
            "useradd -m -u 1000 -G audio person && systemctl start systemd-logind && \
             loginctl enable-linger person",
        )
        .expect_success();
    wait_until(GUEST_PATIENCE, "the session's sink", || {
        has_sink(guest).then_some(())
    });
}

/// A line of shell as that user, in their session.
fn as_person(line: &str) -> String {
    format!("runuser -u person -- env XDG_RUNTIME_DIR=/run/user/1000 sh -c '{line}'")
}

fn has_sink(guest: &mut Guest) -> bool {
    let said = guest.run(&as_person("wpctl inspect @DEFAULT_AUDIO_SINK@ 2>&1"));
    said.text.contains("alsa_output")
}

/// The process id of the session's sound server.
#[track_caller]
fn pipewire(guest: &mut Guest) -> String {
    wait_until(GUEST_PATIENCE, "PipeWire", || {
        let said = guest.run("pidof pipewire");
        (said.code == 0).then_some(said.text)
    })
}

fn is_held(guest: &mut Guest) -> bool {
    let status = guest.run("cat /proc/asound/card0/pcm0p/sub0/status").text;
    status.contains("RUNNING")
}

/// The user's own sound, loud, is heard in the recording.
#[track_caller]
fn plays(guest: &mut Guest, wav: &Path) {
    let loud = "wpctl set-mute @DEFAULT_AUDIO_SINK@ 0; wpctl set-volume @DEFAULT_AUDIO_SINK@ 1.0";
    let _ = guest.run(&as_person(loud)).expect_success();
    let before = Recording::read(wav);
    let _ = guest
        .run(&as_person("pw-play /root-tone.wav"))
        .expect_success();
    let heard = Recording::read(wav).after(&before);
    let tones = heard.tones();
    let users = tones.iter().filter(|tone| **tone == USERS_TONE).count();
    // A second is played; a crowded machine drops some of it.
    assert!(
        users >= 20,
        "{users} of {} pieces: {tones:?}; {}; {}",
        tones.len(),
        mixer(guest),
        guest.run(&as_person("wpctl status")).text
    );
}

/// The user plays without end, in the background.
#[track_caller]
fn play_on(guest: &mut Guest) {
    let line =
        as_person("while [ ! -e /tmp/silence ]; do pw-play /root-tone.wav || sleep 0.2; done");
    let _ = guest
        .run(&format!("({line}) </dev/null >/dev/null 2>&1 &"))
        .expect_success();
}

#[track_caller]
fn stop_playing(guest: &mut Guest) {
    let _ = guest
        .run("touch /tmp/silence; pkill pw-play; true")
        .expect_success();
}

/// Whoever claims the card as the siren does gets it from the session that plays, which goes on afterwards; nobody is ended.
#[track_caller]
fn gives_up_when_asked(guest: &mut Guest, wav: &Path) {
    let server = pipewire(guest);
    play_on(guest);
    wait_until(GUEST_PATIENCE, "PipeWire to hold the card", || {
        is_held(guest).then_some(())
    });
    let _ = guest
        .run("mkdir -p /run/homing-siren && touch /run/homing-siren/audio0")
        .expect_success();
    wait_until(GUEST_PATIENCE, "PipeWire to give the card up", || {
        (!is_held(guest) && !has_sink(guest)).then_some(())
    });
    assert_eq!(pipewire(guest), server, "it was ended instead of asked");
    stop_playing(guest);
    let _ = guest.run("rm -r /run/homing-siren").expect_success();
    wait_until(GUEST_PATIENCE, "the session to have its sink again", || {
        has_sink(guest).then_some(())
    });
    let _ = guest.run("rm -f /tmp/silence").expect_success();
    plays(guest, wav);
}

/// Two hands on the mute switch, ten times a second as far as the guest is quick enough: root's on the card, the user's on
/// the session's sound server.
#[track_caller]
fn start_muting(guest: &mut Guest) {
    let hands = format!(
        "while [ ! -e /tmp/enough ]; do amixer -q -c 0 cset numid=2 off; \
         {}; echo tried >>/tmp/tried; sleep 0.1; done; touch /tmp/gone",
        as_person("wpctl set-mute @DEFAULT_AUDIO_SINK@ 1").replace('\'', "\"")
    );
    let _ = guest
        .run(&format!("(sh -c '{hands}') </dev/null >/dev/null 2>&1 &"))
        .expect_success();
}

/// How often they tried.
#[track_caller]
fn stop_muting(guest: &mut Guest) -> u32 {
    let _ = guest.run("touch /tmp/enough").expect_success();
    wait_until(GUEST_PATIENCE, "the hands to be taken away", || {
        (guest.run("[ -e /tmp/gone ]").code == 0).then_some(())
    });
    let count = guest.run("grep -c . /tmp/tried");
    count.text.trim().parse().unwrap_or(0)
}
