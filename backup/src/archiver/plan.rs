//! Whether a set of changes can be followed, and what must be looked at beside it. Looks at no file.

use super::changes::{Change, Changes, Reach, covers};
use super::options::Looked;
use super::remembered::Besides;
use super::state::Notes;
use crate::id::Id;

/// What a run will look at.
#[derive(Debug, Default)]
pub(super) struct Plan {
    list: Option<Vec<Change>>,
    /// What is looked at beside the changes given.
    pub(super) besides: Besides,
    /// Why the changes given are of no use.
    refused: Option<&'static str>,
}

impl Plan {
    /// For changes since `parent`, which the notes describe.
    pub(super) fn new(changes: Option<Changes>, parent: Option<Id>, notes: Option<&Notes>) -> Self {
        let Some(changes) = changes else {
            return Self::default();
        };
        let refused = |why| Self {
            refused: Some(why),
            ..Self::default()
        };
        if parent.is_none() {
            return refused("there is no earlier snapshot of these folders on this machine");
        }
        if changes.base().is_some_and(|base| Some(base) != parent) {
            return refused("the changes are since another snapshot than the newest");
        }
        let Some(notes) = notes else {
            return refused(
                "nothing that fits is remembered of the last run: it was another machine's, was made with other choices, or its memory is lost",
            );
        };
        if !notes.remembered.is_whole() {
            return refused("too many files have several names or could not be read");
        }
        let sorted = changes.into_sorted();
        let Some(mut list) = sorted else {
            return refused("there are too many changes");
        };
        let besides = notes.remembered.besides(|path| covers(&list, path));
        let more = besides
            .paths
            .iter()
            .map(|path| Change::new(path.clone(), Reach::Entry));
        list.extend(more);
        list.sort_unstable();
        list.dedup();
        Self {
            list: Some(list),
            besides,
            refused: None,
        }
    }

    /// What to look at, sorted; `None` for everything.
    pub(super) fn changes(&self) -> Option<&[Change]> {
        self.list.as_deref()
    }

    /// What to tell, when the run did or did not follow the changes in the end.
    pub(super) const fn looked(&self, followed: bool) -> Looked {
        match (self.refused, followed, self.list.is_some()) {
            (Some(why), _, _) => Looked::AtEverythingInstead(why),
            (None, true, _) => Looked::AtChanges,
            (None, false, true) => {
                Looked::AtEverythingInstead("a changed file has another name that is not known")
            }
            (None, false, false) => Looked::AtEverything,
        }
    }
}
