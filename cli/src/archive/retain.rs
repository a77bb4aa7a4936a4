//! `forget`, `prune`, `rebuild-index`, `unlock`: what a repository keeps. The first two can say first what they would do.

use super::args::{Forget, Prune, RebuildIndex, Unlock};
use super::{Context, open, show, size};
use crate::error::Error;
use crate::output::harmless;
use homing_backup::clock::{SystemClock, Trust};
use homing_backup::lock::{self, Which};
use homing_backup::prune::{self, Options, Repack};
use homing_backup::retention::{self, Deed, Keep};
use serde::Serialize;

const fn deed(dry_run: bool) -> Deed {
    if dry_run { Deed::Tell } else { Deed::Do }
}

#[derive(Serialize)]
struct Forgotten {
    removed: Vec<String>,
    kept: usize,
    dry_run: bool,
}

/// `homing forget`.
pub(crate) fn forget(context: &Context, args: &Forget) -> Result<(), Error> {
    let repository = open::repository(context, &args.at)?;
    let keep = Keep {
        within_seconds: args
            .keep_within
            .map(|span| i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX)),
        last: args.keep_last.map_or(0, |last| last as usize),
    };
    let done = retention::forget(&repository, &keep, deed(args.dry_run), &SystemClock)?;
    if !context.out.is_json() {
        for (id, snapshot) in &done.removed {
            show::snapshot(context.out, *id, snapshot)?;
        }
    }
    let word = if args.dry_run {
        "would forget"
    } else {
        "forgot"
    };
    context.out.both(
        &format!("{word} {}, kept {}", done.removed.len(), done.kept.len()),
        &Forgotten {
            removed: done.removed.iter().map(|(id, _)| id.to_string()).collect(),
            kept: done.kept.len(),
            dry_run: args.dry_run,
        },
    )
}

#[derive(Serialize)]
struct Pruned {
    kept_bytes: u64,
    marked_packs: u64,
    marked_bytes: u64,
    repacked_packs: u64,
    recovered_packs: u64,
    removed_packs: u64,
    removed_bytes: u64,
    waiting_packs: u64,
    dry_run: bool,
}

/// `homing prune`.
pub(crate) fn prune(context: &Context, args: &Prune) -> Result<(), Error> {
    let repository = open::repository(context, &args.at)?;
    let options = Options {
        repack: match args.no_repack {
            true => Repack::Never,
            false => Options::default().repack,
        },
        grace_seconds: i64::try_from(args.grace.0.as_secs()).unwrap_or(i64::MAX),
        deed: deed(args.dry_run),
        trust: match args.trust_clock {
            true => Trust::Believe,
            false => Trust::Check,
        },
    };
    let asked = || context.interrupt.is_asked();
    let done = prune::prune(&repository, &options, &SystemClock, &mut { asked })?;
    let would = if args.dry_run { "would have " } else { "" };
    let text = format!(
        "{would}removed {} packs ({}), marked {} for removal ({}), repacked {}; {} still wait, {} stay",
        done.removed_packs,
        size(done.removed_bytes),
        done.marked_packs,
        size(done.marked_bytes),
        done.repacked_packs,
        done.waiting_packs,
        size(done.kept_bytes)
    );
    context.out.both(
        &text,
        &Pruned {
            kept_bytes: done.kept_bytes,
            marked_packs: done.marked_packs,
            marked_bytes: done.marked_bytes,
            repacked_packs: done.repacked_packs,
            recovered_packs: done.recovered_packs,
            removed_packs: done.removed_packs,
            removed_bytes: done.removed_bytes,
            waiting_packs: done.waiting_packs,
            dry_run: args.dry_run,
        },
    )
}

#[derive(Serialize)]
struct Rebuilt<'a> {
    packs: usize,
    blobs: usize,
    damaged: &'a [String],
}

/// `homing rebuild-index`.
pub(crate) fn rebuild_index(context: &Context, args: &RebuildIndex) -> Result<(), Error> {
    let repository = open::repository(context, &args.at)?;
    let done = prune::rebuild_index(&repository, &SystemClock, &mut || {
        context.interrupt.is_asked()
    })?;
    for line in &done.damaged {
        context.out.warn(&harmless(line));
    }
    context.out.both(
        &format!("indexed {} pieces in {} packs", done.blobs, done.packs),
        &Rebuilt {
            packs: done.packs,
            blobs: done.blobs,
            damaged: &done.damaged,
        },
    )?;
    match done.damaged.len() {
        0 => Ok(()),
        count => Err(Error::DamagedRepository(count)),
    }
}

#[derive(Serialize)]
struct Unlocked<'a> {
    removed: &'a [String],
    left: &'a [String],
}

/// `homing unlock`.
pub(crate) fn unlock(context: &Context, args: &Unlock) -> Result<(), Error> {
    let repository = open::repository(context, &args.at)?;
    let which = match args.all {
        true => Which::All,
        false => Which::Abandoned,
    };
    let done = lock::unlock(&repository, which, &SystemClock)?;
    for (word, locks) in [("removed", &done.removed), ("left", &done.left)] {
        for said in locks {
            context.out.warn(&harmless(&format!("{word} lock {said}")));
        }
    }
    context.out.both(
        &format!(
            "removed {} locks, left {}",
            done.removed.len(),
            done.left.len()
        ),
        &Unlocked {
            removed: &done.removed,
            left: &done.left,
        },
    )
}
