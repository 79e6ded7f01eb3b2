//! The chain as an agent sees it: questions and transactions that outlast nodes that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey};
use evchain_protocol::primitives::{Height, Nonce, TxRef};
use evchain_protocol::session::{OnChain, Open, PaymentKind, Terms};
use evchain_protocol::state::account::Account;
use evchain_protocol::state::auction::Request;
use evchain_protocol::state::payment::Lock;
use evchain_protocol::transaction::{Action, SignedTransaction, Transaction};
use jsonrpsee::core::client::Error as ClientError;

use super::error::AgentError;
use super::event::{AgentEvent, Observer, Warning};
use super::report::{Phase, TransactionReport};
use crate::clock;
use crate::rpc::{CallError, Finality, NodeApiClient, Page, RpcClient, RpcError, TransactionKey};

/// How long one call waits for finality. The transaction is sent again after it.
const WAIT_MS: u64 = 10_000;
/// The first pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often an action is signed anew because somebody else used its nonce.
pub(super) const MAX_SIGNINGS: u32 = 8;

/// The nodes that an agent asks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Nodes {
    pub(super) rpc: RpcClient,
    pub(super) observer: Observer,
    /// The height of the newest block that the agent knows something of. A node below it is behind,
    /// and what it does not find, or rejects, may be there.
    newest: Arc<AtomicU64>,
}

/// What became of a signed transaction.
#[derive(Debug)]
pub(super) enum Brought {
    /// It is final.
    Final(Box<Finality>, TransactionReport),
    /// Its nonce is used up, by another transaction.
    Stale,
}

impl Nodes {
    pub(super) fn new(rpc: RpcClient, observer: Observer) -> Self {
        Self { rpc, observer, newest: Arc::default() }
    }

    pub(super) fn chain(&self) -> ChainId {
        self.rpc.chain_id()
    }

    pub(super) fn observe(&self, event: &AgentEvent) {
        (self.observer)(event);
    }

    pub(super) fn warn(&self, warning: Warning) {
        self.observe(&AgentEvent::Warned(warning));
    }

    /// Notes that there is a block of this height.
    pub(super) fn saw(&self, height: Height) {
        self.newest.fetch_max(height.get(), Ordering::Relaxed);
    }

