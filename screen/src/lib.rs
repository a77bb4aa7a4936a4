//! The lost screen: what a lost phone shows to whoever holds it, as a pure drawing, a keypad, and the care of the panel. It knows no account, no key and no order; the notice says what to show.
#![forbid(unsafe_code)]

pub mod canvas;
pub mod contact;
pub mod drift;
pub mod error;
pub mod fonts;
pub mod keypad;
pub mod language;
pub mod layout;
pub mod notice;
pub mod page;
pub mod typeset;
pub mod vigil;

pub use error::Error;
