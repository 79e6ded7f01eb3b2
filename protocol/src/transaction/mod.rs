//! What participants can do on the chain, one file for each kind.
//!
//! A kind is a payload, the rules that it can break, `check` for what the payload alone shows, and
//! `apply` for the rest and the change of the state. The rules are in `docs/ledger.md`.

pub mod approve;
pub mod bid;
pub mod cancel;
pub mod channel;
pub mod claim;
pub mod commitment;
mod envelope;
pub mod evidence;
pub mod installments;
pub mod lock;
pub mod participant;
mod payable;
pub mod post;
pub mod propose;
mod reject;
pub mod request;
pub mod station;
pub mod transfer;
pub mod withdraw;

pub use envelope::{
    Action, MAX_TRANSACTION_BYTES, SignedTransaction, Transaction, VerifiedTransaction, VerifyError,
};
pub use payable::PayableReason;
pub use reject::RejectReason;
