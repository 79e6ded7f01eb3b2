use std::future::Future;
use std::sync::Arc;

use evchain_protocol::codec::DecodeError;
use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::primitives::{Nonce, TxRef};
use evchain_protocol::transaction::{RejectReason, SignedTransaction, VerifiedTransaction, VerifyError};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::candidates::{Batch, Candidates};
use super::lane::Rank;
use super::limits::PoolError;
use crate::chain::{BlockLimits, ChainError};

/// Talks to the mempool's task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MempoolHandle {
    pub(super) chain: ChainId,
    pub(super) commands: mpsc::Sender<Command>,
    /// What blocks wait for, which no flood of transactions may hold up.
    pub(super) questions: mpsc::Sender<Command>,
    pub(super) arrivals: Arc<Notify>,
    pub(super) status: watch::Receiver<MempoolStatus>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MempoolStatus {
    /// Transactions.
    pub transactions: usize,
    /// Bytes of their encodings.
    pub bytes: usize,
    /// Those of them that can be in the next block. Where some are and blocks stay empty, something is wrong.
    pub ready: usize,
    /// Those of them that wait for one with a lower nonce.
    pub gaps: usize,
    /// Transactions that were refused since the node started, whoever brought them.
    pub refused: u64,
    /// There may be no room for one more that is no settlement, unless a worse one leaves (M6).
    pub is_full: bool,
}

/// What became of a transaction that the pool took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It can be in the next block.
    Ready,
    /// It waits for one of its sender's with a lower nonce (M7).
    Waiting,
}

/// How it ended for a transaction that was waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in this final block, at this index.
    Final(TxRef),
    /// It can no longer be in any block, or nobody knows it any more.
    Dropped(RejectReason),
    /// It waits, and nobody will tell the caller more: as many wait for an outcome as may.
    Waiting,
    /// It does not wait here, without a verdict, and may be final yet by way of another node: it never came, is too
    /// old, one of its sender's before it left, another took its nonce (M8) or its room (M6), or the node is
    /// stopping (M11).
    Forgotten,
    /// We failed to find out.
    Failed(String),
}

/// Why a transaction was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It is no transaction.
    #[error("not a transaction: {0}")]
    Malformed(#[from] DecodeError),
    /// It is not signed for this chain by its sender.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// It breaks a rule of the ledger now.
    #[error(transparent)]
    Rejected(#[from] RejectReason),
    /// It is in a final block already.
    #[error("the transaction is already final: it is {0}")]
    AlreadyFinal(TxRef),
    /// The pool does not take it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// We failed.
    #[error(transparent)]
    Failed(#[from] ChainError),
}

impl SubmitError {
    /// Whether a peer that passed the transaction on should have refused it. Nodes' states differ
    /// by a block or two, so a broken rule proves nothing.
    pub fn is_forwarders_fault(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Unverified(_))
    }
}

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Submit {
        transaction: Arc<VerifiedTransaction>,
        is_own: bool,
        reply: oneshot::Sender<Result<Accepted, SubmitError>>,
    },
    Watch {
        id: Hash,
        /// Whether to answer at once where it waits.
        at_once: bool,
        reply: oneshot::Sender<Outcome>,
    },
    Candidates {
        after: Option<Rank>,
        reply: oneshot::Sender<Batch>,
    },
    Suspect {
        senders: Vec<PublicKey>,
    },
    Lookup {
        ids: Vec<Hash>,
        reply: oneshot::Sender<Vec<Option<Arc<VerifiedTransaction>>>>,
    },
    NextNonce {
        account: PublicKey,
        reply: oneshot::Sender<Option<Nonce>>,
    },
}

impl MempoolHandle {
    /// Takes a client's transaction, checks it against the newest final state, and passes it on
    /// to the other nodes.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, bytes: &[u8]) -> Result<Hash, SubmitError> {
        let transaction = Arc::new(SignedTransaction::from_bytes(bytes)?.verify(self.chain)?);
        let id = transaction.id();
        self.accept(transaction, true).await?;
        Ok(id)
    }

    /// Takes a transaction that other nodes know already.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn accept_gossip(
        &self,
        transaction: Arc<VerifiedTransaction>,
    ) -> Result<Accepted, SubmitError> {
        self.accept(transaction, false).await
    }

    async fn accept(
        &self,
        transaction: Arc<VerifiedTransaction>,
        is_own: bool,
    ) -> Result<Accepted, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Submit { transaction, is_own, reply }).await;
        answer.await.map_err(|_| SubmitError::Failed(ChainError::Stopped))?
    }

    /// Waits until the transaction with this id is final or dropped. At once if it is final. Who no longer
    /// waits leaves a place for others.
    pub async fn outcome(&self, id: Hash) -> Outcome {
        self.watch(id, false).await
    }

    /// How it is with the transaction with this id now.
    pub async fn standing(&self, id: Hash) -> Outcome {
        self.watch(id, true).await
    }

    async fn watch(&self, id: Hash, at_once: bool) -> Outcome {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Watch { id, at_once, reply }).await;
        answer.await.unwrap_or(Outcome::Forgotten)
    }

    /// The transactions to propose next, in order.
    pub async fn candidates(&self, limits: BlockLimits) -> Candidates {
        let (reply, answer) = oneshot::channel();
        let _ = self.questions.send(Command::Candidates { after: None, reply }).await;
        Candidates::new(self.clone(), answer.await.unwrap_or_default(), limits)
    }

    /// Those after this rank, for a thread that may wait for them. The pool's task never waits for a thread.
    pub(super) fn more_candidates(&self, after: Rank) -> Batch {
        let (reply, answer) = oneshot::channel();
        let sent = self.questions.blocking_send(Command::Candidates { after: Some(after), reply });
        sent.ok().and_then(|()| answer.blocking_recv().ok()).unwrap_or_default()
    }

    /// Tells of senders of which something was tried in vain. Where the pool is busy it finds out by itself.
    pub(super) fn suspect(&self, senders: Vec<PublicKey>) {
        let _ = self.questions.try_send(Command::Suspect { senders });
    }

    /// The transactions with these ids, where they wait: verified before, so not to be verified again.
    pub async fn lookup(&self, ids: Vec<Hash>) -> Vec<Option<Arc<VerifiedTransaction>>> {
        let (reply, answer) = oneshot::channel();
        let count = ids.len();
        let _ = self.questions.send(Command::Lookup { ids, reply }).await;
        answer.await.unwrap_or_else(|_| vec![None; count])
    }

    /// The nonce for an account's next transaction, after those that wait; none without account.
    pub async fn next_nonce(&self, account: PublicKey) -> Option<Nonce> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::NextNonce { account, reply }).await;
        answer.await.ok().flatten()
    }

    /// Completes when a transaction arrives after this call.
    pub fn arrival(&self) -> impl Future<Output = ()> + Send + 'static {
        let arrivals = Arc::clone(&self.arrivals);
        let mut notified = Box::pin(arrivals.notified_owned());
        notified.as_mut().enable();
        notified
    }

    /// How much waits.
    pub fn status(&self) -> MempoolStatus {
        *self.status.borrow()
    }

    async fn send(&self, command: Command) {
        // Once the task has ended the node is going down; the caller sees its reply dropped.
        let _ = self.commands.send(command).await;
    }
}
