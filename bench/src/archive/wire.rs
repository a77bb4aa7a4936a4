//! The phone's set to a server: bytes and requests, as the server counts them. It must not count what a program keeps for itself.

use std::path::Path;

use super::programs::{Archive, Program};
use super::server::{Server, Traffic};
use super::{Bench, edits, empty, hollow, set, settle};
use crate::error::Error;

/// Measures the programs that know the protocol, one after the other, each on the set in its first state.
pub(super) fn measure(bench: &mut Bench) -> Result<(), Error> {
    let files = bench.path("phone");
    eprintln!("making the phone's set");
    set::phone(&files, bench.scale)?;
    let first_state = edits::Kept::of(&files, &bench.path("kept"))?;
    for program in bench.programs.clone() {
        first_state.put_back()?;
        settle(&files)?;
        one(bench, program, &files)?;
    }
    Ok(())
}

fn one(bench: &mut Bench, program: Program, files: &Path) -> Result<(), Error> {
    let folder = bench.path(&format!("served-{}", program.name()));
    empty(&folder.join("repository"))?;
    let server = Server::start(&folder.join("repository"))?;
    let mut archive = Archive::new(program, server.address(), &folder.join("home"))?;
    bench.run(&archive.init())?;
    for what in ["first", "nothing", "ten"] {
        if what == "ten" {
            edits::ten(files, 1)?;
        }
        server.traffic();
        let usage = bench.run(&archive.backup(files, None))?;
        let name = format!("wire.{what}.{}", program.name());
        bench.note(&name, &[usage]);
        note(bench, &name, server.traffic());
    }
    let to = bench.path(&format!("fetched-{}", program.name()));
    empty(&to)?;
    nix::unistd::sync();
    let usage = bench.run(&archive.restore(&to))?;
    let name = format!("wire.restore.{}", program.name());
    bench.note(&name, &[usage]);
    note(bench, &name, server.traffic());
    empty(&folder)?;
    hollow(&to)
}

#[expect(clippy::cast_precision_loss, reason = "requests of a benchmark")]
fn note(bench: &mut Bench, name: &str, traffic: Traffic) {
    bench.note_number(
        &format!("{name}.requests"),
        "requests",
        traffic.requests as f64,
    );
    bench.note_bytes(&format!("{name}.sent"), traffic.sent);
    bench.note_bytes(&format!("{name}.received"), traffic.received);
}
