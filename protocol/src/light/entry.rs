//! What can be checked against one block's header. Whether the header is final is for
//! [`LightClient`](super::LightClient) to say.

use crate::block::Header;
use crate::codec::{self, Decode, DecodeError, Encode, List, TooManyItems};
use crate::crypto::Hash;
use crate::event::EventRecord;
use crate::execute::event_leaf;
use crate::merkle::{InclusionError, InclusionProof};
use crate::state::key::StateKey;
use crate::state::tree::{Entry, StateProof, TreeView, WrongRoot};
use crate::state::value::{MAX_VALUE_BYTES, StateValue};

/// The most bytes that an encoded [`StateEntryProof`] has: a full bucket, all siblings, the value.
pub const MAX_STATE_ENTRY_PROOF_BYTES: usize = 320 * 1024;

/// The proof of what the state holds under a key, with the value.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StateEntryProof {
    value: Option<List<u8, MAX_VALUE_BYTES>>,
    proof: StateProof,
}

/// Why a proof of an entry of the state shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateEntryError {
    /// Not a proof for this key and header.
    #[error(transparent)]
    Proof(#[from] WrongRoot),
    /// The state has another value than the one given.
    #[error("the value given is not the one that the state holds")]
    OtherValue,
    /// The state has a value and none was given.
    #[error("the state holds a value, which was left out")]
    ValueMissing,
    /// A value was given and the state has none.
    #[error("a value was given, but the state holds none")]
    NotInState,
    /// The state holds this value, but it is of no kind that this version knows.
    #[error("the value that the state holds is not understood: {0}")]
    UnknownValue(#[from] DecodeError),
}

impl StateEntryProof {
    /// The proof that the state holds this value, or none, under this key. The caller has read the
    /// value from the same state.
    ///
    /// # Errors
    /// [`TooManyItems`] for a bucket that is too large to be proven.
    pub fn new(
        state: &TreeView<'_>,
        key: &StateKey,
        value: Option<&StateValue>,
    ) -> Result<Self, TooManyItems> {
        Ok(Self {
            value: value.map(|value| List::new(codec::encode(value))).transpose()?,
            proof: state.prove(&key.to_bytes())?,
        })
    }

    /// The proof of a value's encoding, or of none, from where the state's tree was read apart from
    /// its values.
    ///
    /// # Errors
    /// [`TooManyItems`] for a value that no state can hold.
    pub fn from_parts(value: Option<Vec<u8>>, proof: StateProof) -> Result<Self, TooManyItems> {
        Ok(Self { value: value.map(List::new).transpose()?, proof })
    }

    /// What the state after the block with this header holds under this key, be it nothing.
    ///
    /// # Errors
    /// See [`StateEntryError`]; nothing is proven in every case.
    pub fn verify(&self, header: &Header, key: &StateKey) -> Result<Option<StateValue>, StateEntryError> {
        match (self.proof.verify(header.state_root, &key.to_bytes())?, &self.value) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(StateEntryError::NotInState),
            (Some(_), None) => Err(StateEntryError::ValueMissing),
            (Some(hash), Some(value)) if hash != Entry::value_hash(value) => Err(StateEntryError::OtherValue),
            (Some(_), Some(value)) => Ok(Some(codec::decode(value, MAX_VALUE_BYTES)?)),
        }
    }
}

/// Checks that the block with this header has the transaction with this id, at the proof's index.
/// The id covers the transaction with its signature.
///
/// # Errors
/// See [`InclusionError`]; nothing is proven in every case.
pub fn verify_transaction(header: &Header, id: &Hash, proof: &InclusionProof) -> Result<(), InclusionError> {
    proof.verify(header.tx_root, id.as_bytes())
}

/// Checks that executing the block with this header gave this event, at the proof's index.
///
/// # Errors
/// See [`InclusionError`]; nothing is proven in every case.
pub fn verify_event(
    header: &Header,
    event: &EventRecord,
    proof: &InclusionProof,
) -> Result<(), InclusionError> {
    proof.verify(header.event_root, &event_leaf(event))
}
