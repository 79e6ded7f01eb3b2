#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evchain_consensus_fuzz::messages::fuzz_messages(data));
