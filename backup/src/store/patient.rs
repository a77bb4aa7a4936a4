//! A store that tries again what may succeed later: with growing pauses, up to a deadline. Knows no network and reads no clock.

use super::{Class, Kind, Name, Store, StoreError};
use crate::id::Id;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// The first pause; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether somebody who waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// The time has passed.
    On,
    /// Somebody wants it to end.
    Stop,
}

/// Somebody who can wait.
pub trait Patience {
    /// Time since some moment, never going back.
    fn now(&self) -> Duration;
    /// Waits before another attempt, and may tell why.
    fn wait(&self, time: Duration, because: &StoreError) -> Going;
}

/// Tries temporary failures of another store again.
#[derive(Clone, Debug)]
pub struct PatientStore<S, P> {
    store: S,
    patience: P,
    limit: Duration,
}

impl<S, P> PatientStore<S, P> {
    /// Gives up `limit` after an operation's first failure.
    #[must_use]
    pub const fn new(store: S, patience: P, limit: Duration) -> Self {
        Self {
            store,
            patience,
            limit,
        }
    }
}

impl<S: Store, P: Patience> PatientStore<S, P> {
    fn attempt<T>(
        &self,
        mut operation: impl FnMut(&S) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut pause = FIRST_PAUSE;
        let mut deadline = None;
        loop {
            let failed = match operation(&self.store) {
                Err(error) if error.class == Class::Temporary => error,
                done => return done,
            };
            let now = self.patience.now();
            let deadline = *deadline.get_or_insert(now + self.limit);
            if now + pause > deadline || self.patience.wait(pause, &failed) == Going::Stop {
                return Err(failed);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl<S: Store, P: Patience> Store for PatientStore<S, P> {
    fn prepare(&self) -> Result<(), StoreError> {
        self.attempt(S::prepare)
    }

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        // Kept back until it is whole: half a listing must not be told twice.
        let found = self.attempt(|store| {
            let mut found = Vec::new();
            store.list(kind, &mut |id, size| found.push((id, size)))?;
            Ok(found)
        })?;
        for (id, size) in found {
            each(id, size);
        }
        Ok(())
    }

    fn size(&self, name: Name) -> Result<u64, StoreError> {
        self.attempt(|store| store.size(name))
    }

    fn written(&self, name: Name) -> Result<Option<Timestamp>, StoreError> {
        self.attempt(|store| store.written(name))
    }

    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
        self.attempt(|store| store.get(name))
    }

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.attempt(|store| store.get_range(name, offset, length, buffer))
    }

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        self.attempt(|store| store.put(name, bytes))
    }

    fn settle(&self, name: Name) -> Result<(), StoreError> {
        self.attempt(|store| store.settle(name))
    }

    fn tidy(&self) -> Result<(), StoreError> {
        self.attempt(S::tidy)
    }

    fn remove(&self, name: Name) -> Result<(), StoreError> {
        let mut earlier = false;
        let removed = self.attempt(|store| {
            let removed = store.remove(name);
            earlier |= removed
                .as_ref()
                .is_err_and(|error| error.class == Class::Temporary);
            removed
        });
        match removed {
            // The attempt whose answer was lost has done it.
            Err(error) if earlier && error.class == Class::Missing => Ok(()),
            other => other,
        }
    }

    fn beside(&self) -> Option<Box<dyn Store + Send>> {
        self.store.beside()
    }

    fn ahead(&self) -> Option<Box<dyn Store + Send>> {
        self.store.ahead()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, MemoryStore};
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    /// Waits without time passing for anybody else.
    #[derive(Clone, Default)]
    struct Fast {
        now: Rc<Cell<Duration>>,
        waits: Rc<RefCell<Vec<Duration>>>,
        stop: bool,
    }

    impl Patience for Fast {
        fn now(&self) -> Duration {
            self.now.get()
        }

        fn wait(&self, time: Duration, _: &StoreError) -> Going {
            self.now.set(self.now.get() + time);
            self.waits.borrow_mut().push(time);
            if self.stop { Going::Stop } else { Going::On }
        }
    }

    fn name() -> Name {
        Name::File(Kind::Index, Id::of(b"x"))
    }

    #[test]
    fn a_patient_store_conforms() {
        super::super::conformance::check(&|_| {
            PatientStore::new(MemoryStore::default(), Fast::default(), LONGEST_PAUSE)
        })
        .unwrap();
    }

    #[test]
    fn what_fails_for_a_while_is_tried_again_with_growing_pauses() {
        let (memory, fast) = (MemoryStore::default(), Fast::default());
        let store = PatientStore::new(memory.clone(), fast.clone(), Duration::from_secs(100));
        memory.inject(Fault::FailOnce(0, Class::Temporary));
        store.put(name(), b"x").unwrap();
        assert_eq!(*fast.waits.borrow(), [FIRST_PAUSE]);
        assert_eq!(memory.get(name()).unwrap(), b"x");
    }

    #[test]
    fn after_the_deadline_it_is_given_up_having_waited_and_not_spun() {
        let (memory, fast) = (MemoryStore::default(), Fast::default());
        let store = PatientStore::new(memory.clone(), fast.clone(), Duration::from_secs(100));
        memory.inject(Fault::FailFrom(0, Class::Temporary));
        let failed = store.put(name(), b"x").unwrap_err();
        assert_eq!(failed.class, Class::Temporary);
        assert!(fast.now.get() <= Duration::from_secs(100));
        assert!(memory.changes() < 12, "{} attempts", memory.changes());
        let waits = fast.waits.borrow();
        assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]));
    }

    #[test]
    fn what_waiting_cannot_mend_is_reported_at_once_and_a_wish_to_stop_is_heard() {
        let (memory, fast) = (MemoryStore::default(), Fast::default());
        for class in [Class::Denied, Class::Full, Class::Permanent] {
            let store = PatientStore::new(memory.clone(), fast.clone(), Duration::from_secs(100));
            memory.inject(Fault::FailOnce(0, class));
            assert_eq!(store.put(name(), b"x").unwrap_err().class, class);
        }
        assert!(fast.waits.borrow().is_empty());
        let stop = Fast {
            stop: true,
            ..Fast::default()
        };
        let store = PatientStore::new(memory.clone(), stop.clone(), Duration::from_secs(100));
        memory.inject(Fault::FailFrom(0, Class::Temporary));
        store.put(name(), b"x").unwrap_err();
        assert_eq!(stop.waits.borrow().len(), 1);
    }
}
