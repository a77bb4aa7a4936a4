//! libFuzzer's way into the target `archive_pack_header`. It must not do anything itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| homing_fuzz::run("archive_pack_header", bytes));
