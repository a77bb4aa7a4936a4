//! libFuzzer's way into the target `key_set`. It must not do anything itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| homing_fuzz::run("key_set", bytes));
