//! Checking a proof without trusting the node that gave it.

use evchain_protocol::authority::{AuthoritySet, AuthoritySetError};
use evchain_protocol::block::Header;
use evchain_protocol::codec::{self, DecodeError};
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::finality::{Certificate, Electorate};
use evchain_protocol::genesis::GenesisBlock;
use evchain_protocol::light::{
    Checkpoint, CheckpointError, EpochStep, FinalityError, LightClient, MAX_STATE_ENTRY_PROOF_BYTES,
    StateEntryError, StateEntryProof, StepError,
};
use evchain_protocol::primitives::Epoch;
use evchain_protocol::state::value::StateValue;

use super::rpc_client::RpcClient;
use crate::rpc::api::NodeApiClient;
use crate::rpc::authority_types::EpochStepInfo;
use crate::rpc::error::{CallError, RpcError};
use crate::rpc::types::{BlockKey, HexBytes, ProofInfo};

/// The longest encoded header or certificate, in bytes.
const MAX_PART_BYTES: usize = 16 * 1024;

/// Why a proof shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A part is not what it should be.
    #[error("a part of the proof is {0}")]
    Malformed(#[from] DecodeError),
    /// No header.
    #[error("the proof has no headers")]
    NoHeaders,
    /// A header of another chain, or one that does not follow on the one before.
    #[error("header {0} of the proof does not follow on the one before on this chain")]
    BrokenHeaders(usize),
    /// The certificate does not make the last header final.
    #[error("the proof's last header is not known to be final: {0}")]
    NotFinal(#[from] FinalityError),
    /// The state has something else.
    #[error(transparent)]
    Entry(#[from] StateEntryError),
}

/// Why a client does not get from genesis to an epoch.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// No node gives the step.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A part of a step is not what it should be.
    #[error("a part of the step after epoch {epoch} is {error}")]
    Malformed {
        /// The epoch that ends with it.
        epoch: Epoch,
        /// What is wrong.
        error: DecodeError,
    },
    /// Who joined and left does not make a set.
    #[error(transparent)]
    Authorities(#[from] AuthoritySetError),
    /// The nodes do not have the trusted block.
    #[error("no node that answers has the trusted block {0}: it is behind, or on another history")]
    NotTheTrusted(Checkpoint),
    /// The trusted block leads to other authorities than the nodes say.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The step leads nowhere.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl ProofInfo {
    /// The epoch whose authorities have to vouch for the proof, as it says itself.
    ///
    /// # Errors
    /// [`ProofError::NoHeaders`] and [`ProofError::Malformed`].
    pub fn epoch(&self) -> Result<Epoch, ProofError> {
        let last = self.headers.last().ok_or(ProofError::NoHeaders)?;
        Ok(decode_header(last)?.epoch)
    }

    /// What the state holds under the name, be it nothing, by the word of the authorities that the
    /// client knows. How old that state is tells the header's time.
    ///
    /// # Errors
    /// See [`ProofError`]; nothing is proven in every case.
    pub fn verify(&self, client: &LightClient) -> Result<(Header, Option<StateValue>), ProofError> {
        let headers = self.headers.iter().map(decode_header).collect::<Result<Vec<_>, _>>()?;
        for (index, header) in headers.iter().enumerate() {
            let follows = index == 0
                || headers.get(index - 1).is_some_and(|parent| parent.hash() == header.parent_hash);
            if header.chain != client.electorate().chain || !follows {
                return Err(ProofError::BrokenHeaders(index));
            }
        }
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Err(ProofError::NoHeaders);
        };
        let certificate: Certificate = codec::decode(&self.certificate.0, MAX_PART_BYTES)?;
        client.verify_header(last, &certificate)?;
        let proof: StateEntryProof = codec::decode(&self.proof.0, MAX_STATE_ENTRY_PROOF_BYTES)?;
        let value = proof.verify(first, self.name.key())?;
        Ok((first.clone(), value))
    }
}

/// Walks from genesis to an epoch. Nodes are asked for each step and believed nothing.
///
/// # Errors
/// See [`WalkError`].
pub async fn walk_to(
    epoch: Epoch,
    genesis: &GenesisBlock,
    rpc: &RpcClient,
) -> Result<LightClient, WalkError> {
    let authorities = genesis.authorities.clone();
    let client = LightClient::new(Electorate { chain: genesis.chain, epoch: Epoch::ZERO, authorities });
    walk(client, epoch, rpc).await
}

/// Walks from a trusted block to an epoch. Of the authorities from before that block, whose keys may be in any
/// hands by now, nothing is believed: the way from genesis only finds those after it, whom its header
/// commits to.
///
/// # Errors
/// See [`WalkError`].
pub async fn walk_from(
    trusted: Checkpoint,
    epoch: Epoch,
    genesis: &GenesisBlock,
    rpc: &RpcClient,
) -> Result<LightClient, WalkError> {
    let header = match rpc.header(BlockKey::Id(trusted.block)).await.map_err(RpcError::from) {
        Err(RpcError::Call(CallError::NotFound(_))) => return Err(WalkError::NotTheTrusted(trusted)),
        answer => answer?.header,
    };
    // Before a walk as far as this header says.
    if Checkpoint::of(&header) != trusted {
        return Err(WalkError::NotTheTrusted(trusted));
    }
    let (above, _) = Checkpoint::epoch_above(&header).map_err(CheckpointError::from)?;
    let authorities = walk_to(above, genesis, rpc).await?.electorate().authorities.clone();
    let client = LightClient::from_checkpoint(trusted, genesis.chain, &header, authorities)?;
    walk(client, epoch, rpc).await
}

async fn walk(mut client: LightClient, to: Epoch, rpc: &RpcClient) -> Result<LightClient, WalkError> {
    while client.electorate().epoch < to {
        let Electorate { epoch, authorities, .. } = client.electorate();
        let step = rpc.epoch_step(*epoch).await.map_err(RpcError::from)?;
        let step = step.decode(*epoch, authorities)?;
        client.advance(step)?;
    }
    Ok(client)
}

impl EpochStepInfo {
    /// The step after an epoch with these authorities, unchecked.
    fn decode(&self, epoch: Epoch, authorities: &AuthoritySet) -> Result<EpochStep, WalkError> {
        let malformed = |error| WalkError::Malformed { epoch, error };
        let header = decode_header(&self.header).map_err(malformed)?;
        let finalization = codec::decode(&self.certificate.0, MAX_PART_BYTES).map_err(malformed)?;
        let stay = authorities.keys().iter().filter(|key| !self.left.contains(key));
        let next: Vec<PublicKey> = stay.chain(&self.joined).copied().collect();
        Ok(EpochStep { header, finalization, next: AuthoritySet::new(next)? })
    }
}

fn decode_header(part: &HexBytes) -> Result<Header, DecodeError> {
    codec::decode(&part.0, MAX_PART_BYTES)
}
