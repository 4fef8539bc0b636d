#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tracemark::env_file::fuzz(bytes));
