//! What a prune will do with each pack. Reads snapshots, trees and the index; changes nothing.

use super::{Options, Pruned, Repack};
use crate::Timestamp;
use crate::clock::AHEAD_SECONDS;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{self, Index, Mark};
use crate::pack::{BlobKind, Entry};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::store::{Kind, Store};
use crate::tree::NodeKind;
use std::collections::{HashMap, HashSet};

/// What becomes of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It is marked, or stays marked.
    Mark,
    /// It was marked long enough.
    Remove,
    /// It is not there any more.
    Gone,
}

struct Pack {
    entries: Vec<Entry>,
    mark: Option<Mark>,
    size: Option<u64>,
    used_bytes: u64,
    fate: Fate,
    moves: bool,
}

impl Pack {
    const fn new(entries: Vec<Entry>, mark: Option<Mark>) -> Self {
        Self {
            entries,
            mark,
            size: None,
            used_bytes: 0,
            fate: Fate::Keep,
            moves: false,
        }
    }
}

/// The plan.
pub(super) struct Plan {
    packs: HashMap<Id, Pack>,
    used: HashSet<(BlobKind, Id)>,
    pub(super) index_files: Vec<Id>,
    /// Packs that no index knows.
    pub(super) strays: Vec<Id>,
    /// Some marks are to be made anew.
    remarks: bool,
    /// The newest time that a snapshot or a mark bears.
    pub(super) newest: Option<Timestamp>,
    pub(super) outcome: Pruned,
}

impl Plan {
    pub(super) fn make<S: Store>(
        repository: &Repository<S>,
        options: &Options,
        now: Timestamp,
        watch: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        let mut plan = Self {
            packs: HashMap::new(),
            used: HashSet::new(),
            index_files: Vec::new(),
            strays: Vec::new(),
            remarks: false,
            newest: None,
            outcome: Pruned::default(),
        };
        plan.read_index(repository)?;
        plan.find_used(repository, watch)?;
        plan.compare_with(&repository.list(Kind::Pack)?)?;
        plan.judge(options, now);
        Ok(plan)
    }

