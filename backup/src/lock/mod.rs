//! Locks: who is at work in a repository, as restic notes it. Never removes the lock of somebody who may be alive, and never lets one of somebody dead block for ever.
//!
//! Who runs on this machine is judged by its process; others by the age of their lock, and that by the store's own clock
//! alone: it has dated both their lock and the one we have just written. A clock of ours that is wrong changes nothing.

mod holder;
mod renewal;
mod unlock;

use crate::absent::or_nothing;
use crate::clock::Clock;
use crate::crypto::Key;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::os::identity::{Names, hostname, own_ids};
use crate::repository::{self, Repository};
use crate::store::{Class, Kind, Name, Store};
use crate::timestamp::Timestamp;
use holder::{Holder, STALE_SECONDS, Verdict};
use renewal::{Current, Renewing};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

pub use unlock::{Unlocked, Which, unlock};

/// How often a lock is renewed; restic calls one of 30 minutes stale.
pub const RENEWAL: Duration = Duration::from_secs(5 * 60);

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
    #[serde(default, deserialize_with = "or_nothing")]
    hostname: String,
    #[serde(default, deserialize_with = "or_nothing")]
    username: String,
    pid: u32,
    #[serde(default, deserialize_with = "or_nothing")]
    uid: u32,
    #[serde(default, deserialize_with = "or_nothing")]
    gid: u32,
    /// What only our own locks say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    homing: Option<Holder>,
}

impl LockFile {
    fn ours(sharing: Sharing, now: Timestamp) -> Self {
        let (uid, gid) = own_ids();
        Self {
            time: now,
            exclusive: sharing == Sharing::Exclusive,
            hostname: hostname(),
            username: Names::read(Path::new("/")).user(uid).to_owned(),
            pid: std::process::id(),
            uid,
            gid,
            homing: Some(Holder::ourselves()),
        }
    }

    /// Reads an opened lock.
    fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(|source| Error::Json {
            what: "a lock",
            source,
        })
    }

    fn excludes(&self, other: &Self) -> bool {
        self.exclusive || other.exclusive
    }

    /// What we, who wrote `ours`, know of this lock's holder.
    fn judge(&self, ours: &Self, dead: Option<u32>) -> Verdict {
        match (&self.homing, &ours.homing) {
            _ if self.hostname == ours.hostname && dead == Some(self.pid) => Verdict::Dead,
            (Some(theirs), Some(us)) => theirs.judge(self.pid, us),
            _ => holder::judge_by_name(&self.hostname, self.pid, &ours.hostname),
        }
    }

    fn locked(&self) -> Error {
        Error::Locked {
            pid: self.pid,
            user: self.username.clone(),
            host: self.hostname.clone(),
            since: self.time.to_string(),
        }
    }
}

/// Reads a lock's JSON; for what looks at bytes that nobody vouched for.
///
/// # Errors
/// It is none.
pub fn check_json(json: &[u8]) -> Result<()> {
    LockFile::parse(json).map(drop)
}

/// A lock file that is there until this is dropped.
struct Held<'r> {
    store: &'r dyn Store,
    current: Arc<Mutex<Current>>,
    renewing: Option<Renewing>,
    stays: bool,
}

impl Held<'_> {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> Name {
        Name::File(Kind::Lock, self.current().id)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // First, so that it writes no other lock afterwards.
        self.renewing = None;
        if !self.stays {
            self.current().sweep(self.store);
            // Whoever finds it later knows that we are gone.
            let _ = self.store.remove(self.name());
        }
    }
}

/// A lock we hold. It is given back with [`Lock::release`], or when it is dropped, whichever way the work ended; if we die,
/// the next run of this machine removes it. Where the store can be used by a second thread, one renews the lock, so that no
/// single operation takes too long for it.
pub struct Lock<'r, S> {
    repository: &'r Repository<S>,
    held: Held<'r>,
}

impl<S> std::fmt::Debug for Lock<'_, S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Lock({})", self.held.name())
    }
}

/// A lock taken, and what was found on the way.
#[derive(Debug)]
pub struct Taken<'r, S> {
    /// The lock.
    pub lock: Lock<'r, S>,
    /// Locks of the dead that were removed: their work may be unfinished.
    pub abandoned: usize,
}

