//! The lockdown under OpenRC: its runlevel is begun anew without what the phone's user has, by the script etc/init.d/homing-lost, and what is left of sessions is ended. Which services bring a phone home stands in that script.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Steps;
use super::before::Before;
use super::doors::Places;
use super::sessions::Sessions;
use crate::capability::lockdown::{Lockdown, Standing};
use crate::fault::{Cancel, Fault, Probe, Roots};
use crate::linux::dbus::{Bus, Limit};

/// The script that hides what a lost phone does not start.
const SCRIPT: &str = "homing-lost";
/// What it hides by a mount.
const LEVEL: &str = "/etc/runlevels/default";
/// The runlevel that a phone is used in.
const DEFAULT: &str = "default";
/// Users that are people (login.defs(5), `UID_MIN` and `UID_MAX`).
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=60_000;
/// Who asks for a name at a terminal. The init starts no new one while the script's mount hides them.
const PROMPTS: [&str; 4] = ["getty", "agetty", "mingetty", "login"];

/// How long a script may take: services are asked to end before they are ended.
const SCRIPT_TIME: Duration = Duration::from_secs(60);
/// How long processes may take to end when they are asked to.
const POLITENESS: Duration = Duration::from_secs(3);
/// How long they may take altogether.
const TIME: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// The driver.
#[derive(Debug)]
pub struct OpenRcLockdown {
    roots: Roots,
    folder: PathBuf,
    doors: Places,
    /// The root below which `sbin/openrc` and `sbin/rc-service` lie.
    programs: PathBuf,
}

/// A process that gives somebody a prompt or a session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    pid: i32,
    name: String,
}

impl OpenRcLockdown {
    /// A driver that remembers what it found in `folder`; nothing is run yet.
    #[must_use]
    pub fn new(roots: &Roots, folder: &Path) -> Self {
        Self {
            roots: roots.clone(),
            folder: folder.to_path_buf(),
            doors: Places::new(roots),
            programs: "/".into(),
        }
    }

    /// The same with OpenRC's programs below another root.
    #[must_use]
    pub fn with_programs(self, programs: &Path) -> Self {
        Self {
            programs: programs.to_path_buf(),
            ..self
        }
    }

    /// Runs one of OpenRC's programs to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Fault> {
        let doing = format!("{program} {}", arguments.join(" "));
        let mut child = Command::new(self.programs.join("sbin").join(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Fault::from_io(&doing, &error))?;
        let until = Instant::now() + SCRIPT_TIME;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(Fault::Broken(format!("{doing}: {status}"))),
                Ok(None) if Instant::now() < until => {
                    Cancel::new().rest(Instant::now() + LOOK)?;
                }
                Ok(None) => {
                    // It goes on as an orphan of init's would; nobody waits for it any more.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Fault::TimedOut(doing));
                }
                Err(error) => return Err(Fault::from_io(&doing, &error)),
            }
        }
    }

    /// Services that are started: OpenRC keeps a link for each.
    fn started(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.roots.run.join("openrc/started"));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Whether the script hides the runlevel (proc_pid_mountinfo(5): the fifth field is where).
    fn is_hidden(&self) -> bool {
        let mounts = fs::read_to_string(self.roots.proc.join("self/mountinfo"));
        mounts
            .unwrap_or_default()
            .lines()
            .any(|line| line.split(' ').nth(4) == Some(LEVEL))
    }

    /// Processes of people and of terminals' prompts.
    fn holders(&self) -> Vec<Holder> {
        let entries = fs::read_dir(&self.roots.proc).into_iter().flatten();
        let holders = entries.flatten().filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                line.split_whitespace().next().map(str::to_owned)
            };
            let uid: u32 = field("Uid:")?.parse().ok()?;
            let name = field("Name:")?;
            // What has ended and is only not buried yet holds nothing.
            let lives = field("State:").is_none_or(|state| state != "Z");
            let holds = PEOPLE.contains(&uid) || PROMPTS.contains(&name.as_str());
            (lives && holds).then_some(Holder { pid, name })
        });
        holders.collect()
    }

    /// Ends them: asked first, then not.
    fn end_holders(&self, steps: &mut Steps) {
        let began = Instant::now();
        loop {
            let holders = self.holders();
            let Some(first) = holders.first() else {
                return;
            };
            if began.elapsed() > TIME {
                let still = format!("still there: {}", first.name);
                steps.take::<()>(Err(Fault::Busy(still)));
                return;
            }
            let signal = match began.elapsed() < POLITENESS {
                true => Signal::SIGTERM,
                false => Signal::SIGKILL,
            };
            for holder in &holders {
                match kill(Pid::from_raw(holder.pid), signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => {
                        let doing = format!("ending {}", holder.name);
                        steps.take::<()>(Err(Fault::from_errno(&doing, errno)));
                    }
                }
            }
            if Cancel::new().rest(Instant::now() + LOOK).is_err() {
                return;
            }
        }
    }

    /// Sessions that elogind knows end by it, with all that belongs to them; without it their processes do.
    fn end_sessions(&self, steps: &mut Steps) {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + TIME,
            cancel: &cancel,
        };
        let Ok(mut bus) = Bus::open(&self.roots, limit) else {
            return;
        };
        let mut sessions = Sessions {
            bus: &mut bus,
            limit,
        };
        if let Some(all) = steps.take(sessions.all()) {
            steps.take(sessions.terminate(&all));
        }
    }

    /// What is still open, as a phrase.
    fn open(&self) -> Option<String> {
        if let Some(holder) = self.holders().first() {
            return Some(format!("the process {}", holder.name));
        }
        self.doors.open()
    }
}

