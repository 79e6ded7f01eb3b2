#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evchain_node_fuzz::calls::fuzz_calls(data));
