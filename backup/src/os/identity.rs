//! Names of users, groups, the machine and its processes. Reads `/etc/passwd`, `/etc/group` and `/proc`; asks no network.

use crate::id::Id;
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

/// Is there a process of that number on this machine?
#[must_use]
pub fn process_exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
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
    fn this_process_exists() {
        assert!(process_exists(std::process::id()));
        assert!(!process_exists(u32::MAX));
    }
}
