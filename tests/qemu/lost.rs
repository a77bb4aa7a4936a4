//! Lost mode under a real systemd: taken from whoever holds the phone, through power cuts at any moment, and given back as it was. It must not believe the phone's own word for what is open.

use crate::household::{Home, Machine, figures};
use crate::system::{exposure, system};
use e2e::{Firmware, Fittings, GUEST_PATIENCE, Guest, PHONE, Panel, Proc, wait_until};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

const MESSAGE: &str = "This phone is lost. Please call me.";
const CONTACT: &str = "+49 30 901820";
pub(crate) const NOTICE: &str = "/var/lib/homing-actor/shown/notice.json";

/// The owner's order.
const LOSE: [&str; 6] = ["lost", PHONE, "--message", MESSAGE, "--phone", CONTACT];

/// A phone as somebody uses it: a session on its own terminal that begins by itself, an ssh server's unit, a socket of a service that
/// nobody here knows, and a magic key.
pub(crate) const IN_USE: &str = "useradd -m -u 1000 person && cd /etc/systemd/system && \
     printf '[Unit]\\nConflicts=getty@tty7.service\\nAfter=systemd-user-sessions.service systemd-logind.service\\n\
     [Service]\\nUser=1000\\nPAMName=login\\nTTYPath=/dev/tty7\\nStandardInput=tty\\nStandardOutput=tty\\nUtmpIdentifier=tty7\\n\
     UtmpMode=user\\nEnvironment=XDG_SESSION_TYPE=wayland\\n\
     ExecStart=/bin/sh -c \"while :; do echo a secret document; sleep 1; done\"\\nRestart=always\\n\
     [Install]\\nWantedBy=graphical.target\\n' >phosh.service && \
     printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >ssh.service && \
     printf '[Socket]\\nListenStream=127.0.0.1:2323\\nAccept=yes\\n[Install]\\nWantedBy=sockets.target\\n' >story.socket && \
     printf '[Service]\\nStandardInput=socket\\nExecStart=/bin/cat\\n' >story@.service && \
     echo 'kernel.sysrq = 438' >/etc/sysctl.d/50-story.conf && echo 438 >/proc/sys/kernel/sysrq && \
     systemctl daemon-reload && systemctl enable -q --now phosh.service ssh.service story.socket && sync";

/// What is up, but for what belongs to a session and for what comes and goes by itself.
const UNITS: &str = "systemctl list-units --state=active --plain --no-legend --type=service,socket,path,timer,target | \
     cut -d ' ' -f 1 | grep -v -E '^(user|session|homingd-actor.service|systemd-(hostnamed|timedated|rfkill.service)|first-boot|polkit)' | sort";

/// What somebody who holds the phone could use, one line each; none is none.
pub(crate) const OPEN: &str = "loginctl list-sessions --no-legend; \
     systemctl list-units --state=active,activating --plain --no-legend 'getty@*' 'serial-getty@*' 'autovt@*' 'user@*' \
     console-getty.service debug-shell.service phosh.service ssh.service story.socket; ps -e -o comm= | grep -x -E 'agetty|login|sulogin'; \
     grep -v -x 0 /proc/sys/kernel/sysrq";

pub(crate) fn says(guest: &mut Guest, line: &str) -> String {
    guest.run(line).text.trim().to_owned()
}

pub(crate) fn has_notice(guest: &mut Guest) -> bool {
    guest.run(&format!("[ -e {NOTICE} ]")).code == 0
}

/// Waits until nothing is open, and looks closer then.
#[track_caller]
pub(crate) fn is_lost(guest: &mut Guest) {
    wait_until(GUEST_PATIENCE, "the phone to be locked", || {
        let target = says(guest, "systemctl is-active homing-lost.target");
        (target == "active" && says(guest, OPEN).is_empty()).then_some(())
    });
    assert!(has_notice(guest));
    for unit in [
        "homingd-agent",
        "NetworkManager",
        "homing-lost-keys",
        "homing-lost-screen",
    ] {
        wait_until(GUEST_PATIENCE, unit, || {
            let is = says(guest, &format!("systemctl is-active {unit}"));
            (is == "active").then_some(())
        });
    }
    // Who starts them by hand or by a key starts nothing.
    let _ = guest
        .run("systemctl start getty@tty3 autovt@tty4 ssh phosh user@1000 serial-getty@ttyAMA0");
    assert_eq!(says(guest, OPEN), "");
    wait_until(GUEST_PATIENCE, "the screen to be in front", || {
        let process = says(
            guest,
            "systemctl show -p MainPID --value homing-lost-screen",
        );
        (process != "0" && foremost(guest) != SESSIONS).then_some(())
    });
}

/// The terminal of the session in these stories.
const SESSIONS: &str = "tty7";

/// The terminal that panel and keys belong to.
fn foremost(guest: &mut Guest) -> String {
    says(guest, "cat /sys/class/tty/tty0/active")
}

