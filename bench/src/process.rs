//! What the kernel says about a running process. It must not touch the process.

use crate::error::{Error, unreadable};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The memory of a process now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    /// Resident pages, shared ones in full, KiB (`Rss` of smaps_rollup).
    pub(crate) rss_kib: u64,
    /// Resident pages, shared ones by share, KiB (`Pss`).
    pub(crate) pss_kib: u64,
    /// Pages that no file backs: heap, stacks, relocated data, KiB (`Anonymous`).
    pub(crate) anonymous_kib: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effort {
    /// Processor time of all threads that still live.
    pub(crate) processor: Duration,
    /// How often a thread went to sleep and was woken: voluntary context switches of all threads that still live.
    /// A wait for the disk counts as well, so this is an upper bound of wake-ups.
    pub(crate) switches: u64,
}

impl Effort {
    /// What was used since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            processor: self.processor.saturating_sub(earlier.processor),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

/// Looks at the memory of a process.
///
/// # Errors
/// The process is gone or belongs to somebody else.
pub(crate) fn footprint(pid: u32) -> Result<Footprint, Error> {
    let rollup = read(&proc(pid, "smaps_rollup"))?;
    let status = read(&proc(pid, "status"))?;
    Ok(Footprint {
        rss_kib: field(&rollup, "Rss")?,
        pss_kib: field(&rollup, "Pss")?,
        anonymous_kib: field(&rollup, "Anonymous")?,
        threads: field(&status, "Threads")?,
    })
}

/// Looks at what a process has used so far.
///
/// # Errors
/// As [`footprint`].
pub(crate) fn effort(pid: u32) -> Result<Effort, Error> {
    let folder = proc(pid, "task");
    let tasks = std::fs::read_dir(&folder).map_err(|source| Error::Read {
        path: folder.clone(),
        source,
    })?;
    let mut effort = Effort::default();
    for task in tasks.flatten() {
        let run = read(&task.path().join("schedstat"))?;
        let nanoseconds = run.split_whitespace().next().and_then(|it| it.parse().ok());
        effort.processor +=
            Duration::from_nanos(nanoseconds.ok_or_else(|| unreadable("schedstat"))?);
        effort.switches += field(
            &read(&task.path().join("status"))?,
            "voluntary_ctxt_switches",
        )?;
    }
    Ok(effort)
}

fn proc(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// The number behind `NAME:`.
fn field(text: &str, name: &str) -> Result<u64, Error> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| unreadable(&format!("{name} of a process")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_has_memory_threads_and_processor_time() {
        let own = std::process::id();
        let footprint = footprint(own).unwrap();
        assert!(footprint.rss_kib >= footprint.pss_kib && footprint.pss_kib > 100);
        assert!(footprint.anonymous_kib > 0 && footprint.threads >= 1);
        assert!(effort(own).unwrap().processor > Duration::ZERO);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Pss_Anon:  5 kB\nPss:   7 kB\n";
        assert_eq!(field(text, "Pss").unwrap(), 7);
        assert!(field(text, "Rss").is_err());
    }
}
