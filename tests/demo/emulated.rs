//! The tour of `./demo --qemu`: the ARM homingd in an emulated phone joins, is found and rings. It must not show anything that the real programs did not do.

use crate::household::{PASSPHRASE, PHONE, hand_over, say_and_run};
use crate::stage::Stage;
use e2e::{
    Broker, Firmware, Fittings, GUEST_PATIENCE, Guest, Kit, Owner, Proc, Recording, Scratch,
    SerialReceiver, Sound, SystemKit, free_port, wait_until,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longer than the tour: it ends the ring itself.
const RING: &str = "600s";

/// Everybody. The order is that in which they leave: the folder last.
pub(crate) struct Household {
    _watch: Proc,
    _receiver: SerialReceiver,
    guest: Guest,
    _broker: Broker,
    owner: Owner,
    scratch: Scratch,
}

/// Every step, in the order of the story; each ends with a check.
pub(crate) fn run(stage: &Stage) -> Household {
    let mut household = join(stage);
    locate(stage, &household);
    ring_although_muted(stage, &mut household);
    household
}

fn join(stage: &Stage) -> Household {
    stage.heading("1. A phone is switched on and joins by the bundle that its owner put there");
    let scratch = Scratch::new();
    let owner = Owner::new(&scratch.folder("laptop"), PASSPHRASE);
    // The guest's /etc/hosts says where its localhost is: on this machine, as QEMU's network reaches it.
    let address = format!("mqtts://localhost:{}", free_port());
    let _ = say_and_run(stage, &owner, &["init", "--broker", &address]);
    let broker = Broker::start(&owner.broker_folder());
    let bundle = scratch.path().join("phone.homing");
    let out = bundle.display().to_string();
    let _ = say_and_run(stage, &owner, &["device", "add", PHONE, "--out", &out]);
    let watch = owner.start("watch", &["watch"]);
    let folder = scratch.folder("guest");
    let began = Instant::now();
    let mut guest = switch_on(stage, &folder, &bundle);
    wait_until(GUEST_PATIENCE, "the phone to be connected", || {
        let status = guest.status();
        (status["enrolled"] == "yes" && status["agent"]["broker"] == "connected").then_some(())
    });
    stage.say(&format!(
        "Joined and connected {} s after QEMU was started.",
        began.elapsed().as_secs()
    ));
    show_in_the_phone(stage, &mut guest, "uname -rm; homingd status");
    Household {
        _watch: watch,
        _receiver: guest.receiver(),
        guest,
        _broker: broker,
        owner,
        scratch,
    }
}

/// The flashed image; where there is none, kernel and initial RAM disk, with the reason.
fn switch_on(stage: &Stage, folder: &std::path::Path, bundle: &std::path::Path) -> Guest {
    let fittings = Fittings {
        sound: Sound::Usb,
        ..Fittings::default()
    };
    let slow = "Emulated (QEMU, accel=tcg), a phone takes a minute or several";
    match SystemKit::find() {
        Ok(kit) => {
            stage.say(&format!(
                "The image of `cargo xtask image`: Debian for arm64 with systemd, gpsd, PipeWire and homingd. {slow}."
            ));
            Guest::boot_system(&kit, folder, fittings, Firmware::None, Some(bundle))
        }
        Err(reason) => {
            stage.say(&format!("The whole system cannot be shown here: {reason}."));
            stage.say(&format!(
                "What follows is the small flavour: Debian's arm64 kernel, busybox, gpsd and homingd. {slow}."
            ));
            let kit = Kit::find().unwrap_or_else(|reason| panic!("{reason}"));
            let content = std::fs::read(bundle)
                .unwrap_or_else(|error| panic!("could not read the bundle: {error}"));
            Guest::boot(&kit, folder, fittings, &[("boot/phone.homing", content)])
        }
    }
}

fn locate(stage: &Stage, household: &Household) {
    stage.heading("2. Where is it? A receiver's NMEA, a serial port, Debian's gpsd");
    let wait = ["locate", PHONE, "--wait", "100s"];
    let _ = say_and_run(stage, &household.owner, &wait);
    let known = household.owner.json(&["locate", PHONE, "--last"]);
    let off = |key: &str, truth: f64| (known[key].as_f64().unwrap_or(f64::NAN) - truth).abs();
    assert!(
        off("latitude", SerialReceiver::LATITUDE_DEG) < 1e-4
            && off("longitude", SerialReceiver::LONGITUDE_DEG) < 1e-4,
        "the receiver is not there: {known}"
    );
    stage.say("The receiver says the same to some ten metres.");
}

fn ring_although_muted(stage: &Stage, household: &mut Household) {
    stage.heading("3. It rings, although somebody muted its sound card");
    let mute = "amixer -q -c 0 cset numid=2 off && amixer -q -c 0 cset numid=3 20";
    show_in_the_phone(stage, &mut household.guest, mute);
    let arguments = ["ring", PHONE, "--for", RING];
    stage.command(&format!("homing {}", arguments.join(" ")));
    let ring = household.owner.start("ring", &arguments);
    let wav = household.guest.recording();
    let heard = wait_until(GUEST_PATIENCE, "the siren in QEMU's recording", || {
        let recording = Recording::read(&wav);
        (recording.sounding() >= Duration::from_secs(2)).then_some(recording)
    });
    stage.say(&format!(
        "QEMU records what the card plays: {:.1} s of siren at {:.1} dBFS so far.",
        heard.sounding().as_secs_f64(),
        heard.level_dbfs()
    ));
    let _ = say_and_run(stage, &household.owner, &["ring", PHONE, "--stop"]);
    drop(ring);
    let state = "cat /var/lib/homing/siren/state.json";
    wait_until(GUEST_PATIENCE, "the siren to end", || {
        let said = household.guest.run(state);
        said.text.contains(r#""phase":"ended""#).then_some(())
    });
    show_in_the_phone(
        stage,
        &mut household.guest,
        "amixer -c 0 cget numid=2 | tail -1",
    );
    stage.say("Silent and muted again, as its user had left it.");
}

fn show_in_the_phone(stage: &Stage, guest: &mut Guest, line: &str) {
    stage.command(&format!("{line}        # on the phone"));
    stage.output(&guest.run(line).expect_success().text);
}

impl Household {
    /// What to paste into another terminal, and what to listen to.
    pub(crate) fn print_commands(&self, stage: &Stage) {
        stage.say(&format!(
            "What it played is in {} (play it as raw 16-bit stereo at 48 kHz: QEMU finishes the header when it ends).",
            self.guest.recording().display()
        ));
        let console: PathBuf = self.scratch.path().join("guest/console.log");
        let tail = format!("tail -f {}", console.display());
        hand_over(stage, &self.owner, " --wait 2m", &tail);
    }
}
