//! `homing`, the owner's command line: arguments in, exit code out. Holds no logic of its own.
#![forbid(unsafe_code)]

mod archive;
mod args;
mod clock;
mod commands;
mod duration;
mod error;
mod exchange;
mod exit;
mod file;
mod household;
mod output;
mod passphrase;
#[cfg(test)]
mod pretend;
mod privacy;
mod random;
mod reconcile;
mod renewal;
mod slept;
mod store;
mod suggest;
mod supervisor;
mod trackfile;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: it needs a process with one thread.
    clock::read_zone();
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream each belongs to.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
            return match error.print() {
                Ok(()) => code.into(),
                Err(_) => exit::IO.into(),
            };
        }
    };
    match privacy::protect().and_then(|()| commands::run(cli)) {
        Ok(()) => exit::OK.into(),
        Err(error) => {
            // With nobody left to tell, the exit code still does.
            let _ = writeln!(std::io::stderr(), "homing: {error}");
            error.exit_code().into()
        }
    }
}
