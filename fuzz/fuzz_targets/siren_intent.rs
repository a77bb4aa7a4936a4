//! libFuzzer's way into the target `siren_intent`. It must not do anything itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| homing_fuzz::run("siren_intent", bytes));
