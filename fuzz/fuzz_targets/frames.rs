//! See `lancewire::fuzzing::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lancewire::fuzzing::frames(bytes));
