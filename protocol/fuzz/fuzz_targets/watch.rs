#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evchain_protocol_fuzz::watch::fuzz_watch(data));
