//! Taking the phone from whoever holds it and giving it back, as a trait. It neither decides that a phone is lost nor shows anything.

use crate::fault::{Fault, Probe};

/// How the phone stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is its user's: nothing of the lockdown is in place.
    Open,
    /// Nobody has a session, and every side door that the driver knows is closed.
    Locked,
    /// Some of it is in place; one phrase names what is still open.
    Partly(String),
}

/// What ends the user's session and closes the ways around it, and later undoes all of that.
///
/// What was found is remembered durably before the first change, so that another process can undo it: whoever starts and
/// finds no lost phone calls [`leave`](Lockdown::leave) once, which does nothing where nothing is owed.
pub trait Lockdown: Send {
    /// The driver's name for `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether it would work here.
    fn probe(&self) -> Probe;

    /// Takes the phone from its holder; blocks until that is done: twenty seconds at most under systemd, a minute for
    /// each script under OpenRC. It may be called again and again:
    /// where all is in place it changes nothing and is cheap. A step that fails does not stop the others.
    ///
    /// # Errors
    /// The first step's that failed, with what is still open as one phrase; the next call tries again.
    fn enter(&mut self) -> Result<(), Fault>;

    /// Puts everything back as it was found; does nothing where nothing was changed. The notice that the phone is lost has to be
    /// gone before, because the system looks at it too.
    ///
    /// # Errors
    /// As [`enter`](Lockdown::enter); what is owed stays remembered.
    fn leave(&mut self) -> Result<(), Fault>;

    /// How the phone stands now.
    ///
    /// # Errors
    /// The system cannot be asked.
    fn standing(&mut self) -> Result<Standing, Fault>;
}
