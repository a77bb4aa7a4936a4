//! The agent's parts wired together over a broker in memory, a simulated phone and a real journal; it must not open a network socket.

mod clocks;
mod disk;
mod hostile;
pub(crate) mod house;
mod io_faults;
mod joining;
mod lists;
mod memory;
mod orders;
mod promise;
mod rig;
mod sending;
