#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evchain_node_fuzz::peers::fuzz_peers(data));
