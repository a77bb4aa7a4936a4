//! `verify`: is everything there, and whole? What is found is named; nothing is mended.

use super::args::Verify;
use super::meter::Meter;
use super::{Context, open, size};
use crate::clock::UnixMs;
use crate::error::Error;
use crate::output::harmless;
use homing_backup::verify::{self, Depth};
use serde::Serialize;

/// A day; each reads other packs when only a sample is read.
const DAY_MS: i64 = 86_400_000;

#[derive(Serialize)]
struct Report<'a> {
    snapshots: usize,
    packs: usize,
    packs_read: usize,
    bytes_read: u64,
    unindexed_packs: usize,
    damage: &'a [String],
}

/// Runs it.
pub(crate) fn run(context: &Context, args: &Verify) -> Result<(), Error> {
    let depth = match (args.all, args.sample) {
        (true, _) => Depth::All,
        (false, Some(every)) => Depth::Sample {
            every: usize::try_from(every).unwrap_or(usize::MAX),
            first: usize::try_from(UnixMs::now().0 / DAY_MS).unwrap_or(0),
        },
        (false, None) => Depth::Structure,
    };
    let repository = open::repository(context, &args.at)?;
    let mut meter = Meter::new();
    let found = verify::verify(&repository, depth, &mut |done, total| {
        meter.show(|| format!("{done} of {total} packs"));
        context.interrupt.is_asked()
    });
    drop(meter);
    let found = found?;
    for line in &found.damage {
        context.out.text(&harmless(line))?;
    }
    let verdict = match found.damage.len() {
        0 => "no damage found",
        _ => "DAMAGED",
    };
    let read = match found.packs_read {
        0 => "their content was not read (--sample and --all do)".to_owned(),
        some => format!("{some} of them read ({})", size(found.bytes_read)),
    };
    let text = format!(
        "{verdict} in {} snapshots and {} packs; {read}",
        found.snapshots, found.packs
    );
    let report = Report {
        snapshots: found.snapshots,
        packs: found.packs,
        packs_read: found.packs_read,
        bytes_read: found.bytes_read,
        unindexed_packs: found.unindexed_packs,
        damage: &found.damage,
    };
    context.out.both(&text, &report)?;
    match found.damage.len() {
        0 => Ok(()),
        count => Err(Error::DamagedRepository(count)),
    }
}
