//! `demo`: builds, finds the broker and gpsd, with --qemu prepares an emulated phone, then becomes the guided tour. Shows nothing itself.

use crate::arm::Profile;
use crate::qemu::{self, Stage, Stories};
use crate::{check, house, tools};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `cargo xtask demo [--qemu] [--once]`. Returns only when the tour could not be started: this process becomes it,
/// so that Ctrl-C reaches it alone.
///
/// # Errors
/// One sentence: no tools, no build, no emulated phone, or the tour's program could not be started.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let known = |argument: &&String| ["--qemu", "--once"].contains(&argument.as_str());
    if let Some(unknown) = arguments.iter().find(|argument| !known(argument)) {
        return Err(format!("demo takes --qemu and --once, not {unknown:?}"));
    }
    let found = tools::provide(tools::household())?;
    let emulated = match arguments.iter().any(|argument| argument == "--qemu") {
        true => emulated()?,
        false => Vec::new(),
    };
    check::build()?;
    let error = Command::new(house::target().join("debug/homing-demo"))
        .args(arguments)
        .envs(&found)
        .envs(emulated)
        .exec();
    Err(format!("the demo could not be started: {error}"))
}

/// The phone's program, and the image where one can be made; the tour says which it shows and why.
fn emulated() -> Result<qemu::Variables, String> {
    match qemu::provide(Profile::Phone, Stories::All)? {
        Stage::Ready(variables) => Ok(variables),
        Stage::Missing(reason) => Err(format!(
            "no phone can be emulated here: {reason}. `./demo` shows a simulated one"
        )),
    }
}
