//! `homing`, the owner's command line: arguments in, exit code out. Holds no logic of its own.
#![forbid(unsafe_code)]

mod clock;
mod error;
mod exit;
mod household;
mod random;

fn main() -> std::process::ExitCode {
    exit::OK.into()
}
