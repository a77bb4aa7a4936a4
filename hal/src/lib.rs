//! The body of Homing: what a phone's hardware and system can do, as capability traits with Linux drivers and one simulator. It never decides and never talks to the account.

pub mod capability;
pub mod fault;
pub mod linux;
#[cfg(test)]
mod scratch;
