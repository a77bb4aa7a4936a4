//! The phone's own set: first backup, nothing new, ten files, a database's changes, back again, every byte checked, killed half-way. It must leave each set as it found it for the next program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use e2e::wait_until;

use super::edits::{self, Edit};
use super::programs::{Archive, Program};
use super::usage::Usage;
use super::{Bench, bytes_below, empty, files_below, hollow, set, settle};
use crate::error::Error;
use crate::samples::Samples;

/// How often what takes little time is done.
const TIMES: usize = 3;
/// No program takes longer for half of its first backup.
const LONGEST: Duration = Duration::from_secs(3600);

/// Measures everything on this set. Each program has it for itself, in its first state, from its first backup to the kill, and
/// leaves nothing that takes room; where there are several rounds, each time another one begins.
pub(super) fn measure(bench: &mut Bench) -> Result<(), Error> {
    let files = bench.path("phone");
    eprintln!("making the phone's set");
    set::phone(&files, bench.scale)?;
    bench.note_bytes("phone.files", bytes_below(&files));
    let first_state = edits::Kept::of(&files, &bench.path("kept"))?;
    let rounds = bench.scale.rounds();
    bench.record.setting("rounds", rounds);
    for round in 0..rounds {
        let mut programs = bench.programs.clone();
        let count = programs.len().max(1);
        programs.rotate_left(round % count);
        for program in programs {
            first_state.put_back()?;
            one(bench, program, &files, round)?;
            first_state.put_back()?;
            killed(bench, program, &files)?;
        }
    }
    Ok(())
}

/// One program in one round.
fn one(bench: &mut Bench, program: Program, files: &Path, round: usize) -> Result<(), Error> {
    let name = program.name();
    let mut archive = bench.archive(program, "phone")?;
    bench.run(&archive.init())?;
    settle(files)?;
    let usage = bench.run(&archive.backup(files, None))?;
    bench.keep(format!("phone.first.{name}"), usage);
    let stored = bench.stored(program, "phone");
    bench.keep_bytes(format!("phone.first.{name}.stored"), stored);
    for _ in 0..TIMES {
        let usage = bench.run(&archive.backup(files, None))?;
        bench.keep(format!("phone.nothing.{name}"), usage);
    }
    edits::ten(files, 1)?;
    let usage = added(bench, &mut archive, files, &format!("phone.ten.{name}"))?;
    bench.keep(format!("phone.ten.{name}"), usage);
    let database = files.join(edits::DATABASE);
    for edit in Edit::ALL {
        edit.make(&database)?;
        let what = format!("phone.sqlite.{}.{name}", edit.name());
        added(bench, &mut archive, files, &what)?;
    }
    restore(bench, &archive, files, round)?;
    let usage = bench.run(&archive.verify())?;
    bench.keep(format!("phone.verify.{name}"), usage);
    empty(&bench.path(&format!("phone-{name}")))
}

/// Another backup, and by how much it makes the repository larger.
fn added(
    bench: &mut Bench,
    archive: &mut Archive,
    files: &Path,
    what: &str,
) -> Result<Usage, Error> {
    let before = bench.stored(archive.program, "phone");
    let usage = bench.run(&archive.backup(files, None))?;
    let after = bench.stored(archive.program, "phone");
    bench.keep_bytes(format!("{what}.stored"), after.saturating_sub(before));
    Ok(usage)
}

fn restore(bench: &mut Bench, archive: &Archive, files: &Path, round: usize) -> Result<(), Error> {
    let name = archive.program.name();
    let to = bench.path(&format!("restored-{name}-{round}"));
    empty(&to)?;
    nix::unistd::sync();
    let usage = bench.run(&archive.restore(&to))?;
    bench.keep(format!("phone.restore.{name}"), usage);
    // A quick restore of the wrong bytes would be no figure. A database that was just written is a copy by SQLite, which
    // counts its writes in the file's head.
    let below = to.join(files.strip_prefix("/").unwrap_or(files));
    let mut compare = Command::new("diff");
    compare
        .args(["-r", "--exclude=*.sqlite"])
        .arg(files)
        .arg(below);
    let same = compare.stdout(Stdio::null()).status();
    if !same.is_ok_and(|status| status.success()) {
        return Err(Error::Cut {
            what: name,
            reason: "what it restored is not what was backed up".into(),
        });
    }
    hollow(&to)
}