    /// Asks until a node answers; `None` where what was asked for is not on the chain.
    pub(super) async fn ask<T, F, A>(&self, what: &str, call: F) -> Result<Option<T>, AgentError>
    where
        F: Fn(RpcClient) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        let mut patience = Patience::default();
        loop {
            match call(self.rpc.clone()).await.map_err(RpcError::from) {
                Ok(answer) => return Ok(Some(answer)),
                Err(RpcError::Call(CallError::NotFound(_))) => {
                    if !self.is_behind().await {
                        return Ok(None);
                    }
                }
                Err(error @ RpcError::Call(CallError::InvalidInput(_))) => return Err(error.into()),
                Err(error) => patience.failed(self, what, &error),
            }
            patience.pause().await;
        }
    }

    /// As [`Nodes::ask`], for what every chain has.
    pub(super) async fn need<T, F, A>(&self, what: &str, call: F) -> Result<T, AgentError>
    where
        F: Fn(RpcClient) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        let answer = self.ask(what, call).await?;
        answer.ok_or_else(|| RpcError::Unreadable(format!("no answer to: {what}")).into())
    }

    /// All entries of a list, page by page, from a node that misses no block that is known of.
    pub(super) async fn all<T, K, F, A>(&self, what: &str, page: F) -> Result<Vec<T>, AgentError>
    where
        K: Copy,
        F: Fn(RpcClient, Option<K>) -> A,
        A: Future<Output = Result<Page<T, K>, ClientError>>,
    {
        let mut patience = Patience::default();
        loop {
            let (mut items, mut after) = (Vec::new(), None);
            loop {
                let found = self.need(what, |rpc| page(rpc, after)).await?;
                items.extend(found.items);
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
            if !self.is_behind().await {
                return Ok(items);
            }
            patience.pause().await;
        }
    }

    /// An account, if there is one.
    pub(super) async fn account(&self, key: PublicKey) -> Result<Option<Account>, AgentError> {
        let found = self.ask("ask for an account", |rpc| async move { rpc.account(key).await }).await?;
        Ok(found.map(|info| info.account))
    }

    /// What an `Open` names and what pays for its request, while the chain holds money in it.
    pub(super) async fn paying(&self, open: &Open, request: &Request) -> Result<Option<OnChain>, AgentError> {
        if open.kind != PaymentKind::Single {
            return self.payment(open.kind, open.payment).await;
        }
        let locks = self.locks(open.opening.consumer, open.opening.producer).await?;
        Ok(OnChain::of_locks(open, request, &locks))
    }

    /// Whether the chain still holds money for a session.
    pub(super) async fn is_held(&self, terms: &Terms) -> Result<bool, AgentError> {
        Ok(match terms.kind {
            PaymentKind::Single => !self.locks(terms.consumer, terms.producer).await?.is_empty(),
            kind => self.payment(kind, terms.payment).await?.is_some(),
        })
    }

    /// The single locks that are open from one key to another, by their names.
    pub(super) async fn locks(
        &self,
        consumer: PublicKey,
        producer: PublicKey,
    ) -> Result<Vec<(TxRef, Lock)>, AgentError> {
        let ask = |rpc: RpcClient, after| async move { rpc.locks(Some(consumer), after).await };
        let locks = self.all("ask for locks", ask).await?;
        let is_ours = |lock: &Lock| (lock.payer, lock.payee) == (consumer, producer);
        Ok(locks.into_iter().filter(|it| is_ours(&it.value)).map(|it| (it.name, it.value)).collect())
    }

    /// A payment or channel, while the chain holds money in it. Single locks are no such object: see
    /// [`Nodes::locks`].
    pub(super) async fn payment(
        &self,
        kind: PaymentKind,
        name: TxRef,
    ) -> Result<Option<OnChain>, AgentError> {
        Ok(match kind {
            PaymentKind::Channel => self
                .ask("ask for the channel", |rpc| async move { rpc.channel(name).await })
                .await?
                .map(|found| OnChain::Channel(found.value)),
            PaymentKind::Hashes | PaymentKind::Chain => self
                .ask("ask for the payment", |rpc| async move { rpc.payment(name).await })
                .await?
                .map(|found| OnChain::Installments(found.value)),
            PaymentKind::Single => None,
        })
    }

    /// Brings a signed transaction to the chain: sends it, to one node after the other and again,
    /// until it is final or a rule speaks against it.
    pub(super) async fn bring(
        &self,
        phase: Phase,
        signed: &SignedTransaction,
    ) -> Result<Brought, AgentError> {
        let action = signed.transaction.action.kind();
        let (bytes, submitted) = (signed.to_bytes(), clock::now());
        let encoded = hex::encode(&bytes);
        let mut patience = Patience::default();
        loop {
            let sent = self.rpc.submit_and_wait(encoded.clone(), WAIT_MS).await.map_err(RpcError::from);
            let finality = match sent {
                Ok(finality) => Some(finality),
                Err(RpcError::Call(CallError::Rejected { reason, message })) => {
                    if self.is_behind().await {
                        None
                    } else if let Some(finality) = self.find(signed).await? {
                        Some(finality)
                    } else if self.is_stale(signed).await? {
                        return Ok(Brought::Stale);
                    } else {
                        return Err(AgentError::Rejected { action, reason, message });
                    }
                }
                Err(RpcError::Call(CallError::InvalidInput(message))) => {
                    let reason = "invalid_input".to_owned();
                    return Err(AgentError::Rejected { action, reason, message });
                }
                Err(RpcError::Call(CallError::TimedOut { .. })) => None,
                Err(error) => {
                    patience.failed(self, &format!("send the {action}"), &error);
                    None
                }
            };
            if let Some(finality) = finality {
                self.saw(finality.height);
                let report = TransactionReport {
                    phase,
                    kind: action.to_owned(),
                    id: finality.transaction,
                    place: finality.place,
                    sender: signed.transaction.sender,
                    bytes: bytes.len(),
                    fee: finality.fee,
                    submitted,
                    latency_ms: clock::now().since(submitted),
                };
                self.observe(&AgentEvent::Final(report.clone()));
                return Ok(Brought::Final(Box::new(finality), report));
            }
            patience.pause().await;
        }
    }

    /// The transaction's place on the chain, if it has one.
    async fn find(&self, signed: &SignedTransaction) -> Result<Option<Finality>, AgentError> {
        let key = TransactionKey::Id(signed.id());
        let found =
            self.ask("ask for a transaction", |rpc| async move { rpc.transaction(key).await }).await?;
        Ok(found.and_then(|info| info.finality))
    }

    async fn is_stale(&self, signed: &SignedTransaction) -> Result<bool, AgentError> {
        let account = self.account(signed.transaction.sender).await?;
        Ok(account.is_some_and(|account| account.nonce > signed.transaction.nonce))
    }

    /// Whether the node that answers is known to miss blocks.
    async fn is_behind(&self) -> bool {
        let newest = self.newest.load(Ordering::Relaxed);
        match self.rpc.status().await {
            Ok(status) => status.height.get() < newest,
            // Whichever node answers next is asked again.
            Err(_) => true,
        }
    }
}

