//! The one way to replace a file in one step, on the disk or only in sight of other processes; it must not be used with two writers of one path.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Who may read a file of ours; the process runs with umask 077, so the mode is always set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The owner alone (0600).
    Private,
    /// The owner writes, the group of the folder reads (0640): agent and siren are different users of one group.
    GroupReads,
    /// The owner writes, everybody reads (0644): what a finder sees on the screen is no secret.
    Everybody,
    /// Owner and group write (0660): the siren moves a served intent aside by a hard link, which
    /// `fs.protected_hardlinks` allows only to who may write the file.
    GroupWrites,
    /// As the file system has it for files of this process: FAT keeps no modes, and one that is mounted for somebody else takes none.
    AsMounted,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Private | Self::AsMounted => 0o600,
            Self::GroupReads => 0o640,
            Self::Everybody => 0o644,
            Self::GroupWrites => 0o660,
        }
    }
}

/// Replaces `path` by `content` in one step and returns once both the file and its folder are on the disk.
/// After an error the old content is still in place and no temporary file is left.
///
/// # Errors
/// [`Error::Replace`] with the first system call that failed; a full disk is one of them.
pub fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    replace_with(path, access, |file| {
        file.write_all(content)?;
        file.sync_all()
    })
    .and_then(|file| match access {
        // FAT keeps the size beside the name, and Linux's says 0 under a new one until the file is synced again.
        Access::AsMounted => file.sync_all(),
        _ => Ok(()),
    })
    .and_then(|()| sync_folder_of(path))
    .map_err(|source| Error::Replace {
        path: path.to_owned(),
        source,
    })
}

/// Replaces `path` by `content` in one step for other processes, without waiting for the disk: for what means nothing
/// after the next start of the phone. A power cut may leave the old, the new or no content.
///
/// # Errors
/// As [`replace`].
pub fn show(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    replace_with(path, access, |file| file.write_all(content))
        .map(drop)
        .map_err(|source| Error::Replace {
            path: path.to_owned(),
            source,
        })
}

/// Removes what [`show`] showed, without waiting for the disk; a path that is not there is a success.
///
/// # Errors
/// As [`remove`].
pub fn hide(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Replace {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Gives the finished file `from` the name `to`, in the same folder, and returns once that is on the disk.
///
/// # Errors
/// [`Error::Replace`] with the first system call that failed.
pub fn take_name(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to)
        .and_then(|()| sync_folder_of(to))
        .map_err(|source| Error::Replace {
            path: to.to_owned(),
            source,
        })
}

/// Removes `path`, and what an interrupted replacement of it has left, and returns once that is on the disk; a path that is not there is a success.
///
/// # Errors
/// [`Error::Replace`] with the system call that failed.
pub fn remove(path: &Path) -> Result<(), Error> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    // A power cut in a replacement has left its file behind, which may hold the same secrets.
    let done = temporary_beside(path)
        .and_then(|unfinished| gone(&unfinished))
        .and_then(|()| gone(path));
    done.map_err(|source| Error::Replace {
        path: path.to_owned(),
        source,
    })
}

fn replace_with(
    path: &Path,
    access: Access,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let temporary = temporary_beside(path)?;
    let written = write_temporary(&temporary, access, write)
        .and_then(|file| fs::rename(&temporary, path).map(|()| file));
    if written.is_err() {
        // The first error is the one worth reporting; a file that cannot be removed is replaced by the next call.
        drop(fs::remove_file(&temporary));
    }
    written
}

fn write_temporary(
    temporary: &Path,
    access: Access,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    // Left over by a process that was killed here.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(access.mode())
        .open(temporary)?;
    if access != Access::AsMounted {
        file.set_permissions(Permissions::from_mode(access.mode()))?;
    }
    write(&mut file)?;
    Ok(file)
}

/// One fixed name per path, so that kills leave at most one file behind however often they happen.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    Ok(path.with_file_name(hidden))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sys::resource::{Resource, setrlimit};

    use super::*;

    /// Set in the child process that runs with a file size limit, to the file it is to replace.
    const LIMITED_FILE: &str = "HOMING_TEST_LIMITED_FILE";

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_an_interrupted_replacement_has_left_goes_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let unfinished = temporary_beside(&path).unwrap();
        fs::write(&unfinished, "half a secret").unwrap();
        remove(&path).unwrap();
        assert!(!unfinished.exists());
    }

    #[test]
    fn the_new_content_replaces_the_old_with_the_mode_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old", Access::GroupReads).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        replace(&path, b"new", Access::Private).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_write_that_fails_half_way_leaves_the_old_content_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old", Access::Private).unwrap();
        let full = replace_with(&path, Access::Private, |file| {
            file.write_all(b"ne")?;
            Err(Errno::ENOSPC.into())
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_temporary_file_left_by_a_killed_process_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(folder.path().join(".state.json.new"), "half").unwrap();
        replace(&path, b"new", Access::Private).unwrap();
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_missing_folder_is_named_in_the_error_and_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere/state.json");
        let error = replace(&path, b"new", Access::Private)
            .unwrap_err()
            .to_string();
        assert!(error.contains("nowhere/state.json"), "{error}");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_is_only_shown_is_replaced_in_one_step_with_its_mode_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        show(&path, b"old", Access::Private).unwrap();
        show(&path, b"new", Access::GroupReads).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(names(folder.path()), ["state.json"]);
        hide(&path).unwrap();
        hide(&path).unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn removing_a_file_that_is_not_there_is_a_success() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old", Access::Private).unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn the_kernels_refusal_to_write_more_bytes_leaves_the_old_content_intact() {
        if let Some(path) = std::env::var_os(LIMITED_FILE) {
            return write_under_a_limit(Path::new(&path));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old", Access::Private).unwrap();
        // The limit holds for a whole process, so a child of this very test takes it.
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durable::tests::the_kernels_refusal_to_write_more_bytes_leaves_the_old_content_intact"])
            .env(LIMITED_FILE, &path)
            .output()
            .unwrap();
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    fn write_under_a_limit(path: &Path) {
        // Without a handler the kernel ends the process instead of failing the write.
        signal_hook::flag::register(nix::libc::SIGXFSZ, std::sync::Arc::default()).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, 4096, 4096).unwrap();
        let error = replace(path, &[b'x'; 8192], Access::Private).unwrap_err();
        assert!(
            matches!(&error, Error::Replace { source, .. } if source.raw_os_error() == Some(nix::libc::EFBIG))
        );
    }
}
