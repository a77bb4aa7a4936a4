//! libFuzzer's way into the target `archive_listing`. It must not do anything itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| homing_fuzz::run("archive_listing", bytes));
