//! The position as a trait: one bounded attempt to say where the phone is. Ranking of sources lives in `ranking.rs`, the quality gate in `gate.rs`.

use std::time::Duration;

use homing_protocol::measure::Position;

use crate::fault::{Cancel, Fault, Probe};

/// A place and what is known about how it was found. The position's own `Debug` is redacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The measured place; its accuracy is the radius of 95 %.
    pub position: Position,
    /// Satellites used in the solution, where the receiver says.
    pub satellites: Option<u8>,
}

/// When a source's turn comes within a search by several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once, beside others of this kind: several ways may lead to one receiver, and only one of them works.
    AtOnce,
    /// At once, as the program that keeps the kernel's own receiver for all who ask.
    AtOnceForAll,
    /// Once every source that keeps the receiver has turned out to be absent, or when a third of the time has brought nothing and the
    /// receiver is known to lie idle: it needs it for itself.
    WhereOthersAreAbsent,
    /// When a third of the time has brought nothing, or everything else has ended: it is coarse, and it tells somebody
    /// else what is around the phone.
    Last,
}

/// Something that can find the phone.
pub trait PositionSource: Send {
    /// The driver's name for settings, the log and `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether this source could be asked. It does not power a receiver.
    fn probe(&self) -> Probe;

    /// When its turn comes.
    fn turn(&self) -> Turn {
        Turn::AtOnce
    }

    /// Whether its receiver is known to lie idle, used by nobody.
    fn is_idle(&self) -> bool {
        false
    }

    /// Finds the phone within `deadline`: returns early with a confirmed fix, at the deadline with the best unconfirmed one and its enlarged radius. The receiver is powered only while this runs.
    ///
    /// # Errors
    /// [`Fault::TimedOut`] at the deadline with nothing, [`Fault::Cancelled`], [`Fault::Absent`] and the like when the source cannot be used at all.
    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault>;
}
