//! What the doctor looks at besides the drivers; it must not write, and each finding names what follows from it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use homing_hal::fault::Roots;
use homing_protocol::actor::{Answer, Request};
use nix::unistd::{AccessFlags, access, geteuid};

use super::diagnosis::Weakness;
use super::passphrase;
use crate::actor::ask::ask;
use crate::config::{DEFAULT_PATH, Loaded, Lost, Settings};
use crate::keystore::Identity;
use crate::siren::intent;
use crate::siren::report::Report;
use crate::storage::Storage;

/// How long the privileged half may take to start and answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// 2026-01-01, before the first version of this program: no right clock shows less.
const EARLIEST_RIGHT_TIME: Duration = Duration::from_secs(1_767_225_600);

/// Whether the agent's database is there; `None` where it cannot be known.
pub(super) fn enrolled(state_dir: &Path) -> Option<bool> {
    fs::exists(state_dir.join("agent.db")).ok()
}

/// Everything weak about the phone around the drivers.
pub(super) fn weaknesses(loaded: &Loaded, enrolled: Option<bool>, roots: &Roots) -> Vec<Weakness> {
    let state_dir = &loaded.settings.state_dir;
    let mut weak = Vec::new();
    if loaded.files.is_empty() {
        weak.push(Weakness::new(
            "configuration",
            format!("{DEFAULT_PATH} is not there: the built-in defaults are in force"),
        ));
    }
    if enrolled == Some(false) {
        weak.push(Weakness::new(
            "enrolment",
            "the phone belongs to no account yet, so nobody can find it: run homingd enrol BUNDLE",
        ));
    }
    weak.extend(state_folder(state_dir));
    let kept = if homing_hal::linux::clock::is_synchronised() {
        Clock::Kept
    } else {
        Clock::Free
    };
    weak.extend(clock(kept, SystemTime::now()));
    weak.push(storage(&loaded.settings, roots));
    weak.extend(sleep(roots));
    weak.extend(last_ring(state_dir));
    weak.extend(emergency_calls(&loaded.settings.lost));
    if enrolled == Some(true) {
        weak.extend(privileged_half(&loaded.settings.actor_socket(), state_dir));
    }
    weak
}

/// How it is started, by whichever service manager there is.
const STARTS_IT: &str = "systemctl enable --now homingd-actor.socket, or rc-update add homingd-actor boot && rc-service homingd-actor start";

/// Whether somebody is there who may lock the phone.
fn privileged_half(socket: &Path, state_dir: &Path) -> Option<Weakness> {
    // Who may not read that cannot compare.
    let ours = Identity::load(state_dir)
        .ok()
        .flatten()
        .map(|joined| joined.actor);
    let of_agent = fs::metadata(state_dir).is_ok_and(|found| found.uid() == geteuid().as_raw());
    let why = match ask(socket, &Request::Standing, PATIENCE) {
        Ok(Answer::Standing { actor: Some(actor), .. }) => {
            if ours.is_none_or(|ours| ours == actor) {
                return None;
            }
            "the privileged half still serves an older enrolment, so the phone cannot be locked: run homingd enrol with the same bundle again, as root".to_owned()
        }
        Ok(Answer::Standing { actor: None, .. }) => {
            "the privileged half serves no owner: run homingd enrol as root, or restart homingd-actor"
                .to_owned()
        }
        // Whoever is neither root nor the agent learns nothing of it.
        Ok(_) => return None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !of_agent => return None,
        Err(error) => format!(
            "the privileged half does not answer at {} ({error}), so the phone cannot be locked: {}",
            socket.display(),
            STARTS_IT
        ),
    };
    Some(Weakness::new("lost mode", why))
}

/// Whether help can be called from the lost screen.
fn emergency_calls(lost: &Lost) -> Option<Weakness> {
    (!lost.call_audio_tested).then(|| {
        Weakness::new(
            "emergency calls",
            "while it is lost nobody can call for help with this phone: test the sound of calls as homingd.toml(5) says, then set lost.call_audio_tested",
        )
    })
}

/// What the siren met when it last sounded.
fn last_ring(state_dir: &Path) -> Option<Weakness> {
    let report = Report::load(&intent::folder(state_dir)).ok()??;
    let warning = report.warning?;
    Some(Weakness::new(
        "siren",
        format!("when it last sounded, {warning}"),
    ))
}

fn state_folder(state_dir: &Path) -> Option<Weakness> {
    let what = "state directory";
    let shown = state_dir.display();
    let metadata = match fs::metadata(state_dir) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            return Some(Weakness::new(
                what,
                format!("{shown} is not a folder: nothing can be remembered"),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(Weakness::new(
                what,
                format!("{shown} is missing: nothing can be remembered; the package makes it"),
            ));
        }
        Err(error) => {
            return Some(Weakness::new(
                what,
                format!("{shown} cannot be looked at: {error}"),
            ));
        }
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Some(Weakness::new(
            what,
            format!("every user may look into {shown} (mode {mode:04o}): chmod o= {shown}"),
        ));
    }
    access(state_dir, AccessFlags::W_OK | AccessFlags::X_OK).err().map(|errno| {
        Weakness::new(what, format!("the user who asks may not write {shown} ({}); run the doctor as the agent's user", errno.desc()))
    })
}

/// What the kernel says about its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Somebody keeps it in step with the network or a receiver.
    Kept,
    /// Nobody does.
    Free,
}

