//! What somebody without the chain can check.
//!
//! [`LightClient`] knows the authorities of one epoch, from genesis or from the step before, and tells
//! whether a header is final. Against one header everything else is proven: entries of the state,
//! transactions and events.

mod client;
mod entry;

pub use client::{EpochStep, FinalityError, LightClient, StepError};
pub use entry::{
    MAX_STATE_ENTRY_PROOF_BYTES, StateEntryError, StateEntryProof, verify_event, verify_transaction,
};
