//! SQLite databases in use, copied as one consistent state by SQLite itself. Never writes to what it copies.

use crate::crypto;
use crate::os::source;
use crate::tree::NodeKind;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fd::OwnedFd;
use rustix::fs::Stat;
use rustix::process::{Gid, Uid};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How an SQLite database begins (sqlite.org/fileformat2.html, 1.3).
pub(super) const HEADER: &[u8; 16] = b"SQLite format 3\0";
/// What SQLite puts beside a database: changes not yet in it, changes not yet certain, and an index of the first.
const COMPANIONS: [&[u8]; 3] = [b"-wal", b"-journal", b"-shm"];
/// How long somebody else's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a copy may take: in the older journal modes nobody can write meanwhile.
const COPY_LIMIT: Duration = Duration::from_secs(30);
/// How often it is asked whether the copy is still wanted.
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// Pages copied between two looks at the clock.
const PAGES: i32 = 1024;

/// Why there is no consistent copy.
#[derive(Debug)]
pub(super) enum Failed {
    /// SQLite says that it is none of its databases, or a damaged one: its bytes are all there is.
    NotADatabase,
    /// It is one, and could not be copied.
    Refused(String),
    /// Somebody wants the whole run to end.
    Stopped,
}

/// Does the file begin as a database?
pub(super) fn is_database(file: &File) -> bool {
    let mut start = [0; HEADER.len()];
    file.read_exact_at(&mut start, 0).is_ok() && start == *HEADER
}

/// The database that a file of this name would belong to.
pub(super) fn base_of(name: &[u8]) -> Option<&[u8]> {
    COMPANIONS.iter().find_map(|end| name.strip_suffix(*end))
}

/// Is it the name of something that belongs to a file beside it?
pub(super) fn is_companion(folder: &OwnedFd, name: &[u8]) -> bool {
    base_of(name).is_some_and(|base| source::stat(folder, base).is_ok())
}

/// The names that SQLite uses beside a database.
pub(super) fn companions(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    COMPANIONS.iter().map(move |end| [name, *end].concat())
}

/// Does a file of that name and size hold changes of a database that may not be in it?
pub(super) fn is_log(name: &[u8], stat: &Stat) -> bool {
    stat.st_size > 0
        && source::kind(stat) == NodeKind::File
        && base_of(name).is_some()
        && !name.ends_with(b"-shm")
}

/// Is there such a file beside a database?
pub(super) fn has_log(folder: &OwnedFd, name: &[u8]) -> bool {
    companions(name).any(|log| source::stat(folder, &log).is_ok_and(|stat| is_log(&log, &stat)))
}

/// Copies the database at an absolute path without links, under its owner's rights. The copy is a file that has no name any
/// more; `scratch` is where it lies, or the system's folder for such things. `stop` is asked while it lasts.
pub(super) fn copy(
    path: &Path,
    owner: &Stat,
    scratch: Option<&Path>,
    stop: &mut dyn FnMut() -> bool,
) -> Result<File, Failed> {
    let (mut into, copy) = place(scratch)?;
    let owner = (owner.st_uid, owner.st_gid);
    let stopped = AtomicBool::new(stop());
    let (ends, ended) = mpsc::channel::<()>();
    // A thread, because it alone takes on the owner's rights: whoever may write the folder may also put a link there.
    std::thread::scope(|scope| {
        let copying = std::thread::Builder::new()
            .spawn_scoped(scope, || {
                // However the thread ends, this is dropped, and the other end of it notices.
                let _ends = ends;
                become_owner(owner)?;
                transfer(path, &mut into, &stopped)
            })
            .map_err(|error| Failed::Refused(format!("no thread for copying it: {error}")))?;
        while ended.recv_timeout(ASKED_EVERY) == Err(RecvTimeoutError::Timeout) {
            if stop() {
                stopped.store(true, Ordering::Release);
            }
        }
        copying
            .join()
            .unwrap_or_else(|_| Err(Failed::Refused("copying it failed in SQLite".into())))
    })?;
    drop(into);
    Ok(copy)
}