fn clock(clock: Clock, now: SystemTime) -> Option<Weakness> {
    let what = "clock";
    if now < SystemTime::UNIX_EPOCH + EARLIEST_RIGHT_TIME {
        let why = "it shows a time before this program was made; positions carry wrong times until it is set";
        return Some(Weakness::new(what, why));
    }
    (clock == Clock::Free).then(|| {
        Weakness::new(
            what,
            "the kernel says that nothing keeps it in step; times may be wrong",
        )
    })
}

fn storage(settings: &Settings, roots: &Roots) -> Weakness {
    let why: String = match Storage::of(&settings.state_dir, roots) {
        Storage::Unknown => "it cannot be seen whether it is encrypted".into(),
        Storage::Encrypted => passphrase::consequence(settings, roots, Path::new("/")),
        Storage::Plain => "it is not encrypted: whoever takes it out of the phone can read it, this phone's keys included; lost mode then deters, and protects no file".into(),
    };
    Weakness::new("storage", why)
}

fn sleep(roots: &Roots) -> Option<Weakness> {
    let states = fs::read_to_string(roots.sys.join("power/state")).unwrap_or_default();
    let sleeps = states.split_whitespace().any(|state| state == "mem");
    sleeps.then(|| {
        Weakness::new("sleep", "this phone can suspend, and homingd does not wake it: orders wait until something else does")
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::{major, minor};

    use super::*;
    use crate::config::BootFolder;

    fn roots(root: &Path) -> Roots {
        Roots {
            sys: root.join("sys"),
            ..Roots::default()
        }
    }

    #[test]
    fn a_state_directory_that_is_missing_or_open_to_all_is_weak_and_a_private_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        assert!(state_folder(&folder).unwrap().why.contains("is missing"));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(state_folder(&folder).unwrap().why.contains("mode 0755"));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o710)).unwrap();
        assert_eq!(state_folder(&folder), None);
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(state_folder(&file).unwrap().why.contains("not a folder"));
    }

    #[test]
    fn a_clock_at_1970_or_one_that_nobody_keeps_is_weak() {
        assert!(
            clock(Clock::Kept, SystemTime::UNIX_EPOCH)
                .unwrap()
                .why
                .contains("before this program")
        );
        let today = SystemTime::UNIX_EPOCH + EARLIEST_RIGHT_TIME;
        assert!(clock(Clock::Free, today).unwrap().why.contains("in step"));
        assert_eq!(clock(Clock::Kept, today), None);
    }

    #[test]
    fn storage_is_judged_by_the_device_below_the_state_directory() {
        let root = tempfile::tempdir().unwrap();
        let roots = roots(root.path());
        let mut settings = Settings {
            state_dir: root.path().into(),
            ..Settings::default()
        };
        settings.lost.boot_folder = BootFolder::Nowhere;
        let said = |roots: &Roots| storage(&settings, roots).why;
        assert!(said(&roots).contains("cannot be seen"));
        let device = fs::metadata(root.path()).unwrap().dev();
        let mapper = roots
            .sys
            .join(format!("dev/block/{}:{}/dm", major(device), minor(device)));
        fs::create_dir_all(&mapper).unwrap();
        assert!(said(&roots).contains("not encrypted"));
        fs::write(mapper.join("uuid"), "CRYPT-LUKS2-0123-root\n").unwrap();
        assert!(said(&roots).contains("unreachable until somebody types"));
    }

    #[test]
    fn only_a_phone_that_can_suspend_is_said_to_sleep() {
        let root = tempfile::tempdir().unwrap();
        let roots = roots(root.path());
        assert_eq!(sleep(&roots), None);
        fs::create_dir_all(roots.sys.join("power")).unwrap();
        fs::write(roots.sys.join("power/state"), "freeze mem disk\n").unwrap();
        assert!(sleep(&roots).is_some());
    }

    #[test]
    fn a_siren_that_could_have_been_muted_is_weak() {
        let root = tempfile::tempdir().unwrap();
        let folder = intent::folder(root.path());
        fs::create_dir(&folder).unwrap();
        let mut report = Report {
            command: None,
            phase: crate::siren::report::Phase::Ended,
            reason: None,
            warning: None,
            boottime_ms: 1,
            pid: 1,
            started: 1,
            boot_id: "b".into(),
        };
        report.store(&folder).unwrap();
        assert_eq!(last_ring(root.path()), None);
        report.warning = Some("another program holds Speaker".into());
        report.store(&folder).unwrap();
        let weak = last_ring(root.path()).unwrap();
        assert!(weak.why.contains("holds Speaker"), "{}", weak.why);
    }

    #[test]
    fn a_phone_whose_calls_nobody_has_heard_calls_no_help_and_that_is_said() {
        let tested = |call_audio_tested| {
            emergency_calls(&Lost {
                call_audio_tested,
                ..Settings::default().lost
            })
        };
        assert!(tested(false).unwrap().why.contains("nobody can call"));
        assert_eq!(tested(true), None);
    }

    #[test]
    fn a_privileged_half_that_is_not_there_is_weak() {
        let root = tempfile::tempdir().unwrap();
        let weak = privileged_half(&root.path().join("actor.sock"), root.path()).unwrap();
        assert!(weak.why.contains("cannot be locked"), "{}", weak.why);
    }

    #[test]
    fn the_database_tells_whether_the_phone_is_enrolled() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(enrolled(root.path()), Some(false));
        fs::write(root.path().join("agent.db"), "").unwrap();
        assert_eq!(enrolled(root.path()), Some(true));
    }
}
