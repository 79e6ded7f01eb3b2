//! The consumer's side.

mod io;
mod machine;
mod reconnect;
mod recover;

pub use io::{Beginning, ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerRecord, DeliveredRecord};
pub use machine::ConsumerSession;
