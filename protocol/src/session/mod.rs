//! The charging session: two state machines without clock, disk or network, and a third that answers
//! for the producer while it is away (`docs/session.md`).

mod consumer;
pub mod decide;
mod margins;
mod messages;
mod open;
mod outcome;
pub mod pricing;
mod producer;
mod proof;
mod receipt;
mod single;
mod terms;
mod watch;

pub use consumer::{
    Beginning, ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerRecord, ConsumerSession,
    DeliveredRecord,
};
pub use margins::{BadMargins, Margins, WantedLeads, reaction};
pub use messages::{
    Delivered, MAX_MESSAGE_BYTES, Message, Open, ReceiptMessage, RejectReason, Release, Resume, StopReason,
};
pub use open::{ChainFacts, OnChain, check_open};
pub use outcome::{EndReason, Outcome, RecoverError, Settlement, Unexpected};
pub use producer::{
    Acceptance, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord, ProducerSession,
};
pub use proof::{BadProof, Proof, Secrets, Verifier};
pub use receipt::{Receipt, ReceiptRecord, SignedReceipt};
pub use terms::{PaymentKind, Progress, Terms};
pub use watch::{
    Guard, GuardRecord, GuardRefusal, Guarded, MAX_WATCH_BYTES, Refused, WatchInput, WatchMessage,
    WatchOutput, WatchPolicy, WatchRecord, Watchtower,
};
