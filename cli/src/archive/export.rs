//! `export-repository`: a copy somewhere else that needs nothing but its password. Reads back what it wrote.

use super::args::{ExportRepository, Repository as At};
use super::meter::Meter;
use super::{Context, open, size};
use crate::error::Error;
use crate::output::harmless;
use homing_backup::clock::SystemClock;
use homing_backup::export::{self, Chosen, Exported};
use homing_backup::lookup;
use homing_backup::repository::Repository;
use homing_backup::store::Store;
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    to: String,
    snapshots: usize,
    files: u64,
    bytes: u64,
    already_there: u64,
    verified: u64,
    damage: &'a [String],
}

/// Runs it.
pub(crate) fn run(context: &Context, args: &ExportRepository) -> Result<(), Error> {
    let there = At {
        repository: args.to.clone(),
        password_file: None,
        server_password_file: args.to_server_password_file.clone(),
        server_ca: args.to_server_ca.clone(),
        patience: args.at.patience,
        home: None,
    };
    let to = open::store(context, &there)?;
    let repository = open::repository(context, &args.at)?;
    let chosen = chosen(&repository, &args.snapshots)?;
    let mut meter = Meter::new();
    let done = export::export(
        &repository,
        to,
        &chosen,
        &SystemClock,
        &mut |done, total| {
            meter.show(|| format!("{done} of {total} files copied and read back"));
            context.interrupt.is_asked()
        },
    );
    drop(meter);
    let place = open::shown(&there);
    let done = done.map_err(|error| match error {
        homing_backup::Error::AlreadyARepository => Error::RepositoryThere(place.clone()),
        other => other.into(),
    })?;
    for line in &done.damage {
        context.out.warn(&harmless(line));
    }
    tell(context, place, &done)
}

fn chosen<S: Store>(repository: &Repository<S>, names: &[String]) -> Result<Chosen, Error> {
    if names.is_empty() {
        return Ok(Chosen::Everything);
    }
    let found = names.iter().map(|name| lookup::snapshot(repository, name));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok(Chosen::Snapshots(
        found.into_iter().map(|(id, _)| id).collect(),
    ))
}

fn tell(context: &Context, place: String, done: &Exported) -> Result<(), Error> {
    let text = format!(
        "{} snapshots are in {place}: {} files copied ({}), {} were there already, {} read back",
        done.snapshots,
        done.files,
        size(done.bytes),
        done.already_there,
        done.verified
    );
    let report = Report {
        to: place,
        snapshots: done.snapshots,
        files: done.files,
        bytes: done.bytes,
        already_there: done.already_there,
        verified: done.verified,
        damage: &done.damage,
    };
    context.out.both(&text, &report)?;
    match done.damage.len() {
        0 => Ok(()),
        count => Err(Error::DamagedRepository(count)),
    }
}
