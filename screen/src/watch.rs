//! Waits until the notice may have changed, without a wake-up before. It does not read it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use homing_hal::Fault;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// A watch over a file that may not be there, in a folder that may not be there either.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    inotify: Inotify,
}

impl Watch {
    /// Begins to watch; changes from now on are seen.
    ///
    /// # Errors
    /// The kernel's watches are used up, or no folder above the file can be watched.
    pub fn new(file: &Path) -> Result<Self, Fault> {
        let inotify = watched(file)?;
        Ok(Self {
            file: file.to_owned(),
            inotify,
        })
    }

    /// Waits for something to happen where the file is or would be.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub fn wait(&mut self) -> Result<(), Fault> {
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Fault::from_errno("waiting for the notice", errno)),
        }
        // A folder may have come or gone: what is watched now is chosen anew, before anybody looks.
        self.inotify = watched(&self.file)?;
        Ok(())
    }
}

/// Watches the file's folder, or the nearest one above it that there is.
fn watched(file: &Path) -> Result<Inotify, Fault> {
    let doing = "watching for the notice";
    let events = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    let nearest = || -> Result<(Inotify, &Path), Fault> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| Fault::from_errno(doing, errno))?;
        for folder in file.ancestors().skip(1) {
            match inotify.add_watch(folder, events) {
                Ok(_) => return Ok((inotify, folder)),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                Err(errno) => return Err(Fault::from_errno(doing, errno)),
            }
        }
        Err(Fault::Absent(doing.into()))
    };
    let mut chosen = nearest()?;
    loop {
        // A nearer folder that came between two looks would never be heard of.
        let again = nearest()?;
        if again.1 == chosen.1 {
            return Ok(chosen.0);
        }
        chosen = again;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_notice_is_noticed_although_its_folders_come_later_and_go_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("actor/shown/notice.json");
        let mut watch = Watch::new(&file).unwrap();
        let (told, hear) = channel();
        let watched = file.clone();
        let _watcher = std::thread::spawn(move || {
            while watch.wait().is_ok() {
                if told.send(watched.exists()).is_err() {
                    break;
                }
            }
        });
        let hears = |wanted: bool| {
            while hear.recv_timeout(Duration::from_secs(30)).unwrap() != wanted {}
        };
        for _ in 0..3 {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file.with_extension("new"), "{}").unwrap();
            fs::rename(file.with_extension("new"), &file).unwrap();
            hears(true);
            fs::remove_file(&file).unwrap();
            hears(false);
            fs::remove_dir_all(folder.path().join("actor")).unwrap();
        }
    }
}
