//! Random folder trees with everything a file system can hold, and their changes. Knows no repository.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its files must stop"
)]

use homing_backup::archiver::{Caches, FileSystems, Options};
use homing_backup::key::Maker;
use homing_backup::reader::Reader;
use homing_backup::repository::Repository;
use homing_backup::store::Store;
use homing_backup::{Id, Timestamp};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) fn maker() -> Maker {
    Maker {
        user: "anna".into(),
        host: "phone".into(),
        at: Timestamp::new(1_790_000_000, 5),
    }
}

/// A new repository in a store.
pub(crate) fn repository<S: Store>(store: S, password: &str) -> Repository<S> {
    Repository::create(store, password.as_bytes(), &maker()).unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        hostname: "phone".into(),
        tags: Vec::new(),
        excludes: Vec::new(),
        file_systems: FileSystems::All,
        caches: Caches::Keep,
        pack_bytes: 4 << 20,
        lock_renewal: homing_backup::lock::RENEWAL,
        program_version: "homing test".into(),
        state: None,
    }
}

/// A small generator (splitmix64): the same seed, the same tree.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A folder with random things in it.
pub(crate) struct Forest {
    folder: tempfile::TempDir,
    path: PathBuf,
    random: Random,
}

impl Forest {
    pub(crate) fn grow(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mut forest = Self {
            folder,
            path,
            random: Random(seed),
        };
        for _ in 0..6 {
            forest.branch(forest.path.clone(), 0);
        }
        forest
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn add_large(&self, bytes: usize) {
        std::fs::write(self.path.join("large"), noise(9, bytes)).unwrap();
    }

    /// New, changed and vanished things.
    pub(crate) fn change(&mut self) {
        for _ in 0..3 {
            self.branch(self.path.clone(), 1);
        }
        let mut files = Vec::new();
        gather(&self.path, &mut files);
        for path in files {
            match self.random.below(6) {
                0 => std::fs::remove_file(&path).unwrap(),
                1 if path.symlink_metadata().unwrap().is_file() => {
                    let length = self.size();
                    std::fs::write(&path, noise(self.random.next(), length)).unwrap();
                }
                _ => {}
            }
        }
    }

    fn name(&mut self) -> OsString {
        let number = self.random.next();
        let mut name = format!("{:x}", number & 0xffff).into_bytes();
        match self.random.below(8) {
            0 => name.extend_from_slice(b" \"quoted\" \\ \n\t"),
            1 => name.extend_from_slice("ü€😀\u{301}".as_bytes()),
            2 => name.extend_from_slice(b"\xff\xfe\x80\x01\x7f"),
            3 => name.extend_from_slice(b"<&>'$(x)*?\xe2\x80\xa8\xc2\xad"),
            4 => name.resize(200, b'n'),
            _ => {}
        }
        OsString::from_vec(name)
    }

    fn size(&mut self) -> usize {
        let most =
            [1, 100, 5_000, 300_000, 2_500_000][usize::try_from(self.random.below(5)).unwrap()];
        usize::try_from(self.random.below(most)).unwrap()
    }

    fn branch(&mut self, within: PathBuf, depth: u32) {
        let path = within.join(self.name());
        if path.symlink_metadata().is_ok() {
            return;
        }
        match self.random.below(12) {
            0..=2 if depth < 4 => {
                std::fs::create_dir(&path).unwrap();
                for _ in 0..self.random.below(6) {
                    self.branch(path.clone(), depth + 1);
                }
                self.dress(&path);
            }
            3 => std::os::unix::fs::symlink("/nowhere/ü &<", &path).unwrap(),
            4 => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from(0o640), 0).unwrap(),
            5 => {
                let file = std::fs::File::create(&path).unwrap();
                file.set_len(3_000_000).unwrap();
                file.write_at(b"in the middle", 1_500_000).unwrap();
            }
            6 => {
                let length = self.size();
                std::fs::write(&path, noise(self.random.next(), length)).unwrap();
                let other = within.join(self.name());
                if other.symlink_metadata().is_err() {
                    std::fs::hard_link(&path, other).unwrap();
                }
            }
            7 => {
                // Only the superuser may make devices; a file does otherwise.
                if rustix::fs::mknodat(
                    CWD,
                    &path,
                    FileType::CharacterDevice,
                    Mode::from(0o600),
                    rustix::fs::makedev(1, 3),
                )
                .is_err()
                {
                    std::fs::write(&path, b"no device").unwrap();
                }
            }
            _ => {
                let length = self.size();
                std::fs::write(&path, noise(self.random.next(), length)).unwrap();
                self.dress(&path);
            }
        }
    }

