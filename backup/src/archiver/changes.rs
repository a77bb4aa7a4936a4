//! A set of paths that may have changed since a snapshot. Holds names only; looks at no file.

use crate::id::Id;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// More changes than this cost more to follow one by one than a look at everything, and more memory than it.
pub const MOST_CHANGES: usize = 100_000;

/// How much of a path may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// A folder with everything in it.
    Below,
    /// The entry itself; of a folder also which entries it has, but not what is in them.
    Entry,
}

/// Something that may have changed. Ordered so that what lies in a folder follows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    /// An absolute path.
    path: PathBuf,
    reach: Reach,
}

impl Change {
    pub(super) const fn new(path: PathBuf, reach: Reach) -> Self {
        Self { path, reach }
    }

    /// The name at a depth of its path, `/` being depth 0; `None` where the path ends.
    fn name(&self, depth: usize) -> Option<&OsStr> {
        self.path
            .components()
            .nth(depth + 1)
            .map(Component::as_os_str)
    }
}

/// What may have changed since a snapshot: created, written, removed, renamed (both names), or given other metadata. A
/// folder that is new needs no more than its own name.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    since: Option<Id>,
    list: Vec<Change>,
    too_many: bool,
}

impl Changes {
    /// Since that snapshot; `None` means the newest of the same machine and folders.
    #[must_use]
    pub fn since(snapshot: Option<Id>) -> Self {
        Self {
            since: snapshot,
            ..Self::default()
        }
    }

    /// Adds an absolute path. Beyond [`MOST_CHANGES`] nothing more is kept, and everything will be looked at.
    pub fn add(&mut self, path: PathBuf, reach: Reach) {
        if self.list.len() < MOST_CHANGES {
            self.list.push(Change { path, reach });
        } else {
            self.too_many = true;
        }
    }

    /// The snapshot they are relative to, if one was named.
    pub(super) const fn base(&self) -> Option<Id> {
        self.since
    }

    /// `None` when there are too many.
    pub(super) fn into_sorted(self) -> Option<Vec<Change>> {
        let mut list = self.list;
        list.sort_unstable();
        list.dedup();
        (!self.too_many).then_some(list)
    }
}

/// Those changes of a sorted list that are at or below a path.
pub(super) fn at_or_below<'a>(changes: &'a [Change], path: &Path) -> &'a [Change] {
    let from = changes.partition_point(|change| change.path.as_path() < path);
    let count = changes[from..].partition_point(|change| change.path.starts_with(path));
    &changes[from..from + count]
}

/// Is that path, or a folder it lies in, in the sorted list?
pub(super) fn covers(changes: &[Change], path: &Path) -> bool {
    path.ancestors().any(|above| {
        changes
            .binary_search_by(|change| change.path.as_path().cmp(above))
            .is_ok()
    })
}

/// The changes of one folder: its own, and those of its entries in the order of their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within<'a> {
    /// How the folder itself was named, if it was.
    pub(super) own: Option<Reach>,
    rest: &'a [Change],
    depth: usize,
}

impl<'a> Within<'a> {
    /// The changes at or below a folder, from a sorted list.
    pub(super) fn of(changes: &'a [Change], folder: &Path) -> Self {
        let all = at_or_below(changes, folder);
        Self::new(all, folder.components().count().saturating_sub(1))
    }

    /// All of `all` are at or below one folder, whose entries' names are at `depth`.
    fn new(all: &'a [Change], depth: usize) -> Self {
        let count = all.partition_point(|change| change.name(depth).is_none());
        let (own, rest) = all.split_at(count);
        Self {
            own: own.first().map(|change| change.reach),
            rest,
            depth,
        }
    }

    /// Is there anything to look at?
    pub(super) const fn is_empty(self) -> bool {
        self.own.is_none() && self.rest.is_empty()
    }

    /// The entries that are named or hold something named, sorted by name.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a OsStr, Self)> {
        let Self { rest, depth, .. } = self;
        rest.chunk_by(move |a, b| a.name(depth) == b.name(depth))
            .filter_map(move |group| {
                let name = group.first()?.name(depth)?;
                Some((name, Self::new(group, depth + 1)))
            })
    }

    /// No change, for an entry that only its folder's list names.
    pub(super) const fn nothing() -> Self {
        Self {
            own: None,
            rest: &[],
            depth: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(paths: &[&str]) -> Vec<Change> {
        let mut changes = Changes::since(None);
        for path in paths {
            let (path, reach) = match path.strip_suffix('/') {
                Some(path) => (path, Reach::Below),
                None => (*path, Reach::Entry),
            };
            changes.add(path.into(), reach);
        }
        changes.into_sorted().unwrap()
    }

    #[test]
    fn changes_are_grouped_by_the_folders_they_lie_in() {
        let changes = sorted(&[
            "/a/b-c", "/a/b/x", "/a/b", "/ab", "/a/b/", "/a/b/y/z", "/a/b",
        ]);
        let within = Within::of(&changes, Path::new("/a"));
        assert!(within.own.is_none() && !within.is_empty());
        let entries: Vec<_> = within.entries().collect();
        let names: Vec<_> = entries.iter().map(|(name, _)| name.to_str()).collect();
        assert_eq!(names, [Some("b"), Some("b-c")]);
        let b = entries[0].1;
        assert_eq!(b.own, Some(Reach::Below), "the wider of two counts");
        let inner: Vec<_> = b.entries().map(|(name, _)| name.to_str()).collect();
        assert_eq!(inner, [Some("x"), Some("y")]);
        assert!(entries[1].1.own == Some(Reach::Entry) && entries[1].1.entries().count() == 0);
        assert!(Within::of(&changes, Path::new("/b")).is_empty());
        let root: Vec<_> = Within::of(&changes, Path::new("/")).entries().collect();
        assert_eq!(root.len(), 2);
    }

    #[test]
    fn a_path_is_covered_by_itself_and_by_the_folders_above() {
        let changes = sorted(&["/a/b", "/c/d/e/"]);
        for (path, expected) in [
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a", false),
            ("/a/bc", false),
            ("/c/d/e/f", true),
        ] {
            assert_eq!(covers(&changes, Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn too_many_changes_are_not_followed() {
        let mut changes = Changes::since(None);
        for number in 0..=MOST_CHANGES {
            changes.add(format!("/{number}").into(), Reach::Entry);
        }
        assert!(changes.into_sorted().is_none());
    }
}
