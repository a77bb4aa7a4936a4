//! The Linux drivers and the simulator under one conformance suite, as processes where they are processes.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics where it stands"
)]

mod accuracy;
mod bus;
mod calls;
mod dialler;
mod gpsd;
mod incoming;
mod linux;
mod lockdown;
mod modem;
mod nmea;
mod openrc;
mod others;
mod phone;
#[expect(
    unreachable_pub,
    reason = "it is public where it lives, in the harness"
)]
#[path = "../../../tests/harness/port.rs"]
mod port;
mod receiver;
mod reservation;
mod screen;
mod simulator;
mod sound;
mod surroundings;
mod voice;
