//! Whether somebody speaks on the phone while the siren sounds; what does not answer must not keep it silent, nor waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use homing_hal::capability::call::{CallState, Calls};
use homing_hal::fault::Cancel;

/// Time between two questions, which is how late the siren falls silent at worst.
const EVERY: Duration = Duration::from_secs(1);
/// How long one answer may take. Until then the last one holds.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// How long the first sound waits for the first answer, which takes a few milliseconds where somebody knows of calls.
const FIRST_ANSWER: Duration = Duration::from_millis(150);
/// How long calls may silence one order. A person's call is spared; whoever keeps a line open against the siren gains
/// no more than this.
const LONGEST_SILENCE: Duration = Duration::from_secs(180);
/// Stack of the asking thread, bytes: D-Bus messages are read by recursion to a bounded depth, and only touched pages cost memory.
const STACK: usize = 256 * 1024;

/// How long calls may keep the siren silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPatience {
    /// How long the first sound of an order waits for the first answer.
    pub first_answer: Duration,
    /// How long calls may silence one order.
    pub silence: Duration,
}

impl Default for CallPatience {
    fn default() -> Self {
        Self {
            first_answer: FIRST_ANSWER,
            silence: LONGEST_SILENCE,
        }
    }
}

/// Opens the driver anew for each sound: one that hangs keeps its thread, not the next sound.
pub type OpenCalls = Box<dyn Fn() -> Option<Box<dyn Calls>> + Send>;

/// Asks beside the sound, as long as it lives.
pub(super) struct CallWatch {
    ongoing: Arc<AtomicBool>,
    cancel: Cancel,
}

impl CallWatch {
    /// Begins to ask, and waits so long for the first answer; without a driver, or without a thread, there is no call.
    pub(super) fn begin(open: Option<&OpenCalls>, first_answer: Duration) -> Self {
        let watch = Self {
            ongoing: Arc::default(),
            cancel: Cancel::new(),
        };
        let Some(calls) = open.and_then(|open| open()) else {
            return watch;
        };
        let (ongoing, cancel) = (Arc::clone(&watch.ongoing), watch.cancel.clone());
        let (answered, first) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("calls".into())
            .stack_size(STACK);
        match thread.spawn(move || ask(calls, &ongoing, &cancel, &answered)) {
            // Whoever does not answer in time is not waited for.
            Ok(_) => drop(first.recv_timeout(first_answer)),
            Err(error) => tracing::warn!(%error, "a call would not be noticed"),
        }
        watch
    }

    /// Whether somebody speaks, as far as is known.
    pub(super) fn ongoing(&self) -> bool {
        self.ongoing.load(Ordering::Relaxed)
    }
}

impl Drop for CallWatch {
    /// The thread ends by itself; it is not waited for.
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn ask(
    mut calls: Box<dyn Calls>,
    ongoing: &AtomicBool,
    cancel: &Cancel,
    answered: &SyncSender<()>,
) {
    loop {
        let state = calls.state(ANSWER_TIME, cancel);
        if let Err(fault) = &state {
            tracing::debug!(%fault, "nothing is known of calls");
        }
        ongoing.store(state == Ok(CallState::Ongoing), Ordering::Relaxed);
        // Only the first is waited for.
        let _ = answered.try_send(());
        if cancel.rest(Instant::now() + EVERY).is_err() {
            return;
        }
    }
}
