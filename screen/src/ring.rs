//! Hears the owner call while the phone is lost, on threads of their own. It answers nothing unless a finger wants that, and knows no other caller.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use homing_hal::capability::attention::{Attention, Pulse};
use homing_hal::capability::call::{Expected, IncomingCalls, Ring};
use homing_hal::{Cancel, Fault};

use crate::Error;
use crate::run::spawn;

/// How long answering or ending a call may take.
const TIME: Duration = Duration::from_secs(20);
/// When it is listened for again after nobody could be asked.
const AGAIN: Duration = Duration::from_secs(60);

/// What the phone does to be noticed while it rings, where it can.
pub type Vibrator = Option<Box<dyn Attention>>;

/// Whoever listens for one number's calls.
pub struct Listener {
    calls: Arc<dyn IncomingCalls>,
    from: Expected,
    cancel: Cancel,
    thread: JoinHandle<Vibrator>,
}

impl Listener {
    /// Begins to listen; `tell` hears of each change.
    ///
    /// # Errors
    /// [`Error::Io`] where no thread can be had.
    pub fn start(
        calls: Arc<dyn IncomingCalls>,
        from: Expected,
        vibrator: Vibrator,
        tell: impl Fn(Ring) + Send + 'static,
    ) -> Result<Self, Error> {
        let cancel = Cancel::new();
        let (asked, expected, ended) = (Arc::clone(&calls), from.clone(), cancel.clone());
        let thread = spawn("ring", move || {
            let mut vibrator = vibrator;
            follow(&*asked, &expected, &ended, |ring| {
                shake(&mut vibrator, ring);
                tell(ring);
            });
            shake(&mut vibrator, Ring::None);
            vibrator
        })?;
        Ok(Self {
            calls,
            from,
            cancel,
            thread,
        })
    }

    /// Answers the call that rings.
    ///
    /// # Errors
    /// [`Error::Io`] where no thread can be had.
    pub fn answer(&self) -> Result<(), Error> {
        self.act("answering", |calls, from| {
            calls.answer(from, TIME, &Cancel::new())
        })
    }

    /// Ends the call.
    ///
    /// # Errors
    /// [`Error::Io`] where no thread can be had.
    pub fn hang_up(&self) -> Result<(), Error> {
        self.act("hanging up", |calls, from| {
            calls.hang_up(from, TIME, &Cancel::new())
        })
    }

    /// Does something with the call beside the panel: a modem takes its time.
    fn act(
        &self,
        doing: &'static str,
        work: fn(&dyn IncomingCalls, &Expected) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let (calls, from) = (Arc::clone(&self.calls), self.from.clone());
        spawn(doing, move || {
            if let Err(fault) = work(&*calls, &from) {
                eprintln!("homing-lost-screen: {doing}: {fault}");
            }
        })
        .map(drop)
    }

    /// Stops listening and gives back what it shook the phone with; a call that is on goes on.
    #[must_use]
    pub fn end(self) -> Vibrator {
        self.cancel.cancel();
        self.thread.join().unwrap_or(None)
    }
}

/// Until it is cancelled. A phone without a modem is listened to as well: one may appear.
fn follow(calls: &dyn IncomingCalls, from: &Expected, cancel: &Cancel, mut tell: impl FnMut(Ring)) {
    let mut seen = Ring::None;
    let mut said = None;
    loop {
        match calls.next(from, seen, cancel) {
            Ok(ring) => {
                seen = ring;
                tell(ring);
            }
            Err(Fault::Cancelled(_)) => return,
            Err(fault) => {
                // Once for each fault: this may go on for weeks.
                if said.as_ref() != Some(&fault) {
                    eprintln!("homing-lost-screen: listening for the owner's call: {fault}");
                    said = Some(fault);
                }
                if seen != Ring::None {
                    // Nobody knows of a call any more, so no button may promise to answer it.
                    seen = Ring::None;
                    tell(seen);
                }
                if cancel.rest(Instant::now() + AGAIN).is_err() {
                    return;
                }
            }
        }
    }
}

fn shake(vibrator: &mut Vibrator, ring: Ring) {
    let pulse = match ring {
        Ring::Ringing => Pulse::On,
        Ring::None | Ring::Connected => Pulse::Off,
    };
    // A phone that cannot shake shows the call all the same.
    for vibrator in vibrator.iter_mut() {
        let _ = vibrator.pulse(pulse);
    }
}
