//! What lies in a repository: anybody who holds its password, and any server, may have written it. What is read must say again what it said.

use homing_backup::Id;
use homing_backup::config::Config;
use homing_backup::index::{self, Index};
use homing_backup::key::KeyFile;
use homing_backup::pack::{self, LENGTH_BYTES};
use homing_backup::snapshot::Snapshot;
use homing_backup::store::rest::listing;
use homing_backup::tree::{self, TreeWriter};
use homing_backup::{Timestamp, lock};

/// An opened config.
pub(crate) fn config(bytes: &[u8]) {
    if let Ok(config) = Config::parse(bytes) {
        let again = serde_json::to_vec(&config).expect("a config can be written");
        assert_eq!(Config::parse(&again).expect("and read again"), config);
    }
}

/// A key file. Its password is tried only where that costs next to nothing.
pub(crate) fn key(bytes: &[u8]) {
    let Ok(file) = KeyFile::parse(bytes) else {
        return;
    };
    let json = file.to_json().expect("a key file can be written");
    let value: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let number = |name: &str| value[name].as_u64().unwrap_or(u64::MAX);
    let again = KeyFile::parse(&json).expect("what was written can be read");
    let memory = number("N").saturating_mul(128).saturating_mul(number("r"));
    // What is refused for its cost is refused before any work.
    let is_cheap = memory <= 1 << 16 && number("p") <= 4;
    if is_cheap || memory > 512 << 20 {
        let opened = again.unwrap_with(Id::of(bytes), b"password");
        assert!(is_cheap || opened.is_err());
    }
}

/// An opened header of a pack; the first bytes say how long the pack claims to be.
pub(crate) fn pack_header(bytes: &[u8]) {
    let Some((last, header)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return;
    };
    let size = u64::from(u32::from_le_bytes(*last));
    if let Ok(length) = pack::header_length(*last, size * 2) {
        assert!(length as u64 <= size * 2);
    }
    let Ok(entries) = pack::parse_header(header, size) else {
        return;
    };
    let mut end = 0;
    for entry in &entries {
        assert_eq!(entry.offset, end, "blobs lie side by side");
        end += entry.length;
    }
    assert!(u64::from(end) <= size, "and within the pack");
}

/// An opened index: what was read can be written and says the same, and nothing is found that was not read.
pub(crate) fn index(bytes: &[u8]) {
    let (mut packs, mut marked) = (Vec::new(), Vec::new());
    let read = index::read_packs(bytes, &mut |id, entries, mark| match mark {
        None => packs.push((id, entries)),
        Some(mark) => marked.push((id, entries, mark)),
    });
    if read.is_err() {
        return;
    }
    let mut known = Index::default();
    known.read(bytes).expect("it was read before");
    let entries = packs.iter().flat_map(|(_, entries)| entries);
    for entry in entries.clone() {
        assert!(known.contains(entry.kind, &entry.id));
    }
    assert!(known.len() <= entries.count());
    assert_eq!(known.marked().len(), marked.len());
    let json = index::to_json_with_marks(&packs, &marked);
    let (mut packs_again, mut marked_again) = (Vec::new(), Vec::new());
    index::read_packs(&json, &mut |id, entries, mark| match mark {
        None => packs_again.push((id, entries)),
        Some(mark) => marked_again.push((id, entries, mark)),
    })
    .expect("what was written can be read");
    assert_eq!(packs_again, packs);
    assert_eq!(marked_again.len(), marked.len());
}

/// A tree: no name leads out of its folder, and what is written again reads the same.
pub(crate) fn tree(bytes: &[u8]) {
    let Ok(nodes) = tree::parse(bytes) else {
        return;
    };
    let mut writer = TreeWriter::default();
    for node in &nodes {
        let name = &node.name[..];
        assert!(!matches!(name, b"" | b"." | b".."));
        assert!(!name.contains(&b'/') && !name.contains(&0));
        writer.push(node);
    }
    let written = writer.finish();
    let again = tree::parse(&written).expect("what was written can be read");
    let mut twice = TreeWriter::default();
    again.iter().for_each(|node| twice.push(node));
    let twice = twice.finish();
    assert_eq!(twice, written);
}

/// An opened snapshot, and the times in it.
pub(crate) fn snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = Snapshot::parse(bytes) {
        let json = snapshot.to_json().expect("a snapshot can be written");
        // A time that nobody can write is brought to one that can be.
        let again = Snapshot::parse(&json).expect("and read again");
        let again = again.to_json().expect("and written again");
        assert_eq!(again, json);
    }
    if let Ok(time) = String::from_utf8_lossy(bytes).parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time.writable()));
    }
}

/// An opened lock: read or refused in a sentence.
pub(crate) fn lock(bytes: &[u8]) {
    if let Err(error) = lock::check_json(bytes) {
        assert!(!error.to_string().is_empty());
    }
}

/// A server's listing, in either form: the first byte says which.
pub(crate) fn listing(bytes: &[u8]) {
    let Some((form, json)) = bytes.split_first() else {
        return;
    };
    let mut found = Vec::new();
    if form.is_multiple_of(2) {
        if listing::sized(json, &mut |id, size| found.push((id, size))).is_err() {
            assert!(found.is_empty(), "half a listing was handed out");
        }
    } else if let Ok(ids) = listing::plain(json) {
        let names: Vec<String> = ids.iter().map(Id::to_string).collect();
        let again = serde_json::to_vec(&names).expect("names can be written");
        assert_eq!(listing::plain(&again).expect("and read again"), ids);
    }
}
