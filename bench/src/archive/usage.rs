//! A program as a process of its own, and what the kernel says it cost once it has ended. It must not count itself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::error::{Error, unreadable};

/// The word that starts this process: `homing-bench usage-of REPORT PROGRAM ARGUMENTS…`.
pub(crate) const WORD: &str = "usage-of";

/// What a program has used, its own children included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time in user mode and in the kernel.
    pub(crate) processor: Duration,
    /// Of this in the kernel.
    pub(crate) system: Duration,
    /// The most memory that was resident at once, KiB.
    pub(crate) peak_kib: i64,
    /// From its start to its end.
    pub(crate) wall: Duration,
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started or did not succeed: then its last words are told.
pub(crate) fn run(command: &Command, scratch: &Path) -> Result<Usage, Error> {
    let report = scratch.join("usage.json");
    let itself = std::env::current_exe().map_err(|source| Error::Start {
        what: "a second process",
        source,
    })?;
    let mut measured = Command::new(itself);
    measured
        .arg(WORD)
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measured.env(name, value),
            None => measured.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        measured.current_dir(folder);
    }
    let output = measured
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            what: "a program",
            source,
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        return Err(Error::Cut {
            what: "a measured program",
            reason: format!("{:?}: {}", command.get_program(), last.join(" / ")),
        });
    }
    let text = std::fs::read(&report).map_err(|source| Error::Read {
        path: report,
        source,
    })?;
    let value: Value = serde_json::from_slice(&text).map_err(|_| unreadable("a usage"))?;
    let seconds = |name: &str| Duration::from_secs_f64(value[name].as_f64().unwrap_or(0.0));
    Ok(Usage {
        processor: seconds("user") + seconds("system"),
        system: seconds("system"),
        peak_kib: value["peak_kib"].as_i64().unwrap_or(0),
        wall: seconds("wall"),
    })
}

/// The process between: it starts the program, waits, and writes down what all of its children have used, which is that one.
///
/// # Errors
/// The program cannot be started, or ended otherwise than well.
pub(crate) fn observe(words: &[String]) -> Result<(), Error> {
    let [report, program, arguments @ ..] = words else {
        return Err(unreadable("what to measure"));
    };
    let began = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|source| Error::Start {
            what: "the measured program",
            source,
        })?;
    let wall = began.elapsed();
    if !status.success() {
        return Err(Error::Cut {
            what: "the measured program",
            reason: status.to_string(),
        });
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|errno| Error::Read {
        path: "/proc/self".into(),
        source: errno.into(),
    })?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of a benchmark")]
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let value = json!({
        "user": seconds(usage.user_time()),
        "system": seconds(usage.system_time()),
        "peak_kib": usage.max_rss(),
        "wall": wall.as_secs_f64(),
    });
    let path = Path::new(report);
    std::fs::write(path, value.to_string()).map_err(crate::error::written(path))
}
