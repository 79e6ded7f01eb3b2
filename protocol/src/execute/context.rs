//! What all transactions of a block have in common.

use crate::crypto::{ChainId, PublicKey};
use crate::params::Params;
use crate::primitives::{Amount, Height, Timestamp};
use crate::state::authority::Authorities;
use crate::state::key::StateKey;
use crate::state::read::{ReadError, StateRead};
use crate::state::value::StateValue;

/// The block that transactions execute in, and the chain's settings, read once.
#[derive(Debug, Clone)]
pub struct BlockContext {
    /// The chain.
    pub chain: ChainId,
    /// The block's height.
    pub height: Height,
    /// The block's time, which deadlines are compared with.
    pub time: Timestamp,
    /// The chain's parameters.
    pub params: Params,
    /// Where fees go.
    pub treasury: PublicKey,
    /// The epoch's authorities.
    pub authorities: Authorities,
}

impl BlockContext {
    /// A block at this height and time on top of `state`.
    ///
    /// # Errors
    /// [`ReadError`], also where `state` is not that of a chain.
    pub fn new(
        chain: ChainId,
        height: Height,
        time: Timestamp,
        state: &dyn StateRead,
    ) -> Result<Self, ReadError> {
        let missing = |key| ReadError::Inconsistent { key, reason: "an entry that every chain has" };
        let params = state.params()?.ok_or_else(|| missing(StateKey::Params))?;
        let authorities = state.authorities()?.ok_or_else(|| missing(StateKey::Authorities))?;
        let Some(StateValue::Treasury(treasury)) = state.get(&StateKey::Treasury)? else {
            return Err(missing(StateKey::Treasury));
        };
        Ok(Self { chain, height, time, params, treasury, authorities })
    }

    /// What a transaction with an encoding of this many bytes costs (G5).
    pub fn fee(&self, encoded_len: usize) -> Amount {
        let bytes = u64::try_from(encoded_len).unwrap_or(u64::MAX);
        let by_length = self.params.fee_per_byte.get().saturating_mul(bytes);
        self.params.fee_flat.saturating_add(Amount::new(by_length))
    }
}
