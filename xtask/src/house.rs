//! Where things lie in the project, and running other programs with clear failures. Knows nothing of what they do.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}

/// The folder cargo builds into: `CARGO_TARGET_DIR`, else `target` in the project.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The cargo that runs this program, else the one on PATH; started in the project's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    as_typed(command.current_dir(root()));
    command
}

/// What cargo says about the workspace and everything it is built from, or less with flags of `cargo metadata`.
///
/// # Errors
/// cargo failed, or printed something else than JSON.
pub(crate) fn cargo_metadata(flags: &[&str]) -> Result<serde_json::Value, String> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    metadata.args(flags);
    let text = output("cargo metadata", &mut metadata)?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata is not JSON: {error}"))
}

/// Takes out what the cargo that runs this program said about this package: crates whose build depends on such a
/// variable, as ring's does, would be built anew whenever a person's own cargo and this one take turns.
pub(crate) fn as_typed(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Says what is about to happen, so that a long silence has a name.
pub(crate) fn announce(step: &str) {
    eprintln!("\n== {step}");
}

thread_local! {
    static SKIPPED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Says aloud what cannot be done here and why, now and among the closing lines.
pub(crate) fn skip(sentence: &str) {
    eprintln!("\nSKIPPED: {sentence}");
    SKIPPED.with_borrow_mut(|all| {
        if !all.iter().any(|said| said == sentence) {
            all.push(sentence.to_owned());
        }
    });
}

/// The last lines of a long run: what it did, and everything that was skipped.
pub(crate) fn close(done: &str) {
    eprintln!("\n== {done}");
    let all = SKIPPED.take();
    for sentence in &all {
        eprintln!("SKIPPED: {sentence}");
    }
    if all.is_empty() {
        eprintln!("nothing was skipped");
    }
}

/// Runs a command with its output on the terminal.
///
/// # Errors
/// One sentence: it could not be started, or it failed and how.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| {
        format!(
            "{what}: could not start {:?}: {error}",
            command.get_program()
        )
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what} failed ({status})"))
    }
}

/// Runs a command and returns what it printed, trimmed.
///
/// # Errors
/// One sentence with the last line of its error output.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| {
        format!(
            "{what}: could not start {:?}: {error}",
            command.get_program()
        )
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.trim().lines().last().unwrap_or("it said nothing");
    Err(format!("{what} failed ({}): {last}", output.status))
}

/// The program of that name on PATH, or in the folders where Debian keeps daemons and which an
/// unprivileged user's PATH lacks.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| executable(candidate))
}

fn executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo last words >&2; exit 3"]);
        let message = output("reading", &mut command).unwrap_err();
        assert!(message.starts_with("reading failed") && message.ends_with("last words"));
    }

    #[test]
    fn a_program_is_found_on_path_and_a_missing_one_is_not() {
        assert!(program("sh").is_some());
        assert!(program("no-such-program-anywhere").is_none());
    }
}
