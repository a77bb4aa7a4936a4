//! Debian's Phosh with a document open, taken from whoever holds the phone. It must not believe the phone's own word for what is on its panel.

use crate::finder;
use crate::household::{Home, Machine, every_kit, figures};
use crate::lost::{NOTICE, OPEN, is_lost, says};
use crate::picture::{Expected, Shot};
use e2e::{Firmware, Fittings, GUEST_PATIENCE, Guest, Panel, Sound, SystemKit, wait_until};
use serde_json::json;
use std::time::Instant;

/// The user's phone: Debian's own phosh.service, with the compositor painting by the processor and, in place of GNOME's session program,
/// the shell and an editor with the user's diary on a colour of its own.
const SESSION: &str = r#"useradd -m -u 1000 -G video,input,render,audio person
mkdir -p /etc/systemd/system/phosh.service.d /home/person/.config/gtk-3.0 /usr/local/bin
printf '[Service]\nEnvironment=WLR_RENDERER=pixman GNOME_SESSION=/usr/local/bin/story-session\n' >/etc/systemd/system/phosh.service.d/story.conf
printf '#!/bin/sh\nl3afpad /home/person/diary.txt &\nexec /usr/libexec/phosh --unlocked\n' >/usr/local/bin/story-session
chmod 755 /usr/local/bin/story-session
printf 'textview text { background-color: #ff00c8; background-image: none; }\n' >/home/person/.config/gtk-3.0/gtk.css
echo 'a secret diary' >/home/person/diary.txt
chown -R person: /home/person
echo 'kernel.sysrq = 438' >/etc/sysctl.d/50-story.conf
sysctl -q -p /etc/sysctl.d/50-story.conf
systemctl daemon-reload
systemctl enable -q phosh.service ssh.service
systemctl --no-block start phosh.service ssh.service
sync"#;

/// A part of the panel: the document is maximised below Phosh's top bar.
const LARGE_PX: usize = 300_000;

/// The image with Phosh; where there is none, says why the story is skipped.
pub(crate) fn with_phosh() -> Option<SystemKit> {
    let _ = every_kit()?;
    match SystemKit::find_phosh() {
        Ok(kit) => Some(kit),
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

/// A phone whose user reads a document in Phosh.
#[track_caller]
pub(crate) fn in_use(kit: SystemKit) -> Home {
    let fittings = Fittings {
        panel: Panel::Virtio,
        // Its hub is where a finder plugs things in, and PipeWire has a card.
        sound: Sound::Usb,
        ..Fittings::default()
    };
    let mut home = Home::enrolled(Machine::System(kit, Firmware::None), fittings);
    let _ = home
        .guest()
        .run(&SESSION.replace('\n', " && "))
        .expect_success();
    reads(home.guest(), "phosh-before");
    home
}

/// Waits until the document is on the panel, in a session with its sound server.
#[track_caller]
pub(crate) fn reads(guest: &mut Guest, name: &str) {
    wait_until(GUEST_PATIENCE, "the document in Phosh", || {
        (Shot::take(guest, name).marked() >= LARGE_PX).then_some(())
    });
    let session = "loginctl list-sessions --no-legend | grep -q person && pidof phosh phoc";
    let _ = guest.run(session).expect_success();
    wait_until(GUEST_PATIENCE, "PipeWire in the session", || {
        (guest.run("pidof pipewire wireplumber").code == 0).then_some(())
    });
}

#[test]
fn no_finder_sees_anything_of_a_phosh_session() {
    let Some(kit) = with_phosh() else { return };
    let mut home = in_use(kit);
    let ports = finder::reach_ssh(home.guest());
    assert!(finder::answers(ports), "without lost mode ssh is reached");

    assert_ne!(says(home.guest(), OPEN), "", "the test's own eyes");

    home.lose();
    home.wait_notice(true);
    let began = Instant::now();
    is_lost(home.guest());
    let locked = began.elapsed();
    let mut expected = Expected::of(home.guest(), NOTICE);
    wait_until(GUEST_PATIENCE, "the lost screen as it is drawn", || {
        expected
            .is_shown(home.guest(), "phosh-during", 30)
            .then_some(())
    });
    let resident = says(
        home.guest(),
        "grep VmRSS /proc/$(systemctl show -p MainPID --value homing-lost-screen)/status",
    );
    figures(&json!({
        "from the notice to locked, s": locked.as_secs_f64(),
        "the screen's memory": resident,
    }));
    let outcomes = finder::tries_everything(&mut home, &mut expected);
    figures(&json!({"escapes": outcomes}));

    // The battery pulled out and put in again leads to the same picture, and the owner's word back to the document.
    home.power_cut();
    let _ = home.boot();
    is_lost(home.guest());
    wait_until(GUEST_PATIENCE, "the lost screen after a reset", || {
        expected
            .is_shown(home.guest(), "phosh-reset", 30)
            .then_some(())
    });
    home.wait_connected();
    let ending = home.is_found();
    home.wait_notice(false);
    reads(home.guest(), "phosh-after");
    drop(ending);
}
