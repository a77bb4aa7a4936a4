//! Entry of the multi-call binary `homingd`; it only hands the command line to the library and must not decide anything.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    homingd::start(std::env::args_os().skip(1))
}
