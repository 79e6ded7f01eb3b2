#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evchain_protocol_fuzz::sessions::fuzz_sessions(data));
