//! The Linux drivers and the simulator under one conformance suite, as processes where they are processes.

mod gpsd;
mod linux;
mod phone;
mod receiver;
mod simulator;
