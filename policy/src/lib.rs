//! The judge: what a phone does about what happens to it. Pure and synchronous; it must not read a clock, a file, a variable, a random number or another thread.
//!
//! [`decide`] looks at the [`State`] and one [`Event`] and gives a [`Decision`]. Its effects are sealed: only
//! [`Decision::commit`] releases them, after the journal has made everything durable.
#![forbid(unsafe_code)]

pub mod actor;
pub mod codec;
pub mod decision;
pub mod event;
pub mod record;
mod rules;
pub mod state;
pub mod track;
pub mod tries;
pub mod window;

pub use decision::{Batch, Decision, Effect, Journal, Outgoing};
pub use event::{ActorAnswer, Event, NonceMaker, Now, SearchOutcome, SirenPhase};
pub use record::Record;
pub use rules::decide;
pub use rules::freshness::admit;
pub use state::State;
pub use track::TrackSettings;
