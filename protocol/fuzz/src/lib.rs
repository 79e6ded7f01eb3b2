//! Goal: no bytes make the ledger or a session panic, and no transactions make or lose money.
//!
//! Method: one entry function for each fuzz target. `make fuzz` calls it with what libFuzzer makes up, guided
//! by the code that is reached; `cargo test --test fuzz` calls it with the corpus, among it every input
//! that once failed.

#![allow(unreachable_pub, missing_docs, clippy::missing_panics_doc)] // also a test of the crate

#[path = "../../tests/ledger/chain.rs"]
#[allow(dead_code)] // the ledger's tests use the rest
mod chain;
#[path = "../../tests/session/chaos.rs"]
mod chaos;
#[path = "../../tests/session/deal.rs"]
#[allow(dead_code)] // the session's tests use the rest
mod deal;
pub mod decode;
pub mod ledger;
pub mod sessions;
pub mod text;
pub mod watch;

#[cfg(test)]
mod replay;

/// A fuzz target's name and entry.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("decode", decode::fuzz_decode),
    ("ledger", ledger::fuzz_ledger),
    ("sessions", sessions::fuzz_sessions),
    ("text", text::fuzz_text),
    ("watch", watch::fuzz_watch),
];

#[cfg(test)]
#[test]
fn the_corpus_passes() {
    replay::replay(env!("CARGO_MANIFEST_DIR"), TARGETS);
}
