use std::time::{Duration, Instant};

use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::primitives::Nonce;
use evchain_protocol::transaction::{Action, SignedTransaction, Transaction};

use crate::rpc::{CallError, Finality, MAX_WAIT_MS, NodeApiClient, RpcClient, RpcError, TransactionKey};

/// How long a sender waits for finality unless told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The pause before a node is asked again for a transaction that waits.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// Signs actions with one key and sends them through a node.
#[derive(Debug, Clone)]
pub struct Sender {
    rpc: RpcClient,
    key: KeyPair,
}

/// Why an action was not done, as far as known.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It was not signed: without the account's nonce there is no transaction.
    #[error("cannot ask for the account's nonce: {0}")]
    Nonce(#[source] RpcError),
    /// It was signed, and a node refused it for good; no node has taken it.
    #[error("{source}")]
    Refused {
        /// The transaction's id.
        transaction: Hash,
        /// Why.
        source: RpcError,
    },
    /// It was signed and sent, and it is not known what became of it: it may still become final. Another
    /// transaction in its place would be done too.
    #[error("{source}")]
    Undecided {
        /// The transaction's id.
        transaction: Hash,
        /// Why nothing is known.
        source: RpcError,
    },
}

impl SendError {
    /// What the nodes, or their absence, said.
    pub const fn rpc(&self) -> &RpcError {
        match self {
            Self::Nonce(error)
            | Self::Refused { source: error, .. }
            | Self::Undecided { source: error, .. } => error,
        }
    }

    /// The transaction that may still become final, if there is one.
    pub const fn undecided(&self) -> Option<Hash> {
        match self {
            Self::Undecided { transaction, .. } => Some(*transaction),
            Self::Nonce(_) | Self::Refused { .. } => None,
        }
    }

    /// Whether a rule of the ledger speaks against it, for programs.
    pub const fn rejection(&self) -> Option<&String> {
        match self.rpc() {
            RpcError::Call(CallError::Rejected { reason, .. }) => Some(reason),
            _ => None,
        }
    }
}

impl Sender {
    /// Sends as the owner of this key.
    pub const fn new(rpc: RpcClient, key: KeyPair) -> Self {
        Self { rpc, key }
    }

    /// Who sends.
    pub fn address(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The key.
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The way to the nodes.
    pub const fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// The nonce for the next transaction, after those that wait for a block at the node.
    ///
    /// # Errors
    /// [`RpcError`], also where the key has no account.
    pub async fn next_nonce(&self) -> Result<Nonce, RpcError> {
        Ok(self.rpc.account(self.address()).await?.next_nonce)
    }

    /// The action as a signed transaction.
    pub fn sign(&self, nonce: Nonce, action: Action) -> SignedTransaction {
        Transaction { sender: self.address(), nonce, action }.sign(&self.key, self.rpc.chain_id())
    }

    /// Signs the action with the next nonce and sends it.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn submit(&self, action: Action) -> Result<SignedTransaction, SendError> {
        let signed = self.sign(self.next_nonce().await.map_err(SendError::Nonce)?, action);
        match self.rpc.submit(hex::encode(signed.to_bytes())).await {
            Ok(_) => Ok(signed),
            // It waits at a node, or is final: either is what was wanted.
            Err(_) if self.is_known(signed.id()).await => Ok(signed),
            Err(error) => Err(self.came_to_nothing(signed.id(), error.into())),
        }
    }

    /// Signs the action with the next nonce, sends it and waits until it is final.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, action: Action, wait: Duration) -> Result<Finality, SendError> {
        let nonce = self.next_nonce().await.map_err(SendError::Nonce)?;
        self.send_signed(&self.sign(nonce, action), wait).await
    }

    /// Sends what is signed already and waits until it is final. Sending it twice is harmless.
    ///
    /// Whatever a node answered, it is asked for the transaction before anybody is told that it is not
    /// final: an answer can be lost, and the next node need not know what the first one took.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_signed(
        &self,
        signed: &SignedTransaction,
        wait: Duration,
    ) -> Result<Finality, SendError> {
        let (begin, id) = (Instant::now(), signed.id());
        let answer = self.rpc.submit_and_wait(hex::encode(signed.to_bytes()), ms(wait)).await;
        let mut error = match answer {
            Ok(finality) => return Ok(finality),
            Err(error) => RpcError::from(error),
        };
        while let Ok(info) = self.rpc.transaction(TransactionKey::Id(id)).await {
            if let Some(finality) = info.finality {
                return Ok(finality);
            }
            // It waits at a node, and so do we, while there is time.
            let left = wait.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(SendError::Undecided { transaction: id, source: error });
            }
            match self.rpc.wait(id, ms(left)).await {
                Ok(finality) => return Ok(finality),
                Err(newer) => error = newer.into(),
            }
            tokio::time::sleep(ASK_PAUSE.min(left)).await;
        }
        Err(self.came_to_nothing(id, error))
    }

    /// Whether a node has the transaction, be it final or waiting.
    async fn is_known(&self, transaction: Hash) -> bool {
        self.rpc.transaction(TransactionKey::Id(transaction)).await.is_ok()
    }

    /// What is to be said of a transaction that no node that answers has.
    fn came_to_nothing(&self, transaction: Hash, source: RpcError) -> SendError {
        let is_refusal = match &source {
            RpcError::Call(CallError::Rejected { .. } | CallError::InvalidInput(_)) => true,
            // Where there are several nodes, one before may have taken it and not answered.
            RpcError::Call(CallError::Busy(_)) => self.rpc.count() == 1,
            _ => false,
        };
        if is_refusal {
            SendError::Refused { transaction, source }
        } else {
            SendError::Undecided { transaction, source }
        }
    }
}

fn ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS)
}
