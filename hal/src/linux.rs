//! The Linux drivers: each translates one capability to one interface of the kernel or of a system daemon. They never decide.

pub mod activation;
pub mod alsa;
pub mod calls;
pub mod clock;
pub mod dbus;
pub mod dialler;
pub mod gpsd;
pub mod identity;
pub mod incoming;
pub mod lockdown;
pub mod modem;
pub mod netlink;
pub mod network;
pub mod nmea;
pub mod power;
pub mod receiver;
pub mod reserve;
pub mod screen;
mod search;
pub mod surroundings;
pub mod torch;
pub mod touch;
mod unix;
pub mod vibrator;
mod voice;
