//! Counts how often a process leaves its rest, by listening to its blocking system calls with strace. It must not be used on a process whose context switches are counted: being traced is a sleep, too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use e2e::{Proc, foreign, wait_until};

use crate::error::Error;
use crate::house::PATIENCE;

/// The system calls in which a thread of ours can rest. What waits for a disk (fsync, pwrite) is none of them.
const RESTS: &str = "trace=epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll,select,pselect6,futex,nanosleep,\
                     clock_nanosleep,read,recvfrom,recvmsg,accept4";
/// A shorter wait is not a rest: no phone falls asleep and wakes within it.
const REST: Duration = Duration::from_millis(10);
/// Threads that wake so soon after one another share one awakening of the machine.
const TOGETHER: Duration = Duration::from_millis(50);

/// A process that is listened to.
pub(crate) struct Listener {
    log: PathBuf,
    strace: Proc,
}

impl Listener {
    /// Listens to all threads of `pid`, those to come included.
    pub(crate) fn attach(name: &str, pid: u32, scratch: &Path) -> Self {
        let log = scratch.join(format!("{name}.strace"));
        let mut command = Command::new(foreign("strace"));
        command
            .args(["-f", "-ttt", "-T", "-qq", "-e", RESTS, "-e", "signal=none"])
            .args(["-p", &pid.to_string(), "-o"])
            .arg(&log)
            .stdin(Stdio::null());
        let strace = Proc::start(&format!("strace-{name}"), scratch, &mut command);
        wait_until(PATIENCE, "strace to listen", || log.exists().then_some(()));
        Self { log, strace }
    }

    /// Awakenings since a moment: ends of rests, those together counted once.
    ///
    /// # Errors
    /// strace has ended or has noted nothing, as where it may not trace; or its notes cannot be read.
    pub(crate) fn wakes_since(&mut self, moment: SystemTime) -> Result<u64, Error> {
        let text = std::fs::read_to_string(&self.log).map_err(|source| Error::Read {
            path: self.log.clone(),
            source,
        })?;
        self.still_listens(&text)?;
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        Ok(awakenings(text.lines().filter_map(end_of_rest), since))
    }

    /// No notes would read as no awakening.
    fn still_listens(&mut self, notes: &str) -> Result<(), Error> {
        let cut = |reason| Error::Cut {
            what: "strace",
            reason,
        };
        if let Some(status) = self.strace.ended() {
            return Err(cut(format!("{status}: {}", self.strace.log().trim())));
        }
        if notes.lines().next().is_none() {
            return Err(cut("it has noted no system call".into()));
        }
        Ok(())
    }
}

/// When the rest that this line tells of ended, seconds since 1970; none for a short wait or another line.
fn end_of_rest(line: &str) -> Option<f64> {
    let took: f64 = line
        .trim_end()
        .strip_suffix('>')?
        .rsplit_once('<')?
        .1
        .parse()
        .ok()?;
    let stamp: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    // A call in one line is stamped at its beginning, one that others interrupted at its return.
    let end = if line.contains(" resumed>") {
        stamp
    } else {
        stamp + took
    };
    (took >= REST.as_secs_f64()).then_some(end)
}

fn awakenings(ends: impl Iterator<Item = f64>, since: f64) -> u64 {
    let mut ends: Vec<f64> = ends.filter(|end| *end >= since).collect();
    ends.sort_by(f64::total_cmp);
    let mut count = 0;
    let mut last = f64::NEG_INFINITY;
    for end in ends {
        count += u64::from(end - last > TOGETHER.as_secs_f64());
        last = end;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_end_at_their_return_and_short_waits_are_none() {
        let whole = "7 100.500000 epoll_wait(3, [], 8, 250) = 0 <0.250000>";
        assert_eq!(end_of_rest(whole), Some(100.75));
        let resumed = "7 101.000000 <... futex resumed>) = 0 <30.000000>";
        assert_eq!(end_of_rest(resumed), Some(101.0));
        let short = "7 101.000000 read(5, \"x\", 1) = 1 <0.000021>";
        assert_eq!(end_of_rest(short), None);
        let begun = "7 101.000000 futex(0x1, FUTEX_WAIT, 1, NULL <unfinished ...>";
        assert_eq!(end_of_rest(begun), None);
    }

    #[test]
    fn threads_that_wake_one_another_wake_the_machine_once() {
        let ends = [5.0, 9.99, 10.0, 10.03, 10.07, 11.0];
        assert_eq!(awakenings(ends.into_iter(), 6.0), 2);
    }
}
