//! The siren while somebody speaks on the phone, and while nobody can say whether somebody does.

use std::sync::atomic::{AtomicBool, Ordering};

use homing_hal::capability::call::{CallState, Calls};

use super::*;

/// A list of calls that a test sets, or that never answers.
struct Line {
    ongoing: Arc<AtomicBool>,
    hangs: bool,
}

impl Calls for Line {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn probe(&self) -> Probe {
        Probe::Ready {
            detail: String::new(),
        }
    }

    fn state(&mut self, deadline: Duration, cancel: &Cancel) -> Result<CallState, Fault> {
        if self.hangs {
            // Its deadline does not interest it.
            let _ = cancel.rest(Instant::now() + deadline * 100);
        }
        match self.ongoing.load(Ordering::SeqCst) {
            true => Ok(CallState::Ongoing),
            false => Ok(CallState::None),
        }
    }
}

fn siren(ongoing: &Arc<AtomicBool>, hangs: bool) -> Siren {
    let mut siren = Siren::new();
    let ongoing = Arc::clone(ongoing);
    siren.calls = Some(Box::new(move || {
        let ongoing = Arc::clone(&ongoing);
        Some(Box::new(Line { ongoing, hangs }))
    }));
    siren
}

#[test]
fn it_is_silent_while_somebody_speaks_gives_the_loudspeaker_back_and_goes_on_afterwards() {
    let speaks = Arc::new(AtomicBool::new(false));
    let mut siren = siren(&speaks, false);
    siren.order(FIRST, PATIENCE * 3);
    siren.start();
    siren.hear(is_play);
    speaks.store(true, Ordering::SeqCst);
    siren.hear(|told| *told == Told::Release);
    let report = siren.read_report(|report| report.phase == Phase::Failed);
    let why = report.reason.unwrap_or_default();
    assert!(why.contains("somebody speaks"), "{why}");
    assert_eq!(siren.told.try_iter().count(), 0, "it sounds into the call");
    speaks.store(false, Ordering::SeqCst);
    siren.hear(|told| *told == Told::Open);
    siren.hear(is_play);
    siren.read_report(|report| report.phase == Phase::Sounding);
    intent::withdraw(siren.folder()).unwrap();
    assert_eq!(siren.end(), End::Idle);
}

#[test]
fn a_call_that_is_there_before_the_order_is_not_disturbed_and_the_order_ends_at_its_deadline() {
    let speaks = Arc::new(AtomicBool::new(true));
    let mut siren = siren(&speaks, false);
    siren.order(FIRST, Duration::from_secs(2));
    siren.start();
    assert_eq!(siren.end(), End::Idle);
    assert_eq!(siren.told.try_iter().collect::<Vec<_>>(), []);
    assert_eq!(siren.report().reason.as_deref(), Some("deadline"));
}

#[test]
fn a_call_that_does_not_end_silences_an_order_only_so_long() {
    let mut siren = siren(&Arc::new(AtomicBool::new(true)), false);
    // Long enough for the report of it to be read.
    siren.call_patience.silence = Duration::from_secs(5);
    siren.order(FIRST, PATIENCE * 3);
    siren.start();
    siren.read_report(|report| report.phase == Phase::Failed);
    siren.hear(is_play);
    siren.read_report(|report| report.phase == Phase::Sounding);
    intent::withdraw(siren.folder()).unwrap();
    assert_eq!(siren.end(), End::Idle);
}

#[test]
fn who_never_says_whether_somebody_speaks_does_not_silence_it() {
    let mut siren = siren(&Arc::new(AtomicBool::new(true)), true);
    siren.call_patience = CallPatience::default();
    siren.order(FIRST, PATIENCE);
    siren.start();
    siren.hear(is_play);
    intent::withdraw(siren.folder()).unwrap();
    assert_eq!(siren.end(), End::Idle);
}
