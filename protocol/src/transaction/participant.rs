//! Admit and revoke: who may take part, as the authorities say (A4, A5).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::state::account::Roles;

/// Gives a participant these roles in place of those that it had.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Admit {
    /// Whom.
    pub participant: PublicKey,
    /// Its roles from now on.
    pub roles: Roles,
}

/// Shuts a participant out. It can still settle what is open, and keeps its money.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Revoke {
    /// Whom.
    pub participant: PublicKey,
}