/// Pauses between attempts, and says once what they fail of.
#[derive(Default)]
struct Patience {
    pause: Option<Duration>,
    said: Option<String>,
}

impl Patience {
    fn failed(&mut self, nodes: &Nodes, action: &str, error: &RpcError) {
        let reason = error.to_string();
        if self.said.as_ref() != Some(&reason) {
            self.said = Some(reason.clone());
            nodes.warn(Warning::Unreachable { action: action.to_owned(), reason });
        }
    }

    async fn pause(&mut self) {
        let pause = self.pause.unwrap_or(FIRST_PAUSE);
        tokio::time::sleep(pause).await;
        self.pause = Some((pause * 2).min(LONGEST_PAUSE));
    }
}

/// A key and its place on the chain: signs actions and brings them there, one after the other.
pub(super) struct Signer {
    pub(super) nodes: Nodes,
    pub(super) key: KeyPair,
    /// Held from the choice of a nonce until the transaction is final: two transactions under way
    /// with one key could be lost both when the first is rejected after the second was taken.
    turn: tokio::sync::Mutex<()>,
}

impl Signer {
    pub(super) fn new(nodes: Nodes, key: KeyPair) -> Self {
        Self { nodes, key, turn: tokio::sync::Mutex::default() }
    }

    pub(super) fn address(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The action, signed with the account's next nonce.
    pub(super) async fn sign(&self, action: Action) -> Result<SignedTransaction, AgentError> {
        let address = self.address();
        let info = self
            .nodes
            .ask("ask for the own account", |rpc| async move { rpc.account(address).await })
            .await?;
        // Without account the ledger rejects whatever comes, and says what to do.
        let nonce = info.map_or(Nonce::ZERO, |info| info.next_nonce);
        Ok(Transaction { sender: address, nonce, action }.sign(&self.key, self.nodes.chain()))
    }

    /// Signs an action and brings it to the chain.
    pub(super) async fn send(
        &self,
        phase: Phase,
        action: &Action,
    ) -> Result<(Box<Finality>, TransactionReport), AgentError> {
        let _turn = self.turn.lock().await;
        for _ in 0..MAX_SIGNINGS {
            let signed = self.sign(action.clone()).await?;
            if let Brought::Final(finality, report) = self.nodes.bring(phase, &signed).await? {
                return Ok((finality, report));
            }
        }
        Err(nonces_taken(action))
    }
}

/// Others sign with the same key, and were faster each time.
pub(super) fn nonces_taken(action: &Action) -> AgentError {
    AgentError::Rejected {
        action: action.kind(),
        reason: "nonce_too_low".to_owned(),
        message: "others send with the same key all the time: give each agent a key of its own".to_owned(),
    }
}
