//! A lock that is renewed while its holder is busy with one long operation, by a thread of its own. Gives no lock back and judges no other.

use super::{LockFile, sealed};
use crate::clock::{Clock, SystemClock};
use crate::crypto::Key;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::store::{Class, Kind, Name, Store};
use crate::timestamp::Timestamp;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// What could not be renewed is tried again after this part of the usual time: six attempts before others may take us for dead.
const PART: u32 = 10;

/// The lock as it lies in the store now.
pub(super) struct Current {
    pub(super) id: Id,
    pub(super) file: LockFile,
    /// Somebody took it away.
    lost: bool,
    /// Others of ours that may be there still: an answer was lost, or one was not to be removed.
    left: Vec<Id>,
}

impl Current {
    pub(super) const fn new(id: Id, file: LockFile) -> Self {
        Self {
            id,
            file,
            lost: false,
            left: Vec::new(),
        }
    }

    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Is it still there?
    pub(super) fn confirm(&mut self, store: &dyn Store) -> Result<()> {
        if self.lost {
            return Err(Error::LockLost);
        }
        match store.size(Name::File(Kind::Lock, self.id)) {
            Err(error) if error.class == Class::Missing => {
                self.lost = true;
                Err(Error::LockLost)
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Writes it anew, then removes the old one: there is always one.
    pub(super) fn renew(&mut self, store: &dyn Store, key: &Key, now: Timestamp) -> Result<()> {
        self.confirm(store)?;
        self.sweep(store);
        let mut file = self.file.clone();
        file.time = now;
        let (id, sealed) = sealed(key, &file)?;
        // Until its writing was acknowledged nobody knows whether it is there.
        self.left.push(id);
        store.put(Name::File(Kind::Lock, id), &sealed)?;
        self.left.pop();
        self.file = file;
        let old = std::mem::replace(&mut self.id, id);
        match store.remove(Name::File(Kind::Lock, old)) {
            Err(error) if error.class == Class::Missing => {
                self.lost = true;
                Err(Error::LockLost)
            }
            Err(error) => {
                self.left.push(old);
                Err(error.into())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Removes what may be left of earlier renewals, as far as that works.
    pub(super) fn sweep(&mut self, store: &dyn Store) {
        self.left
            .retain(|id| match store.remove(Name::File(Kind::Lock, *id)) {
                Err(error) => error.class != Class::Missing,
                Ok(()) => false,
            });
    }
}

/// The thread that renews a lock; it has ended when this is dropped.
pub(super) struct Renewing {
    /// Closed when it is to end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Renewing {
    /// Begins; `None` where there is no thread to be had, and the holder renews between two operations.
    pub(super) fn start(
        store: Box<dyn Store + Send>,
        key: Key,
        current: Arc<Mutex<Current>>,
        every: Duration,
    ) -> Option<Self> {
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            let mut pause = every;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
                pause = match current.renew(&*store, &key, SystemClock.now()) {
                    Ok(()) => every,
                    // The holder is told when it asks.
                    Err(Error::LockLost) => return,
                    Err(_) => every / PART,
                };
            }
        };
        let thread = Builder::new().name("lock".into()).spawn(work).ok()?;
        Some(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // One that failed renews nothing any more either.
            let _ = thread.join();
        }
    }
}
