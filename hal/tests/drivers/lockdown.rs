//! The lockdown against a systemd and a logind of the test's own, on a real message bus: taken, again and again, and given back as it was.

use std::fs;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use homing_hal::Roots;
use homing_hal::capability::lockdown::{Lockdown, Standing};
use homing_hal::conformance;
use homing_hal::fault::{Fault, Probe};
use homing_hal::linux::dbus::message::Message;
use homing_hal::linux::dbus::value::Value;
use homing_hal::linux::lockdown::{CLOSED, SystemdLockdown};
use tempfile::TempDir;

use crate::bus::{Answer, Bus, join, serve, variant};

const TARGET: &str = "homing-lost.target";
/// What isolating ends.
const USERS: [&str; 4] = [
    "graphical.target",
    "phosh.service",
    "ssh.service",
    "user.timer",
];
/// What it does not end: `IgnoreOnIsolate=`.
const STAYING: [&str; 2] = ["getty@tty1.service", "user@1000.service"];
/// What is kept.
const KEPT: [&str; 2] = ["NetworkManager.service", "dbus.service"];

/// A phone's systemd and logind as they stand.
#[derive(Default)]
struct System {
    units: Vec<String>,
    sessions: Vec<(u32, &'static str)>,
    /// Who does not end when asked to.
    stubborn: Vec<&'static str>,
    /// Calls that change something, in their order.
    done: Vec<String>,
    /// Targets that are on their way: something that they want is not up yet.
    coming: Vec<&'static str>,
    /// Whether isolating is refused.
    refuses: bool,
    /// No notice could be written yet: what waits for one is passed over.
    is_disk_full: bool,
}

impl System {
    /// A phone in its user's hands.
    fn in_use() -> Self {
        let all = USERS.iter().chain(&STAYING).chain(&KEPT);
        Self {
            units: all.map(|name| (*name).to_owned()).collect(),
            sessions: vec![(1000, "person")],
            ..Self::default()
        }
    }

    fn up(&mut self, name: &str) {
        if !self.units.iter().any(|unit| unit == name) {
            self.units.push(name.to_owned());
        }
    }

    fn down(&mut self, name: &str) {
        self.units.retain(|unit| unit != name);
    }

    fn end_sessions(&mut self, uid: Option<u32>) {
        self.sessions.retain(|(found, _)| Some(*found) != uid);
    }

    fn answer(&mut self, call: &Message) -> Answer {
        let member = call.member.clone().unwrap_or_default();
        let text = |at: usize| {
            call.body
                .get(at)
                .and_then(Value::as_text)
                .unwrap_or_default()
        };
        let uid = call.body.first().and_then(Value::as_u32);
        if matches!(
            member.as_str(),
            "StartUnit" | "StopUnit" | "KillUnit" | "TerminateUser" | "KillUser" | "Reload"
        ) {
            let about = uid.map_or(text(0).to_owned(), |uid| uid.to_string());
            self.done
                .push(format!("{member} {about} {}", text(1)).trim().to_owned());
        }
        let job = || Answer::Values(vec![Value::Text('o', "/job/1".into())]);
        let nothing = || Answer::Values(Vec::new());
        match member.as_str() {
            "GetDefaultTarget" => Answer::Values(vec![Value::text("graphical.target")]),
            "ListUnitsByPatterns" => {
                let states = call.body.first().map(Value::elements);
                self.list(call.body.get(1), states.is_some_and(<[Value]>::is_empty))
            }
            "ListSessions" => self.list_sessions(),
            "ListUsers" => Answer::Values(vec![Value::Array(
                "(uso)".into(),
                vec![Value::Struct(vec![
                    Value::number(1000),
                    Value::text("person"),
                    Value::Text('o', "/user/1000".into()),
                ])],
            )]),
            "Get" => Answer::Values(vec![variant(Value::Bool(true))]),
            "StartUnit" if self.refuses && text(1) == "isolate" => Answer::Error(
                "org.freedesktop.systemd1.NoIsolation",
                "this unit cannot be isolated",
            ),
            "StartUnit" => {
                self.start(text(0), text(1));
                job()
            }
            "StopUnit" if self.stubborn.contains(&text(0)) => job(),
            "StopUnit" => {
                self.down(text(0));
                if text(0) == TARGET {
                    self.units.retain(|unit| !unit.starts_with("homing-lost-"));
                }
                job()
            }
            "KillUnit" => {
                self.down(text(0));
                nothing()
            }
            "TerminateUser" if self.stubborn.contains(&"person") => nothing(),
            "TerminateUser" | "KillUser" => {
                self.end_sessions(uid);
                nothing()
            }
            "Reload" => nothing(),
            _ => Answer::Error("org.freedesktop.DBus.Error.UnknownMethod", "no such method"),
        }
    }

