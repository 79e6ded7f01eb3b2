//! The producer's side.

mod guard;
mod io;
mod locks;
mod machine;
mod reconnect;
mod recover;

pub use io::{Acceptance, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord};
pub use machine::ProducerSession;
