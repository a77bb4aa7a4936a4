//! Reading index files pack by pack. Keeps none of them.

use super::Mark;
use crate::absent::or_nothing;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::pack::{BlobKind, Entry};
use crate::timestamp::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Calls `each` for every pack of an index file, one at a time, so that only one is in memory.
///
/// # Errors
/// Not the JSON of an index.
pub fn read_packs(json: &[u8], each: &mut dyn FnMut(Id, Vec<Entry>, Option<Mark>)) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    File(each)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|source| Error::Json {
            what: "an index",
            source,
        })
}

#[derive(Deserialize)]
struct PackJson {
    id: Id,
    #[serde(default, deserialize_with = "or_nothing")]
    blobs: Vec<BlobJson>,
    #[serde(default)]
    time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct BlobJson {
    id: Id,
    #[serde(rename = "type")]
    kind: KindJson,
    offset: u32,
    length: u32,
    #[serde(default, deserialize_with = "or_nothing")]
    uncompressed_length: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindJson {
    Data,
    Tree,
}

struct File<'a>(&'a mut dyn FnMut(Id, Vec<Entry>, Option<Mark>));

impl<'de> DeserializeSeed<'de> for File<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an index with packs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                "packs" => map.next_value_seed(Packs(&mut *self.0, Standing::Kept))?,
                "packs_to_delete" => map.next_value_seed(Packs(&mut *self.0, Standing::Marked))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Which of the two lists of an index file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Kept,
    Marked,
}

struct Packs<'a>(&'a mut dyn FnMut(Id, Vec<Entry>, Option<Mark>), Standing);

impl<'de> DeserializeSeed<'de> for Packs<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Packs<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of packs")
    }

    // Go writes an empty list that was never made as null.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut packs: A) -> Result<(), A::Error> {
        while let Some(PackJson { id, blobs, time }) = packs.next_element()? {
            let mark = (self.1 == Standing::Marked).then(|| Mark {
                at: time.unwrap_or_default(),
            });
            let entries = blobs.into_iter().map(|blob| Entry {
                id: blob.id,
                kind: match blob.kind {
                    KindJson::Data => BlobKind::Data,
                    KindJson::Tree => BlobKind::Tree,
                },
                offset: blob.offset,
                length: blob.length,
                uncompressed: (blob.uncompressed_length != 0).then_some(blob.uncompressed_length),
            });
            let mut entries: Vec<Entry> = entries.collect();
            // restic writes them in any order; who reads several together wants theirs in the pack.
            entries.sort_unstable_by_key(|entry| entry.offset);
            (self.0)(id, entries, mark);
        }
        Ok(())
    }
}
