//! See `lancewire::fuzzing::address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lancewire::fuzzing::address(bytes));
