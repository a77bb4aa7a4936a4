//! One bounded search for the phone over a source that may fail and come back; it must not know what kind of source that is.

use std::time::{Duration, Instant};

use crate::capability::gate::{Gate, Reading, Verdict};
use crate::capability::position::Fix;
use crate::fault::{Cancel, Fault};

/// How long a source that was never reached is tried before it counts as absent: a restarted service is back within this.
const ABSENT_AFTER: Duration = Duration::from_secs(5);
/// First pause before asking again; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before asking again: a deadline is tens of seconds, so half a dozen tries remain.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Never,
    Once,
}

/// One call of `locate`, over as many sessions as it takes.
pub(super) struct Search {
    who: &'static str,
    began: Instant,
    until: Instant,
    gate: Gate,
    reached: Reached,
}

impl Search {
    /// A search by the driver `who` that begins now.
    pub(super) fn new(who: &'static str, deadline: Duration) -> Self {
        let began = Instant::now();
        Self {
            who,
            began,
            until: began + deadline,
            gate: Gate::new(),
            reached: Reached::Never,
        }
    }

    /// When it ends.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// How long it has gone on: the time of a reading that arrives now.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The source is there.
    pub(super) fn reached(&mut self) {
        self.reached = Reached::Once;
    }

    /// Judges a reading; the fix, once two agree.
    pub(super) fn offer(&mut self, reading: Reading) -> Option<Fix> {
        match self.gate.offer(reading) {
            Verdict::Confirmed(fix) => Some(fix),
            Verdict::Waiting => None,
            Verdict::Rejected(reason) => {
                tracing::debug!(source = self.who, reason, "reading rejected");
                None
            }
        }
    }

    /// Runs sessions one after the other, each until it fails, until one has the fix or the time is over; then the best
    /// unconfirmed reading is the answer.
    ///
    /// # Errors
    /// [`Fault::Cancelled`], [`Fault::Denied`]; the last session's fault where the source was never reached; else [`Fault::TimedOut`].
    pub(super) fn over(
        mut self,
        cancel: &Cancel,
        mut session: impl FnMut(&mut Self) -> Result<Fix, Fault>,
    ) -> Result<Fix, Fault> {
        let mut pause = FIRST_PAUSE;
        loop {
            let fault = match session(&mut self) {
                Ok(fix) => return Ok(fix),
                // Rights do not come back within a search.
                Err(fault @ (Fault::Cancelled(_) | Fault::Denied(_))) => return Err(fault),
                Err(fault) => fault,
            };
            let now = Instant::now();
            if now >= self.until {
                return self.at_deadline(fault);
            }
            if self.reached == Reached::Never && now.duration_since(self.began) >= ABSENT_AFTER {
                return Err(fault);
            }
            tracing::debug!(source = self.who, %fault, "asking again");
            cancel.rest((now + pause).min(self.until))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn at_deadline(&self, fault: Fault) -> Result<Fix, Fault> {
        match (self.gate.best(self.began.elapsed()), self.reached) {
            (Some(fix), _) => Ok(fix),
            (None, Reached::Never) => Err(fault),
            (None, Reached::Once) => {
                let why = match fault {
                    Fault::TimedOut(_) => String::new(),
                    other => format!(" ({other})"),
                };
                let who = self.who;
                Err(Fault::TimedOut(format!(
                    "{who}: no fix by the deadline{why}"
                )))
            }
        }
    }
}
