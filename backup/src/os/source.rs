//! Reading folders and files relative to open folders, so that a renamed parent cannot mislead. Changes nothing on disk.

use crate::os::identity::Names;
use crate::timestamp::Timestamp;
use crate::tree::{Node, NodeKind, mode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most that Linux gives for one attribute or one list of names (`limits.h`).
const XATTR_BYTES: usize = 65_536;

/// Opens a folder by its path.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, FOLDER, Mode::empty())
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Opens a folder within a folder; a symbolic link in its place is refused.
pub(crate) fn open_folder(within: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = FOLDER | OFlags::NOFOLLOW;
    rustix::fs::openat(within, OsStr::from_bytes(name), flags, Mode::empty())
}

/// Opens a folder that may be passed through but not read, as /home often is: good for what lies in it, not for listing it.
pub(crate) fn pass_folder(within: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(within, OsStr::from_bytes(name), flags, Mode::empty())
}

/// Opens a regular file within a folder; a link is refused and a pipe does not block.
pub(crate) fn open_file(within: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let name = OsStr::from_bytes(name);
    // The owner of a file may read it without leaving a trace; others get the ordinary way.
    match rustix::fs::openat(&within, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(&within, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// A name in a folder, and what the folder itself says of its kind.
pub(crate) struct Name {
    pub(crate) bytes: Box<[u8]>,
    kind: FileType,
}

impl Name {
    /// Is it a folder? File systems that do not tell are asked again.
    pub(crate) fn is_folder(&self, within: impl AsFd) -> bool {
        match self.kind {
            FileType::Directory => true,
            FileType::Unknown => {
                stat(within, &self.bytes).is_ok_and(|stat| kind(&stat) == NodeKind::Dir)
            }
            _ => false,
        }
    }
}

/// Names in a folder, sorted by their bytes.
pub(crate) fn names(folder: impl AsFd) -> Result<Vec<Name>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes != b"." && bytes != b".." {
            names.push(Name {
                bytes: bytes.into(),
                kind: entry.file_type(),
            });
        }
    }
    names.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    Ok(names)
}

/// Metadata of an entry; of a link itself, not of where it leads.
pub(crate) fn stat(within: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(within, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
}

/// Where a link leads.
pub(crate) fn link_target(within: impl AsFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(within, OsStr::from_bytes(name), Vec::new())
        .map(|target| target.into_bytes())
}

/// Where data begins at or after an offset; `None` when only a hole follows.
pub(crate) fn next_data(file: impl AsFd, offset: u64) -> Result<Option<u64>, Errno> {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What a `stat` says an entry is.
pub(crate) fn kind(stat: &Stat) -> NodeKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::BlockDevice => NodeKind::Dev,
        FileType::CharacterDevice => NodeKind::CharDev,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::Unknown => NodeKind::Other,
    }
}

/// Last change of content.
pub(crate) fn mtime(stat: &Stat) -> Timestamp {
    Timestamp::new(stat.st_mtime, nanoseconds(stat.st_mtime_nsec))
}

/// Last change of anything.
pub(crate) fn ctime(stat: &Stat) -> Timestamp {
    Timestamp::new(stat.st_ctime, nanoseconds(stat.st_ctime_nsec))
}

/// The field's type differs between machines.
fn nanoseconds<N: TryInto<u32>>(field: N) -> u32 {
    field.try_into().unwrap_or(0)
}

/// An unsigned number, whatever the field's type is on this machine.
pub(crate) fn number<N: TryInto<u64>>(field: N) -> u64 {
    field.try_into().unwrap_or(0)
}

/// Turns a `stat` into an entry of a tree, without content, link target and attributes.
pub(crate) fn node(name: &[u8], stat: &Stat, names: &Names) -> Node {
    let kind = kind(stat);
    let mut node = Node::new(name, kind);
    let type_bits = match kind {
        NodeKind::Dir => mode::DIR,
        NodeKind::Symlink => mode::SYMLINK,
        NodeKind::Dev => mode::DEVICE,
        NodeKind::CharDev => mode::DEVICE | mode::CHAR_DEVICE,
        NodeKind::Fifo => mode::FIFO,
        NodeKind::Socket => mode::SOCKET,
        NodeKind::File | NodeKind::Other => 0,
    };
    node.mode = type_bits | mode::from_unix(stat.st_mode);
    node.mtime = mtime(stat).writable();
    node.atime = node.mtime;
    node.ctime = ctime(stat).writable();
    (node.uid, node.gid) = (stat.st_uid, stat.st_gid);
    names.user(stat.st_uid).clone_into(&mut node.user);
    names.group(stat.st_gid).clone_into(&mut node.group);
    node.inode = number(stat.st_ino);
    node.device_id = number(stat.st_dev);
    match kind {
        NodeKind::File => {
            node.size = number(stat.st_size);
            node.links = number(stat.st_nlink);
        }
        NodeKind::Symlink => node.links = number(stat.st_nlink),
        NodeKind::Dev | NodeKind::CharDev => {
            node.device = number(stat.st_rdev);
            node.links = number(stat.st_nlink);
        }
        NodeKind::Dir | NodeKind::Fifo | NodeKind::Socket | NodeKind::Other => {}
    }
    node
}

/// Extended attributes, read through buffers that are used again and again.
pub(crate) struct Attributes {
    names: Vec<u8>,
    value: Vec<u8>,
}

type Pairs = Vec<(String, Vec<u8>)>;

impl Attributes {
    pub(crate) fn new() -> Self {
        Self {
            names: vec![0; XATTR_BYTES],
            value: vec![0; XATTR_BYTES],
        }
    }

    /// Attributes of an open file or folder.
    pub(crate) fn of_open(&mut self, file: BorrowedFd<'_>) -> Result<Pairs, Errno> {
        let length = supported(rustix::fs::flistxattr(file, &mut self.names[..]))?;
        self.gather(length, |name, value| {
            rustix::fs::fgetxattr(file, name, value)
        })
    }

    /// Attributes of an entry that is not opened: links, pipes, sockets, devices.
    pub(crate) fn of_entry(&mut self, within: BorrowedFd<'_>, name: &[u8]) -> Result<Pairs, Errno> {
        let path = through_proc(within, name);
        let length = supported(rustix::fs::llistxattr(&path, &mut self.names[..]))?;
        self.gather(length, |name, value| {
            rustix::fs::lgetxattr(&path, name, value)
        })
    }

    fn gather(
        &mut self,
        length: usize,
        mut get: impl FnMut(&OsStr, &mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Pairs, Errno> {
        let mut pairs = Vec::new();
        for name in self.names[..length].split(|byte| *byte == 0) {
            if name.is_empty() {
                continue;
            }
            match get(OsStr::from_bytes(name), &mut self.value) {
                Ok(length) => pairs.push((
                    String::from_utf8_lossy(name).into_owned(),
                    self.value[..length].to_vec(),
                )),
                // Removed since it was listed, or listed without being there for us.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(pairs)
    }
}

/// A file system without attributes has none.
fn supported(listed: Result<usize, Errno>) -> Result<usize, Errno> {
    match listed {
        Err(Errno::NOTSUP | Errno::NOSYS) => Ok(0),
        other => other,
    }
}

/// A path that starts at an open folder, for calls that know no other way to do so.
pub(crate) fn through_proc(within: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", within.as_raw_fd()));
    path.push(OsStr::from_bytes(name));
    path
}
