use std::sync::Arc;
use std::time::Duration;

use evchain_consensus::block::Block;
use evchain_consensus::input::Execution;
use evchain_consensus::output::BuildRequest;
use evchain_protocol::block::Header;
use evchain_protocol::crypto::Hash;
use evchain_protocol::finality::Certificate;
use evchain_protocol::params::Params;
use evchain_protocol::primitives::Timestamp;
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::tree::StateProof;
use evchain_protocol::transaction::{SignedTransaction, VerifiedTransaction};
use tokio::sync::{mpsc, oneshot};

use super::error::ChainError;
use super::payload;
use super::reader::ChainReader;
use crate::mempool::{Candidates, MempoolHandle};

/// Talks to the thread that owns the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChainHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) reader: ChainReader,
    pub(super) mempool: MempoolHandle,
}

/// The part of D that a leader may take to try candidates. D is the bound on a hop with what the receiver
/// does, the others do the same work once more, and they wait 2 D for the leader.
const BUILD_SHARE: u64 = 4;

/// What fits into a block of this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLimits {
    /// Transactions.
    pub transactions: usize,
    /// Bytes of their encodings.
    pub bytes: usize,
    /// How long candidates are tried (M14).
    pub time: Duration,
}

impl BlockLimits {
    /// As the chain's parameters say.
    pub const fn of(params: &Params) -> Self {
        Self {
            transactions: params.max_block_transactions as usize,
            bytes: params.max_block_bytes as usize,
            time: Duration::from_millis(params.hop_bound.get().div_ceil(BUILD_SHARE)),
        }
    }
}

/// A block that is to be made.
#[derive(Debug)]
pub struct BuildOrder {
    /// For which place.
    pub request: BuildRequest,
    /// Its time.
    pub time: Timestamp,
    /// What may be in it.
    pub limits: BlockLimits,
    /// What to try, in this order.
    pub candidates: Candidates,
    /// Whether a block without transactions will do.
    pub or_empty: bool,
}

/// A block that this node made.
#[derive(Debug)]
pub struct Built {
    /// The block.
    pub block: Arc<Block>,
    /// How many transactions are in it.
    pub transactions: usize,
}

/// An entry of the final state with what proves it to somebody who trusts the header.
#[derive(Debug)]
pub struct EntryProof {
    /// The newest final block.
    pub header: Header,
    /// The entry's bytes, none where there is no such entry.
    pub value: Option<Vec<u8>>,
    /// The proof of either against the header's state root.
    pub proof: StateProof,
}

/// What the ledger's thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Build {
        order: Box<BuildOrder>,
        reply: oneshot::Sender<Result<Option<Built>, ChainError>>,
    },
    Execute {
        block: Arc<Block>,
        transactions: Vec<Arc<VerifiedTransaction>>,
        reply: oneshot::Sender<Execution>,
    },
    Commit {
        blocks: Vec<Arc<Block>>,
        finalization: Arc<Certificate>,
        reply: oneshot::Sender<()>,
    },
    Prove {
        key: StateKey,
        reply: oneshot::Sender<Result<EntryProof, ChainError>>,
    },
}

impl ChainHandle {
    /// Reads what is final.
    pub fn reader(&self) -> &ChainReader {
        &self.reader
    }

    /// Makes a block of as many of the candidates as are valid and fit; none if it would be empty and must
    /// not be. Whoever drops the future abandons the block.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn build(&self, order: BuildOrder) -> Result<Option<Built>, ChainError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Build { order: Box::new(order), reply }).await?;
        answer.await.map_err(|_| ChainError::Stopped)?
    }

    /// Executes another leader's block on its parent.
    pub async fn execute(&self, block: Arc<Block>) -> Execution {
        let signed = match payload::decode(block.payload(), block.header()) {
            Ok(signed) => signed,
            Err(outcome) => return outcome,
        };
        let transactions = match self.verify(signed).await {
            Ok(transactions) => transactions,
            Err(outcome) => return outcome,
        };
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Execute { block, transactions, reply }).await.is_err() {
            return Execution::Failed(ChainError::Stopped.to_string());
        }
        answer.await.unwrap_or_else(|_| Execution::Failed(ChainError::Stopped.to_string()))
    }

    /// Writes final blocks. The receiver is told when they are written; commits are written in the
    /// order of these calls.
    pub async fn commit(
        &self,
        blocks: Vec<Arc<Block>>,
        finalization: Arc<Certificate>,
    ) -> oneshot::Receiver<()> {
        let (reply, answer) = oneshot::channel();
        // The receiver of a command that was not sent learns so by the dropped reply.
        let _ = self.send(Command::Commit { blocks, finalization, reply }).await;
        answer
    }

    /// An entry of the newest final state with its proof.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn prove(&self, key: StateKey) -> Result<EntryProof, ChainError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Prove { key, reply }).await?;
        answer.await.map_err(|_| ChainError::Stopped)?
    }

    /// Verifies what did not wait in the mempool, where everything is verified already.
    async fn verify(
        &self,
        signed: Vec<SignedTransaction>,
    ) -> Result<Vec<Arc<VerifiedTransaction>>, Execution> {
        let ids: Vec<Hash> = signed.iter().map(SignedTransaction::id).collect();
        let known = self.mempool.lookup(ids).await;
        let chain = self.reader.chain();
        let verify_rest = move || {
            let mut verified = Vec::with_capacity(signed.len());
            for (index, (signed, known)) in signed.into_iter().zip(known).enumerate() {
                verified.push(match known {
                    Some(known) => known,
                    None => Arc::new(
                        signed
                            .verify(chain)
                            .map_err(|error| Execution::Invalid(format!("transaction {index}: {error}")))?,
                    ),
                });
            }
            Ok(verified)
        };
        tokio::task::spawn_blocking(verify_rest).await.unwrap_or_else(|error| {
            Err(Execution::Failed(format!("verifying a block's transactions: {error}")))
        })
    }

    async fn send(&self, command: Command) -> Result<(), ChainError> {
        self.commands.send(command).await.map_err(|_| ChainError::Stopped)
    }
}
