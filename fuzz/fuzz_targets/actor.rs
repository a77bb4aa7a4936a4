//! libFuzzer's way into the target `actor`. It must not do anything itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| homing_fuzz::run("actor", bytes));
