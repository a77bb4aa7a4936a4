//! Half a million tiny files: what looking for changes costs beside one lstat of each, and what is told of them costs. It must not count the making of the set.

use std::process::Command;

use super::lstat;
use super::{Bench, edits, empty, set};
use crate::archive::programs::{Archive, Program};
use crate::error::{Error, written};

/// How often what takes little time is done.
const TIMES: u32 = 3;
/// How often the peers look for changes where there are many: at the whole scale each look takes them 10 to 20 s.
const PEERS_TIMES: u32 = 1;

/// Measures everything on this set.
pub(super) fn measure(bench: &mut Bench) -> Result<(), Error> {
    let archives = scan(bench)?;
    let to = |archive: &Archive| format!("restored-{}", archive.program.name());
    for archive in &archives {
        let name = archive.program.name();
        // Each has a new folder, and none is removed yet: ext4 looks long for room among files that have just been removed.
        let to = bench.path(&to(archive));
        empty(&to)?;
        let usage = bench.run(&archive.restore(&to))?;
        bench.note(&format!("many.restore.{name}"), &[usage]);
        let usage = bench.run(&archive.verify())?;
        bench.note(&format!("many.verify.{name}"), &[usage]);
    }
    for archive in &archives {
        empty(&bench.path(&to(archive)))?;
    }
    Ok(())
}

/// Looks for changes, or is told of them.
fn scan(bench: &mut Bench) -> Result<Vec<Archive>, Error> {
    let files = bench.path("many");
    eprintln!("making many files");
    set::many(&files, bench.scale)?;
    let itself = std::env::current_exe().map_err(|source| Error::Start {
        what: "a walk",
        source,
    })?;
    let mut walks = Vec::new();
    for _ in 0..TIMES {
        let mut walk = Command::new(&itself);
        walk.arg(lstat::WORD).arg(&files);
        walks.push(bench.run(&walk)?);
    }
    bench.note("many.lstat", &walks);
    let mut archives = bench.archives("many")?;
    for archive in &mut archives {
        let name = archive.program.name();
        let times = match archive.program {
            Program::Homing => TIMES,
            _ if bench.scale.rounds() == 1 => PEERS_TIMES,
            _ => TIMES,
        };
        bench.run(&archive.init())?;
        let usage = bench.run(&archive.backup(&files, None))?;
        bench.note(&format!("many.first.{name}"), &[usage]);
        let stored = bench.stored(archive.program, "many");
        bench.note_bytes(&format!("many.first.{name}.stored"), stored);
        let mut usages = Vec::new();
        for _ in 0..times {
            usages.push(bench.run(&archive.backup(&files, None))?);
        }
        bench.note(&format!("many.nothing.{name}"), &usages);
        let mut opened = Vec::new();
        for _ in 0..TIMES {
            opened.push(bench.run(&archive.open())?);
        }
        bench.note(&format!("many.open.{name}"), &opened);
    }
    edits::ten(&files, 1)?;
    for archive in &mut archives {
        let usage = bench.run(&archive.backup(&files, None))?;
        bench.note(&format!("many.ten.{}", archive.program.name()), &[usage]);
    }
    // Only ours can be told what changed.
    let list = bench.path("changes");
    for archive in archives
        .iter_mut()
        .filter(|archive| archive.program == Program::Homing)
    {
        for (name, time) in [
            ("many.ten_told.homing", true),
            ("many.nothing_told.homing", false),
        ] {
            let mut usages = Vec::new();
            for round in 0..TIMES {
                let changed = match time {
                    true => edits::ten(&files, 2 + round)?,
                    false => Vec::new(),
                };
                let lines: Vec<String> = changed
                    .iter()
                    .map(|path| format!("{}\n", path.display()))
                    .collect();
                std::fs::write(&list, lines.concat()).map_err(written(&list))?;
                usages.push(bench.run(&archive.backup(&files, Some(&list)))?);
            }
            bench.note(name, &usages);
        }
    }
    Ok(archives)
}