    fn start(&mut self, name: &str, mode: &str) {
        if mode == "isolate" {
            self.units
                .retain(|unit| STAYING.contains(&unit.as_str()) || KEPT.contains(&unit.as_str()));
            if !self.is_disk_full {
                self.up("homing-lost-screen.service");
                self.up("homing-lost-keys.service");
            }
        }
        self.up(name);
        // What the user's target wants; the timer was started by hand.
        if name == "graphical.target" {
            for name in ["phosh.service", "ssh.service", "getty@tty1.service"] {
                self.up(name);
            }
            self.sessions = vec![(1000, "person")];
        }
    }

    fn list(&self, patterns: Option<&Value>, in_any_state: bool) -> Answer {
        let patterns = patterns.map(Value::elements).unwrap_or_default();
        let matches = |name: &str| {
            patterns.iter().filter_map(Value::as_text).any(|pattern| {
                match pattern.split_once('*') {
                    Some((head, tail)) => name.starts_with(head) && name.ends_with(tail),
                    None => pattern == name,
                }
            })
        };
        let found = self
            .units
            .iter()
            .map(String::as_str)
            .filter(|name| matches(name));
        let found = found.filter(|name| in_any_state || !self.coming.contains(name));
        let rows = found.map(|name| {
            let detail = match name.rsplit('.').next() {
                Some("target") => "active",
                Some("timer") => "waiting",
                _ => "running",
            };
            let (state, job) = match self.coming.contains(&name) {
                true => ("inactive", "start"),
                false => ("active", ""),
            };
            let text = [name, "", "loaded", state, detail, ""].map(Value::text);
            let mut fields = text.to_vec();
            fields.extend([
                Value::Text('o', "/unit".into()),
                Value::number(0),
                Value::text(job),
                Value::Text('o', "/".into()),
            ]);
            Value::Struct(fields)
        });
        Answer::Values(vec![Value::Array("(ssssssouso)".into(), rows.collect())])
    }

    fn list_sessions(&self) -> Answer {
        let rows = self.sessions.iter().map(|(uid, user)| {
            Value::Struct(vec![
                Value::text("1"),
                Value::number(*uid),
                Value::text(user),
                Value::text("seat0"),
                Value::Text('o', "/session/1".into()),
            ])
        });
        Answer::Values(vec![Value::Array("(susso)".into(), rows.collect())])
    }
}

/// A phone with its bus and its folders.
struct Phone {
    bus: Bus,
    system: Arc<Mutex<System>>,
    folder: TempDir,
    served: Vec<(UnixStream, JoinHandle<()>)>,
}

impl Phone {
    fn start(system: System) -> Option<Self> {
        let bus = Bus::start()?;
        let system = Arc::new(Mutex::new(system));
        let names = ["org.freedesktop.systemd1", "org.freedesktop.login1"];
        let served = names.map(|name| {
            let (stream, _) = join(&bus, name);
            let held = stream.try_clone().unwrap();
            let system = Arc::clone(&system);
            let answer = move |call: &Message| system.lock().unwrap().answer(call);
            (held, thread::spawn(move || serve(stream, answer)))
        });
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc/sys/kernel")).unwrap();
        fs::create_dir(folder.path().join("actor")).unwrap();
        let phone = Self {
            bus,
            system,
            folder,
            served: served.into(),
        };
        fs::write(phone.sysrq(), "438\n").unwrap();
        Some(phone)
    }

