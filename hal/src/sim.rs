//! The simulated phone: `world` is the phone, `serve` and `nmea` are the process that owns it, `client` implements the capability traits over its control socket. It is as good as the hardware or it is wrong: no flag stands in for an effect.

pub mod call;
pub mod card;
pub mod client;
pub mod nmea;
pub mod request;
pub mod screen;
pub mod serve;
pub mod track;
pub mod wire;
pub mod world;
