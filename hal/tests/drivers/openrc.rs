//! The lockdown under OpenRC, with programs of the test's own in its place and a real process in a person's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};

use homing_hal::Roots;
use homing_hal::capability::lockdown::{Lockdown, Standing};
use homing_hal::conformance;
use homing_hal::fault::{Fault, Probe};
use homing_hal::linux::lockdown::OpenRcLockdown;
use tempfile::TempDir;

/// A phone under OpenRC: what its programs do is a mount in a file and links in a folder.
struct Phone {
    folder: TempDir,
}

impl Phone {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        for part in [
            "run/openrc/started",
            "proc/self",
            "proc/sys/kernel",
            "actor",
            "sbin",
        ] {
            fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        fs::write(folder.path().join("proc/sys/kernel/sysrq"), "1\n").unwrap();
        fs::write(folder.path().join("proc/self/mountinfo"), "").unwrap();
        for service in ["tinydm", "sshd", "networkmanager", "byhand"] {
            fs::write(folder.path().join("run/openrc/started").join(service), "").unwrap();
        }
        let hidden = "1 2 0:1 / /etc/runlevels/default rw - tmpfs tmpfs rw";
        let scripts = [
            (
                "rc-service",
                format!(
                    "echo \"$*\" >>{place}/told\n\
                     case $1 in homing-lost) : >{place}/proc/self/mountinfo\n\
                     [ ! -e {place}/notice ] || echo '{hidden}' >{place}/proc/self/mountinfo ;;\n\
                     *) : >{place}/run/openrc/started/$1 ;; esac\n"
                ),
            ),
            (
                "openrc",
                format!(
                    "if [ -s {place}/proc/self/mountinfo ]; then cd {place}/run/openrc/started; rm -f tinydm sshd byhand\n\
                     else : >{place}/run/openrc/started/tinydm; : >{place}/run/openrc/started/sshd; fi\n"
                ),
            ),
        ];
        for (name, text) in scripts {
            let path = folder.path().join("sbin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    fn driver(&self) -> OpenRcLockdown {
        let roots = Roots {
            run: self.path("run"),
            proc: self.path("proc"),
            sys: self.path("sys"),
            ..Roots::default()
        };
        OpenRcLockdown::new(&roots, &self.path("actor")).with_programs(self.folder.path())
    }

    fn started(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("run/openrc/started")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The promise of whoever calls: the notice is there before entering, and gone before leaving.
struct Called<'a>(&'a Path, OpenRcLockdown);

impl Lockdown for Called<'_> {
    fn name(&self) -> &'static str {
        self.1.name()
    }

    fn probe(&self) -> Probe {
        self.1.probe()
    }

    fn enter(&mut self) -> Result<(), Fault> {
        fs::write(self.0.join("notice"), "{}").unwrap();
        self.1.enter()
    }

    fn leave(&mut self) -> Result<(), Fault> {
        let _ = fs::remove_file(self.0.join("notice"));
        self.1.leave()
    }

    fn standing(&mut self) -> Result<Standing, Fault> {
        self.1.standing()
    }
}

/// A process that a person has, in the phone's list of them; it leaves the list when it ends.
fn somebody(phone: &Phone, uid: u32, ignores: &str) -> JoinHandle<()> {
    let mut child: Child = Command::new("sh")
        .args([
            "-c",
            &format!(
                "{ignores}; echo ready >{}; exec sleep 1000",
                phone.path("ready").display()
            ),
        ])
        .spawn()
        .unwrap();
    // Not before it ignores what it shall ignore.
    conformance::eventually("the person's process to be there", || {
        phone.path("ready").exists()
    });
    let listed = phone.path(&format!("proc/{}", child.id()));
    fs::create_dir(&listed).unwrap();
    fs::write(
        listed.join("status"),
        format!("Name:\tphosh\nState:\tS (sleeping)\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
    )
    .unwrap();
    thread::spawn(move || {
        let _ = child.wait();
        let _ = fs::remove_dir_all(listed);
    })
}

#[test]
fn a_phone_under_openrc_is_taken_and_given_back_as_it_was() {
    let phone = Phone::start();
    let before = phone.started();
    let mut lockdown = Called(phone.folder.path(), phone.driver());
    conformance::a_working_lockdown(&mut lockdown);
    assert_eq!(phone.started(), before);
    let sysrq = fs::read_to_string(phone.path("proc/sys/kernel/sysrq")).unwrap();
    assert_eq!(sysrq, "1");
    lockdown.enter().unwrap();
    assert_eq!(phone.started(), ["networkmanager"]);
    // Another process gives it back, and begins nothing anew where all is in place.
    fs::remove_file(phone.path("told")).unwrap();
    Called(phone.folder.path(), phone.driver()).enter().unwrap();
    assert!(!phone.path("told").exists());
    Called(phone.folder.path(), phone.driver()).leave().unwrap();
    assert_eq!(phone.started(), before);
}

#[test]
fn who_has_a_session_is_ended_also_one_that_does_not_end_when_asked_to() {
    for ignores in [":", "trap '' TERM"] {
        let phone = Phone::start();
        let person = somebody(&phone, 1000, ignores);
        let mut lockdown = Called(phone.folder.path(), phone.driver());
        lockdown.enter().unwrap();
        assert_eq!(lockdown.standing(), Ok(Standing::Locked), "{ignores}");
        person.join().unwrap();
    }
}

#[test]
fn a_prompt_that_appears_later_is_named_and_ended_by_the_next_call() {
    let phone = Phone::start();
    let mut lockdown = Called(phone.folder.path(), phone.driver());
    lockdown.enter().unwrap();
    let person = somebody(&phone, 1000, ":");
    let standing = lockdown.standing();
    assert_eq!(standing, Ok(Standing::Partly("the process phosh".into())));
    lockdown.enter().unwrap();
    assert_eq!(lockdown.standing(), Ok(Standing::Locked));
    person.join().unwrap();
}

#[test]
fn an_openrc_that_is_not_there_is_said_and_the_kernels_doors_are_closed_all_the_same() {
    let phone = Phone::start();
    fs::remove_dir_all(phone.path("sbin")).unwrap();
    let mut lockdown = phone.driver();
    assert!(matches!(lockdown.probe(), Probe::Unsupported { .. }));
    assert!(matches!(lockdown.enter(), Err(Fault::Absent(_))));
    let sysrq = fs::read_to_string(phone.path("proc/sys/kernel/sysrq")).unwrap();
    assert_eq!(sysrq, "0");
    assert!(matches!(lockdown.standing(), Ok(Standing::Partly(_))));
}