/// A first backup that is killed when half of it is stored, and another run.
fn killed(bench: &mut Bench, program: Program, files: &Path) -> Result<(), Error> {
    let mut archive = bench.archive(program, "killed")?;
    let repository = bench.path(&format!("killed-{}/repository", program.name()));
    bench.run(&archive.init())?;
    // The undisturbed run of the same files: what is there beyond it was stored twice.
    let undisturbed = bench
        .bytes
        .get(&format!("phone.first.{}.stored", program.name()));
    let whole = undisturbed.map_or(0.0, Samples::median) * f64::from(1 << 20);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes of a benchmark"
    )]
    let whole = whole as u64;
    let mut child = archive
        .backup(files, None)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::Start {
            what: program.name(),
            source,
        })?;
    wait_until(LONGEST, "half of a first backup", || {
        let ended = child.try_wait().ok().flatten().is_some();
        (ended || bytes_below(&repository) >= whole / 2).then_some(())
    });
    let ended = |source| Error::Start {
        what: "killing a program",
        source,
    };
    child.kill().map_err(ended)?;
    let cut = !child.wait().map_err(ended)?.success();
    let at_kill = stamped(&repository);
    bench.run(&archive.backup(files, None))?;
    let at_end = stamped(&repository);
    let again = twice(&at_kill, &at_end, whole);
    if cut {
        bench.keep_bytes(format!("phone.killed.{}.again", program.name()), again);
    }
    empty(&bench.path(&format!("killed-{}", program.name())))
}

/// A file's bytes and when it was written: borg gives what it writes anew the names of what it threw away.
type Stamp = (u64, Option<SystemTime>);

fn stamped(folder: &Path) -> BTreeMap<PathBuf, Stamp> {
    let files = files_below(folder).into_iter();
    files
        .map(|(path, bytes)| {
            let written = path.metadata().and_then(|data| data.modified()).ok();
            (path, (bytes, written))
        })
        .collect()
}

/// Bytes that were stored for nothing: what was thrown away after the kill, and what is there beyond an undisturbed run's.
fn twice(at_kill: &BTreeMap<PathBuf, Stamp>, at_end: &BTreeMap<PathBuf, Stamp>, whole: u64) -> u64 {
    let lost = at_kill
        .iter()
        .filter(|(path, stamp)| at_end.get(*path) != Some(stamp));
    let lost: u64 = lost.map(|(_, (bytes, _))| bytes).sum();
    let there: u64 = at_end.values().map(|(bytes, _)| bytes).sum();
    lost + there.saturating_sub(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_thrown_away_and_what_is_there_twice_both_count() {
        let files = |names: &[(&str, u64)]| -> BTreeMap<PathBuf, Stamp> {
            let stamp = |bytes: u64| {
                (
                    bytes,
                    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(bytes)),
                )
            };
            names
                .iter()
                .map(|(name, bytes)| (PathBuf::from(name), stamp(*bytes)))
                .collect()
        };
        let at_kill = files(&[("a", 10), ("b", 20)]);
        assert_eq!(
            twice(&at_kill, &files(&[("a", 10), ("b", 20), ("c", 30)]), 60),
            0
        );
        assert_eq!(twice(&at_kill, &files(&[("c", 60)]), 60), 30);
        assert_eq!(
            twice(&at_kill, &files(&[("a", 60)]), 60),
            30,
            "another file of that name"
        );
        assert_eq!(
            twice(&at_kill, &files(&[("a", 10), ("b", 20), ("c", 60)]), 60),
            30
        );
    }
}
