use std::time::Duration;

use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::primitives::Nonce;
use evchain_protocol::transaction::{Action, SignedTransaction, Transaction};

use crate::rpc::{CallError, Finality, MAX_WAIT_MS, NodeApiClient, RpcClient, RpcError};

/// How long a sender waits for finality unless told otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

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
    /// It was signed, and this came of it. Unless it was rejected it may still become final.
    #[error("{source}")]
    Sent {
        /// The transaction's id.
        transaction: Hash,
        /// Why it is not final.
        source: RpcError,
    },
}

impl SendError {
    /// What the nodes, or their absence, said.
    pub const fn rpc(&self) -> &RpcError {
        match self {
            Self::Nonce(error) | Self::Sent { source: error, .. } => error,
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
        let sent = self.rpc.submit(hex::encode(signed.to_bytes())).await;
        match sent {
            Ok(_) => Ok(signed),
            Err(error) => Err(SendError::Sent { transaction: signed.id(), source: error.into() }),
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
    /// # Errors
    /// See [`SendError`].
    pub async fn send_signed(
        &self,
        signed: &SignedTransaction,
        wait: Duration,
    ) -> Result<Finality, SendError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS);
        let answer = self.rpc.submit_and_wait(hex::encode(signed.to_bytes()), wait_ms).await;
        answer.map_err(|error| SendError::Sent { transaction: signed.id(), source: error.into() })
    }
}
