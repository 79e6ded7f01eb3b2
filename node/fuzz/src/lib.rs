//! Goal: nothing that a peer, a client or a file says makes a node or an agent panic.
//!
//! Method: one entry function for each fuzz target. `make fuzz` calls it with what libFuzzer makes up, guided
//! by the code that is reached; `cargo test --test fuzz` calls it with the corpus, among it every input
//! that once failed.

#![allow(unreachable_pub, missing_docs, clippy::missing_panics_doc)] // also a test of the crate

pub mod calls;
pub mod files;
pub mod params;
pub mod peers;

#[cfg(test)]
#[path = "../../../protocol/fuzz/src/replay.rs"]
mod replay;

/// A fuzz target's name and entry.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("calls", calls::fuzz_calls),
    ("files", files::fuzz_files),
    ("params", params::fuzz_params),
    ("peers", peers::fuzz_peers),
];

#[cfg(test)]
#[test]
fn the_corpus_passes() {
    replay::replay(env!("CARGO_MANIFEST_DIR"), TARGETS);
}
