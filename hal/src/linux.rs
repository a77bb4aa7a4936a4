//! The Linux drivers: each translates one capability to one interface of the kernel or of a system daemon. They never decide.

pub mod alsa;
pub mod clock;
pub mod gpsd;
pub mod identity;
pub mod netlink;
pub mod network;
pub mod power;
pub mod torch;
pub mod vibrator;
