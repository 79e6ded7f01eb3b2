//! Cancel: a consumer withdraws in time and gets everything back (I8, C11).

use serde::{Deserialize, Serialize};

use crate::primitives::TxRef;
use crate::tagged_enum;

/// Ends a payment or a channel before the bid's cancel-by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancel {
    /// A payment in installments.
    Payment(TxRef),
    /// A channel.
    Channel(TxRef),
}

tagged_enum!(Cancel { 0 => Payment(TxRef), 1 => Channel(TxRef) });