impl<'r, S: Store> Lock<'r, S> {
    /// Takes a lock, after removing what the dead left. `dead` is a process number of this machine known to be of the past,
    /// whoever carries it now.
    ///
    /// # Errors
    /// [`Error::Locked`] by somebody else, [`Error::UnreadableLock`], or the store fails.
    pub fn take(
        repository: &'r Repository<S>,
        sharing: Sharing,
        clock: &dyn Clock,
        dead: Option<u32>,
    ) -> Result<Taken<'r, S>> {
        let file = LockFile::ours(sharing, clock.now());
        // Who is certainly at work is not to be disturbed by a lock of ours.
        for (_, other) in others(repository, None)? {
            if let Ok(other) = other
                && other.judge(&file, dead) == Verdict::Alive
                && other.excludes(&file)
            {
                return Err(other.locked());
            }
        }
        let mut lock = Self::write(repository, file)?;
        // Somebody may have looked before our lock was there, while we looked before theirs was: now both see both.
        let abandoned = lock.make_way(dead)?;
        lock.renew_every(RENEWAL);
        Ok(Taken { lock, abandoned })
    }

    /// Lets the second thread renew the lock so often from now on.
    pub fn renew_every(&mut self, time: Duration) {
        // One at a time.
        self.held.renewing = None;
        let current = Arc::clone(&self.held.current);
        let key = self.repository.key().clone();
        let beside = self.repository.store().beside();
        self.held.renewing = beside.and_then(|store| Renewing::start(store, key, current, time));
    }

    fn write(repository: &'r Repository<S>, file: LockFile) -> Result<Self> {
        let (id, sealed) = sealed(repository.key(), &file)?;
        repository
            .store()
            .put(Name::File(Kind::Lock, id), &sealed)?;
        let held = Held {
            store: repository.store(),
            current: Arc::new(Mutex::new(Current::new(id, file))),
            renewing: None,
            stays: false,
        };
        Ok(Self { repository, held })
    }

    /// Removes the locks of the dead and returns how many those were.
    fn make_way(&self, dead: Option<u32>) -> Result<usize> {
        let now = self.written()?;
        let ours = self.held.current().file.clone();
        let mut abandoned = 0;
        for (id, other) in others(self.repository, Some(self.id()))? {
            let limit = match other.as_ref().map(|other| other.judge(&ours, dead)) {
                Ok(Verdict::Dead) => i64::MIN,
                Ok(Verdict::Alive) => i64::MAX,
                Ok(Verdict::StaleAfter(seconds)) => seconds,
                // Whoever lives writes a new one in time.
                Err(_) => STALE_SECONDS,
            };
            if limit == i64::MIN || self.is_older(id, now, limit)? {
                gone(self.repository.store().remove(Name::File(Kind::Lock, id)))?;
                abandoned += 1;
                continue;
            }
            match other {
                Ok(other) if other.excludes(&ours) => return Err(other.locked()),
                Ok(_) => {}
                // An upload that is under way, or was cut off; of what is at work otherwise nothing is known.
                Err(Unreadable::Empty) => {}
                Err(Unreadable::Damaged(how)) => {
                    return Err(Error::UnreadableLock { lock: id, how });
                }
            }
        }
        Ok(abandoned)
    }

    /// When the store says that our lock was written.
    fn written(&self) -> Result<Option<Timestamp>> {
        // Held until the answer is there: a lock that is renewed meanwhile has another name.
        let current = self.held.current();
        let name = Name::File(Kind::Lock, current.id);
        Ok(self.repository.store().written(name)?)
    }

    fn id(&self) -> Id {
        self.held.current().id
    }

    /// By the store's clock, is that lock older than ours by so many seconds?
    fn is_older(&self, id: Id, now: Option<Timestamp>, seconds: i64) -> Result<bool> {
        let (Some(now), true) = (now, seconds < i64::MAX) else {
            return Ok(false);
        };
        match self.repository.store().written(Name::File(Kind::Lock, id)) {
            Ok(then) => Ok(then.is_some_and(|then| now.seconds_since(then) >= seconds)),
            Err(error) if error.class == Class::Missing => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What time the store has, if it tells: that of our lock, which must be fresh.
    ///
    /// # Errors
    /// The store fails.
    pub fn store_time(&self) -> Result<Option<Timestamp>> {
        self.written()
    }

    /// Renews the lock when it is due and no second thread does. To be called now and then, and after all that takes long.
    ///
    /// # Errors
    /// [`Error::LockLost`], or the store fails; the old lock is then still there.
    pub fn refresh(&mut self, clock: &dyn Clock) -> Result<()> {
        let mut current = match self.held.current.try_lock() {
            Ok(current) => current,
            // It is being renewed.
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let now = clock.now();
        let age = now.seconds_since(current.file.time).unsigned_abs();
        if age < RENEWAL.as_secs() && !current.is_lost() {
            return Ok(());
        }
        current.renew(self.repository.store(), self.repository.key(), now)
    }

    /// Makes sure that nobody took us for dead: they may have removed what we count on. To be called before anything is
    /// written that others will rely on.
    ///
    /// # Errors
    /// [`Error::LockLost`], or the store fails.
    pub fn confirm(&self) -> Result<()> {
        self.held.current().confirm(self.repository.store())
    }

    /// Lets the lock stay when it is dropped, as if we had died: whoever finds it looks for unfinished work.
    pub const fn leave(&mut self) {
        self.held.stays = true;
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// The store fails; the lock stays until it is seen to be abandoned.
    pub fn release(mut self) -> Result<()> {
        self.held.stays = true;
        self.held.renewing = None;
        self.held.current().sweep(self.repository.store());
        gone(self.repository.store().remove(self.held.name()))
    }
}

/// Why a lock tells nothing.
enum Unreadable {
    /// An upload that was cut off, or is under way.
    Empty,
    /// It is no lock.
    Damaged(String),
}

/// All locks but one, each read or with the reason why not.
fn others<S: Store>(
    repository: &Repository<S>,
    own: Option<Id>,
) -> Result<Vec<(Id, Result<LockFile, Unreadable>)>> {
    let mut found = Vec::new();
    for (id, size) in repository.list(Kind::Lock)? {
        if Some(id) == own {
            continue;
        }
        if size == 0 {
            found.push((id, Err(Unreadable::Empty)));
            continue;
        }
        let read = repository.load_file(Kind::Lock, id);
        match read.and_then(|json| LockFile::parse(&json)) {
            Ok(file) => found.push((id, Ok(file))),
            // Released since it was listed.
            Err(Error::Store(error)) if error.class == Class::Missing => {}
            Err(Error::Store(error)) => return Err(error.into()),
            Err(error) => found.push((id, Err(Unreadable::Damaged(error.to_string())))),
        }
    }
    Ok(found)
}

fn sealed(key: &Key, file: &LockFile) -> Result<(Id, Vec<u8>)> {
    let json = serde_json::to_vec(file).map_err(|source| Error::Json {
        what: "a lock",
        source,
    })?;
    repository::sealed(key, &json)
}

/// Somebody else was quicker to remove it.
fn gone(removed: Result<(), crate::store::StoreError>) -> Result<()> {
    match removed {
        Err(error) if error.class == Class::Missing => Ok(()),
        other => Ok(other?),
    }
}
