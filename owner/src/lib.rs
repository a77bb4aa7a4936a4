//! The owner: keys, signing, enrolment, and what is known of each command. No I/O, no clock, no database; builds for wasm32.
#![forbid(unsafe_code)]

pub mod account;
pub mod chain;
pub mod clients;
pub mod delivery;
pub mod enrol;
mod error;
pub mod lost;
pub mod merge;
pub mod phone;
pub mod reports;
pub mod resend;
pub mod sign;
pub mod track;

#[cfg(test)]
mod tests;

pub use error::Error;
