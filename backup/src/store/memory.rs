//! A store in memory that fails when told to. For tests of what stands on a store; keeps nothing.

use super::{Class, Kind, Name, Store, StoreError};
use crate::id::Id;
use crate::timestamp::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Changes number this and all later ones fail (counted from 0): the process died there.
    CrashAt(u64),
    /// The same, but that very change is still made: it died before hearing of it.
    CrashAfter(u64),
    /// Change number this fails once with that class.
    FailOnce(u64, Class),
    /// Changes number this and all later ones fail with that class.
    FailFrom(u64, Class),
}

/// Files in memory. Clones share them, so that a test can look at what a dead process left.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    files: Rc<RefCell<BTreeMap<Name, Vec<u8>>>>,
    fault: Rc<Cell<Fault>>,
    changes: Rc<Cell<u64>>,
    sent: Rc<Cell<u64>>,
    ranges: Rc<Cell<u64>>,
    range_bytes: Rc<Cell<u64>>,
    /// What time it is for this store, and when what was written.
    now: Rc<Cell<Option<Timestamp>>>,
    times: Rc<RefCell<BTreeMap<Name, Timestamp>>>,
    late: Rc<RefCell<BTreeMap<Name, Vec<u8>>>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            files: Rc::default(),
            fault: Rc::new(Cell::new(Fault::None)),
            changes: Rc::default(),
            sent: Rc::default(),
            ranges: Rc::default(),
            range_bytes: Rc::default(),
            now: Rc::default(),
            times: Rc::default(),
            late: Rc::default(),
        }
    }
}

impl MemoryStore {
    /// Sets what goes wrong from now on; changes are counted from 0 again.
    pub fn inject(&self, fault: Fault) {
        self.fault.set(fault);
        self.changes.set(0);
        self.sent.set(0);
    }

    /// Changes asked for since [`MemoryStore::inject`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Bytes of packs stored since [`MemoryStore::inject`].
    #[must_use]
    pub fn pack_bytes_sent(&self) -> u64 {
        self.sent.get()
    }

    /// A store of its own with the same files and no faults, so that several runs can start from one repository.
    #[must_use]
    pub fn fork(&self) -> Self {
        let copy = Self::default();
        copy.files.replace(self.files.borrow().clone());
        copy
    }

    /// Parts of files read so far.
    #[must_use]
    pub fn ranges_read(&self) -> u64 {
        self.ranges.get()
    }

    /// Bytes that were asked for with them, whether they were there or not.
    #[must_use]
    pub fn range_bytes_asked(&self) -> u64 {
        self.range_bytes.get()
    }

    /// Sets the store's own clock, by which it dates what is written from now on. Without one it dates nothing.
    pub fn set_clock(&self, now: Timestamp) {
        self.now.set(Some(now));
    }

    /// Changes a file behind everybody's back; `None` removes it.
    pub fn tamper(&self, name: Name, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let mut files = self.files.borrow_mut();
        let old = files.remove(&name).unwrap_or_default();
        if let Some(new) = change(old) {
            files.insert(name, new);
        }
    }

    /// A file that somebody else stores just before our next change.
    pub fn appear_later(&self, name: Name, bytes: Vec<u8>) {
        self.late.borrow_mut().insert(name, bytes);
    }

    /// Names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        self.files.borrow().keys().copied().collect()
    }

    fn change(
        &self,
        what: &'static str,
        name: Name,
        make: impl FnOnce(&mut BTreeMap<Name, Vec<u8>>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.files.borrow_mut().extend(self.late.take());
        let number = self.changes.get();
        self.changes.set(number + 1);
        let failed = |class| Err(error(what, name, "the test wants it so", class));
        match self.fault.get() {
            Fault::CrashAt(at) if number >= at => failed(Class::Permanent),
            Fault::CrashAfter(at) if number > at => failed(Class::Permanent),
            Fault::CrashAfter(at) if number == at => {
                make(&mut self.files.borrow_mut())?;
                failed(Class::Permanent)
            }
            Fault::FailOnce(at, class) if number == at => failed(class),
            Fault::FailFrom(at, class) if number >= at => failed(class),
            _ => make(&mut self.files.borrow_mut()),
        }
    }
}

fn error(what: &'static str, name: Name, reason: &str, class: Class) -> StoreError {
    StoreError {
        what,
        subject: name.to_string(),
        reason: reason.into(),
        class,
    }
}

impl Store for MemoryStore {
    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn list(&self, kind: Kind, each: &mut dyn FnMut(Id, u64)) -> Result<(), StoreError> {
        // Copied first: the caller may remove what it is shown.
        let found: Vec<(Id, u64)> = self
            .files
            .borrow()
            .iter()
            .filter_map(|(name, bytes)| match name {
                Name::File(of, id) if *of == kind => Some((*id, bytes.len() as u64)),
                _ => None,
            })
            .collect();
        for (id, size) in found {
            each(id, size);
        }
        Ok(())
    }

    fn size(&self, name: Name) -> Result<u64, StoreError> {
        self.get(name).map(|bytes| bytes.len() as u64)
    }

    fn written(&self, name: Name) -> Result<Option<Timestamp>, StoreError> {
        self.size(name)?;
        Ok(self.times.borrow().get(&name).copied())
    }

    fn get(&self, name: Name) -> Result<Vec<u8>, StoreError> {
        let files = self.files.borrow();
        files
            .get(&name)
            .cloned()
            .ok_or_else(|| error("reading", name, "no such file", Class::Missing))
    }

    fn get_range(
        &self,
        name: Name,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.ranges.set(self.ranges.get() + 1);
        self.range_bytes.set(self.range_bytes.get() + length as u64);
        let files = self.files.borrow();
        let bytes = files
            .get(&name)
            .ok_or_else(|| error("reading", name, "no such file", Class::Missing))?;
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let to = from.saturating_add(length).min(bytes.len());
        buffer.clear();
        buffer.extend_from_slice(&bytes[from..to]);
        Ok(())
    }

    fn put(&self, name: Name, bytes: &[u8]) -> Result<(), StoreError> {
        self.change("writing", name, |files| {
            let differs = |old: &Vec<u8>| name != Name::Config && old.len() != bytes.len();
            if files.get(&name).is_none_or(differs) {
                files.insert(name, bytes.to_vec());
                if let Some(now) = self.now.get() {
                    self.times.borrow_mut().insert(name, now);
                }
                if let Name::File(Kind::Pack, _) = name {
                    self.sent.set(self.sent.get() + bytes.len() as u64);
                }
            }
            Ok(())
        })
    }

    fn remove(&self, name: Name) -> Result<(), StoreError> {
        self.change("removing", name, |files| {
            files
                .remove(&name)
                .map(drop)
                .ok_or_else(|| error("removing", name, "no such file", Class::Missing))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_memory_conforms() {
        super::super::conformance::check(&|_| MemoryStore::default()).unwrap();
    }

    #[test]
    fn a_crash_stops_every_later_change_and_counts_them() {
        let store = MemoryStore::default();
        store.inject(Fault::CrashAt(1));
        let name = |byte| Name::File(Kind::Index, Id::of(&[byte]));
        store.put(name(0), b"a").unwrap();
        assert!(store.put(name(1), b"b").is_err());
        assert!(store.remove(name(0)).is_err());
        assert_eq!(store.changes(), 3);
        store.inject(Fault::FailOnce(0, Class::Temporary));
        assert_eq!(
            store.put(name(1), b"b").unwrap_err().class,
            Class::Temporary
        );
        store.put(name(1), b"b").unwrap();
        assert_eq!(store.names(), [name(0).min(name(1)), name(0).max(name(1))]);
    }
}