/// Waits until the phone is as its user had it.
#[track_caller]
pub(crate) fn is_in_use(guest: &mut Guest, before: Option<&str>) {
    wait_until(GUEST_PATIENCE, "the user to have the phone again", || {
        let session = says(guest, "loginctl list-sessions --no-legend");
        let default = says(guest, "systemctl is-active graphical.target");
        let is_whole = before.is_none_or(|before| says(guest, UNITS) == before);
        let magic = says(guest, "cat /proc/sys/kernel/sysrq");
        let socket = says(guest, "systemctl is-active story.socket");
        let is_open = default == "active" && socket == "active" && magic == "438";
        (session.contains("person") && is_open && is_whole).then_some(())
    });
    assert!(!has_notice(guest));
    let owed = says(guest, "ls /var/lib/homing-actor/before.json 2>/dev/null");
    assert_eq!(owed, "");
}

impl Home {
    /// Ordered, whether or not the phone hears it at once.
    pub(crate) fn lose(&self) {
        let order: Vec<_> = LOSE.into_iter().chain(["--wait", "1s"]).collect();
        let _ = self.owner.homing(&order);
    }

    /// The owner is told that it is found; asks for as long as what this gives lives.
    pub(crate) fn is_found(&self) -> Proc {
        let arguments = ["lost", PHONE, "--off", "--wait", "15m"];
        self.owner.start("found", &arguments)
    }

    #[track_caller]
    pub(crate) fn wait_notice(&mut self, wanted: bool) {
        wait_until(GUEST_PATIENCE, "the notice to come or go", || {
            (has_notice(self.guest()) == wanted).then_some(())
        });
    }
}

fn same(one: &Path, other: &Path) -> bool {
    std::fs::read(one).ok() == std::fs::read(other).ok()
}

#[test]
fn a_lost_phone_is_taken_through_power_cuts_and_given_back_as_it_was() {
    let Some(kit) = system() else { return };
    let fittings = Fittings {
        panel: Panel::Virtio,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(Machine::System(kit, Firmware::None), fittings);
    let _ = home.guest().run(IN_USE).expect_success();
    is_in_use(home.guest(), None);
    let before = says(home.guest(), UNITS);
    let session = home.guest().screenshot("in-use");

    home.lose();
    home.wait_notice(true);
    let began = Instant::now();
    is_lost(home.guest());
    let took = began.elapsed();
    let exposed = exposure(home.guest(), "homingd-actor");
    assert!(exposed <= 2.5, "the actor is exposed: {exposed}");
    let resident = says(
        home.guest(),
        "grep VmRSS /proc/$(systemctl show -p MainPID --value homing-lost-screen)/status",
    );
    assert!(!same(&session, &home.guest().screenshot("lost")));
    // Neither another terminal nor the power key nor the keys that start it anew lead out.
    for keys in [&["ctrl", "alt", "f3"][..], &["alt", "f7"], &["power"]] {
        home.guest().press(keys);
        assert_ne!(foremost(home.guest()), SESSIONS, "{keys:?}");
        is_lost(home.guest());
    }
    // As dpkg runs it after an upgrade.
    let _ = home
        .guest()
        .run("/var/lib/dpkg/info/homingd.postinst configure 0.0.1")
        .expect_success();
    assert_ne!(foremost(home.guest()), SESSIONS, "after an upgrade");
    is_lost(home.guest());

    home.power_cut();
    let _ = home.boot();
    is_lost(home.guest());
    let _ = home.guest().screenshot("lost-again");
    home.wait_connected();
    let ending = home.is_found();
    home.wait_notice(false);
    is_in_use(home.guest(), Some(&before));
    drop(ending);
    cuts(&mut home);
    figures(&json!({
        "from the notice to locked, s": took.as_secs_f64(),
        "the screen's memory": resident,
        "the actor's exposure": exposed,
    }));
}

/// The power goes as soon as the notice has come, or gone: the phone is wholly lost or wholly its user's, never open and lost.
#[track_caller]
fn cuts(home: &mut Home) {
    home.lose();
    home.wait_notice(true);
    home.power_cut();
    let _ = home.boot();
    settled(home);
    home.wait_connected();
    home.wait_notice(true);
    is_lost(home.guest());
    let ending = home.is_found();
    home.wait_notice(false);
    home.power_cut();
    drop(ending);
    let _ = home.boot();
    settled(home);
    home.wait_connected();
    home.wait_notice(false);
    is_in_use(home.guest(), None);
}

/// Waits until the phone is wholly the one or wholly the other. Which of the two, its first answer does not tell: a notice that had not
/// reached the disk is written again by the privileged half, from what it has written down before.
#[track_caller]
pub(crate) fn settled(home: &mut Home) {
    wait_until(GUEST_PATIENCE, "the phone to be lost or its user's", || {
        let guest = home.guest();
        let target = says(guest, "systemctl is-active homing-lost.target");
        let open = says(guest, OPEN);
        match has_notice(guest) {
            true => target == "active" && open.is_empty(),
            false => target != "active" && open.contains("person"),
        }
        .then_some(())
    });
}
