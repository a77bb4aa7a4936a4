//! The lockdown under systemd: a target that is isolated, sessions that are ended, side doors that are closed. What the target keeps up and what may not run while the notice is there stands in the units of systemd/.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Steps;
use super::before::Before;
use super::doors::Places;
use super::sessions::Sessions;
use super::units::Units;
use crate::capability::lockdown::{Lockdown, Standing};
use crate::fault::{Cancel, Fault, Probe, Roots};
use crate::linux::dbus::{Bus, Limit};

/// What the phone is while it is lost.
const TARGET: &str = "homing-lost.target";
/// Everything of ours that a lost phone has besides: it goes with the target.
const OURS: &str = "homing-lost-*";
/// What of it a finder sees and feels.
const SHOWN: [&str; 2] = ["homing-lost-screen.service", "homing-lost-keys.service"];
/// Where a phone goes whose own target is not known any more.
const USUAL: &str = "graphical.target";
/// The link by which a phone that was started lost came there; it stays until the units are read anew.
const GENERATED: &str = "systemd/generator.early/default.target";

/// What gives somebody a prompt, a screen or the files. Isolating stops most of it, but not what says that it shall not
/// (`IgnoreOnIsolate=`), nor what is started later. Patterns as of systemctl(1); each that a unit can have has a condition in
/// systemd/, by which it does not start.
pub const CLOSED: [&str; 28] = [
    "getty@*.service",
    "serial-getty@*.service",
    "container-getty@*.service",
    "autovt@*.service",
    "console-getty.service",
    "debug-shell.service",
    "rescue.service",
    "emergency.service",
    "display-manager.service",
    "greetd.service",
    "phosh.service",
    "phrog.service",
    "sddm.service",
    "lightdm.service",
    "gdm*.service",
    "tinydm.service",
    "plasma-mobile.service",
    "ssh.s*",
    "ssh@*.service",
    "sshd.s*",
    "sshd@*.service",
    "dropbear*",
    "usb-gadget.service",
    "mobian-usb-gadget.service",
    "usb-moded.service",
    "usb-tethering.service",
    "adbd.service",
    "user@*.service",
];
/// Who lets people in over the network. Their services may stop alone (`KillMode=process`, systemd.kill(5)): whoever is in would stay
/// in, and no unit would be there any more to tell of it.
const REMOTE: [&str; 5] = [
    "ssh.service",
    "ssh@*.service",
    "sshd.service",
    "sshd@*.service",
    "dropbear*.service",
];
/// What is remembered as running: kinds of units that stay up by themselves.
const REMEMBERED: [&str; 4] = ["*.service", "*.socket", "*.timer", "*.path"];
/// Not remembered: what belongs to us or to a session, and what is loaded once.
const PASSED_OVER: [&str; 4] = ["homing", "user@", "user-runtime-dir@", "modprobe@"];
/// How such units say that they are up: not those that have run once.
const UP: [&str; 3] = ["running", "listening", "waiting"];

/// How long entering may take, and leaving.
const TIME: Duration = Duration::from_secs(20);
/// How long sessions and services may take to end when they are asked to.
const POLITENESS: Duration = Duration::from_secs(3);
/// Between two looks at what is still there.
const LOOK: Duration = Duration::from_millis(200);
/// How long a probe may take.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// The driver.
#[derive(Debug)]
pub struct SystemdLockdown {
    roots: Roots,
    folder: PathBuf,
    doors: Places,
    politeness: Duration,
}

