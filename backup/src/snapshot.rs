//! Snapshots: what was backed up, when, and its root tree. Holds what is stored; fields it does not know survive.

use crate::absent::or_nothing;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A snapshot file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the backup began.
    pub time: Timestamp,
    /// The snapshot it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// The root folder.
    pub tree: Id,
    /// The absolute paths that were backed up.
    #[serde(default, deserialize_with = "or_nothing")]
    pub paths: Vec<String>,
    /// The machine.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "String::is_empty"
    )]
    pub hostname: String,
    /// The user.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "String::is_empty"
    )]
    pub username: String,
    /// The user's number.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "is_zero"
    )]
    pub uid: u32,
    /// The group's number.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "is_zero"
    )]
    pub gid: u32,
    /// Patterns that were left out.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub excludes: Vec<String>,
    /// The owner's marks.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tags: Vec<String>,
    /// The snapshot this one was changed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// What wrote it.
    #[serde(
        default,
        deserialize_with = "or_nothing",
        skip_serializing_if = "String::is_empty"
    )]
    pub program_version: String,
    /// Counts of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Fields of other programs.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Counts of a run, under the names restic uses, and what could not be backed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// When the run began.
    pub backup_start: Timestamp,
    /// When it was done.
    pub backup_end: Timestamp,
    /// Files that the parent lacks.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files as in the parent.
    pub files_unmodified: u64,
    /// Folders that the parent lacks.
    pub dirs_new: u64,
    /// Folders that differ from the parent's.
    pub dirs_changed: u64,
    /// Folders as in the parent.
    pub dirs_unmodified: u64,
    /// Pieces of files stored anew.
    pub data_blobs: i64,
    /// Folders stored anew.
    pub tree_blobs: i64,
    /// Plain bytes stored anew.
    pub data_added: u64,
    /// The same, compressed and sealed.
    pub data_added_packed: u64,
    /// Files looked at.
    pub total_files_processed: u64,
    /// Bytes of these files.
    pub total_bytes_processed: u64,
    /// Items that are missing or may be inconsistent in this snapshot.
    #[serde(skip_serializing_if = "is_none_counted")]
    pub errors: u64,
    /// The first of them by name, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

// serde passes a reference.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_none_counted(number: &u64) -> bool {
    *number == 0
}

impl Snapshot {
    /// Reads an opened snapshot.
    ///
    /// # Errors
    /// Not the JSON of a snapshot.
    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json).map_err(failed)
    }

    /// The bytes to seal and store.
    ///
    /// # Errors
    /// Never in practice: the fields are plain.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(failed)
    }
}

fn failed(source: serde_json::Error) -> Error {
    Error::Json {
        what: "a snapshot",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_restic_is_written_back_unchanged_and_unknown_fields_survive() {
        let tree = Id::of(b"tree");
        let json = format!(
            r#"{{"time":"2026-11-22T22:51:46.801889112Z","tree":"{tree}","paths":["/tmp/a"],"hostname":"vm","username":"root","later":{{"x":[1,2]}}}}"#
        );
        let snapshot = Snapshot::parse(json.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(snapshot.to_json().unwrap()).unwrap(),
            json
        );
    }

    #[test]
    fn a_fraction_in_a_field_nobody_knows_survives_to_its_last_digit() {
        let tree = Id::of(b"tree");
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..2_000 {
            // xorshift64 (Marsaglia 2003): doubles of all sizes.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let number = f64::from_bits(state);
            if !number.is_finite() {
                continue;
            }
            let number = serde_json::to_string(&number).unwrap();
            let json = format!(
                r#"{{"time":"2026-11-22T22:51:46.801889112Z","tree":"{tree}","paths":["/tmp/a"],"later":{number}}}"#
            );
            let snapshot = Snapshot::parse(json.as_bytes()).unwrap();
            assert_eq!(
                String::from_utf8(snapshot.to_json().unwrap()).unwrap(),
                json
            );
        }
    }

    #[test]
    fn a_snapshot_whose_fields_are_null_reads_as_one_without_them() {
        let tree = Id::of(b"tree");
        let bare = format!(r#"{{"time":"2026-11-22T22:51:46Z","tree":"{tree}"}}"#);
        let names = [
            "parent", "paths", "hostname", "username", "uid", "gid", "excludes", "tags",
        ];
        let mut json = bare.trim_end_matches('}').to_owned();
        for name in names
            .into_iter()
            .chain(["original", "program_version", "summary"])
        {
            json.push_str(&format!(r#","{name}":null"#));
        }
        json.push('}');
        let read = |json: &str| Snapshot::parse(json.as_bytes()).unwrap();
        assert_eq!(read(&json), read(&bare));
        assert!(Snapshot::parse(json.replace("\"uid\":null", "\"uid\":\"x\"").as_bytes()).is_err());
    }
}