    fn sysrq(&self) -> std::path::PathBuf {
        self.folder.path().join("proc/sys/kernel/sysrq")
    }

    fn driver(&self) -> SystemdLockdown {
        let roots = Roots {
            proc: self.folder.path().join("proc"),
            sys: self.folder.path().join("sys"),
            ..self.bus.roots()
        };
        SystemdLockdown::new(&roots, &self.folder.path().join("actor"))
    }

    fn system(&self) -> MutexGuard<'_, System> {
        self.system.lock().unwrap()
    }

    /// What is up, sorted.
    fn units(&self) -> Vec<String> {
        let mut units = self.system().units.clone();
        units.sort();
        units
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.system().done)
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        for (stream, thread) in self.served.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

#[test]
fn a_phone_under_systemd_is_taken_and_given_back_as_it_was() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    let before = phone.units();
    conformance::a_working_lockdown(&mut phone.driver());
    assert_eq!(phone.units(), before);
    assert_eq!(phone.system().sessions, [(1000, "person")]);
    assert_eq!(fs::read_to_string(phone.sysrq()).unwrap(), "438");
    let left: Vec<_> = fs::read_dir(phone.folder.path().join("actor"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_locked_has_no_session_no_prompt_and_no_side_door_and_is_left_alone_by_the_next_call() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    let mut lockdown = phone.driver();
    lockdown.enter().unwrap();
    let mut expected = vec![
        TARGET,
        "homing-lost-screen.service",
        "homing-lost-keys.service",
    ];
    expected.extend(KEPT);
    expected.sort_unstable();
    assert_eq!(phone.units(), expected);
    assert_eq!(fs::read_to_string(phone.sysrq()).unwrap(), "0");
    let done = phone.done();
    // Whoever is logged in from afar is ended with everything of theirs before the service that let them in is gone.
    assert_eq!(
        done[..2],
        [
            "KillUnit ssh.service all",
            "StartUnit homing-lost.target isolate"
        ]
    );
    assert!(done.contains(&"TerminateUser 1000".to_owned()), "{done:?}");
    // Nothing is changed where all is in place.
    lockdown.enter().unwrap();
    assert_eq!(phone.done(), [""; 0]);
    // Somebody found a way in, and it is closed behind them.
    phone.system().up("serial-getty@ttyGS0.service");
    phone.system().sessions.push((0, "root"));
    let standing = lockdown.standing();
    assert_eq!(standing, Ok(Standing::Partly("a session of root".into())));
    lockdown.enter().unwrap();
    assert_eq!(phone.units(), expected);
    assert_eq!(lockdown.standing(), Ok(Standing::Locked));
}

#[test]
fn a_target_that_waits_for_something_slow_is_not_isolated_again() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    phone.system().coming = vec![TARGET];
    let mut lockdown = phone.driver();
    lockdown.enter().unwrap();
    let _ = phone.done();
    lockdown.enter().unwrap();
    assert_eq!(phone.done(), [""; 0]);
    assert_eq!(lockdown.standing(), Ok(Standing::Locked));
}

#[test]
fn a_screen_that_was_passed_over_is_started_later_and_a_phone_without_it_is_not_wholly_locked() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    phone.system().is_disk_full = true;
    let mut lockdown = phone.driver();
    lockdown.enter().unwrap();
    let standing = lockdown.standing().unwrap();
    assert_eq!(standing, Standing::Partly("its screen does not run".into()));
    phone.system().is_disk_full = false;
    let _ = phone.done();
    lockdown.enter().unwrap();
    let started = ["homing-lost-screen", "homing-lost-keys"];
    assert_eq!(
        phone.done(),
        started.map(|name| format!("StartUnit {name}.service replace"))
    );
    assert_eq!(lockdown.standing(), Ok(Standing::Locked));
}