impl SystemdLockdown {
    /// A driver on the system bus below `roots` that remembers what it found in `folder`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots, folder: &Path) -> Self {
        Self {
            roots: roots.clone(),
            folder: folder.to_path_buf(),
            doors: Places::new(roots),
            politeness: POLITENESS,
        }
    }

    /// What is still open, as a phrase. Whoever opens it again is closed out by the next call.
    fn open(&self, bus: &mut Bus, limit: Limit<'_>) -> Result<Option<String>, Fault> {
        if let Some(session) = (Sessions { bus, limit }).all()?.first() {
            return Ok(Some(format!("a session of {}", session.user)));
        }
        if let Some(unit) = (Units { bus, limit }).alive(&CLOSED)?.first() {
            return Ok(Some(unit.name.clone()));
        }
        Ok(self.doors.open())
    }

    /// How the phone stands before the first change.
    fn found(&self, bus: &mut Bus, limit: Limit<'_>) -> Result<Before, Fault> {
        let mut units = Units { bus, limit };
        let mut target = units.default_target()?;
        if target == TARGET {
            // It was started lost, by a notice that came to the disk before this memory did.
            USUAL.clone_into(&mut target);
        }
        let running = units.alive(&REMEMBERED)?.into_iter();
        let running = running
            .filter(|unit| UP.contains(&unit.detail.as_str()))
            .map(|unit| unit.name)
            .filter(|name| !PASSED_OVER.iter().any(|prefix| name.starts_with(prefix)))
            .filter(|name| !(name.starts_with("systemd-") && name.ends_with(".service")));
        let lingering = (Sessions { bus, limit }).lingering()?.into_iter();
        let lingering = lingering.map(|uid| format!("user@{uid}.service"));
        Ok(Before {
            target,
            running: running.chain(lingering).collect(),
            doors: self.doors.found(),
        })
    }

    /// Asks everything that is open to close; `Force` does not ask.
    fn close(&self, bus: &mut Bus, how: How, limit: Limit<'_>, steps: &mut Steps) {
        let mut sessions = Sessions { bus, limit };
        if let Some(all) = steps.take(sessions.all()) {
            steps.take(sessions.terminate(&all));
            if how == How::Force {
                steps.take(sessions.kill(&all));
            }
        }
        let mut units = Units { bus, limit };
        for unit in steps.take(units.alive(&CLOSED)).unwrap_or_default() {
            steps.take(units.stop(&unit.name));
            if how == How::Force {
                steps.take(units.kill(&unit.name));
            }
        }
        self.doors.close(steps);
    }

    /// Waits until nothing is open; what does not end when it is asked to is ended.
    fn settle(&self, bus: &mut Bus, limit: Limit<'_>, steps: &mut Steps) {
        let politely = Instant::now() + self.politeness;
        let mut how = How::Ask;
        loop {
            match self.open(bus, limit) {
                Ok(None) => return,
                Ok(Some(open)) if Instant::now() >= limit.until => {
                    steps.take::<()>(Err(Fault::Busy(format!("still open: {open}"))));
                    return;
                }
                Ok(Some(_)) if Instant::now() >= politely && how == How::Ask => {
                    how = How::Force;
                    self.close(bus, how, limit, steps);
                }
                Ok(Some(_)) => {}
                Err(fault) => {
                    steps.take::<()>(Err(fault));
                    return;
                }
            }
            // It cannot be cancelled: only the deadline ends it.
            if steps
                .take(limit.cancel.rest(Instant::now() + LOOK))
                .is_none()
            {
                return;
            }
        }
    }

    /// Starts what ran before and does not yet.
    fn revive(before: &Before, units: &mut Units<'_>, steps: &mut Steps) {
        let up = steps.take(units.alive(&REMEMBERED)).unwrap_or_default();
        for name in &before.running {
            if !up.iter().any(|unit| unit.name == *name) {
                // It may have been transient, or removed meanwhile: then nothing is owed.
                if let Err(fault) = units.start(name, "replace") {
                    tracing::info!(%fault, unit = name, "what ran before the lockdown does not start");
                }
            }
        }
    }

    fn put_back(&self, before: &Before, bus: &mut Bus, limit: Limit<'_>) -> Result<(), Fault> {
        let mut steps = Steps::default();
        let mut units = Units { bus, limit };
        if self.roots.run.join(GENERATED).is_symlink() {
            steps.take(units.reload());
        }
        steps.take(units.stop(TARGET));
        // The screen gives the terminal back when it ends, before another takes it.
        steps.take(wait_until(limit, || {
            Ok(units.alive(&[TARGET, OURS])?.is_empty())
        }));
        let target = match before.target.as_str() {
            "" => USUAL,
            target => target,
        };
        steps.take(units.start(target, "replace"));
        let up = wait_until(limit, || {
            Ok(units
                .alive(&[target])?
                .iter()
                .any(|unit| unit.detail == "active"))
        });
        // A target that takes long to come up comes up without anybody who waits.
        if !matches!(up, Err(Fault::TimedOut(_))) {
            steps.take(up);
        }
        Self::revive(before, &mut units, &mut steps);
        self.doors.put_back(&before.doors, &mut steps);
        steps.end()
    }
}

