//! Whether a process that wrote a file still runs, although numbers of processes are used again. It must not send signals.

use std::path::Path;

/// When a process started, clock ticks since boot: field 22 of `/proc/PID/stat`, proc(5). With the number it names one
/// process of this boot. `None` when there is no such process.
#[must_use]
pub fn started(pid: u32) -> Option<u64> {
    let stat = Path::new("/proc").join(pid.to_string()).join("stat");
    let text = std::fs::read_to_string(stat).ok()?;
    // The name in parentheses may hold spaces and parentheses; the third field follows the last of them.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the process with this number and start runs; a start of 0 stands for one that nobody wrote down.
#[must_use]
pub fn runs(pid: u32, since: u64) -> bool {
    started(pid).is_some_and(|started| since == 0 || started == since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_process_has_by_now_is_not_taken_for_the_same() {
        let own = std::process::id();
        let since = started(own).unwrap();
        assert!(runs(own, since) && runs(own, 0));
        assert!(!runs(own, since + 1));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let (pid, born) = (child.id(), started(child.id()));
        child.wait().unwrap();
        assert!(!runs(pid, born.unwrap_or(1)));
    }
}
