//! Names of users, groups, the machine and its processes. Reads `/etc/passwd`, `/etc/group` and `/proc`; asks no network.

use crate::id::Id;
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashMap;
use std::path::Path;

/// Names of users and groups by number, read once.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    digest: Id,
}

impl Names {
    /// Reads both tables below a root folder (`/`). What cannot be read has no names.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let (users, groups) = (
            text(&root.join("etc/passwd")),
            text(&root.join("etc/group")),
        );
        Self {
            digest: Id::of(&[users.as_bytes(), &[0], groups.as_bytes()].concat()),
            users: table(&users),
            groups: table(&groups),
        }
    }

    /// Another one when any name may be another.
    #[must_use]
    pub const fn digest(&self) -> Id {
        self.digest
    }

    /// The user's name, or an empty text.
    #[must_use]
    pub fn user(&self, uid: u32) -> &str {
        self.users.get(&uid).map_or("", String::as_str)
    }

    /// The group's name, or an empty text.
    #[must_use]
    pub fn group(&self, gid: u32) -> &str {
        self.groups.get(&gid).map_or("", String::as_str)
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Lines of `name:password:number:…`; the first name of a number counts.
fn table(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(Ok(number))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// The machine's name.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Our own user and group numbers.
#[must_use]
pub fn own_ids() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// What can be seen of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// There is none of that number.
    Gone,
    /// There is one, and it began so many clock ticks after the kernel (proc(5), `starttime`).
    Started(u64),
    /// There is one, and that is all we may know.
    Hidden,
}

/// Looks for a process by its number. Whether there is one is asked of the kernel: `/proc` may be closed to us.
#[must_use]
pub fn process(pid: u32) -> Process {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let gone = number.is_none_or(|number| {
        matches!(rustix::process::test_kill_process(number), Err(Errno::SRCH))
    });
    if gone {
        return Process::Gone;
    }
    let line = text(&Path::new("/proc").join(pid.to_string()).join("stat"));
    // The name in parentheses may hold anything; the state follows it, and the time 19 fields later.
    let mut fields = line
        .rsplit_once(") ")
        .map(|(_, fields)| fields.split(' '))
        .into_iter()
        .flatten();
    match fields.next() {
        // It is dead, and its parent has not looked yet.
        Some("Z" | "X") => Process::Gone,
        Some(_) => fields
            .nth(18)
            .and_then(|ticks| ticks.parse().ok())
            .map_or(Process::Hidden, Process::Started),
        None => Process::Hidden,
    }
}

/// The kernel's random name for the time since it was started; empty where it tells none.
#[must_use]
pub fn boot_id() -> String {
    text(Path::new("/proc/sys/kernel/random/boot_id"))
        .trim()
        .into()
}

/// The machine's id (machine-id(5)), which is confidential.
#[must_use]
pub fn machine_id() -> Option<String> {
    let id = text(Path::new("/etc/machine-id"));
    let id = id.trim();
    (id.len() == 32).then(|| id.into())
}

/// The namespace in which our process numbers count; empty where it cannot be known.
#[must_use]
pub fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_tables_below_a_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0::/:\nbroken\nanna:x:1000:5::/:\nother:x:1000:5::/:\n",
        )
        .unwrap();
        let names = Names::read(root.path());
        assert_eq!(
            (names.user(0), names.user(1000), names.user(7)),
            ("root", "anna", "")
        );
        assert_eq!(names.group(0), "");
    }

    #[test]
    fn this_process_is_seen_with_its_beginning_and_others_are_not_there() {
        assert!(matches!(
            process(std::process::id()),
            Process::Started(ticks) if ticks > 0
        ));
        assert_eq!(process(u32::MAX), Process::Gone);
        assert_eq!(process(0), Process::Gone);
        assert!(!boot_id().is_empty() && pid_namespace().starts_with("pid:"));
    }
}
