//! The phone's set to a server: bytes and requests, as the server counts them. It must not count what a program keeps for itself.

use std::path::Path;

use super::programs::Archive;
use super::server::{Server, Traffic};
use super::{Bench, edits, empty};
use crate::error::Error;

/// Measures the programs that know the protocol.
pub(super) fn measure(bench: &mut Bench, files: &Path) -> Result<(), Error> {
    for program in bench.programs.clone() {
        if !program.knows_rest() {
            continue;
        }
        let folder = bench.path(&format!("served-{}", program.name()));
        empty(&folder.join("repository"))?;
        let server = Server::start(&folder.join("repository"))?;
        let mut archive = Archive::new(program, server.address(), &folder.join("home"))?;
        bench.run(&archive.init())?;
        let mut step = |bench: &mut Bench, what: &str| {
            server.traffic();
            let usage = bench.run(&archive.backup(files, None))?;
            let name = format!("wire.{what}.{}", program.name());
            bench.note(&name, &[usage]);
            note(bench, &name, server.traffic());
            Ok::<(), Error>(())
        };
        step(bench, "first")?;
        step(bench, "nothing")?;
        edits::ten(files, 100)?;
        step(bench, "ten")?;
        let to = bench.path(&format!("fetched-{}", program.name()));
        empty(&to)?;
        let usage = bench.run(&archive.restore(&to))?;
        let name = format!("wire.restore.{}", program.name());
        bench.note(&name, &[usage]);
        note(bench, &name, server.traffic());
        empty(&folder)?;
    }
    for program in bench.programs.clone() {
        empty(&bench.path(&format!("fetched-{}", program.name())))?;
    }
    Ok(())
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
