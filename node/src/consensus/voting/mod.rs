//! Whether this node's key may vote: what is noted beside the key, checked against the database
//! (`consensus/docs/protocol.md`, D7).

mod judge;
mod right;
#[cfg(test)]
mod tests;

pub use judge::VIEWS_RESERVED;
pub use right::{Standing, VotingError, VotingRight};
