//! What an engine wants done.

use std::sync::Arc;

use evchain_protocol::block::Header;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::finality::{Certificate, CertificateError, Evidence, Justification};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

use crate::block::{Block, BlockRef, Payload};
use crate::message::{GetBlocks, GetFinalized, Message};
use crate::wal::LogRecord;

/// What an engine wants done.
///
/// The order is the contract: the shell carries a step's outputs out one after the other, and before
/// a `Send` or `Broadcast` every `Persist` and `Commit` that came before it, in this step or an
/// earlier one, is synced. One synced write for all of a step's, ahead of the first message, will do.
#[derive(Debug, Clone)]
pub enum Output {
    /// Append to the log.
    Persist(LogRecord),
    /// Send to one peer; lost if it is not connected.
    Send {
        /// The peer.
        to: PublicKey,
        /// The message.
        message: Message,
    },
    /// Send to every other authority of this epoch and of the one before. A finalization also goes to
    /// the observers (gossip).
    Broadcast(Message),
    /// Make a block and answer with `Input::Built`: as soon as there is something to put into it, and
    /// at the latest after [`BuildRequest::idle`], empty if need be.
    Build(BuildRequest),
    /// A block for this view is no longer wanted.
    CancelBuild {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
    /// Execute a block on its parent, which was executed before, and answer with `Input::Executed`. At
    /// most once for each block, unless the answer was `WrongBody` or the engine is new. Blocks that
    /// `BuildRequest::finish` made are not executed again.
    Execute(Arc<Block>),
    /// These blocks are final: write them, their effects and the finalization as one.
    Commit {
        /// The blocks, oldest first, from the one after the last committed.
        blocks: Vec<Arc<Block>>,
        /// The finalization of the last.
        finalization: Arc<Certificate>,
        /// The last block ends its epoch: once all is written, answer with `Input::NextEpoch` (E3).
        ends_epoch: bool,
    },
    /// Answer a peer with `Message::Blocks` from the store of committed blocks, if it holds the newest
    /// one (`Blocks::gather`).
    ServeBlocks {
        /// The peer.
        to: PublicKey,
        /// What it wants.
        request: GetBlocks,
    },
    /// Answer a peer with `Message::Finalized` from the store of committed blocks
    /// (`Finalized::gather`).
    ServeFinalized {
        /// The peer.
        to: PublicKey,
        /// What it wants.
        request: GetFinalized,
    },
    /// Answer a peer with `Message::Certificate` from the store of committed blocks: the finalization
    /// of this epoch's last block.
    ServeBoundary {
        /// The peer, which is still in that epoch.
        to: PublicKey,
        /// The epoch.
        epoch: Epoch,
    },
    /// A peer sent what no honest node sends; from there on the message had no effect. Once for a message,
    /// and once for a body that turns out to be spoiled.
    Reject {
        /// The peer.
        from: PublicKey,
        /// What was wrong.
        reason: Rejection,
    },
    /// An authority signed what no honest one signs (W1 to W5). The evidence was verified. Report it to
    /// the chain; after a restart the engine may tell it again.
    Evidence(Evidence),
    /// Stop the node: the engine does nothing any more.
    Halt(HaltReason),
}

/// What a leader's block has to be built on.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The chain.
    pub chain: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The block's height.
    pub height: Height,
    /// The parent, which was executed. The block's time must be above its time.
    pub parent: BlockRef,
    /// Why the parent may be built upon.
    pub just: Justification,
    /// The leader: this node.
    pub proposer: PublicKey,
    /// The authorities of the epoch.
    pub authority_root: Hash,
    /// How long to wait for something to put into the block.
    pub idle: Span,
}

/// What the ledger puts into a block.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The block's time, above the parent's.
    pub time_ms: Timestamp,
    /// Merkle root over the transactions.
    pub tx_root: Hash,
    /// Merkle root over the events.
    pub event_root: Hash,
    /// Root of the state after the block.
    pub state_root: Hash,
    /// The authorities of the next block's epoch.
    pub next_authority_root: Hash,
    /// The transactions, encoded.
    pub payload: Payload,
}

impl BuildRequest {
    /// The block with these contents, for `Input::Built`.
    pub fn finish(&self, contents: Contents) -> Arc<Block> {
        let header = Header {
            chain: self.chain,
            epoch: self.epoch,
            height: self.height,
            view: self.view,
            parent_hash: self.parent.hash,
            parent_view: self.parent.view,
            proposer: self.proposer,
            time_ms: contents.time_ms,
            tx_root: contents.tx_root,
            event_root: contents.event_root,
            state_root: contents.state_root,
            just_root: self.just.root(),
            authority_root: self.authority_root,
            next_authority_root: contents.next_authority_root,
        };
        Arc::new(Block::from_own_parts(header, self.just.clone(), contents.payload))
    }
}

/// What no honest node sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A vote whose signature is not valid.
    #[error("a vote in view {0} with a bad signature")]
    BadVote(View),
    /// A certificate that is not valid.
    #[error("a certificate of view {view}: {error}")]
    BadCertificate {
        /// Its view.
        view: View,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// A proposal that its leader did not sign.
    #[error("a proposal for view {0} without its leader's signature")]
    UnsignedProposal(View),
    /// A proposal that its leader signed and no honest leader makes.
    #[error("a proposal for view {0} that nothing justifies")]
    UnsoundProposal(View),
    /// Blocks that do not follow from each other, or a payload that is not its header's.
    #[error("blocks that are not what was asked for")]
    BadBlocks,
}

/// Why an engine stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    /// Certificates that exclude each other: more than f authorities are faulty.
    #[error("certificates of view {0} exclude each other: more than f authorities are faulty")]
    ConflictingCertificates(View),
    /// A quorum notarized a block that is not valid here: more than f authorities are faulty, or
    /// execution is not deterministic.
    #[error("block {block} at height {height} has a quorum's votes and is not valid here: {reason}")]
    CertifiedBlockInvalid {
        /// The block.
        block: Hash,
        /// Its height.
        height: Height,
        /// What is wrong with it.
        reason: String,
    },
    /// A final block does not descend from the last committed one.
    #[error("final block {block} at height {height} does not descend from the committed chain")]
    FinalForks {
        /// The block.
        block: Hash,
        /// Its height.
        height: Height,
    },
    /// A quorum voted for a block above the epoch's last height: more than f authorities are faulty.
    #[error("block {block} at height {height} has a quorum's votes, but its epoch ends below")]
    BeyondEpoch {
        /// The block.
        block: Hash,
        /// Its height.
        height: Height,
    },
    /// What the state says of the next epoch is not what its last block's header commits to.
    #[error("the state names other authorities for epoch {0} than the header before it")]
    WrongNextEpoch(Epoch),
    /// The shell could not execute a block.
    #[error("could not execute block {block}: {reason}")]
    ExecutionFailed {
        /// The block.
        block: Hash,
        /// What went wrong.
        reason: String,
    },
}

impl HaltReason {
    /// Whether a restart cures nothing: it is about what others signed or what the chain holds, and not
    /// about this machine (D9).
    pub const fn outlasts_restart(&self) -> bool {
        !matches!(self, Self::ExecutionFailed { .. })
    }
}