/// An empty database without a name, and its file.
fn place(scratch: Option<&Path>) -> Result<(Connection, File), Failed> {
    let no_room = |error: &dyn std::fmt::Display| {
        Failed::Refused(format!("no room for a copy of it: {error}"))
    };
    let path = match scratch {
        Some(folder) => folder.join("database"),
        None => unused().map_err(|error| no_room(&error))?,
    };
    let mut how = OpenOptions::new();
    how.read(true).write(true).mode(0o600);
    // In our own folder a copy may be left of a run that died.
    let file = match scratch {
        Some(_) => how.create(true).truncate(true).open(&path),
        None => how.create_new(true).open(&path),
    };
    let file = file.map_err(|error| no_room(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags).and_then(|connection| {
        // It must never open another file: by then it has the rights of somebody else.
        connection.execute_batch(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY",
        )?;
        Ok(connection)
    });
    let removed = std::fs::remove_file(&path);
    let connection = opened.map_err(|error| no_room(&error))?;
    removed.map_err(|error| no_room(&error))?;
    Ok((connection, file))
}

fn unused() -> crate::error::Result<PathBuf> {
    let mut random = [0; 8];
    crypto::fill_random(&mut random)?;
    let number = u64::from_le_bytes(random);
    Ok(std::env::temp_dir().join(format!("homing-copy-{number:016x}")))
}

/// Gives this thread the rights of a file's owner and no others, if we are root and the owner is not.
fn become_owner((uid, gid): (u32, u32)) -> Result<(), Failed> {
    if !rustix::process::geteuid().is_root() || uid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[gid])
        .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .map_err(|errno| Failed::Refused(format!("its owner's rights cannot be taken on: {errno}")))
}

fn transfer(path: &Path, into: &mut Connection, stopped: &AtomicBool) -> Result<(), Failed> {
    let began = Instant::now();
    // Read only: nothing is rolled back, checkpointed or removed by us.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let from = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    from.busy_timeout(ASKED_EVERY)
        .map_err(|error| failed(&error))?;
    // One transaction around all steps: whatever is committed meanwhile, they see one state and never begin again.
    from.execute_batch("BEGIN")
        .map_err(|error| failed(&error))?;
    while let Err(error) = from.execute_batch("PRAGMA schema_version") {
        let is_locked = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if stopped.load(Ordering::Acquire) {
            return Err(Failed::Stopped);
        }
        if !is_locked || began.elapsed() >= LOCK_WAIT {
            return Err(failed(&error));
        }
    }
    let backup = Backup::new(&from, into).map_err(|error| failed(&error))?;
    loop {
        match backup.step(PAGES).map_err(|error| failed(&error))? {
            StepResult::Done => return Ok(()),
            StepResult::More if stopped.load(Ordering::Acquire) => return Err(Failed::Stopped),
            StepResult::More if began.elapsed() < COPY_LIMIT => {}
            StepResult::More => {
                let seconds = COPY_LIMIT.as_secs();
                return Err(Failed::Refused(format!(
                    "copying it takes longer than {seconds} s"
                )));
            }
            _ => return Err(Failed::Refused("another program keeps it locked".into())),
        }
    }
}

fn failed(error: &rusqlite::Error) -> Failed {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Failed::NotADatabase,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failed::Refused("another program keeps it locked".into())
        }
        _ => Failed::Refused(format!("SQLite cannot copy it: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_a_database_are_known() {
        assert_eq!(base_of(b"a.db-wal"), Some(&b"a.db"[..]));
        assert_eq!(base_of(b"a.db"), None);
        let names: Vec<_> = companions(b"a").collect();
        assert_eq!(names, [&b"a-wal"[..], b"a-journal", b"a-shm"]);
        assert!(names.iter().all(|name| base_of(name) == Some(b"a")));
    }

    #[test]
    fn what_only_begins_as_a_database_is_told_from_one_that_cannot_be_copied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("x");
        let stat = |path: &Path| rustix::fs::stat(path).unwrap();
        std::fs::write(&path, [&HEADER[..], &[7; 5000]].concat()).unwrap();
        let copied = copy(&path, &stat(&path), None, &mut || false);
        assert!(matches!(copied, Err(Failed::NotADatabase)), "{copied:?}");
        std::fs::remove_file(&path).unwrap();
        let real = Connection::open(&path).unwrap();
        real.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)")
            .unwrap();
        let mut bytes = Vec::new();
        let scratch = Some(folder.path());
        let mut copied = copy(&path, &stat(&path), scratch, &mut || false).unwrap();
        std::io::Read::read_to_end(&mut copied, &mut bytes).unwrap();
        assert!(bytes.starts_with(HEADER) && bytes.len() == 8192);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left"
        );
        let missing = folder.path().join("gone");
        assert!(matches!(
            copy(&missing, &stat(&path), None, &mut || false),
            Err(Failed::Refused(_))
        ));
        // Somebody who keeps it locked is waited for, but not by somebody who wants to leave.
        real.execute_batch("BEGIN EXCLUSIVE").unwrap();
        // Whoever waited to the end would hear that it is locked.
        let stopped = copy(&path, &stat(&path), None, &mut || true);
        assert!(matches!(stopped, Err(Failed::Stopped)), "{stopped:?}");
    }
}
