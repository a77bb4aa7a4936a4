//! `homing`, the owner's command line: arguments in, exit code out. Holds no logic of its own.
#![forbid(unsafe_code)]

mod args;
mod clock;
mod duration;
mod error;
mod exit;
mod file;
mod household;
mod output;
mod passphrase;
mod random;

fn main() -> std::process::ExitCode {
    exit::OK.into()
}
