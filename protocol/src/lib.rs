//! The words of Homing: what crosses the wire between owner and phone, byte for byte. No I/O, no clock, no randomness of its own, no async.
#![forbid(unsafe_code)]

pub mod actor;
pub mod admission;
pub mod authority;
pub mod beacon;
pub mod cbor;
pub mod certificate;
pub mod command;
pub mod enrolment;
pub mod envelope;
pub mod error;
pub mod id;
pub mod keyring;
pub mod keys;
pub mod lost;
pub mod measure;
pub mod readers;
pub mod receipt;
pub mod refusal;
pub mod report;
pub mod signed;
pub mod topic;

pub use error::Malformed;
/// The random-number traits that sealing and key generation take from their caller.
pub use hpke::rand_core;
pub use refusal::Refusal;

/// Version of the inner messages that this crate speaks.
pub const VERSION: u64 = 1;
