//! Calls for help, on a thread of their own: the panel goes on while a modem takes its time. It tells how the call stands and shows nothing.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use homing_hal::capability::call::{Dialler, EmergencyNumber, Progress};
use homing_hal::{Cancel, Fault};

use crate::Error;
use crate::page::Emergency;
use crate::run::spawn;

/// How long dialling may take: a modem answers when it has registered and dialled.
const DIAL_TIME: Duration = Duration::from_secs(60);
/// How long hanging up may take before it is tried anew.
const HANG_UP_TIME: Duration = Duration::from_secs(20);
/// How long one look at a call may take.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// Time between two looks. Only while a call is on.
const LOOK: Duration = Duration::from_secs(1);

/// Whoever calls.
pub struct Caller {
    /// Away while its thread has it.
    dialler: Option<Box<dyn Dialler>>,
    on: Option<On>,
}

/// A call that is on, or being placed.
struct On {
    thread: JoinHandle<Box<dyn Dialler>>,
    /// Cancelled when the finder wants it to end.
    over: Cancel,
}

impl Caller {
    /// A caller that dials with this.
    #[must_use]
    pub fn new(dialler: Box<dyn Dialler>) -> Self {
        Self {
            dialler: Some(dialler),
            on: None,
        }
    }

    /// Begins a call; nothing while one is on. `tell` hears at once which number is called, then of each change, and last of
    /// something else than a call: then [`Caller::ended`] is due.
    ///
    /// # Errors
    /// [`Error::Io`] where no thread can be had.
    pub fn call(&mut self, tell: impl Fn(Emergency) + Send + 'static) -> Result<(), Error> {
        let Some(mut dialler) = self.dialler.take() else {
            return Ok(());
        };
        tell(calling(EmergencyNumber::OneOneTwo));
        let over = Cancel::new();
        let theirs = over.clone();
        let thread = spawn("call", move || {
            let ended = from_dialling_to_the_end(&mut *dialler, &theirs, &tell);
            tell(ended);
            dialler
        })?;
        self.on = Some(On { thread, over });
        Ok(())
    }

    /// Ends the call, if one is on.
    pub fn hang_up(&self) {
        self.on.iter().for_each(|on| on.over.cancel());
    }

    /// The call was told to be over: another one may begin.
    pub fn ended(&mut self) {
        if let Some(on) = self.on.take() {
            self.dialler = on.thread.join().ok();
        }
    }
}

/// What is shown when it is over.
fn from_dialling_to_the_end(
    dialler: &mut dyn Dialler,
    over: &Cancel,
    tell: &impl Fn(Emergency),
) -> Emergency {
    match dialler.dial(DIAL_TIME, over) {
        Ok(EmergencyNumber::OneOneTwo) => {}
        Ok(number) => tell(calling(number)),
        Err(Fault::Cancelled(_)) => return hung_up(dialler),
        Err(fault) => {
            said("the call failed", &fault);
            // It may have begun all the same, and nobody would have a button to end it.
            if matches!(fault, Fault::TimedOut(_)) {
                let _ = dialler.hang_up(HANG_UP_TIME, over);
            }
            return Emergency::Failed;
        }
    }
    loop {
        if over.rest(Instant::now() + LOOK).is_err() {
            return hung_up(dialler);
        }
        match dialler.progress(LOOK_TIME, over) {
            Ok(Progress::Ongoing) => {}
            Ok(Progress::Ended) => return Emergency::Offered,
            Ok(Progress::Failed) => return Emergency::Failed,
            // A call that cannot be looked at may be on: its button stays.
            Err(_) => {}
        }
    }
}

/// Hangs up until there is no call any more: nobody wants one that cannot be ended.
fn hung_up(dialler: &mut dyn Dialler) -> Emergency {
    let never = Cancel::new();
    while let Err(fault) = dialler.hang_up(HANG_UP_TIME, &never) {
        said("hanging up", &fault);
        if let Ok(Progress::Ended | Progress::Failed) = dialler.progress(LOOK_TIME, &never) {
            break;
        }
        let _ = never.rest(Instant::now() + LOOK);
    }
    Emergency::Offered
}

fn calling(number: EmergencyNumber) -> Emergency {
    Emergency::Calling(number.digits().into())
}

fn said(doing: &str, fault: &Fault) {
    eprintln!("homing-lost-screen: {doing}: {fault}");
}
