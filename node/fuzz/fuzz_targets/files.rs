#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| evchain_node_fuzz::files::fuzz_files(data));
