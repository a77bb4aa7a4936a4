//! Locks: who is at work in a repository, as restic notes it. Never removes the lock of somebody who may be alive.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::identity::{Names, hostname, own_ids, process_exists};
use crate::repository::Repository;
use crate::store::{Kind, Name, Store};
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A lock is renewed after this many seconds; restic calls one of 30 minutes stale.
const REFRESH_SECONDS: i64 = 5 * 60;

/// May others work at the same time?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Yes: we only add.
    Shared,
    /// No: we remove.
    Exclusive,
}

/// A lock file's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LockFile {
    time: Timestamp,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

impl LockFile {
    /// A dead process of this machine left it.
    fn is_abandoned(&self, here: &str, dead: Option<u32>) -> bool {
        self.hostname == here && (dead == Some(self.pid) || !process_exists(self.pid))
    }
}

/// A lock we hold. Give it back with [`Lock::release`]; if we die, the next run of this machine removes it.
#[derive(Debug)]
pub struct Lock {
    id: Id,
    file: LockFile,
}

/// A lock taken, and what was found on the way.
#[derive(Debug)]
pub struct Taken {
    /// The lock.
    pub lock: Lock,
    /// Locks of dead processes of this machine that were removed: their work may be unfinished.
    pub abandoned: usize,
}

impl Lock {
    /// Takes a lock, after removing what dead processes of this machine left. `dead` is a process number known to be of the
    /// past, whoever carries it now: after a restart numbers are given out anew.
    ///
    /// # Errors
    /// [`Error::Locked`] by somebody else, or the store fails.
    pub fn take<S: Store>(
        repository: &Repository<S>,
        sharing: Sharing,
        clock: &dyn Clock,
        dead: Option<u32>,
    ) -> Result<Taken> {
        let host = hostname();
        let (uid, gid) = own_ids();
        let names = Names::read(Path::new("/"));
        let file = LockFile {
            time: clock.now(),
            exclusive: sharing == Sharing::Exclusive,
            hostname: host,
            username: names.user(uid).to_owned(),
            pid: std::process::id(),
            uid,
            gid,
        };
        let abandoned = look(repository, &file, None, dead)?;
        let id = write(repository, &file)?;
        let lock = Self { id, file };
        // Somebody may have looked before our lock was there, while we looked before theirs was.
        if let Err(error) = look(repository, &lock.file, Some(id), dead) {
            lock.release(repository)?;
            return Err(error);
        }
        Ok(Taken { lock, abandoned })
    }

    /// Renews the lock when it is due. To be called now and then.
    ///
    /// # Errors
    /// The store fails; the old lock is still there.
    pub fn refresh<S: Store>(
        &mut self,
        repository: &Repository<S>,
        clock: &dyn Clock,
    ) -> Result<()> {
        let now = clock.now();
        if now.seconds_since(self.file.time).abs() < REFRESH_SECONDS {
            return Ok(());
        }
        self.file.time = now;
        let old = std::mem::replace(&mut self.id, write(repository, &self.file)?);
        if old == self.id {
            return Ok(());
        }
        repository
            .store()
            .remove(Name::File(Kind::Lock, old))
            .map_err(Error::from)
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// The store fails; the lock stays until it is seen to be abandoned.
    pub fn release<S: Store>(self, repository: &Repository<S>) -> Result<()> {
        repository
            .store()
            .remove(Name::File(Kind::Lock, self.id))
            .map_err(Error::from)
    }
}

fn write<S: Store>(repository: &Repository<S>, file: &LockFile) -> Result<Id> {
    let json = serde_json::to_vec(file).map_err(|source| Error::Json {
        what: "a lock",
        source,
    })?;
    repository.save_file(Kind::Lock, &json)
}

/// Looks for locks that exclude ours and removes abandoned ones; returns how many those were.
fn look<S: Store>(
    repository: &Repository<S>,
    ours: &LockFile,
    own: Option<Id>,
    dead: Option<u32>,
) -> Result<usize> {
    let mut abandoned = 0;
    for (id, size) in repository.list(Kind::Lock)? {
        // An empty file is an upload that was cut off.
        if Some(id) == own || size == 0 {
            continue;
        }
        let json = match repository.load_file(Kind::Lock, id) {
            Ok(json) => json,
            // Released since it was listed.
            Err(Error::Store(error)) if error.class == crate::store::Class::Missing => continue,
            Err(error) => return Err(error),
        };
        let other: LockFile = serde_json::from_slice(&json).map_err(|source| Error::Json {
            what: "a lock",
            source,
        })?;
        if other.is_abandoned(&ours.hostname, dead) {
            repository.store().remove(Name::File(Kind::Lock, id))?;
            abandoned += 1;
        } else if other.exclusive || ours.exclusive {
            return Err(Error::Locked {
                pid: other.pid,
                user: other.username,
                host: other.hostname,
                since: other.time.to_string(),
            });
        }
    }
    Ok(abandoned)
}
