//! See `lancewire::fuzzing::document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lancewire::fuzzing::document(bytes));
