//! The daemon on the phone, as modules behind one entry; it must not hold logic that policy, hal or link own.
#![forbid(unsafe_code)]

mod actor;
pub mod agent;
pub mod alarm;
mod alone;
mod answers;
pub mod args;
pub mod boottime;
mod brain;
pub mod check_config;
pub mod config;
mod crash;
pub mod doctor;
pub mod durable;
pub mod enrol;
pub mod error;
pub mod exit;
pub mod folder;
mod geolocation;
mod history;
mod inbox;
pub mod journal;
pub mod keystore;
mod leave;
pub mod ledger;
pub mod log;
mod membership;
pub mod notify;
pub mod outbox;
mod perform;
mod pin;
pub mod privacy;
pub mod process;
mod reserve;
mod roaming;
pub mod scribe;
pub mod shelf;
pub mod signal;
pub mod siren;
pub mod status;
mod storage;
pub mod suggest;
pub mod wallclock;
pub mod worker;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::args::{Invocation, Name, Order, Switch};
use crate::error::Error;
use crate::exit::ExitError;
use crate::siren::Residence;

/// Runs homingd with the arguments after the program's name, to its exit code.
#[must_use]
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    exit::report_bugs();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), ExitError> {
    privacy::protect()?;
    match args::parse(arguments)? {
        Invocation::Print(text) => Ok(print(&text)?),
        Invocation::Run(order) => dispatch(&order),
    }
}

fn dispatch(order: &Order) -> Result<(), ExitError> {
    match order.name {
        Name::Agent => agent::run(order),
        Name::Actor => actor::run(order),
        Name::Enrol => enrol::run(order),
        Name::Leave => leave::run(order),
        Name::Pin => pin::run(order),
        Name::Ledger => ledger::run(order),
        Name::Status => status::run(order),
        Name::Siren => {
            agent::simulate_clocks(order)?;
            let residence = match order.switch("--resident") {
                Switch::On => Residence::Resident,
                Switch::Off => Residence::OneShot,
            };
            siren::run(&order.source, residence)
        }
        Name::Reserve => reserve::run(&order.source),
        Name::CheckConfig => check_config::run(&order.source, &order.operands),
        Name::Doctor => doctor::run(&order.source, order.switch("--json")),
    }
}

/// Writes an answer to stdout; a reader that closed the pipe has read enough.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Print(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod wiring;
