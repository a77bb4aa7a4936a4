//! The quality gate: which of a receiver's successive readings may be called the phone's position. Pure: no clock, no I/O.
