//! Is everything there that the snapshots need, and is it whole? Reads only; what it finds is named, never mended.

use crate::error::Result;
use crate::id::Id;
use crate::index::Index;
use crate::pack::{BlobKind, Entry};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::store::{Kind, Name, Store};
use crate::tree::NodeKind;
use std::collections::HashSet;

/// How much of the data is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Trees only; of packs, that they are there with the right size.
    Structure,
    /// Every n-th pack too, beginning with number `first` of them.
    Sample {
        /// One pack in this many.
        every: usize,
        /// Which of them, so that another run reads others.
        first: usize,
    },
    /// Every byte.
    All,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Snapshots walked.
    pub snapshots: usize,
    /// Packs that the index names.
    pub packs: usize,
    /// Packs read wholly.
    pub packs_read: usize,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Packs in the store that no index names: remnants of an interrupted run, harmless.
    pub unindexed_packs: usize,
    /// What is wrong, each in a sentence.
    pub damage: Vec<String>,
}

/// Verifies a repository. `watch` gets packs read and packs to read, and stops by saying `true`.
///
/// # Errors
/// The store fails in a way that says nothing of the repository, or `watch` stopped it.
pub fn verify<S: Store>(
    repository: &Repository<S>,
    depth: Depth,
    watch: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Findings> {
    let mut findings = Findings::default();
    let index = readable_index(repository, &mut findings)?;
    let mut reader = Reader::with_index(repository, index);
    structure(&mut reader, &mut findings)?;
    let packs = packs(&reader, &mut findings)?;
    let chosen: Vec<&Pack> = match depth {
        Depth::Structure => Vec::new(),
        Depth::Sample { every, first } => packs
            .iter()
            .skip(first % every.max(1))
            .step_by(every.max(1))
            .collect(),
        Depth::All => packs.iter().collect(),
    };
    for (number, pack) in chosen.iter().enumerate() {
        if watch(number, chosen.len()) {
            return Err(crate::Error::Stopped);
        }
        read_pack(repository, pack, &mut findings);
    }
    Ok(findings)
}

fn readable_index<S: Store>(repository: &Repository<S>, findings: &mut Findings) -> Result<Index> {
    let mut index = Index::default();
    for (id, _) in repository.list(Kind::Index)? {
        let read = repository
            .load_file(Kind::Index, id)
            .and_then(|json| index.read(&json));
        if let Err(error) = read {
            findings.damage.push(format!("index {id}: {error}"));
        }
    }
    Ok(index)
}

/// Walks every snapshot's trees; each tree once, however many snapshots share it.
fn structure<S: Store>(reader: &mut Reader<'_, S>, findings: &mut Findings) -> Result<()> {
    let mut seen = HashSet::new();
    for (id, _) in reader.repository().list(Kind::Snapshot)? {
        let loaded = reader.repository().load_file(Kind::Snapshot, id);
        match loaded.and_then(|json| crate::snapshot::Snapshot::parse(&json)) {
            Ok(snapshot) => {
                findings.snapshots += 1;
                trees(reader, snapshot.tree, &mut seen, findings);
            }
            Err(error) => findings.damage.push(format!("snapshot {id}: {error}")),
        }
    }
    Ok(())
}

fn trees<S: Store>(
    reader: &mut Reader<'_, S>,
    root: Id,
    seen: &mut HashSet<Id>,
    findings: &mut Findings,
) {
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let nodes = match reader.tree_with_all_below(&id) {
            Ok(nodes) => nodes,
            Err(error) => {
                findings.damage.push(format!("tree {id}: {error}"));
                continue;
            }
        };
        for node in nodes {
            let name = String::from_utf8_lossy(&node.name).into_owned();
            match (node.kind, node.subtree) {
                (NodeKind::Dir, Some(subtree)) => open.push(subtree),
                (NodeKind::Dir, None) => findings
                    .damage
                    .push(format!("folder {name:?} in tree {id} has no tree")),
                _ => {}
            }
            let content = node.content.iter().flatten();
            let missing = content
                .filter(|blob| !reader.index().contains(BlobKind::Data, blob))
                .count();
            if missing > 0 {
                findings.damage.push(format!(
                    "file {name:?} in tree {id} lacks {missing} of its pieces"
                ));
            }
        }
    }
}

struct Pack {
    id: Id,
    size: u64,
    entries: Vec<Entry>,
}

/// Compares what the index says of packs with what is there.
fn packs<S: Store>(reader: &Reader<'_, S>, findings: &mut Findings) -> Result<Vec<Pack>> {
    let listed = reader.repository().list(Kind::Pack)?;
    let mut numbered: Vec<(Id, Vec<Entry>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (number, entry) in reader.index().iter() {
        let id = reader.index().pack(number);
        let place = *places.entry(id).or_insert_with(|| {
            numbered.push((id, Vec::new()));
            numbered.len() - 1
        });
        if let Some((_, entries)) = numbered.get_mut(place) {
            entries.push(entry);
        }
    }
    let index = reader.index();
    let indexed: HashSet<Id> = index
        .packs()
        .iter()
        .chain(index.marked())
        .copied()
        .collect();
    findings.packs = numbered.len();
    findings.unindexed_packs = listed
        .iter()
        .filter(|(id, _)| !indexed.contains(id))
        .count();
    let mut there = Vec::new();
    for (id, mut entries) in numbered {
        let Ok(at) = listed.binary_search_by_key(&id, |(id, _)| *id) else {
            findings.damage.push(format!("pack {id} is missing"));
            continue;
        };
        let size = listed[at].1;
        entries.sort_by_key(|entry| entry.offset);
        let needed = entries
            .last()
            .map_or(0, |last| u64::from(last.offset) + u64::from(last.length));
        if needed >= size {
            findings.damage.push(format!(
                "pack {id} is shorter than what the index says lies in it"
            ));
        }
        there.push(Pack { id, size, entries });
    }
    Ok(there)
}

fn read_pack<S: Store>(repository: &Repository<S>, pack: &Pack, findings: &mut Findings) {
    let Pack { id, size, entries } = pack;
    findings.packs_read += 1;
    findings.bytes_read += size;
    let mut bytes = match repository.store().get(Name::File(Kind::Pack, *id)) {
        Ok(bytes) => bytes,
        Err(error) => {
            findings.damage.push(format!("pack {id}: {error}"));
            return;
        }
    };
    if Id::of(&bytes) != *id {
        findings
            .damage
            .push(format!("pack {id}: its content has another name"));
    }
    match repository.pack_entries(*id, bytes.len() as u64) {
        Err(error) => findings.damage.push(format!("pack {id}: {error}")),
        Ok(header) if entries.iter().any(|entry| !header.contains(entry)) => {
            findings.damage.push(format!(
                "pack {id}: the index says otherwise than its header"
            ));
        }
        Ok(_) => {}
    }
    let mut plain = Vec::new();
    for entry in entries {
        let from = entry.offset as usize;
        let sealed = bytes
            .get_mut(from..from + entry.length as usize)
            .unwrap_or_default();
        if let Err(error) = repository.open_blob(*id, entry, sealed, &mut plain) {
            findings.damage.push(error.to_string());
        }
    }
}
