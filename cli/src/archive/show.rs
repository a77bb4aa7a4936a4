//! `snapshots` and `ls`: what a repository holds, for people and as JSON lines. Changes nothing.

use super::args::{Ls, Snapshots};
use super::{Context, open, size};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::output::{Output, harmless};
use homing_backup::lookup::{self, Extent};
use homing_backup::reader::Reader;
use homing_backup::snapshot::Snapshot;
use homing_backup::tree::{Node, NodeKind};
use homing_backup::{Id, Timestamp};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A snapshot in `--json`.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    id: String,
    time: String,
    host: &'a str,
    paths: &'a [String],
    tags: &'a [String],
    tree: String,
    files: Option<u64>,
    bytes: Option<u64>,
    errors: u64,
}

/// Prints one snapshot.
pub(crate) fn snapshot(out: Output, id: Id, it: &Snapshot) -> Result<(), Error> {
    let summary = it.summary.as_ref();
    let errors = summary.map_or(0, |of| of.errors);
    let id = id.to_string();
    let line = Line {
        time: it.time.to_string(),
        host: &it.hostname,
        paths: &it.paths,
        tags: &it.tags,
        tree: it.tree.to_string(),
        files: summary.map(|of| of.total_files_processed),
        bytes: summary.map(|of| of.total_bytes_processed),
        errors,
        id: id.clone(),
    };
    let bytes = summary.map_or_else(String::new, |of| size(of.total_bytes_processed));
    let doubt = match errors {
        0 => String::new(),
        some => format!("  INCOMPLETE: {some} errors"),
    };
    let text = format!(
        "{}  {}  {:<12}  {bytes:>10}  {}{doubt}",
        &id[..8],
        when(it.time),
        harmless(&it.hostname),
        harmless(&it.paths.join(" ")),
    );
    out.both(&text, &line)
}

/// A time as the terminal's user reads it.
pub(crate) fn when(time: Timestamp) -> String {
    let ms = time.seconds.saturating_mul(1000);
    // Never "today": a list of snapshots wants dates.
    UnixMs(ms).short(UnixMs(0))
}

/// `homing snapshots`.
pub(crate) fn snapshots(context: &Context, args: &Snapshots) -> Result<(), Error> {
    let repository = open::repository(context, &args.at)?;
    let found = repository.snapshots()?;
    if found.is_empty() {
        context
            .out
            .text("no snapshots yet; `homing backup` makes the first")?;
    }
    for (id, found) in found {
        snapshot(context.out, id, &found)?;
    }
    Ok(())
}

/// An entry in `--json`.
#[derive(Serialize)]
struct Entry<'a> {
    path: String,
    r#type: &'a str,
    size: u64,
    /// Permission bits as chmod takes them, octal.
    mode: String,
    uid: u32,
    gid: u32,
    mtime: String,
    /// Where a symbolic link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// `homing ls`.
pub(crate) fn ls(context: &Context, args: &Ls) -> Result<(), Error> {
    let repository = open::repository(context, &args.at)?;
    let (_, found) = lookup::snapshot(&repository, &args.snapshot)?;
    let mut reader = Reader::new(&repository)?;
    let extent = match args.recursive {
        true => Extent::Everything,
        false => Extent::Folder,
    };
    let paths = match &args.path {
        Some(path) => vec![path.clone()],
        None => found.paths.iter().map(PathBuf::from).collect(),
    };
    for path in paths {
        let mut printed = Ok(());
        lookup::list(&mut reader, found.tree, &path, extent, &mut |path, node| {
            printed = entry(context.out, path, node);
            printed.is_err() || context.interrupt.is_asked()
        })?;
        printed?;
    }
    Ok(())
}

fn entry(out: Output, path: &Path, node: &Node) -> Result<(), Error> {
    let path = path.to_string_lossy().into_owned();
    let mode = homing_backup::tree::mode::to_unix(node.mode);
    let letter = match node.kind {
        NodeKind::File => '-',
        NodeKind::Dir => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::Dev => 'b',
        NodeKind::CharDev => 'c',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        NodeKind::Other => '?',
    };
    let target = (node.kind == NodeKind::Symlink)
        .then(|| String::from_utf8_lossy(&node.link_target).into_owned());
    let leads = target
        .as_ref()
        .map_or_else(String::new, |target| format!(" -> {}", harmless(target)));
    let text = format!(
        "{letter} {mode:04o} {:>5} {:>5} {:>12}  {}  {}{leads}",
        node.uid,
        node.gid,
        node.size,
        when(node.mtime),
        harmless(&path)
    );
    out.both(
        &text,
        &Entry {
            path: path.clone(),
            r#type: node.kind.name(),
            size: node.size,
            mode: format!("{mode:04o}"),
            uid: node.uid,
            gid: node.gid,
            mtime: node.mtime.to_string(),
            target,
        },
    )
}
