//! Goal: no bytes make an authority panic, and nothing that it hears makes it vote against itself.
//!
//! Method: one entry function for each fuzz target. `make fuzz` calls it with what libFuzzer makes up, guided
//! by the code that is reached; `cargo test --test fuzz` calls it with the corpus, among it every input
//! that once failed.

#![allow(unreachable_pub, missing_docs, clippy::missing_panics_doc)] // also a test of the crate

#[path = "../../tests/common/bench.rs"]
#[allow(dead_code)] // the engine's tests use the rest
mod bench;
pub mod engine;
pub mod messages;

#[cfg(test)]
#[path = "../../../protocol/fuzz/src/replay.rs"]
mod replay;

/// A fuzz target's name and entry.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[("engine", engine::fuzz_engine), ("messages", messages::fuzz_messages)];

#[cfg(test)]
#[test]
fn the_corpus_passes() {
    replay::replay(env!("CARGO_MANIFEST_DIR"), TARGETS);
}
