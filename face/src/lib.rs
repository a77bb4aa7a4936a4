//! The simulated phone's face: a page on 127.0.0.1 that shows the phone, lets its room be heard, and gives a person its switches. It must not know the account, nor say anything that the simulator or the phone's own programs did not say.
#![forbid(unsafe_code)]

mod body;
mod server;

pub use body::Body;
pub use server::Face;

use serde_json::Value;
use std::io;

/// Whether the phone's programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They do.
    On,
    /// They are stopped where they stand, as in suspend: time goes on without them.
    Asleep,
    /// Their power was cut.
    Off,
}

impl Standing {
    /// Every standing with its word on the wire.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::On, "on"),
        (Self::Asleep, "asleep"),
        (Self::Off, "off"),
    ];

    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Asleep => "asleep",
            Self::Off => "off",
        }
    }
}

/// Whether the phone's traffic reaches anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    Open,
    /// Nothing passes.
    Cut,
}

/// Who runs the phone's programs, and carries their traffic. The simulated body knows nothing of either.
pub trait Keeper: Send + 'static {
    /// How the programs stand.
    fn standing(&mut self) -> Standing;

    /// Brings them to another standing. From [`Standing::On`] to [`Standing::Off`] it is a power cut, not an orderly end.
    fn put(&mut self, standing: Standing);

    /// Lets traffic through, or stops it.
    fn carry(&mut self, reach: Reach);

    /// How to ask the phone what it tells whoever holds it.
    fn ledger(&mut self) -> Question;
}

/// Asks the phone for the entries of `homingd ledger --json`, oldest first; an error when it cannot be asked. It takes as long
/// as a program takes, and nobody waits for it who wants something else of the keeper.
pub type Question = Box<dyn FnOnce() -> io::Result<Vec<Value>> + Send>;

/// Who may use the switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// Nobody at the page: somebody else tells a story with this phone.
    Away,
    /// Whoever looks at the page.
    OnThePhone,
}
