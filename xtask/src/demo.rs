//! `demo`: builds, finds the broker and gpsd, then becomes the guided tour. Shows nothing itself.

use crate::{check, house, tools};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `cargo xtask demo [--once]`. Returns only when the tour could not be started: this process becomes it,
/// so that Ctrl-C reaches it alone.
///
/// # Errors
/// One sentence: no tools, no build, or the tour's program could not be started.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if let Some(unknown) = arguments.iter().find(|argument| *argument != "--once") {
        return Err(format!("demo takes --once or nothing, not {unknown:?}"));
    }
    let found = tools::provide(tools::household())?;
    check::build()?;
    let error = Command::new(house::target().join("debug/homing-demo"))
        .args(arguments)
        .envs(&found)
        .exec();
    Err(format!("the demo could not be started: {error}"))
}
