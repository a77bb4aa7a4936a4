//! Somebody who holds a lost phone and wants what is on it: thirty-one ways to try, each of which must leave it lost, with nothing of the session on its panel. Nothing here is what an attacker with the phone's storage in a reader does.

use crate::household::Home;
use crate::lost::{OPEN, says};
use crate::picture::{Expected, Shot};
use e2e::{GUEST_PATIENCE, Guest, free_port, wait_until};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A way out, or in.
type Try = fn(&mut Home);

const ESCAPES: [(&str, Try); 31] = [
    ("Alt and F1 to F12", |home| functions(home, &["alt"])),
    ("Ctrl, Alt and F1 to F12", |home| {
        functions(home, &["ctrl", "alt"])
    }),
    ("Alt and the arrows", |home| {
        all(home, &[&["alt", "left"], &["alt", "right"], &["alt", "up"]])
    }),
    ("Ctrl and C, D, Z, backslash", |home| {
        all(
            home,
            &[
                &["ctrl", "c"],
                &["ctrl", "d"],
                &["ctrl", "z"],
                &["ctrl", "backslash"],
            ],
        );
    }),
    ("a desktop's keys", |home| {
        all(
            home,
            &[
                &["esc"],
                &["tab"],
                &["alt", "tab"],
                &["alt", "f4"],
                &["meta_l"],
                &["print"],
                &["menu"],
            ],
        );
    }),
    ("every letter and digit, each with Return", mash),
    // Seven within two seconds are a restart by force for systemd.
    ("Ctrl, Alt and Delete, nine times", |home| {
        all(home, &[&["ctrl", "alt", "delete"][..]; 9])
    }),
    ("the power key, shortly", |home| {
        home.guest().press(&["power"])
    }),
    ("the power key, nine times", |home| {
        all(home, &[&["power"][..]; 9])
    }),
    ("the power key, held for eight seconds", |home| {
        home.guest().press_for(&["power"], Duration::from_secs(8));
    }),
    ("the key for sleep", |home| {
        all(home, &[&["sleep"], &["wake"]])
    }),
    ("the board's power button", |home| {
        let _ = home.guest().order("system_powerdown", &json!({}));
    }),
    ("SysRq: keyboard, ends of all processes", |home| {
        magic(home, &["r", "e", "i"])
    }),
    ("SysRq: the secure attention key", |home| {
        magic(home, &["k"])
    }),
    ("SysRq: nothing more written to the disk", |home| {
        magic(home, &["s", "u"])
    }),
    ("SysRq: memory's killer, tasks, log level", |home| {
        magic(home, &["f", "t", "w", "9"])
    }),
    ("SysRq: restart, off, crash", |home| {
        magic(home, &["b", "o", "c"])
    }),
    ("a storm of a tablet's clicks", click_storm),
    ("a tablet's swipes from every edge", swipes),
    ("a USB keyboard", |home| {
        plugged(home, "usb-kbd", |home| {
            functions(home, &["ctrl", "alt"]);
            mash(home);
        });
    }),
    ("a USB mouse", |home| {
        plugged(home, "usb-mouse", click_storm)
    }),
    ("a USB graphics tablet", |home| {
        plugged(home, "usb-tablet", click_storm)
    }),
    ("a USB stick", stick),
    ("a USB network card", network_card),
    ("ssh from outside", |home| {
        let port = reach_ssh(home.guest());
        assert!(!answers(port), "a lost phone's ssh server answered");
    }),
    ("a name at the serial port", |home| {
        let path = home.guest().serial_port();
        let mut line = std::os::unix::net::UnixStream::connect(path).expect("the serial port");
        line.write_all(b"\r\rroot\r\r").expect("it takes it");
    }),
    // Not rescue and emergency: who is root and starts one of these ends all that runs, lost mode and the test's own shell with it.
    ("prompts and sessions, started by their names", |home| {
        let _ = home.guest().run(
            "systemctl start getty@tty2 autovt@tty5 serial-getty@ttyAMA0 console-getty debug-shell \
             phosh ssh ssh.socket user@1000 graphical.target; loginctl activate 1; chvt 7",
        );
    }),
    (
        "the screen killed while another terminal is asked for",
        |home| {
            for _ in 0..3 {
                let _ = home.guest().run("pkill -9 -x homing-lost-scr");
                all(home, &[&["ctrl", "alt", "f2"], &["alt", "right"]]);
            }
        },
    ),
    ("actor and agent killed", |home| {
        let _ = home.guest().run("pkill -9 -x homingd");
    }),
    ("logind killed, and the power key", |home| {
        let _ = home.guest().run("pkill -9 -x systemd-logind");
        home.guest().press(&["power"]);
    }),
    // Short enough for an emulated phone: it shows that a journal too busy to answer changes nothing, not that a full disk does not.
    ("a flooded journal", |home| {
        let _ = home
            .guest()
            .run("yes 'a line that somebody wrote' | head -c 200000 | timeout 20 logger");
    }),
];

