//! Forgetting snapshots that are old enough. Removes snapshot files only; what they alone needed is `prune`'s.

use crate::clock::{AHEAD_SECONDS, Clock};
use crate::error::Result;
use crate::id::Id;
use crate::lock::{Lock, Sharing};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::store::{Kind, Name, Store};
use crate::timestamp::Timestamp;
use std::collections::BTreeMap;

/// What to keep of each group, which is one machine's snapshots of the same folders. The newest is always kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// All that are not older than so many seconds before the group's newest: a phone that was away loses nothing.
    pub within_seconds: Option<i64>,
    /// So many of the newest.
    pub last: usize,
}

/// Whether something is done or only told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is done.
    Do,
    /// It is told what would be done.
    Tell,
}

/// Snapshots with their names.
type Named = Vec<(Id, Snapshot)>;

/// What was, or would be, forgotten and kept, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Forgotten {
    /// Gone.
    pub removed: Vec<(Id, Snapshot)>,
    /// Still there.
    pub kept: Vec<(Id, Snapshot)>,
}

/// Sorts snapshots into those to keep and those to forget. Those that lie in the future are kept and not counted.
#[must_use]
pub fn choose(snapshots: Vec<(Id, Snapshot)>, keep: &Keep, now: Timestamp) -> Forgotten {
    let mut groups: BTreeMap<(String, Vec<String>), Named> = BTreeMap::new();
    for (id, snapshot) in snapshots {
        let key = (snapshot.hostname.clone(), snapshot.paths.clone());
        groups.entry(key).or_default().push((id, snapshot));
    }
    let mut chosen = Forgotten::default();
    for group in groups.into_values() {
        // A clock that was ahead must not make its snapshot the newest for years and all true ones old.
        let (ahead, mut group): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|(_, snapshot)| snapshot.time.seconds_since(now) > AHEAD_SECONDS);
        chosen.kept.extend(ahead);
        group.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        let Some(newest) = group.last().map(|(_, snapshot)| snapshot.time) else {
            continue;
        };
        let count = group.len();
        for (place, (id, snapshot)) in group.into_iter().enumerate() {
            let from_end = count - 1 - place;
            let young = keep
                .within_seconds
                .is_some_and(|seconds| newest.seconds_since(snapshot.time) <= seconds);
            if young || from_end < keep.last.max(1) {
                chosen.kept.push((id, snapshot));
            } else {
                chosen.removed.push((id, snapshot));
            }
        }
    }
    for list in [&mut chosen.removed, &mut chosen.kept] {
        list.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
    }
    chosen
}

/// Forgets what need not be kept.
///
/// # Errors
/// The repository is locked, or the store fails; snapshots removed before that stay removed.
pub fn forget<S: Store>(
    repository: &Repository<S>,
    keep: &Keep,
    deed: Deed,
    clock: &dyn Clock,
) -> Result<Forgotten> {
    if deed == Deed::Tell {
        return Ok(choose(repository.snapshots()?, keep, clock.now()));
    }
    repository.writable()?;
    let lock = Lock::take(repository, Sharing::Exclusive, clock, None)?.lock;
    // Where the store's own clock differs, the earlier counts: what is in doubt is kept.
    let now = clock.now();
    let now = lock.store_time()?.map_or(now, |store| now.min(store));
    let done = remove(repository, keep, now)?;
    lock.release()?;
    Ok(done)
}

fn remove<S: Store>(repository: &Repository<S>, keep: &Keep, now: Timestamp) -> Result<Forgotten> {
    let chosen = choose(repository.snapshots()?, keep, now);
    for (id, _) in &chosen.removed {
        repository.store().remove(Name::File(Kind::Snapshot, *id))?;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn snapshot(host: &str, days: i64) -> (Id, Snapshot) {
        let tree = Id::of(host.as_bytes());
        let json =
            format!(r#"{{"time":"2020-01-01T00:00:00Z","tree":"{tree}","hostname":"{host}"}}"#);
        let mut snapshot = Snapshot::parse(json.as_bytes()).unwrap();
        snapshot.time = Timestamp::new(1_700_000_000 + days * DAY, 0);
        (Id::of(format!("{host}{days}").as_bytes()), snapshot)
    }

    fn now() -> Timestamp {
        Timestamp::new(1_700_000_000 + 100 * DAY, 0)
    }

    #[test]
    fn a_snapshot_of_a_clock_that_was_ahead_is_kept_and_makes_no_other_one_old() {
        let all: Vec<_> = [4_000, 80, 90, 100].map(|days| snapshot("a", days)).into();
        let keep = Keep {
            within_seconds: Some(30 * DAY),
            last: 1,
        };
        assert_eq!(choose(all.clone(), &keep, now()).removed, []);
        // And where our own clock is behind, nothing is removed.
        let behind = Timestamp::new(0, 0);
        assert_eq!(choose(all, &keep, behind).removed, []);
    }

    #[test]
    fn each_group_keeps_its_own_last_days_and_never_loses_its_newest() {
        let all = vec![
            snapshot("a", 0),
            snapshot("a", 71),
            snapshot("a", 100),
            // Away since long ago.
            snapshot("b", -400),
            snapshot("b", -500),
        ];
        let keep = Keep {
            within_seconds: Some(30 * DAY),
            last: 0,
        };
        let chosen = choose(all.clone(), &keep, now());
        let removed: Vec<Id> = chosen.removed.iter().map(|(id, _)| *id).collect();
        assert_eq!(removed, [all[4].0, all[0].0]);
        assert_eq!(chosen.kept.len(), 3);
        let none = choose(all.clone(), &Keep::default(), now());
        assert_eq!(none.kept.len(), 2, "the newest of each group");
        let last = Keep {
            last: 2,
            ..Keep::default()
        };
        assert_eq!(choose(all, &last, now()).kept.len(), 4);
    }
}
