//! What somebody without the chain can check.
//!
//! [`LightClient`] knows the authorities of one epoch, from genesis or from the step before, and tells
//! whether a header is final. Against one header everything else is proven: entries of the state,
//! transactions and events.
//!
//! # What has to be trusted
//! A client believes a quorum of each epoch that it walks through, and of the epoch that it has come to. Whoever
//! holds enough keys of one of them, be it years later and of authorities that have long left, can sign another
//! history from there on, and nothing in the signatures shows that it is younger. So a client that starts from
//! genesis trusts every quorum that there ever was never to have lost its keys. One that starts from a
//! [`Checkpoint`] trusts whoever gave it that, and the quorums from there on: the authorities of the block above it
//! and later ones. The last block of an epoch is the best choice, since not even its own epoch's keys
//! count any more.

mod checkpoint;
mod client;
mod entry;

pub use checkpoint::{Checkpoint, CheckpointError, ParseCheckpointError};
pub use client::{EpochStep, FinalityError, LightClient, StepError};
pub use entry::{
    MAX_STATE_ENTRY_PROOF_BYTES, StateEntryError, StateEntryProof, verify_event, verify_transaction,
};