/// Tries one after the other; returns what became of each.
///
/// # Panics
/// When one leads anywhere.
#[track_caller]
pub(crate) fn tries_everything(home: &mut Home, expected: &mut Expected) -> Vec<String> {
    let began = Instant::now();
    let mut outcomes = Vec::new();
    for (number, (name, act)) in ESCAPES.into_iter().enumerate() {
        let from = Instant::now();
        eprintln!("finder, {}: {name}", number + 1);
        act(home);
        assert!(!home.guest().is_off(), "{name}: the phone went off");
        // How long the notice can have been shown at most.
        let minutes = began.elapsed().as_secs() / 60 + 2;
        stays_lost(home, expected, name, minutes);
        outcomes.push(format!(
            "{name}: stays lost ({} s)",
            from.elapsed().as_secs()
        ));
    }
    outcomes
}

/// What would be wrong, a line each: nothing at all is right. No session, no prompt, none of the user's processes, no strange disk
/// mounted, nobody who listens to the outside, and all that a lost phone runs.
fn wrong(guest: &mut Guest) -> String {
    let ours = "systemctl is-active homing-lost.target homing-lost-screen homing-lost-keys homingd-agent | grep -v -x active";
    let users = "pgrep -l -u person; grep -E ' (/media|/mnt|/run/media)' /proc/mounts";
    let reached = r"ss -Htln | awk '$4 !~ /^(127\.|\[::1\])/'";
    says(guest, &format!("{ours}; {OPEN}; {users}; {reached}"))
}

#[track_caller]
fn stays_lost(home: &mut Home, expected: &mut Expected, name: &str, minutes: u64) {
    let at_once = Shot::take(home.guest(), "finder");
    assert_eq!(at_once.marked(), 0, "{name}: the document is on the panel");
    wait_until(GUEST_PATIENCE, name, || {
        let wrong = wrong(home.guest());
        if !wrong.is_empty() {
            eprintln!("finder, {name}: {wrong}");
        }
        wrong.is_empty().then_some(())
    });
    // Off, or at the keypad: the power key brings the page back, at the second press at most.
    let mut pressed = Instant::now();
    wait_until(GUEST_PATIENCE, name, || {
        if expected.is_shown(home.guest(), "finder", minutes) {
            return Some(());
        }
        let seen = Shot::take(home.guest(), "finder-other");
        assert_eq!(seen.marked(), 0, "{name}: the document is on the panel");
        if pressed.elapsed() > Duration::from_secs(20) {
            home.guest().press(&["power"]);
            pressed = Instant::now();
        }
        None
    });
}

fn all(home: &mut Home, combinations: &[&[&str]]) {
    for keys in combinations {
        home.guest().press(keys);
    }
}

fn functions(home: &mut Home, held: &[&str]) {
    for number in 1..=12 {
        let key = format!("f{number}");
        let keys: Vec<&str> = held.iter().copied().chain([key.as_str()]).collect();
        home.guest().press(&keys);
    }
}

fn mash(home: &mut Home) {
    for key in "abcdefghijklmnopqrstuvwxyz0123456789".chars() {
        home.guest().press(&[&key.to_string()]);
        home.guest().press(&["ret"]);
    }
}

