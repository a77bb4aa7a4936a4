//! Writing restored files below one open folder. Never follows a link and never leaves that folder.

use crate::tree::{Node, NodeKind, mode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

/// Whether a folder was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was made.
    Made,
    /// It was there.
    There,
}

/// Makes a folder, or finds the one that is there, and opens it. Anything else in its place is an error.
pub(crate) fn folder(within: impl AsFd, name: &[u8]) -> Result<(OwnedFd, Found), Errno> {
    let found = match rustix::fs::mkdirat(&within, OsStr::from_bytes(name), Mode::RWXU) {
        Ok(()) => Found::Made,
        Err(Errno::EXIST) => Found::There,
        Err(errno) => return Err(errno),
    };
    Ok((super::source::open_folder(within, name)?, found))
}

/// Holds a folder against another restore, as long as it is open; `false` when another one holds it. Some file systems of
/// networks know no such thing.
pub(crate) fn hold(folder: impl AsFd) -> bool {
    let held = rustix::fs::flock(folder, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    !matches!(held, Err(Errno::WOULDBLOCK))
}

/// Waits until everything on a folder's file system is on the disk.
pub(crate) fn sync(folder: impl AsFd) -> Result<(), Errno> {
    rustix::fs::syncfs(folder)
}

/// Makes a new file under a name that nothing has.
pub(crate) fn new_file(within: impl AsFd, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(within, OsStr::from_bytes(name), flags, mode).map(File::from)
}

/// What a finished entry does to one that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settling {
    /// It takes its place.
    Replace,
    /// It gives way: [`Errno::EXIST`].
    OnlyNew,
}

/// Gives a finished entry its name in one step.
pub(crate) fn settle(
    within: impl AsFd,
    from: &[u8],
    to: &[u8],
    settling: Settling,
) -> Result<(), Errno> {
    let (old, new) = (OsStr::from_bytes(from), OsStr::from_bytes(to));
    if settling == Settling::OnlyNew {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&within, old, &within, new, flags) {
            // The file system cannot do that in one step.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            done => return done,
        }
        if super::source::stat(&within, to).is_ok() {
            return Err(Errno::EXIST);
        }
    }
    rustix::fs::renameat(&within, old, &within, new)
}

/// Removes anything but a folder; nothing there is fine.
pub(crate) fn remove(within: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(within, OsStr::from_bytes(name), AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Makes a hard link beside each other; both folders are open.
pub(crate) fn link(
    from: (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
) -> Result<(), Errno> {
    let (old, new) = (OsStr::from_bytes(from.1), OsStr::from_bytes(to.1));
    rustix::fs::linkat(from.0, old, to.0, new, AtFlags::empty())
}

/// Makes a symbolic link, pipe, socket or device.
pub(crate) fn special(within: impl AsFd, name: &[u8], node: &Node) -> Result<(), Errno> {
    let kind = match node.kind {
        NodeKind::Symlink => {
            let target = OsStr::from_bytes(&node.link_target);
            return rustix::fs::symlinkat(target, within, OsStr::from_bytes(name));
        }
        NodeKind::Fifo => FileType::Fifo,
        NodeKind::Socket => FileType::Socket,
        NodeKind::Dev => FileType::BlockDevice,
        NodeKind::CharDev => FileType::CharacterDevice,
        NodeKind::File | NodeKind::Dir | NodeKind::Other => return Err(Errno::NOTSUP),
    };
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(within, OsStr::from_bytes(name), kind, mode, node.device)
}

/// Owner, attributes, mode and times of an open file or folder, in the order in which one does not undo the other.
pub(crate) fn dress_open(file: BorrowedFd<'_>, node: &Node) -> Result<(), Errno> {
    allowed(rustix::fs::fchown(file, Some(uid(node)), Some(gid(node))))?;
    for (name, value) in &node.xattrs {
        allowed(rustix::fs::fsetxattr(
            file,
            name,
            value,
            XattrFlags::empty(),
        ))?;
    }
    rustix::fs::fchmod(file, permissions(node))?;
    rustix::fs::futimens(file, &times(node))
}

/// The same for what is not opened. A link has no mode of its own.
pub(crate) fn dress_entry(within: BorrowedFd<'_>, name: &[u8], node: &Node) -> Result<(), Errno> {
    let entry = OsStr::from_bytes(name);
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    allowed(rustix::fs::chownat(
        within,
        entry,
        Some(uid(node)),
        Some(gid(node)),
        flags,
    ))?;
    let path = super::source::through_proc(within, name);
    for (name, value) in &node.xattrs {
        allowed(rustix::fs::lsetxattr(
            &path,
            name,
            value,
            XattrFlags::empty(),
        ))?;
    }
    if node.kind != NodeKind::Symlink {
        // The entry itself is held fast first: in its place a link may stand by now, which a change of mode would follow.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(within, entry, flags, Mode::empty())?;
        if super::source::kind(&rustix::fs::fstat(&held)?) != node.kind {
            return Err(Errno::AGAIN);
        }
        let itself = format!("/proc/self/fd/{}", held.as_raw_fd());
        rustix::fs::chmod(itself, permissions(node))?;
    }
    rustix::fs::utimensat(within, entry, &times(node), flags)
}

/// Whether the owner is ours to set, and attributes exist, depends on who we are and on the file system: as with `cp -a`,
/// only a superuser is told.
fn allowed(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP)
            if !rustix::process::geteuid().is_root() =>
        {
            Ok(())
        }
        other => other,
    }
}

fn uid(node: &Node) -> Uid {
    Uid::from_raw_unchecked(node.uid)
}

fn gid(node: &Node) -> Gid {
    Gid::from_raw_unchecked(node.gid)
}

fn permissions(node: &Node) -> Mode {
    Mode::from_raw_mode(mode::to_unix(node.mode))
}

fn times(node: &Node) -> Timestamps {
    let spec = |time: crate::Timestamp| Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: spec(node.atime),
        last_modification: spec(node.mtime),
    }
}

/// Could this be what an earlier, interrupted restore finished? Its content must still be compared.
pub(crate) fn looks_finished(stat: &Stat, node: &Node) -> bool {
    super::source::kind(stat) == NodeKind::File
        && super::source::number(stat.st_size) == node.size
        && super::source::mtime(stat) == node.mtime
}

/// Is the link, pipe, socket or device that is there the one of the snapshot? Owner and times may differ; those who may use
/// it may not.
pub(crate) fn is_same_special(within: impl AsFd, stat: &Stat, node: &Node) -> bool {
    let same_mode = || Mode::from_raw_mode(stat.st_mode) == permissions(node);
    super::source::kind(stat) == node.kind
        && match node.kind {
            NodeKind::Symlink => super::source::link_target(within, &node.name)
                .is_ok_and(|target| target == node.link_target),
            NodeKind::Dev | NodeKind::CharDev => {
                super::source::number(stat.st_rdev) == node.device && same_mode()
            }
            _ => same_mode(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn dressing_an_entry_does_not_follow_a_link_that_took_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::write(&outside, "").unwrap();
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&outside, folder.path().join("pipe")).unwrap();
        let opened = super::super::source::open_root(folder.path()).unwrap();
        let mut node = Node::new(b"pipe", NodeKind::Fifo);
        node.mode = mode::FIFO | mode::from_unix(0o666);
        (node.uid, node.gid) = crate::os::identity::own_ids();
        let dressed = dress_entry(opened.as_fd(), b"pipe", &node);
        assert_eq!(dressed, Err(Errno::AGAIN));
        let mode = std::fs::metadata(&outside).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
