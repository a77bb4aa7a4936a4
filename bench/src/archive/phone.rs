//! The phone's own set: first backup, nothing new, ten files, a database's changes, back again, every byte checked, killed half-way. It must leave each set as it found it for the next program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use e2e::wait_until;

use super::edits::{self, Edit};
use super::programs::{Archive, Program};
use super::{Bench, bytes_below, empty, files_below, set, wire};
use crate::error::{Error, written};

/// How often what takes little time is done.
const TIMES: usize = 3;
/// No program takes longer for half of its first backup.
const LONGEST: Duration = Duration::from_secs(3600);

/// Measures everything on this set.
pub(super) fn measure(bench: &mut Bench) -> Result<(), Error> {
    let files = bench.path("phone");
    eprintln!("backup: making the phone's set");
    set::phone(&files, bench.scale)?;
    bench.note_bytes("phone.files", bytes_below(&files));
    let mut archives = bench.archives("phone")?;
    first(bench, &mut archives, &files)?;
    for archive in &archives {
        killed(bench, archive.program, &files)?;
    }
    nothing(bench, &mut archives, &files)?;
    ten(bench, &mut archives, &files)?;
    database(bench, &mut archives, &files)?;
    restore(bench, &archives, &files)?;
    for archive in &archives {
        let usage = bench.run(&archive.verify())?;
        bench.note(
            &format!("phone.verify.{}", archive.program.name()),
            &[usage],
        );
    }
    for archive in &archives {
        empty(&bench.path(&format!("phone-{}", archive.program.name())))?;
    }
    wire::measure(bench, &files)?;
    std::fs::remove_dir_all(&files).map_err(written(&files))
}

fn first(bench: &mut Bench, archives: &mut [Archive], files: &Path) -> Result<(), Error> {
    // The peers do not pay for reading from the disk what the first of them has brought into memory.
    for path in files_below(files).into_keys() {
        std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
    }
    for archive in archives {
        bench.run(&archive.init())?;
        let usage = bench.run(&archive.backup(files, None))?;
        let name = format!("phone.first.{}", archive.program.name());
        bench.note(&name, &[usage]);
        let stored = bench.stored(archive.program, "phone");
        bench.note_bytes(&format!("{name}.stored"), stored);
    }
    Ok(())
}

fn nothing(bench: &mut Bench, archives: &mut [Archive], files: &Path) -> Result<(), Error> {
    for archive in archives.iter_mut() {
        let mut usages = Vec::new();
        for _ in 0..TIMES {
            usages.push(bench.run(&archive.backup(files, None))?);
        }
        bench.note(
            &format!("phone.nothing.{}", archive.program.name()),
            &usages,
        );
    }
    Ok(())
}

fn ten(bench: &mut Bench, archives: &mut [Archive], files: &Path) -> Result<(), Error> {
    edits::ten(files, 1)?;
    for archive in archives.iter_mut() {
        let before = bench.stored(archive.program, "phone");
        let usage = bench.run(&archive.backup(files, None))?;
        let name = format!("phone.ten.{}", archive.program.name());
        bench.note(&name, &[usage]);
        let added = bench
            .stored(archive.program, "phone")
            .saturating_sub(before);
        bench.note_bytes(&format!("{name}.stored"), added);
    }
    Ok(())
}

fn database(bench: &mut Bench, archives: &mut [Archive], files: &Path) -> Result<(), Error> {
    let path = files.join("db/mail.sqlite");
    for edit in Edit::ALL {
        edit.make(&path)?;
        for archive in archives.iter_mut() {
            let before = bench.stored(archive.program, "phone");
            bench.run(&archive.backup(files, None))?;
            let added = bench
                .stored(archive.program, "phone")
                .saturating_sub(before);
            let name = archive.program.name();
            bench.note_bytes(
                &format!("phone.sqlite.{}.{name}.stored", edit.name()),
                added,
            );
        }
    }
    Ok(())
}

fn restore(bench: &mut Bench, archives: &[Archive], files: &Path) -> Result<(), Error> {
    let to = |archive: &Archive| format!("restored-{}", archive.program.name());
    for archive in archives {
        // Each has a new folder, and none is removed yet: ext4 looks long for room among files that have just been removed.
        let to = bench.path(&to(archive));
        empty(&to)?;
        let usage = bench.run(&archive.restore(&to))?;
        bench.note(
            &format!("phone.restore.{}", archive.program.name()),
            &[usage],
        );
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
                what: archive.program.name(),
                reason: "what it restored is not what was backed up".into(),
            });
        }
    }
    for archive in archives {
        empty(&bench.path(&to(archive)))?;
    }
    Ok(())
}

/// A first backup that is killed when half of it is stored, and another run.
fn killed(bench: &mut Bench, program: Program, files: &Path) -> Result<(), Error> {
    let mut archive = bench.archive(program, "killed")?;
    let repository = bench.path(&format!("killed-{}/repository", program.name()));
    bench.run(&archive.init())?;
    // The undisturbed run of the same files: what is there beyond it was stored twice.
    let whole = bench.stored(program, "phone");
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
        bench.note_bytes(&format!("phone.killed.{}.again", program.name()), again);
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
