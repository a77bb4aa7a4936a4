//! Stories about the whole product, one file per story, told with real processes. They must not look inside what they test.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "what a story relies on fails it, as an assertion does"
)]

mod apart;
mod away;
mod broker_loss;
mod chaos;
mod clients;
mod clocks;
mod crash;
mod day;
mod delegates;
mod demo;
mod epochs;
mod face;
mod face_screen;
mod faults;
mod finding;
mod forged;
mod full_disk;
mod intruder;
mod joining;
mod kills;
mod lost;
mod recovery;
mod residence;
mod resident;
mod rollback;
mod secrets;
mod siren;
mod story;
mod track;
mod witness;
