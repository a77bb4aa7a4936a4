//! The judge held to its rules by tables, random schedules and an exhaustive small model; it must not need a clock, a file or a network.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on fails the test, as an assertion does"
)]

mod clocks;
mod edges;
mod house;
mod lists;
mod locate;
mod lost;
mod memory;
mod model;
mod pace;
mod replay;
mod ring;
mod rules;
mod schedule;
mod set_back;
mod small;
mod track;
mod world;
