//! A search by several sources at once: who begins when, and whose answer counts. It must not know what any source is.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use homing_protocol::measure::PositionSource as Kind;

use crate::capability::position::{Fix, PositionSource, Turn};
use crate::fault::{Cancel, Fault};

/// How long after the deadline a source may still say its word.
const GRACE: Duration = Duration::from_secs(5);

/// Stack of a source's thread, bytes: D-Bus messages are read by recursion to a bounded depth, and only touched pages cost memory.
const STACK: usize = 256 * 1024;

/// Finds the phone by all sources, best first: each has the whole time, because any of them may be the one that works.
/// The first fix of a satellite receiver is the answer and ends the search; otherwise, at the deadline, the smallest radius.
///
/// # Errors
/// [`Fault::Cancelled`]; else the fault that says most; [`Fault::Absent`] when there is no source.
pub fn locate(
    sources: &mut [Box<dyn PositionSource>],
    deadline: Duration,
    cancel: &Cancel,
) -> Result<Fix, Fault> {
    if let [only] = sources {
        return only.locate(deadline, cancel);
    }
    let began = Instant::now();
    let mut race = Race::new(sources.iter().map(|source| source.turn()), deadline);
    let mut waiting: Vec<Option<&mut Box<dyn PositionSource>>> =
        sources.iter_mut().map(Some).collect();
    let (mut bell, ring) = io::pipe().map_err(|error| Fault::from_io("making a pipe", &error))?;
    let (results, arrived) = channel();
    let over = Cancel::new();
    thread::scope(|scope| {
        let answer = loop {
            let now = began.elapsed();
            let is_idle = |index: usize| {
                let source = waiting.get(index).and_then(Option::as_ref);
                source.is_some_and(|source| source.is_idle())
            };
            for index in race.due(now, is_idle) {
                let Some(source) = waiting.get_mut(index).and_then(Option::take) else {
                    continue;
                };
                let left = deadline.saturating_sub(now);
                let (results, over) = (Sender::clone(&results), over.clone());
                let ring = ring.try_clone();
                let search = move || {
                    let found = source.locate(left, &over);
                    // Nobody listens any more once the search is over.
                    let _ = results.send((index, found));
                    let _ = ring.map(|mut ring| ring.write_all(&[1]));
                };
                let thread = thread::Builder::new()
                    .name("source".into())
                    .stack_size(STACK);
                if let Err(error) = thread.spawn_scoped(scope, search) {
                    race.ended(index, Err(Fault::from_io("starting a thread", &error)));
                }
            }
            if let Some(answer) = race.answer(now) {
                break answer;
            }
            match wait(&mut bell, began + race.next(now), cancel) {
                Ok(()) => {}
                Err(fault) => break Err(fault),
            }
            for (index, found) in arrived.try_iter() {
                race.ended(index, found);
            }
        };
        over.cancel();
        answer
    })
}