/// How something is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Ask,
    Force,
}

/// Waits for a condition, until the limit.
fn wait_until(
    limit: Limit<'_>,
    mut holds: impl FnMut() -> Result<bool, Fault>,
) -> Result<(), Fault> {
    while !holds()? {
        if Instant::now() >= limit.until {
            return Err(Fault::TimedOut("systemd takes too long".into()));
        }
        limit.cancel.rest(Instant::now() + LOOK)?;
    }
    Ok(())
}

impl Lockdown for SystemdLockdown {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn probe(&self) -> Probe {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + PROBE_TIME,
            cancel: &cancel,
        };
        let found = Bus::open(&self.roots, limit).and_then(|mut bus| {
            (Units {
                bus: &mut bus,
                limit,
            })
            .default_target()
        });
        match found {
            Ok(target) => Probe::Ready {
                detail: format!("systemd, which starts into {target}"),
            },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + TIME,
            cancel: &cancel,
        };
        let mut steps = Steps::default();
        let mut bus = match Bus::open(&self.roots, limit) {
            Ok(bus) => bus,
            Err(fault) => {
                // The doors are the kernel's.
                self.doors.close(&mut steps);
                return Err(fault);
            }
        };
        if steps.take(Before::load(&self.folder)).flatten().is_none() {
            let found = self.found(&mut bus, limit);
            steps.take(found.and_then(|before| before.store(&self.folder)));
        }
        let mut units = Units {
            bus: &mut bus,
            limit,
        };
        if steps.take(units.is_coming(TARGET)) == Some(true) {
            // They may have been passed over: the notice can come to a full disk later than the target.
            let up = steps.take(units.alive(&SHOWN));
            let is_up = |name: &str| up.iter().flatten().any(|unit| unit.name == name);
            for name in SHOWN.into_iter().filter(|name| !is_up(name)) {
                steps.take(units.start(name, "replace"));
            }
        } else {
            for unit in steps.take(units.alive(&REMOTE)).unwrap_or_default() {
                steps.take(units.kill(&unit.name));
            }
            steps.take(units.start(TARGET, "isolate"));
        }
        if self.open(&mut bus, limit) != Ok(None) {
            self.close(&mut bus, How::Ask, limit, &mut steps);
            self.settle(&mut bus, limit, &mut steps);
        }
        steps.end()
    }

    fn leave(&mut self) -> Result<(), Fault> {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + TIME,
            cancel: &cancel,
        };
        let owed = Before::load(&self.folder)?;
        let mut bus = match (Bus::open(&self.roots, limit), &owed) {
            (Ok(bus), _) => bus,
            // Nothing is owed, and nobody can say more.
            (Err(_), None) => return Ok(()),
            (Err(fault), Some(_)) => return Err(fault),
        };
        let mut units = Units {
            bus: &mut bus,
            limit,
        };
        let before = match owed {
            Some(before) => before,
            // A phone that is lost although nobody remembers what it was.
            None if units.is_coming(TARGET)? => Before::default(),
            None => return Ok(()),
        };
        self.put_back(&before, &mut bus, limit)?;
        Before::forget(&self.folder)
    }

    fn standing(&mut self) -> Result<Standing, Fault> {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + PROBE_TIME,
            cancel: &cancel,
        };
        let mut bus = Bus::open(&self.roots, limit)?;
        let mut units = Units {
            bus: &mut bus,
            limit,
        };
        let locked = units.is_coming(TARGET)?;
        let is_shown = units.list(&[], &SHOWN[..1])?.iter().any(|unit| {
            !["inactive", "failed"].contains(&unit.state.as_str()) || unit.job == "start"
        });
        if !locked && Before::load(&self.folder)?.is_none() {
            return Ok(Standing::Open);
        }
        Ok(match (locked, self.open(&mut bus, limit)?) {
            (true, None) if is_shown => Standing::Locked,
            (true, None) => Standing::Partly("its screen does not run".into()),
            (true, Some(open)) => Standing::Partly(open),
            (false, _) => Standing::Partly(format!("{TARGET} is not reached")),
        })
    }
}
