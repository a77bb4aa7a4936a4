//! Reading trees that anybody may have written. Must not hand out a name that leads out of its folder.

use super::{Node, NodeKind};
use crate::error::{Error, Result};
use crate::gojson;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, de};
use std::borrow::Cow;
use std::fmt;

/// Reads a tree.
///
/// # Errors
/// Not the JSON of a tree, or a name that no folder can hold, such as `..`.
pub fn parse(json: &[u8]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    parse_each(json, &mut |node| nodes.push(node))?;
    Ok(nodes)
}

/// Reads a tree and hands out its entries one by one.
///
/// # Errors
/// As [`parse`]; entries before the fault were handed out.
pub fn parse_each(json: &[u8], each: &mut dyn FnMut(Node)) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Tree(each)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|source| Error::Json {
            what: "a tree",
            source,
        })
}

/// A name that can stand in a folder, and leads nowhere else.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

struct Tree<'a>(&'a mut dyn FnMut(Node));

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a tree with nodes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "nodes" {
                map.next_value_seed(Nodes(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Nodes<'a>(&'a mut dyn FnMut(Node));

impl<'de> DeserializeSeed<'de> for Nodes<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nodes<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of nodes")
    }

    // Go writes an empty list that was never made as null.
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<(), A::Error> {
        while let Some(node) = nodes.next_element::<Node>()? {
            (self.0)(node);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NodeVisitor)
    }
}

struct NodeVisitor;

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    value: Option<Cow<'a, str>>,
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut node = Node::new(b"", NodeKind::Other);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "name" => {
                    let quoted = map.next_value::<Cow<'de, str>>()?;
                    node.name = gojson::unquote(&quoted).ok_or_else(|| {
                        A::Error::custom("a name that is not quoted as Go quotes")
                    })?;
                }
                "type" => node.kind = NodeKind::from_name(&map.next_value::<Cow<'de, str>>()?),
                "mode" => node.mode = value(&mut map)?,
                "mtime" => node.mtime = value(&mut map)?,
                "atime" => node.atime = value(&mut map)?,
                "ctime" => node.ctime = value(&mut map)?,
                "uid" => node.uid = value(&mut map)?,
                "gid" => node.gid = value(&mut map)?,
                "user" => node.user = value(&mut map)?,
                "group" => node.group = value(&mut map)?,
                "inode" => node.inode = value(&mut map)?,
                "device_id" => node.device_id = value(&mut map)?,
                "size" => node.size = value(&mut map)?,
                "links" => node.links = value(&mut map)?,
                "device" => node.device = value(&mut map)?,
                "content" => node.content = map.next_value()?,
                "subtree" => node.subtree = map.next_value()?,
                "error" => node.error = value(&mut map)?,
                // The raw target, if there is one, follows and counts.
                "linktarget" => node.link_target = value::<_, String>(&mut map)?.into_bytes(),
                // Without one the target is the one before it.
                "linktarget_raw" => {
                    if let Some(raw) = map.next_value::<Option<Cow<'de, str>>>()? {
                        node.link_target = decode(&raw)?;
                    }
                }
                "extended_attributes" => {
                    for attribute in value::<_, Vec<Attribute<'de>>>(&mut map)? {
                        let value = decode(attribute.value.as_deref().unwrap_or_default())?;
                        node.xattrs.push((attribute.name.into_owned(), value));
                    }
                }
                _ => {
                    let value = map.next_value()?;
                    node.unknown.insert(key.into_owned(), value);
                }
            }
        }
        if is_name(&node.name) {
            Ok(node)
        } else {
            Err(A::Error::custom("a name that no folder can hold"))
        }
    }
}

/// A field's value; null counts as nothing.
fn value<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(
    map: &mut A,
) -> Result<T, A::Error> {
    map.next_value::<Option<T>>().map(Option::unwrap_or_default)
}

fn decode<E: de::Error>(text: &str) -> Result<Vec<u8>, E> {
    STANDARD
        .decode(text)
        .map_err(|_| E::custom("invalid base64"))
}
