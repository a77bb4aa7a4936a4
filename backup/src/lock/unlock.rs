//! The way out for people: removing locks by hand. Without being told to, removes none of somebody who may be alive.

use super::{Lock, LockFile, Sharing, Unreadable, gone, others};
use crate::clock::Clock;
use crate::error::Result;
use crate::lock::holder::{STALE_SECONDS, Verdict};
use crate::repository::Repository;
use crate::store::{Kind, Name, Store};

/// Which locks are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of the dead.
    Abandoned,
    /// All, whoever is at work: a run that loses its lock ends without a snapshot.
    All,
}

/// What was done; each lock in a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlocked {
    /// Locks that are gone.
    pub removed: Vec<String>,
    /// Locks that stay.
    pub left: Vec<String>,
}

/// Removes locks that nobody needs any more, or all.
///
/// # Errors
/// The store fails; locks removed before that stay removed.
pub fn unlock<S: Store>(
    repository: &Repository<S>,
    which: Which,
    clock: &dyn Clock,
) -> Result<Unlocked> {
    // A lock of ours tells what time the store has; it excludes nobody and goes at the end.
    let probe = Lock::write(repository, LockFile::ours(Sharing::Shared, clock.now()))?;
    let now = probe.written()?;
    let ours = probe.held.current().file.clone();
    let mut done = Unlocked::default();
    for (id, other) in others(repository, Some(probe.id()))? {
        let (is_over, who) = match &other {
            Ok(other) => {
                let is_over = match other.judge(&ours, None) {
                    Verdict::Dead => true,
                    Verdict::Alive => false,
                    Verdict::StaleAfter(seconds) => probe.is_older(id, now, seconds)?,
                };
                (is_over, other.locked().to_string())
            }
            Err(Unreadable::Empty) => (
                probe.is_older(id, now, STALE_SECONDS)?,
                "an upload that was cut off".into(),
            ),
            Err(Unreadable::Damaged(how)) => (
                probe.is_older(id, now, STALE_SECONDS)?,
                format!("it cannot be read: {how}"),
            ),
        };
        let said = format!("{}: {who}", id.short());
        if is_over || which == Which::All {
            gone(repository.store().remove(Name::File(Kind::Lock, id)))?;
            done.removed.push(said);
        } else {
            done.left.push(said);
        }
    }
    probe.release()?;
    Ok(done)
}
