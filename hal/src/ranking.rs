//! A search by several sources at once: who begins when, and whose answer counts. It must not know what any source is.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use homing_protocol::measure::PositionSource as Kind;

use crate::capability::position::{Fix, PositionSource, Turn};
use crate::fault::{Cancel, Fault};

/// How long after its deadline a source may still say its word.
const GRACE: Duration = Duration::from_secs(3);
/// How long the others may take to end once there is an answer: what they have switched on is off by then.
const FAREWELL: Duration = Duration::from_secs(2);
/// From this deadline on the sources get so much less that the answer comes by it whatever they do; shorter ones are overrun instead.
const LONG: Duration = Duration::from_secs(20);
/// How many sources may search at once in this process, those that hang included: a source that never ends keeps its thread.
const MOST_RUNNING: usize = 32;

/// Stack of a source's thread, bytes: D-Bus messages are read by recursion to a bounded depth, and only touched pages cost memory.
const STACK: usize = 256 * 1024;

/// Finds the phone by all sources, best first: each has nearly the whole time, because any of them may be the one that works.
/// The first fix of a satellite receiver is the answer and ends the search; otherwise, at the deadline, the smallest radius.
///
/// The answer comes by the deadline, and of less than 20 s some 5 s later, whatever a source does: one that does not end is left
/// behind, on a thread of its own.
///
/// # Errors
/// [`Fault::Cancelled`]; else the fault that says most; [`Fault::Absent`] when there is no source.
pub fn locate(
    sources: Vec<Box<dyn PositionSource>>,
    deadline: Duration,
    cancel: &Cancel,
) -> Result<Fix, Fault> {
    let began = Instant::now();
    let margin = match deadline >= LONG {
        true => GRACE + FAREWELL,
        false => Duration::ZERO,
    };
    let turns = sources.iter().map(|source| source.turn());
    let mut race = Race::new(turns, deadline.saturating_sub(margin));
    let mut field = Field::new(sources)?;
    let answer = loop {
        let now = began.elapsed();
        for index in race.due(now, |index| field.is_idle(index)) {
            let left = race.deadline.saturating_sub(now);
            if let Err(fault) = field.start(index, left) {
                race.ended(index, Err(fault));
            }
        }
        if let Some(answer) = race.answer(now) {
            break answer;
        }
        match field.wait(began + race.next(now), cancel) {
            Ok(()) => {}
            Err(fault) => break Err(fault),
        }
        for (index, found) in field.ended() {
            race.ended(index, found);
        }
    };
    field.leave(Instant::now() + FAREWELL);
    answer
}

/// The sources and their threads. None is waited for without a bound.
struct Field {
    waiting: Vec<Option<Box<dyn PositionSource>>>,
    running: usize,
    over: Cancel,
    bell: PipeReader,
    ring: PipeWriter,
    results: Sender<(usize, Result<Fix, Fault>)>,
    arrived: Receiver<(usize, Result<Fix, Fault>)>,
}

impl Field {
    fn new(sources: Vec<Box<dyn PositionSource>>) -> Result<Self, Fault> {
        let (bell, ring) = io::pipe().map_err(|error| Fault::from_io("making a pipe", &error))?;
        let (results, arrived) = channel();
        Ok(Self {
            waiting: sources.into_iter().map(Some).collect(),
            running: 0,
            over: Cancel::new(),
            bell,
            ring,
            results,
            arrived,
        })
    }

    fn is_idle(&self, index: usize) -> bool {
        let source = self.waiting.get(index).and_then(Option::as_ref);
        source.is_some_and(|source| source.is_idle())
    }

    /// Starts a source, which then owns itself: nothing of ours lives as long as it may.
    fn start(&mut self, index: usize, left: Duration) -> Result<(), Fault> {
        let Some(mut source) = self.waiting.get_mut(index).and_then(Option::take) else {
            return Ok(());
        };
        let place = Place::take()?;
        let (results, over) = (self.results.clone(), self.over.clone());
        let ring = self.ring.try_clone();
        let mut ring = ring.map_err(|error| Fault::from_io("copying a pipe", &error))?;
        let search = move || {
            let found = source.locate(left, &over);
            drop((source, place));
            // Nobody listens any more once the search is over.
            let _ = results.send((index, found));
            let _ = ring.write_all(&[1]);
        };
        let thread = thread::Builder::new()
            .name("source".into())
            .stack_size(STACK);
        thread
            .spawn(search)
            .map_err(|error| Fault::from_io("starting a thread", &error))?;
        self.running += 1;
        Ok(())
    }

    /// Waits for a source's word or for the time.
    fn wait(&mut self, until: Instant, cancel: &Cancel) -> Result<(), Fault> {
        wait(&mut self.bell, until, cancel)
    }

    /// What the sources have said since.
    fn ended(&mut self) -> Vec<(usize, Result<Fix, Fault>)> {
        let ended: Vec<_> = self.arrived.try_iter().collect();
        self.running -= ended.len();
        ended
    }

    /// Ends every source, and waits so long for those that do.
    fn leave(mut self, until: Instant) {
        self.over.cancel();
        let nobody = Cancel::new();
        while self.running > 0 && Instant::now() < until {
            if wait(&mut self.bell, until, &nobody).is_err() {
                break;
            }
            let _ = self.ended();
        }
        if self.running > 0 {
            tracing::warn!(sources = self.running, "left behind: they do not end");
        }
    }
}

/// A place among those that search.
struct Place;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Result<Self, Fault> {
        let place = Self;
        match RUNNING.fetch_add(1, Ordering::SeqCst) < MOST_RUNNING {
            true => Ok(place),
            false => Err(Fault::Busy("too many earlier searches hang".into())),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
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