    fn read_index<S: Store>(&mut self, repository: &Repository<S>) -> Result<()> {
        for (id, _) in repository.list(Kind::Index)? {
            self.index_files.push(id);
            let json = repository.load_file(Kind::Index, id)?;
            index::read_packs(&json, &mut |pack, entries, mark| {
                self.newest = self.newest.max(mark.map(|mark| mark.at));
                match self.packs.get_mut(&pack) {
                    // Named as present by one file and marked by another: a prune died between the two, or it found the
                    // pack before its uploader had written an index. What a mark says of its content may be nothing.
                    Some(known) if mark.is_none() && known.mark.is_some() => {
                        (known.entries, known.mark) = (entries, None);
                    }
                    Some(_) => {}
                    None => {
                        self.packs.insert(pack, Pack::new(entries, mark));
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Walks all trees of all snapshots. Blobs of marked packs count too: they may be needed again.
    fn find_used<S: Store>(
        &mut self,
        repository: &Repository<S>,
        watch: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        let mut index = Index::default();
        // Unmarked packs first: where a blob lies in both, the marked one is not needed.
        for marked in [false, true] {
            for (id, pack) in &self.packs {
                if pack.mark.is_some() == marked {
                    let number = index.add_pack(*id);
                    for entry in &pack.entries {
                        index.insert(number, entry);
                    }
                }
            }
        }
        let mut reader = Reader::with_index(repository, index);
        let mut open = Vec::new();
        for (_, snapshot) in repository.snapshots()? {
            self.newest = self.newest.max(Some(snapshot.time));
            open.push(snapshot.tree);
        }
        while let Some(id) = open.pop() {
            if !self.used.insert((BlobKind::Tree, id)) {
                continue;
            }
            if watch() {
                return Err(Error::Stopped);
            }
            for node in reader.tree_with_all_below(&id)? {
                if node.kind == NodeKind::Dir {
                    open.extend(node.subtree);
                }
                for blob in node.content.iter().flatten() {
                    self.used.insert((BlobKind::Data, *blob));
                }
            }
        }
        // Each needed blob is needed from one pack only.
        for (kind, id) in &self.used {
            let (number, entry) = reader
                .index()
                .find(*kind, id)
                .ok_or(Error::NoSuchBlob(*id))?;
            let pack = reader.index().pack(number);
            if let Some(pack) = self.packs.get_mut(&pack) {
                pack.used_bytes += u64::from(entry.length);
            }
        }
        self.outcome.used_blobs = self.used.len() as u64;
        Ok(())
    }

    fn compare_with(&mut self, listed: &[(Id, u64)]) -> Result<()> {
        for (id, size) in listed {
            match self.packs.get_mut(id) {
                Some(pack) => pack.size = Some(*size),
                None => self.strays.push(*id),
            }
        }
        let missing = self
            .packs
            .iter()
            .find(|(_, pack)| pack.size.is_none() && pack.used_bytes > 0);
        match missing {
            Some((id, _)) => Err(Error::Damaged {
                name: crate::store::Name::File(Kind::Pack, *id),
                how: "it is missing and snapshots need it; nothing was pruned".into(),
            }),
            None => Ok(()),
        }
    }

    fn judge(&mut self, options: &Options, now: Timestamp) {
        let outcome = &mut self.outcome;
        for pack in self.packs.values_mut() {
            let Some(size) = pack.size else {
                pack.fate = Fate::Gone;
                continue;
            };
            // The header is no waste: of many small blobs it is a large part.
            let blobs = pack
                .entries
                .iter()
                .map(|it| u64::from(it.length))
                .sum::<u64>();
            let wasted = blobs.saturating_sub(pack.used_bytes);
            match (pack.used_bytes, pack.mark) {
                (0, Some(mark)) if is_over(mark, now, options.grace_seconds) => {
                    pack.fate = Fate::Remove;
                    outcome.removed_packs += 1;
                    outcome.removed_bytes += size;
                }
                (0, Some(mark)) => {
                    pack.fate = Fate::Mark;
                    outcome.waiting_packs += 1;
                    self.remarks |= !is_credible(&mark, now);
                }
                (0, None) => {
                    pack.fate = Fate::Mark;
                    outcome.marked_packs += 1;
                    outcome.marked_bytes += size;
                }
                (_, Some(_)) => outcome.recovered_packs += 1,
                (_, None) => {
                    let above = match options.repack {
                        Repack::Never => false,
                        Repack::Above(share) => wasted * 100 > blobs * share,
                    };
                    if above {
                        pack.moves = true;
                        pack.fate = Fate::Mark;
                        outcome.repacked_packs += 1;
                        outcome.marked_bytes += size;
                    }
                }
            }
            if pack.fate == Fate::Keep {
                outcome.kept_bytes += size;
            }
        }
        outcome.marked_packs += self.strays.len() as u64;
    }

    pub(super) fn changes_nothing(&self) -> bool {
        let done = &self.outcome;
        done.marked_packs + done.repacked_packs + done.recovered_packs + done.removed_packs == 0
            && !self.remarks
            && !self.packs.values().any(|pack| pack.fate == Fate::Gone)
    }

    pub(super) fn fate(&self, pack: &Id) -> Fate {
        self.packs.get(pack).map_or(Fate::Gone, |pack| pack.fate)
    }

    /// What a pack holds and when it was marked, as far as it is known from all index files together.
    pub(super) fn known(&self, pack: &Id) -> (Vec<Entry>, Option<Mark>) {
        self.packs
            .get(pack)
            .map_or_else(Default::default, |pack| (pack.entries.clone(), pack.mark))
    }

    /// The needed blobs of packs that are written anew, neighbours together.
    pub(super) fn blobs_to_move(&self, kind: BlobKind) -> Vec<Entry> {
        let moving = self.packs.values().filter(|pack| pack.moves);
        let mut taken = HashSet::new();
        moving
            .flat_map(|pack| &pack.entries)
            .filter(|entry| entry.kind == kind && self.used.contains(&(kind, entry.id)))
            .filter(|entry| taken.insert(entry.id))
            .copied()
            .collect()
    }
}

/// Was the mark made by a clock that was right? One from the future, or from before this program, counts from now.
pub(super) fn is_credible(mark: &Mark, now: Timestamp) -> bool {
    mark.at.seconds >= FIRST_MARK && mark.at.seconds_since(now) <= AHEAD_SECONDS
}

/// 2020-01-01: no program that marks packs is older.
const FIRST_MARK: i64 = 1_577_836_800;

fn is_over(mark: Mark, now: Timestamp, grace_seconds: i64) -> bool {
    is_credible(&mark, now) && now.seconds_since(mark.at) >= grace_seconds
}