/// With the key that Linux takes for it.
fn magic(home: &mut Home, letters: &[&str]) {
    for letter in letters {
        home.guest().press(&["alt", "sysrq", letter]);
    }
}

/// Two hundred clicks anywhere. Fingers are the business of the screen's own tests: no panel that QEMU has tells of them as a phone's does.
fn click_storm(home: &mut Home) {
    let mut place: u32 = 7;
    for _ in 0..200 {
        // Numerical Recipes' generator: the same places in every run.
        place = place.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [x, y] =
            [place >> 17, (place >> 2) & 0x7fff].map(|part| u16::try_from(part).unwrap_or(0));
        home.guest().tap(x, y);
    }
}

fn swipes(home: &mut Home) {
    let moved = |x: u32, y: u32| {
        json!([
            {"type": "abs", "data": {"axis": "x", "value": x}},
            {"type": "abs", "data": {"axis": "y", "value": y}}
        ])
    };
    let finger = |down: bool| json!([{"type": "btn", "data": {"button": "left", "down": down}}]);
    for (from, to) in [
        ((16_000, 0), (16_000, 30_000)),
        ((16_000, 32_767), (16_000, 2_000)),
        ((0, 16_000), (30_000, 16_000)),
        ((32_767, 16_000), (2_000, 16_000)),
    ] {
        let send = |events| {
            home.guest
                .as_ref()
                .map(|guest| guest.order("input-send-event", &json!({"events": events})))
        };
        let _ = send(moved(from.0, from.1));
        let _ = send(finger(true));
        for part in 1..=10 {
            let between = |from: u32, to: u32| (from * (10 - part) + to * part) / 10;
            let _ = send(moved(between(from.0, to.0), between(from.1, to.1)));
        }
        let _ = send(finger(false));
    }
}

/// Plugs a USB device in, does something with it, and pulls it out.
fn plugged(home: &mut Home, driver: &str, act: impl FnOnce(&mut Home)) {
    plugged_with(home, &json!({"driver": driver, "id": "plugged"}), act);
}

fn plugged_with(home: &mut Home, device: &serde_json::Value, act: impl FnOnce(&mut Home)) {
    let count = "ls /sys/bus/usb/devices | wc -l";
    let before = says(home.guest(), count);
    let _ = home.guest().order("device_add", device);
    wait_until(
        GUEST_PATIENCE,
        "the kernel to see what is plugged in",
        || (says(home.guest(), count) != before).then_some(()),
    );
    let _ = home.guest().run("udevadm settle");
    act(home);
    let wrong = wrong(home.guest());
    assert_eq!(wrong, "", "while {device} was plugged in");
    let _ = home.guest().order("device_del", &json!({"id": "plugged"}));
    wait_until(GUEST_PATIENCE, "the kernel to see that it is gone", || {
        (says(home.guest(), count) == before).then_some(())
    });
}

fn stick(home: &mut Home) {
    let disk =
        json!({"driver": "null-co", "node-name": "stick", "size": 16_777_216, "read-zeroes": true});
    let _ = home.guest().order("blockdev-add", &disk);
    plugged_with(
        home,
        &json!({"driver": "usb-storage", "id": "plugged", "drive": "stick"}),
        |_| {},
    );
}

fn network_card(home: &mut Home) {
    let _ = home
        .guest()
        .order("netdev_add", &json!({"type": "user", "id": "n1"}));
    plugged_with(
        home,
        &json!({"driver": "usb-net", "id": "plugged", "netdev": "n1"}),
        |_| {},
    );
}

/// A port of this machine behind which the guest's ssh port is.
#[track_caller]
pub(crate) fn reach_ssh(guest: &mut Guest) -> u16 {
    let port = free_port();
    let line = format!("hostfwd_add tcp:127.0.0.1:{port}-:22");
    let _ = guest.order("human-monitor-command", &json!({"command-line": line}));
    port
}

/// Whether an ssh server says its name there.
pub(crate) fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut name = [0; 4];
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .is_ok()
        && stream.read_exact(&mut name).is_ok()
        && name == *b"SSH-"
}
