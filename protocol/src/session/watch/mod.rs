//! The watchtower: answers on the chain for producers that are not there (`docs/session.md`, W1-W9).

mod io;
mod machine;
mod messages;

pub use io::{GuardRecord, WatchInput, WatchOutput, WatchPolicy, WatchRecord};
pub use machine::{Guard, Watchtower};
pub use messages::{GuardRefusal, Guarded, MAX_WATCH_BYTES, Refused, WatchMessage};