    /// Modes, attributes, an ACL and times.
    fn dress(&mut self, path: &Path) {
        if self.random.below(3) == 0 {
            let value = noise(self.random.next(), 40);
            // A file system without attributes is fine.
            let _ = rustix::fs::lsetxattr(path, "user.homing", &value, XattrFlags::empty());
        }
        if self.random.below(4) == 0 {
            let _ =
                rustix::fs::lsetxattr(path, "system.posix_acl_access", &acl(), XattrFlags::empty());
        }
        if self.random.below(3) == 0 {
            let mode = [0o4755, 0o600, 0o2711, 0o1777, 0o700]
                [usize::try_from(self.random.below(5)).unwrap()];
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let seconds = [-2_000_000_000_i64, 0, 1, 1_700_000_000, 5_000_000_000]
            [usize::try_from(self.random.below(5)).unwrap()];
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 123_456_789,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// user::rwx, user:1000:r--, group::r-x, mask::r-x, other::--- as the kernel stores it (acl(5), version 2).
pub(crate) fn acl() -> Vec<u8> {
    let none = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permission, id) in [
        (1_u16, 7_u16, none),
        (2, 4, 1000),
        (4, 5, none),
        (16, 5, none),
        (32, 0, none),
    ] {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permission.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// The tree of a folder within a snapshot's root tree.
pub(crate) fn subtree<S: Store>(reader: &mut Reader<'_, S>, root: Id, folder: &Path) -> Id {
    folder.components().skip(1).fold(root, |tree, part| {
        let name = part.as_os_str().as_bytes();
        let nodes = reader.tree(&tree).unwrap();
        let node = nodes.into_iter().find(|node| node.name == name);
        node.unwrap().subtree.unwrap()
    })
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            gather(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Everything a backup keeps is the same in both folders: names, content, modes, owners, times, links, attributes, devices.
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (a, b) = (
        left.symlink_metadata().unwrap(),
        right.symlink_metadata().unwrap(),
    );
    let at = format!("{} and {}", left.display(), right.display());
    assert_eq!(a.file_type(), b.file_type(), "type of {at}");
    assert_eq!((a.uid(), a.gid()), (b.uid(), b.gid()), "owner of {at}");
    assert_eq!(
        (a.mtime(), a.mtime_nsec()),
        (b.mtime(), b.mtime_nsec()),
        "time of {at}"
    );
    assert_eq!(a.rdev(), b.rdev(), "device of {at}");
    if a.is_symlink() {
        assert_eq!(
            std::fs::read_link(left).unwrap(),
            std::fs::read_link(right).unwrap(),
            "target of {at}"
        );
        return;
    }
    assert_eq!(a.mode(), b.mode(), "mode of {at}");
    assert_eq!(attributes(left), attributes(right), "attributes of {at}");
    if a.is_file() {
        assert_eq!(a.nlink(), b.nlink(), "links of {at}");
        assert!(
            std::fs::read(left).unwrap() == std::fs::read(right).unwrap(),
            "content of {at}"
        );
    }
    if a.is_dir() {
        let list = |folder: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(list(left), list(right), "names in {at}");
        list(left)
            .iter()
            .for_each(|name| assert_same(&left.join(name), &right.join(name)));
    }
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 65_536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return Vec::new();
    };
    let mut pairs: Vec<_> = String::from_utf8_lossy(&names[..length])
        .split_terminator('\0')
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_owned(), value[..length].to_vec())
        })
        .collect();
    pairs.sort();
    pairs
}