impl Lockdown for OpenRcLockdown {
    fn name(&self) -> &'static str {
        "openrc"
    }

    fn probe(&self) -> Probe {
        let program = self.programs.join("sbin/rc-service");
        match program.exists() {
            true => Probe::Ready {
                detail: "OpenRC, by its runlevel default".into(),
            },
            false => Probe::Unsupported {
                reason: format!("{} is not there", program.display()),
            },
        }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        let mut steps = Steps::default();
        if steps.take(Before::load(&self.folder)).flatten().is_none() {
            let before = Before {
                target: DEFAULT.into(),
                running: self.started().into_iter().collect(),
                doors: self.doors.found(),
            };
            steps.take(before.store(&self.folder));
        }
        self.doors.close(&mut steps);
        if !self.is_hidden() {
            // It ran at the phone's start, when there was nothing to hide; only begun again it looks.
            steps.take(self.run("rc-service", &[SCRIPT, "restart"]));
            steps.take(self.run("openrc", &[DEFAULT]));
        }
        if !self.holders().is_empty() {
            self.end_sessions(&mut steps);
            self.end_holders(&mut steps);
        }
        steps.end()
    }

    fn leave(&mut self) -> Result<(), Fault> {
        let before = match (Before::load(&self.folder)?, self.is_hidden()) {
            (Some(before), _) => before,
            (None, true) => Before::default(),
            (None, false) => return Ok(()),
        };
        let mut steps = Steps::default();
        // Without the notice it hides nothing any more.
        steps.take(self.run("rc-service", &[SCRIPT, "restart"]));
        steps.take(self.run("openrc", &[DEFAULT]));
        let now = self.started();
        for service in before.running.iter().filter(|name| !now.contains(*name)) {
            // It may have been removed meanwhile: then nothing is owed.
            if let Err(fault) = self.run("rc-service", &[service, "start"]) {
                tracing::info!(%fault, service, "what ran before the lockdown does not start");
            }
        }
        self.doors.put_back(&before.doors, &mut steps);
        steps.end()?;
        Before::forget(&self.folder)
    }

    fn standing(&mut self) -> Result<Standing, Fault> {
        let hidden = self.is_hidden();
        if !hidden && Before::load(&self.folder)?.is_none() {
            return Ok(Standing::Open);
        }
        Ok(match (hidden, self.open()) {
            (true, None) => Standing::Locked,
            (true, Some(open)) => Standing::Partly(open),
            (false, _) => Standing::Partly("the runlevel is as the user has it".into()),
        })
    }
}
