//! The producer's side.

mod collect;
mod io;
mod machine;
mod reconnect;
mod recover;

pub use io::{Acceptance, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord};
pub use machine::ProducerSession;
