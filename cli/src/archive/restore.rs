//! `restore`: first the plan, then the deed. Writes below the one folder it was given and nowhere else.

use super::args::Restore;
use super::meter::Meter;
use super::{Context, open, size};
use crate::error::Error;
use crate::output::harmless;
use homing_backup::lookup;
use homing_backup::reader::Reader;
use homing_backup::restore::{self, Conflicts, Plan, Restored, Selection, Watcher};
use serde::Serialize;
use std::path::Path;

struct Watching<'a> {
    context: &'a Context,
    meter: Meter,
    total: u64,
}

impl Watcher for Watching<'_> {
    fn restored(&mut self, bytes: u64) -> bool {
        let total = self.total;
        self.meter
            .show(|| format!("{} of {}", size(bytes), size(total)));
        self.context.interrupt.is_asked()
    }

    fn trouble(&mut self, path: &Path, reason: &str) {
        self.meter.clear();
        let path = harmless(&path.to_string_lossy());
        self.context
            .out
            .warn(&format!("{path}: {}", harmless(reason)));
    }
}

#[derive(Serialize)]
struct Planned {
    folders: u64,
    files: u64,
    others: u64,
    bytes: u64,
    conflicts: u64,
    conflicting: Vec<String>,
    missing_pieces: u64,
}

#[derive(Serialize)]
struct Report {
    snapshot: String,
    files: u64,
    bytes: u64,
    already_there: u64,
    kept: u64,
    errors: u64,
}

/// Runs it.
pub(crate) fn run(context: &Context, args: &Restore) -> Result<(), Error> {
    if let Some(path) = args.paths.iter().find(|path| !path.is_absolute()) {
        return Err(Error::Usage(format!(
            "{} is not an absolute path, as `homing ls` shows them",
            path.display()
        )));
    }
    let repository = open::repository(context, &args.at)?;
    let (id, snapshot) = lookup::snapshot(&repository, &args.snapshot)?;
    let mut reader = Reader::new(&repository)?;
    let selection = Selection {
        paths: args.paths.clone(),
    };
    reader.fetch_ahead();
    let plan = restore::plan(&mut reader, snapshot.tree, &selection, &args.to)?;
    if args.dry_run {
        return tell_plan(context, &plan);
    }
    let mut watching = Watching {
        context,
        meter: Meter::new(),
        total: plan.bytes,
    };
    let conflicts = match args.replace {
        true => Conflicts::Replace,
        false => Conflicts::Keep,
    };
    let done = restore::execute(
        &mut reader,
        snapshot.tree,
        &selection,
        &args.to,
        conflicts,
        &mut watching,
    );
    drop(watching);
    tell(context, &id.to_string(), &done?)
}

fn tell_plan(context: &Context, plan: &Plan) -> Result<(), Error> {
    let conflicting: Vec<String> = plan
        .conflicting
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    for path in &conflicting {
        context
            .out
            .text(&format!("in the way: {}", harmless(path)))?;
    }
    let text = format!(
        "would restore {} files ({}), {} folders, {} others; {} things are in the way",
        plan.files,
        size(plan.bytes),
        plan.folders,
        plan.others,
        plan.conflicts
    );
    let planned = Planned {
        folders: plan.folders,
        files: plan.files,
        others: plan.others,
        bytes: plan.bytes,
        conflicts: plan.conflicts,
        conflicting,
        missing_pieces: plan.missing_blobs,
    };
    context.out.both(&text, &planned)?;
    match plan.missing_blobs {
        0 => Ok(()),
        some => Err(Error::Incomplete(format!(
            "{some} pieces of files are missing in the repository; `homing verify` tells more"
        ))),
    }
}

fn tell(context: &Context, snapshot: &str, done: &Restored) -> Result<(), Error> {
    let text = format!(
        "restored {} files, {}; {} were there already",
        done.files,
        size(done.bytes),
        done.already_there
    );
    let report = Report {
        snapshot: snapshot.into(),
        files: done.files,
        bytes: done.bytes,
        already_there: done.already_there,
        kept: done.kept,
        errors: done.errors,
    };
    context.out.both(&text, &report)?;
    match (done.errors, done.kept) {
        (0, _) => Ok(()),
        (errors, 0) => Err(Error::Incomplete(format!(
            "{errors} items could not be restored properly"
        ))),
        (errors, kept) => Err(Error::Incomplete(format!(
            "{errors} items were not restored, {kept} of them because something else is there (--replace replaces it)"
        ))),
    }
}
