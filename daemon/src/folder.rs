//! Waiting for changes of one folder without polling (inotify); it must not tell what changed: whoever is woken looks for himself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::error::Error;

/// A folder whose changes make [`AsFd`] readable.
#[derive(Debug)]
pub struct FolderWatch {
    inotify: Inotify,
    path: PathBuf,
}

impl FolderWatch {
    /// Watches for files that are created, replaced, completed or removed in `path`.
    ///
    /// # Errors
    /// [`Error::Watch`] when the folder is missing or the kernel's watches are used up.
    pub fn new(path: &Path) -> Result<Self, Error> {
        let events = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .and_then(|inotify| inotify.add_watch(path, events).map(|_| inotify));
        match watch {
            Ok(inotify) => Ok(Self {
                inotify,
                path: path.to_owned(),
            }),
            Err(errno) => Err(Error::Watch {
                path: path.to_owned(),
                source: errno.into(),
            }),
        }
    }

    /// Takes all waiting events, so that the next wait is for newer ones. An overflow of the kernel's queue
    /// is an event like any other.
    ///
    /// # Errors
    /// [`Error::Watch`] when the folder itself is gone, after which no event would ever come.
    pub fn drain(&self) -> Result<(), Error> {
        let failed = |source| Error::Watch {
            path: self.path.clone(),
            source,
        };
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let gone = AddWatchFlags::IN_DELETE_SELF
                        | AddWatchFlags::IN_MOVE_SELF
                        | AddWatchFlags::IN_IGNORED;
                    if events.iter().any(|event| event.mask.intersects(gone)) {
                        return Err(failed(io::ErrorKind::NotFound.into()));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }
}

impl AsFd for FolderWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Makes a folder below one that is there; one that is there already is a success.
///
/// # Errors
/// [`Error::Folder`], also when the folder above is missing: a mistyped path must not grow a tree.
pub fn ensure(path: &Path) -> Result<(), Error> {
    match std::fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(Error::Folder {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn readable(watch: &FolderWatch, patience_ms: u16) -> i32 {
        poll(
            &mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)],
            PollTimeout::from(patience_ms),
        )
        .unwrap()
    }

    #[test]
    fn a_file_moved_into_place_and_its_removal_are_both_seen() {
        let folder = tempfile::tempdir().unwrap();
        let watch = FolderWatch::new(folder.path()).unwrap();
        let path = folder.path().join("intent.json");
        crate::durable::replace(&path, b"{}", crate::durable::Access::Private).unwrap();
        assert_eq!(readable(&watch, 5000), 1);
        watch.drain().unwrap();
        assert_eq!(readable(&watch, 0), 0);
        fs::remove_file(&path).unwrap();
        assert_eq!(readable(&watch, 5000), 1);
    }

    #[test]
    fn a_missing_folder_and_one_that_is_removed_later_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FolderWatch::new(&folder.path().join("nowhere")).is_err());
        let watched = folder.path().join("siren");
        fs::create_dir(&watched).unwrap();
        let watch = FolderWatch::new(&watched).unwrap();
        fs::remove_dir(&watched).unwrap();
        assert_eq!(readable(&watch, 5000), 1);
        assert!(watch.drain().is_err());
    }
}
