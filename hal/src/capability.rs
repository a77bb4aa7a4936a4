//! The capabilities of a phone as blocking traits with deadlines. No driver code: who implements them is decided in `lib.rs`.

pub mod attention;
pub mod call;
pub mod gate;
pub mod identity;
pub mod lockdown;
pub mod network;
pub mod panel;
pub mod position;
pub mod power;
pub mod resolve;
pub mod siren;
pub mod touch;