/// Waits for a source's word or for the time.
fn wait(bell: &mut PipeReader, until: Instant, cancel: &Cancel) -> Result<(), Fault> {
    match cancel.wait_readable(bell.as_fd(), until) {
        // One byte for each word; those that came meanwhile ring again.
        Ok(()) => bell
            .read(&mut [0])
            .map(drop)
            .map_err(|error| Fault::from_io("reading a pipe", &error)),
        Err(Fault::TimedOut(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// How one source stands.
enum Stand {
    Waits,
    Runs,
    Ended(Result<Fix, Fault>),
}

/// The search as a state that is told the time.
struct Race {
    deadline: Duration,
    runners: Vec<(Turn, Stand)>,
}

impl Race {
    fn new(turns: impl Iterator<Item = Turn>, deadline: Duration) -> Self {
        Self {
            deadline,
            runners: turns.map(|turn| (turn, Stand::Waits)).collect(),
        }
    }

    /// When coarse sources begin although others still search.
    fn last_at(&self) -> Duration {
        self.deadline / 3
    }

    /// Who begins now; `is_idle` tells of a source whether its receiver is known to lie idle.
    fn due(&mut self, now: Duration, is_idle: impl Fn(usize) -> bool) -> Vec<usize> {
        let keepers = |wanted: fn(&Stand) -> bool| {
            let keepers = self.runners.iter();
            let mut keepers = keepers.filter(|(turn, _)| *turn == Turn::AtOnceForAll);
            keepers.all(|(_, stand)| wanted(stand))
        };
        let absent = keepers(|stand| matches!(stand, Stand::Ended(Err(Fault::Absent(_)))));
        let ended = keepers(|stand| matches!(stand, Stand::Ended(_)));
        let is_late = now >= self.last_at();
        let mut due = Vec::new();
        for (index, (turn, stand)) in self.runners.iter_mut().enumerate() {
            let its_turn = match (turn, &stand) {
                (Turn::AtOnce | Turn::AtOnceForAll, Stand::Waits) => true,
                (Turn::WhereOthersAreAbsent, Stand::Waits) => {
                    absent || ((ended || is_late) && is_idle(index))
                }
                _ => continue,
            };
            if its_turn {
                *stand = Stand::Runs;
                due.push(index);
            } else if ended {
                let why = "another program has the receiver".to_owned();
                *stand = Stand::Ended(Err(Fault::Busy(why)));
            }
        }
        let fine_ended = self
            .runners
            .iter()
            .all(|(turn, stand)| *turn == Turn::Last || matches!(stand, Stand::Ended(_)));
        for (index, (turn, stand)) in self.runners.iter_mut().enumerate() {
            if *turn == Turn::Last && matches!(stand, Stand::Waits) && (is_late || fine_ended) {
                *stand = Stand::Runs;
                due.push(index);
            }
        }
        due
    }

    fn ended(&mut self, index: usize, found: Result<Fix, Fault>) {
        if let Some((_, stand)) = self.runners.get_mut(index) {
            *stand = Stand::Ended(found);
        }
    }

    /// Until when there is nothing to do unless a source ends.
    fn next(&self, now: Duration) -> Duration {
        let one_waits = self
            .runners
            .iter()
            .any(|(_, stand)| matches!(stand, Stand::Waits));
        match one_waits && now < self.last_at() {
            true => self.last_at(),
            // Every source ends at its deadline by itself; one that does not is not waited for.
            false => self.deadline + GRACE,
        }
    }

    /// The answer, once there is one. A receiver's fix before the deadline is a confirmed one, at the deadline it may be
    /// doubtful and has to be compared.
    fn answer(&self, now: Duration) -> Option<Result<Fix, Fault>> {
        let fixes = self.runners.iter().filter_map(|(_, stand)| match stand {
            Stand::Ended(Ok(fix)) => Some(*fix),
            Stand::Waits | Stand::Runs | Stand::Ended(Err(_)) => None,
        });
        let all_ended = self
            .runners
            .iter()
            .all(|(_, stand)| matches!(stand, Stand::Ended(_)));
        if now < self.deadline
            && let Some(fix) = fixes.clone().find(|fix| fix.position.source == Kind::Gnss)
        {
            return Some(Ok(fix));
        }
        let best = fixes.min_by_key(|fix| fix.position.accuracy_dm);
        let is_over = all_ended || now >= self.deadline + GRACE;
        is_over.then(|| best.ok_or_else(|| self.fault()))
    }

    /// Of all faults the one that says most: a source that is there and could not, before one that is not there.
    fn fault(&self) -> Fault {
        let mut faults = self.runners.iter().filter_map(|(_, stand)| match stand {
            Stand::Ended(Err(fault)) => Some(fault),
            Stand::Waits | Stand::Runs | Stand::Ended(Ok(_)) => None,
        });
        let first = faults.clone().next();
        let telling = faults.find(|fault| !matches!(fault, Fault::Absent(_) | Fault::Busy(_)));
        let fault = telling.or(first).cloned();
        fault.unwrap_or_else(|| match self.runners.is_empty() {
            true => Fault::Absent("no source of positions is configured".into()),
            false => Fault::TimedOut("no source has said anything in time".into()),
        })
    }
}

#[cfg(test)]
#[path = "ranking_tests.rs"]
mod tests;
