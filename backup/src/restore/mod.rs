//! Restoring: first a plan of what would happen, then the deed, below one folder and nowhere else. Changes no repository.

mod execute;
mod pending;
mod plan;

use crate::error::Result;
use crate::id::Id;
use crate::pack::BlobKind;
use crate::reader::Reader;
use crate::store::Store;
use crate::tree::Node;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub use execute::{Restored, execute};
pub use plan::{Plan, plan};

/// What to do with a file that is there already and differs from the snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflicts {
    /// Leave it and say so.
    Keep,
    /// Replace it.
    Replace,
}

/// Somebody who watches a restore.
pub trait Watcher {
    /// Called after each entry and each chunk with the bytes done so far; `true` stops in good order.
    fn restored(&mut self, bytes: u64) -> bool;
    /// Called for each item that could not be restored properly.
    fn trouble(&mut self, path: &std::path::Path, reason: &str);
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn restored(&mut self, _: u64) -> bool {
        false
    }

    fn trouble(&mut self, _: &std::path::Path, _: &str) {}
}

/// Which part of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Absolute paths as in the snapshot; empty means everything.
    pub paths: Vec<PathBuf>,
}

/// What a selection says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// It and all below it.
    Whole,
    /// Something below it.
    Inside,
    /// Not at all.
    Out,
}

impl Selection {
    fn choice(&self, path: &std::path::Path) -> Choice {
        if self.paths.is_empty() || self.paths.iter().any(|wanted| path.starts_with(wanted)) {
            Choice::Whole
        } else if self.paths.iter().any(|wanted| wanted.starts_with(path)) {
            Choice::Inside
        } else {
            Choice::Out
        }
    }
}

/// A folder's entries; the trees of those that were chosen will be wanted next.
fn nodes<S: Store>(
    reader: &mut Reader<'_, S>,
    tree: &Id,
    selection: &Selection,
    path: &mut PathBuf,
) -> Result<Vec<Node>> {
    let nodes = reader.tree(tree)?;
    for node in &nodes {
        let Some(subtree) = node.subtree else {
            continue;
        };
        path.push(OsStr::from_bytes(&node.name));
        if selection.choice(path) != Choice::Out {
            reader.want(BlobKind::Tree, &subtree);
        }
        path.pop();
    }
    Ok(nodes)
}
