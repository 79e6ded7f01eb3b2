//! Station: a producer's public record (W1, W2).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::state::auction::Station;

/// Writes the sender's station record, in place of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct RecordStation {
    /// The record.
    pub station: Station,
}
