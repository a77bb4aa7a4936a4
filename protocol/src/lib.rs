//! The words of Homing: what crosses the wire between owner and phone, byte for byte. No I/O, no clock, no randomness of its own, no async.
#![forbid(unsafe_code)]

pub mod measure;
