//! Files of the owner: replaced whole and durably, private unless said otherwise. The only place that writes files.
use crate::error::Error;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file that is read whole, bytes: kits, certificates and bundles are far smaller.
const LARGEST: u64 = 1 << 20;

/// Age at which a half-written file is nobody's any more; writing one takes milliseconds.
const STALE: Duration = Duration::from_secs(600);

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The owner alone (0600).
    Private,
    /// Everybody (0644): certificates and configuration without secrets.
    Public,
}

/// Makes a folder that only the owner may enter (0700), with its parents.
pub(crate) fn private_folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
}

/// Replaces a file as a whole: a reader or a power cut sees the old or the new content, never a part.
pub(crate) fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let fault = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| fault(std::io::ErrorKind::InvalidInput.into()))?;
    remove_stale(folder, name);
    let mut temporary = name.to_owned();
    let number = u64::from_be_bytes(crate::random::octets()?);
    temporary.push(format!(".{number:016x}.new"));
    let temporary: PathBuf = folder.join(temporary);
    let mode = match access {
        Access::Private => 0o600,
        Access::Public => 0o644,
    };
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            // The umask may have taken from it what a broker has to read.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            // On a stick with FAT the size is kept beside the name: it is 0 under the new one until it is synced again.
            file.sync_all()
        })
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // What is left of a failed attempt may hold a key.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(fault)
}

/// Removes what attempts that were killed have left of this file: it may hold a key. What is young may be another process's attempt.
fn remove_stale(folder: &Path, name: &OsStr) {
    let Some(name) = name.to_str() else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let is_attempt = found.to_str().is_some_and(|found| {
            found
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".new"))
                .is_some_and(|middle| {
                    !middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_hexdigit())
                })
        });
        let age = entry.metadata().and_then(|found| found.modified());
        if is_attempt && age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE)) {
            // What cannot be removed stands in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Takes the lock of which one process at a time may hold; `None` when another does. It ends with the process.
pub(crate) fn lock(path: &Path) -> Result<Option<File>, Error> {
    let fault = |errno: Errno| Error::Write {
        path: path.to_owned(),
        source: errno.into(),
    };
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path);
    let file = file.map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(Some(file)),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(errno) => Err(fault(errno)),
    }
}

/// Whether a process holds [`lock`]. It only asks: one that is about to take the lock is not put off by the question.
pub(crate) fn is_locked(path: &Path) -> Result<bool, Error> {
    let fault = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(fault)?,
    };
    let mut found = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)).map_err(|errno| fault(errno.into()))?;
    Ok(i32::from(found.l_type) != nix::libc::F_UNLCK)
}

/// A lock of everything in a file against everybody, which belongs to the open file (fcntl(2), "open file description
/// locks"): unlike those of flock(2) it can be asked for without being taken.
#[expect(
    clippy::cast_possible_truncation,
    reason = "constants of the kernel's interface, below 3"
)]
fn whole_file() -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Reads a file of at most 1 MiB as text.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let fault = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(fault)?.len();
    if size > LARGEST {
        return Err(Error::File {
            path: path.to_owned(),
            reason: "it is larger than 1 MiB".into(),
        });
    }
    fs::read_to_string(path).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_the_owners_alone_and_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("kit");
        for content in ["first", "second"] {
            replace(&path, content.as_bytes(), Access::Private).expect("written");
            assert_eq!(read_text(&path).expect("read"), content);
        }
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }

    #[test]
    fn a_lock_is_one_processs_and_asking_for_it_puts_nobody_off() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        assert!(!is_locked(&path).expect("asked"));
        let held = lock(&path).expect("taken");
        assert!(held.is_some());
        assert!(lock(&path).expect("asked").is_none());
        // The first who asks is not the reason for what the second hears.
        assert!(is_locked(&path).expect("asked") && is_locked(&path).expect("asked"));
        drop(held);
        assert!(!is_locked(&path).expect("asked"));
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    is_locked(&path).expect("asked");
                }
            });
            let all = (0..2_000).all(|_| lock(&path).expect("taken").is_some());
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(all, "a question stood in the way");
        });
    }

    #[test]
    fn what_a_killed_attempt_left_is_removed_and_a_young_one_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["kit.17.new", "kit.18.new", "kit.old.new", "other.17.new"] {
            fs::write(at(name), "half").expect("written");
        }
        let long_ago = std::time::SystemTime::now() - 2 * STALE;
        for name in ["kit.17.new", "kit.old.new", "other.17.new"] {
            let file = File::options().write(true).open(at(name)).expect("opened");
            file.set_modified(long_ago).expect("aged");
        }
        replace(&at("kit"), b"whole", Access::Private).expect("written");
        assert!(!at("kit.17.new").exists());
        for name in ["kit", "kit.18.new", "kit.old.new", "other.17.new"] {
            assert!(at(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_public_file_is_readable_whatever_the_umask() {
        crate::privacy::protect().expect("protected");
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ca.crt");
        replace(&path, b"CA", Access::Public).expect("written");
        let mode = fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn a_lock_is_held_by_one_and_free_again_when_that_one_ends() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        let held = lock(&path).expect("asked");
        assert!(held.is_some());
        assert!(lock(&path).expect("asked").is_none());
        drop(held);
        assert!(lock(&path).expect("asked").is_some());
    }

    #[test]
    fn a_folder_that_is_missing_is_named_in_the_error() {
        let error =
            replace(Path::new("/nonexistent/kit"), b"", Access::Private).expect_err("refused");
        assert!(error.to_string().contains("/nonexistent/kit"), "{error}");
    }
}