#[test]
fn who_does_not_end_when_asked_to_is_ended() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    phone.system().stubborn = vec!["person", "getty@tty1.service"];
    let mut lockdown = phone.driver();
    lockdown.enter().unwrap();
    assert_eq!(lockdown.standing(), Ok(Standing::Locked));
    let done = phone.done();
    for forced in ["KillUser 1000", "KillUnit getty@tty1.service all"] {
        assert!(done.contains(&forced.to_owned()), "{forced}: {done:?}");
    }
}

#[test]
fn a_step_that_fails_does_not_keep_the_others_back_and_is_named() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    phone.system().refuses = true;
    let mut lockdown = phone.driver();
    let Err(Fault::Broken(why)) = lockdown.enter() else {
        panic!("nothing was said of a target that cannot be reached");
    };
    assert!(why.contains("NoIsolation"), "{why}");
    assert_eq!(fs::read_to_string(phone.sysrq()).unwrap(), "0");
    assert!(phone.system().sessions.is_empty());
    let still = phone.units();
    assert!(
        !still.iter().any(|unit| unit == "phosh.service"),
        "{still:?}"
    );
    let standing = lockdown.standing();
    assert!(matches!(&standing, Ok(Standing::Partly(_))), "{standing:?}");
    // Nothing was found but what was before the first try.
    phone.system().refuses = false;
    lockdown.enter().unwrap();
    lockdown.leave().unwrap();
    assert!(phone.units().contains(&"user.timer".to_owned()));
}

#[test]
fn another_process_gives_back_what_a_killed_one_took() {
    let Some(phone) = Phone::start(System::in_use()) else {
        return;
    };
    let before = phone.units();
    phone.driver().enter().unwrap();
    phone.driver().enter().unwrap();
    // As a phone stands that was started lost: the link of the generator is there until the units are read anew.
    let early = phone.bus.folder.path().join("systemd/generator.early");
    fs::create_dir_all(&early).unwrap();
    std::os::unix::fs::symlink(TARGET, early.join("default.target")).unwrap();
    phone.driver().leave().unwrap();
    assert_eq!(phone.units(), before);
    assert!(phone.done().contains(&"Reload".to_owned()));
    assert_eq!(phone.driver().standing(), Ok(Standing::Open));
}

#[test]
fn without_a_bus_the_kernels_doors_are_closed_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let sysrq = folder.path().join("sys/kernel/sysrq");
    fs::create_dir_all(sysrq.parent().unwrap()).unwrap();
    fs::write(&sysrq, "438\n").unwrap();
    let roots = Roots {
        run: folder.path().join("run"),
        proc: folder.path().to_path_buf(),
        sys: folder.path().join("none"),
        ..Roots::default()
    };
    let mut lockdown = SystemdLockdown::new(&roots, folder.path());
    assert!(matches!(lockdown.probe(), Probe::Unsupported { .. }));
    assert!(matches!(lockdown.enter(), Err(Fault::Absent(_))));
    assert_eq!(fs::read_to_string(&sysrq).unwrap(), "0");
    assert_eq!(lockdown.leave(), Ok(()), "nothing is owed");
}

/// Whether a name fits a pattern with one `*` at most.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after)),
    }
}

#[test]
fn what_is_closed_does_not_start_either_and_what_does_not_start_is_closed() {
    let units = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../systemd/usr/lib/systemd/system"
    );
    let names = fs::read_dir(units).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".d").map(str::to_owned)
    });
    let conditional: Vec<_> = names.flatten().collect();
    for pattern in CLOSED {
        // A unit's other name (logind.conf(5)) has its unit's conditions.
        let pattern = match pattern {
            "autovt@*.service" => "getty@*.service",
            other => other,
        };
        let one = conditional.iter().any(|name| fits(name, pattern));
        assert!(one, "{pattern} has no condition");
    }
    for name in conditional {
        let closed = CLOSED.iter().any(|pattern| fits(&name, pattern));
        assert!(closed, "{name} is not closed");
    }
}
