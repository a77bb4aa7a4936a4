//! Which process holds a lock, and whether it can still be alive. Judges by what this machine knows of its own processes, never by a process number alone.

use crate::id::Id;
use crate::os::identity::{self, Process};
use serde::{Deserialize, Serialize};

/// A lock that was not renewed for so long is nobody's any more: restic's rule.
pub(super) const STALE_SECONDS: i64 = 30 * 60;
/// The same where something else says too that its holder is gone: two renewals were missed.
pub(super) const MISSED_SECONDS: i64 = 10 * 60;

/// What tells a process from every other one. Programs that know nothing of it skip it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Holder {
    /// A digest of the machine's id; the id itself is nobody's business (machine-id(5)). Empty where there is none.
    machine: String,
    /// The kernel's random name for the time since it was started.
    boot: String,
    /// The namespace in which the process number counts.
    pids: String,
    /// When the process began, in clock ticks since the start of the kernel (proc(5)).
    started: u64,
}

/// What is known of a lock's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It lives.
    Alive,
    /// It is dead for certain.
    Dead,
    /// Nobody here can tell: it is gone if the lock was not renewed for so many seconds.
    StaleAfter(i64),
}

impl Holder {
    /// This very process.
    pub(super) fn ourselves() -> Self {
        Self {
            machine: identity::machine_id()
                .map(|id| Id::of(format!("homing lock {id}").as_bytes()).to_string())
                .unwrap_or_default(),
            boot: identity::boot_id(),
            pids: identity::pid_namespace(),
            started: match identity::process(std::process::id()) {
                Process::Started(ticks) => ticks,
                Process::Gone | Process::Hidden => 0,
            },
        }
    }

    /// Judges the process of that number, which wrote this into its lock.
    pub(super) fn judge(&self, pid: u32, ourselves: &Self) -> Verdict {
        let same = |theirs: &str, ours: &str| !theirs.is_empty() && theirs == ours;
        if same(&self.boot, &ourselves.boot) {
            if !same(&self.pids, &ourselves.pids) {
                return Verdict::StaleAfter(STALE_SECONDS);
            }
            return match identity::process(pid) {
                Process::Gone => Verdict::Dead,
                // The number is another's now.
                Process::Started(ticks) if self.started != 0 && ticks != self.started => {
                    Verdict::Dead
                }
                Process::Started(_) | Process::Hidden => Verdict::Alive,
            };
        }
        // The machine was started again since; but copies of one image may carry one id.
        if same(&self.machine, &ourselves.machine) {
            Verdict::StaleAfter(MISSED_SECONDS)
        } else {
            Verdict::StaleAfter(STALE_SECONDS)
        }
    }
}

/// Judges a holder that left nothing but its host's name and its number, as restic's do. Many phones have one name, and a
/// container has processes of its own: that there is no such process here proves little.
pub(super) fn judge_by_name(host: &str, pid: u32, here: &str) -> Verdict {
    if host == here && identity::process(pid) == Process::Gone {
        Verdict::StaleAfter(MISSED_SECONDS)
    } else {
        Verdict::StaleAfter(STALE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_judged_by_all_that_tells_it_from_others() {
        let us = Holder::ourselves();
        let pid = std::process::id();
        assert!(!us.boot.is_empty() && !us.pids.is_empty() && us.started > 0);
        assert_eq!(us.judge(pid, &us), Verdict::Alive);
        let with = |change: fn(&mut Holder)| {
            let mut other = us.clone();
            change(&mut other);
            other.judge(pid, &us)
        };
        // Our number, but the process that had it before us.
        assert_eq!(with(|it| it.started -= 1), Verdict::Dead);
        // A container's processes and another machine's are not ours to judge, though host name and number are ours.
        assert_eq!(
            with(|it| it.pids.push('x')),
            Verdict::StaleAfter(STALE_SECONDS)
        );
        let elsewhere = with(|it| {
            it.boot.push('x');
            it.machine.push('x');
        });
        assert_eq!(elsewhere, Verdict::StaleAfter(STALE_SECONDS));
        // Process numbers end below 2^22.
        assert_eq!(us.judge(1 << 22, &us), Verdict::Dead);
        if !us.machine.is_empty() {
            assert_eq!(
                with(|it| it.boot.push('x')),
                Verdict::StaleAfter(MISSED_SECONDS)
            );
        }
    }

    #[test]
    fn a_bare_name_and_number_prove_little() {
        let here = identity::hostname();
        assert_eq!(
            judge_by_name(&here, std::process::id(), &here),
            Verdict::StaleAfter(STALE_SECONDS)
        );
        assert_eq!(
            judge_by_name(&here, 1 << 22, &here),
            Verdict::StaleAfter(MISSED_SECONDS)
        );
        assert_eq!(
            judge_by_name("elsewhere", 1 << 22, &here),
            Verdict::StaleAfter(STALE_SECONDS)
        );
    }
}
