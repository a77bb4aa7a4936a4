//! The lost screen: what a lost phone shows to whoever holds it, as a pure drawing, a keypad, and the care of the panel. It knows no account, no key and no order; the notice says what to show.
#![forbid(unsafe_code)]

pub mod actor;
pub mod attendant;
pub mod before;
pub mod call;
pub mod canvas;
pub mod clock;
pub mod config;
pub mod contact;
pub mod drift;
pub mod error;
pub mod fonts;
pub mod keypad;
pub mod language;
pub mod layout;
pub mod notice;
pub mod page;
pub mod ring;
pub mod run;
pub mod typeset;
pub mod vigil;
pub mod watch;

pub use error::Error;
