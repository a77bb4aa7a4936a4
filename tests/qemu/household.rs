//! Owner and broker on this machine, the phone in a guest. No checks of its own.

use e2e::{
    Broker, Firmware, Fittings, GUEST_PATIENCE, Guest, Kit, Owner, PASSPHRASE, PHONE, Proc,
    Scratch, SystemKit, free_port, wait_until,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Fields are dropped in this order: the folder last.
pub(crate) struct Home {
    watch: Proc,
    pub(crate) guest: Option<Guest>,
    pub(crate) owner: Owner,
    _broker: Broker,
    machine: Machine,
    fittings: Fittings,
    folder: PathBuf,
    scratch: Scratch,
}

/// What the phone runs.
#[derive(Clone, Debug)]
pub(crate) enum Machine {
    /// Kernel and initial RAM disk.
    Small(Kit),
    /// The image, under systemd.
    System(SystemKit, Firmware),
}

impl From<Kit> for Machine {
    fn from(kit: Kit) -> Self {
        Self::Small(kit)
    }
}

impl Machine {
    /// Switches it on, with its owner's bundle where it shall join.
    #[track_caller]
    pub(crate) fn boot(&self, folder: &Path, fittings: Fittings, bundle: Option<&Path>) -> Guest {
        match self {
            Self::Small(kit) => {
                let content = bundle.map(|path| std::fs::read(path).expect("the owner wrote it"));
                let files: Vec<_> = content
                    .into_iter()
                    .map(|content| ("boot/phone.homing", content))
                    .collect();
                Guest::boot(kit, folder, fittings, &files)
            }
            Self::System(kit, firmware) => {
                Guest::boot_system(kit, folder, fittings, *firmware, bundle)
            }
        }
    }
}

/// The kit; where there is none, says why the story is skipped.
pub(crate) fn kit() -> Option<Kit> {
    match Kit::find() {
        Ok(kit) => Some(kit),
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

/// The kit where all stories are told: `cargo xtask ci --full` and `cargo xtask qemu`. Elsewhere one story stands for them,
/// because an emulated phone takes a core for minutes.
pub(crate) fn every_kit() -> Option<Kit> {
    if std::env::var_os("HOMING_TEST_GUEST_ALL").is_none() {
        eprintln!("SKIPPED: told by `cargo xtask ci --full` and `cargo xtask qemu`");
        return None;
    }
    kit()
}

impl Home {
    /// An account, a broker, a resident watch, and a phone that has just joined.
    #[track_caller]
    pub(crate) fn enrolled(machine: impl Into<Machine>, fittings: Fittings) -> Self {
        let machine = machine.into();
        let scratch = Scratch::new();
        let owner = Owner::new(&scratch.folder("laptop"), PASSPHRASE);
        // The guest's /etc/hosts says where its localhost is: on this machine, as QEMU's network reaches it.
        let address = format!("mqtts://localhost:{}", free_port());
        let _ = owner.json(&["init", "--broker", &address]);
        let broker = Broker::start(&owner.broker_folder());
        let bundle = scratch.path().join("phone.homing");
        let out = bundle.display().to_string();
        let _ = owner
            .homing(&["device", "add", PHONE, "--out", &out])
            .expect_success();
        let watch = owner.start("watch", &["watch", "--json"]);
        let folder = scratch.folder("guest");
        let mut guest = machine.boot(&folder, fittings, Some(&bundle));
        wait_until(GUEST_PATIENCE, "the phone to have joined", || {
            (guest.status()["enrolled"] == "yes").then_some(())
        });
        let mut home = Self {
            watch,
            guest: Some(guest),
            owner,
            _broker: broker,
            machine,
            fittings,
            folder,
            scratch,
        };
        home.wait_connected();
        home
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("the phone is switched on")
    }

    /// Waits until the agent says it is connected.
    #[track_caller]
    pub(crate) fn wait_connected(&mut self) {
        wait_until(GUEST_PATIENCE, "the phone to be connected", || {
            (self.guest().status()["agent"]["broker"] == "connected").then_some(())
        });
    }

    /// The battery is pulled out.
    #[track_caller]
    pub(crate) fn power_cut(&mut self) {
        self.guest
            .take()
            .expect("the phone is switched on")
            .power_cut();
    }

    /// What the last start left beside the disk.
    fn forget(&self) {
        for left in ["console.log", "shell.sock", "receiver.sock"] {
            let _ = std::fs::remove_file(self.folder.join(left));
        }
    }

    /// Switched on again, with the same disk and without the bundle.
    #[track_caller]
    pub(crate) fn boot(&mut self) -> &mut Guest {
        self.forget();
        self.guest
            .insert(self.machine.boot(&self.folder, self.fittings, None))
    }

    /// Likewise a whole system, on other fittings, and leaves it to what its start asks for.
    #[track_caller]
    pub(crate) fn switch_on(&mut self, fittings: Fittings) -> &mut Guest {
        let Machine::System(kit, firmware) = &self.machine else {
            panic!("a small guest asks for nothing")
        };
        self.fittings = fittings;
        self.forget();
        let guest = Guest::switch_on_system(kit, &self.folder, fittings, *firmware);
        self.guest.insert(guest)
    }

    /// Waits until the resident watch has told that this order reached one of `states`; returns which.
    #[track_caller]
    pub(crate) fn wait_state(&mut self, order: &str, states: &[&str]) -> String {
        let what = format!("order {order} to be {}", states.join(" or "));
        wait_until(GUEST_PATIENCE, &what, || {
            let log = self.watch.log();
            log.split_inclusive('\n')
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|news| news["kind"] == "state" && news["command"] == order)
                .filter_map(|news| Some(news["detail"].as_str()?.split(' ').next()?.to_owned()))
                .find(|state| states.contains(&state.as_str()))
        })
    }

    /// All that the resident watch has told of an order.
    pub(crate) fn told_of(&self, order: &str) -> String {
        let log = self.watch.log();
        let lines = log.lines().filter(|line| line.contains(order));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until the resident watch has told news of this kind.
    #[track_caller]
    pub(crate) fn wait_news(&mut self, kind: &str) {
        wait_until(GUEST_PATIENCE, kind, || {
            let log = self.watch.log();
            log.lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .any(|news| news["kind"] == kind)
                .then_some(())
        });
    }

    /// The owner's bundle for the phone.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.scratch.path().join("phone.homing")
    }

    /// Waits for an order's end; returns it in a word.
    #[track_caller]
    pub(crate) fn wait_end(&mut self, order: &str) -> String {
        self.wait_state(order, &["done", "failed", "refused", "expired"])
    }

    /// Waits until the owner has a position: it is a message of its own, which may come after the order's end.
    #[track_caller]
    pub(crate) fn wait_position(&mut self) -> Value {
        wait_until(GUEST_PATIENCE, "a position", || {
            let log = self.watch.log();
            let told = log.lines().any(|line| {
                serde_json::from_str::<Value>(line).is_ok_and(|news| news["kind"] == "position")
            });
            told.then_some(())
        });
        self.ask(&["locate", PHONE, "--last"])
    }

    /// The owner ends the ring; waits until the siren has given the card back.
    #[track_caller]
    pub(crate) fn stop_ringing(&mut self) {
        let _ = self
            .owner
            .homing(&["ring", PHONE, "--stop"])
            .expect_success();
        wait_until(GUEST_PATIENCE, "the siren to end", || {
            let state = self.guest().run("cat /var/lib/homing/siren/state.json");
            state.text.contains(r#""phase":"ended""#).then_some(())
        });
    }

    /// Asks for the position without waiting for it; returns the order's id.
    #[track_caller]
    pub(crate) fn order_position(&self) -> String {
        let _ = self
            .owner
            .homing(&["locate", PHONE, "--wait", "1s"])
            .expect_code(75);
        let log = self.owner.homing(&["log", PHONE, "--json"]);
        let newest = log.expect_success().json_lines().pop();
        let newest = newest.expect("an order was given");
        newest["id"]
            .as_str()
            .expect("an order has an id")
            .to_owned()
    }

    /// `homing ARGUMENTS --json` that must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        self.owner.json(arguments)
    }
}

/// The kernel's clock when homingd was connected for the first time since this start.
#[track_caller]
pub(crate) fn connected_after(guest: &mut Guest) -> Duration {
    Duration::from_secs_f64(guest.wait_for_line("connected to the broker"))
}

/// Tells what was measured. Under load an emulated phone is slow, so nothing here fails a story.
pub(crate) fn figures(measured: &Value) {
    println!("FIGURES {measured}");
}
