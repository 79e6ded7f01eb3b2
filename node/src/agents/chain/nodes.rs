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

use self::patience::{Patience, Trouble};
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Observer, Warning};
use crate::agents::report::{Phase, TransactionReport};
use crate::clock;
use crate::rpc::{CallError, Finality, NodeApiClient, Page, RpcClient, RpcError, TransactionKey};

mod patience;

/// How long one call waits for finality. The transaction is sent again after it, to another node.
const WAIT_MS: u64 = 10_000;
/// The same at a node that misses blocks: it passes the transaction on, and hears late of its place.
const WAIT_BEHIND_MS: u64 = 1_000;
/// A question that has no answer for so long is worth a warning, whatever it waits for.
const SLOW: Duration = Duration::from_secs(10);
/// How often an action is signed anew because somebody else used its nonce. Of several agents that begin with one
/// key at the same moment, one comes through with each block.
pub(in crate::agents) const MAX_SIGNINGS: u32 = 64;

/// The nodes that an agent asks. Cheap to clone.
///
/// A question goes to one node as a whole, to another one as a whole when that fails, and to none that is
/// known to miss a block, where it can wait: what such a node says, finds or rejects may be different by now.
#[derive(Clone)]
pub(in crate::agents) struct Nodes {
    pub(in crate::agents) rpc: RpcClient,
    pub(in crate::agents) observer: Observer,
    /// The height of the newest block that the agent knows something of.
    newest: Arc<AtomicU64>,
    /// The height that each node said last, which is one that it has reached.
    heights: Arc<[AtomicU64]>,
    /// See [`SLOW`].
    slow: Duration,
}

/// What became of a signed transaction.
#[derive(Debug)]
pub(in crate::agents) enum Brought {
    /// It is final.
    Final(Box<Finality>, TransactionReport),
    /// Its nonce is used up, by another transaction.
    Stale,
}

impl Nodes {
    pub(in crate::agents) fn new(rpc: RpcClient, observer: Observer) -> Self {
        let heights = (0..rpc.count()).map(|_| AtomicU64::new(0)).collect();
        Self { rpc, observer, newest: Arc::default(), heights, slow: SLOW }
    }

    pub(in crate::agents) fn chain(&self) -> ChainId {
        self.rpc.chain_id()
    }

    pub(in crate::agents) fn observe(&self, event: &AgentEvent) {
        (self.observer)(event);
    }

    pub(in crate::agents) fn warn(&self, warning: Warning) {
        self.observe(&AgentEvent::Warned(warning));
    }

    /// Notes that there is a block of this height.
    pub(in crate::agents) fn saw(&self, height: Height) {
        self.newest.fetch_max(height.get(), Ordering::Relaxed);
    }

    /// The height of the newest block that is known of.
    pub(in crate::agents) fn newest(&self) -> Height {
        Height::new(self.newest.load(Ordering::Relaxed))
    }

    /// Asks until a node answers that misses no block that is known of; `None` where what was asked for is
    /// not on the chain. All that `call` does it does at one node.
    pub(in crate::agents) async fn ask<T, F, A>(&self, what: &str, call: F) -> Result<Option<T>, AgentError>
    where
        F: Fn(RpcClient) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        self.ask_for(what, false, call).await
    }

    /// The same, but while all nodes are behind what one of them finds is taken. For what can be used although
    /// it may be old, and must not wait, as a claim before its deadline.
    pub(in crate::agents) async fn ask_in_haste<T, F, A>(
        &self,
        what: &str,
        call: F,
    ) -> Result<Option<T>, AgentError>
    where
        F: Fn(RpcClient) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        self.ask_for(what, true, call).await
    }

    async fn ask_for<T, F, A>(&self, what: &str, in_haste: bool, call: F) -> Result<Option<T>, AgentError>
    where
        F: Fn(RpcClient) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        let mut patience = Patience::new(self, what);
        loop {
            let node = self.rpc.pinned();
            let trouble = match self.is_current(&node).await {
                Ok(is_current) if is_current || (in_haste && patience.are_all_behind()) => {
                    match call(node.clone()).await.map_err(RpcError::from) {
                        Ok(answer) => return Ok(Some(answer)),
                        Err(RpcError::Call(CallError::NotFound(_))) => match self.is_current_now(&node).await
                        {
                            Ok(true) => return Ok(None),
                            Ok(false) => Trouble::Behind,
                            Err(error) => error.into(),
                        },
                        Err(error @ RpcError::Call(CallError::InvalidInput(_))) => return Err(error.into()),
                        Err(error) => error.into(),
                    }
                }
                Ok(_) => Trouble::Behind,
                Err(error) => error.into(),
            };
            patience.failed(&node, trouble).await;
        }
    }

    /// As [`Nodes::ask`], for what every chain has.
    pub(in crate::agents) async fn need<T, F, A>(&self, what: &str, call: F) -> Result<T, AgentError>
    where
        F: Fn(RpcClient) -> A,
        A: Future<Output = Result<T, ClientError>>,
    {
        let answer = self.ask(what, call).await?;
        answer.ok_or_else(|| RpcError::Unreadable(format!("no answer to: {what}")).into())
    }

    /// All entries of a list, page by page, from one node.
    pub(in crate::agents) async fn all<T, K, F, A>(&self, what: &str, page: F) -> Result<Vec<T>, AgentError>
    where
        K: Copy,
        F: Fn(RpcClient, Option<K>) -> A,
        A: Future<Output = Result<Page<T, K>, ClientError>>,
    {
        let page = &page;
        let pages = |node: RpcClient| async move {
            let (mut items, mut after) = (Vec::new(), None);
            loop {
                let found = page(node.clone(), after).await?;
                items.extend(found.items);
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
            // What a list lacks is not there: see `ask`.
            match self.is_current_now(&node).await {
                Ok(true) => Ok(items),
                Ok(false) => Err(ClientError::Custom("it misses blocks that are known".to_owned())),
                Err(error) => Err(ClientError::Custom(error.to_string())),
            }
        };
        self.need(what, pages).await
    }

    /// An account, if there is one.
    pub(in crate::agents) async fn account(&self, key: PublicKey) -> Result<Option<Account>, AgentError> {
        let found = self.ask("ask for an account", |rpc| async move { rpc.account(key).await }).await?;
        Ok(found.map(|info| info.account))
    }

    /// What an `Open` names and what pays for its request, while the chain holds money in it.
    pub(in crate::agents) async fn paying(
        &self,
        open: &Open,
        request: &Request,
    ) -> Result<Option<OnChain>, AgentError> {
        if open.kind != PaymentKind::Single {
            return self.payment(open.kind, open.payment).await;
        }
        let locks = self.locks(open.opening.consumer, open.opening.producer).await?;
        Ok(OnChain::of_locks(open, request, &locks))
    }

    /// Whether the chain still holds money for a session.
    pub(in crate::agents) async fn is_held(&self, terms: &Terms) -> Result<bool, AgentError> {
        Ok(match terms.kind {
            PaymentKind::Single => !self.locks(terms.consumer, terms.producer).await?.is_empty(),
            kind => self.payment(kind, terms.payment).await?.is_some(),
        })
    }

    /// The single locks that are open from one key to another, by their names.
    pub(in crate::agents) async fn locks(
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
    pub(in crate::agents) async fn payment(
        &self,
        kind: PaymentKind,
        name: TxRef,
    ) -> Result<Option<OnChain>, AgentError> {
        Ok(match kind {
            PaymentKind::Channel => self
                .ask_in_haste("ask for the channel", |rpc| async move { rpc.channel(name).await })
                .await?
                .map(|found| OnChain::Channel(found.value)),
            PaymentKind::Hashes | PaymentKind::Chain => self
                .ask_in_haste("ask for the payment", |rpc| async move { rpc.payment(name).await })
                .await?
                .map(|found| OnChain::Installments(found.value)),
            PaymentKind::Single => None,
        })
    }

    /// Brings a signed transaction to the chain: sends it, to one node after the other and again,
    /// until it is final or a rule speaks against it.
    pub(in crate::agents) async fn bring(
        &self,
        phase: Phase,
        signed: &SignedTransaction,
    ) -> Result<Brought, AgentError> {
        let action = signed.transaction.action.kind();
        let (bytes, submitted) = (signed.to_bytes(), clock::now());
        let encoded = hex::encode(&bytes);
        let what = format!("send the {action}");
        let mut patience = Patience::new(self, &what);
        let finality = loop {
            let node = self.rpc.pinned();
            let is_current = match self.is_current(&node).await {
                Ok(is_current) => is_current,
                Err(error) => {
                    patience.failed(&node, error.into()).await;
                    continue;
                }
            };
            // One that is behind gets it all the same, and passes it on.
            let wait_ms = if is_current { WAIT_MS } else { WAIT_BEHIND_MS };
            let sent = node.submit_and_wait(encoded.clone(), wait_ms).await.map_err(RpcError::from);
            let trouble = match sent {
                Ok(finality) => break finality,
                Err(RpcError::Call(CallError::Rejected { .. })) if !is_current => Trouble::Behind,
                Err(RpcError::Call(CallError::Rejected { reason, message })) => {
                    if !self.is_current_now(&node).await.unwrap_or(false) {
                        patience.failed(&node, Trouble::Behind).await;
                        continue;
                    }
                    if let Some(finality) = self.find(signed).await? {
                        break finality;
                    }
                    if self.is_stale(signed).await? {
                        return Ok(Brought::Stale);
                    }
                    return Err(AgentError::Rejected { action, reason, message });
                }
                Err(RpcError::Call(CallError::InvalidInput(message))) => {
                    let reason = "invalid_input".to_owned();
                    return Err(AgentError::Rejected { action, reason, message });
                }
                Err(error) => error.into(),
            };
            patience.failed(&node, trouble).await;
        };
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
        Ok(Brought::Final(Box::new(finality), report))
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

    /// Whether the node that this view is pinned to misses no block that is known of. Asks it only where
    /// it has not said so before.
    async fn is_current(&self, node: &RpcClient) -> Result<bool, RpcError> {
        let newest = self.newest.load(Ordering::Relaxed);
        let Some(reached) = self.heights.get(node.index()) else { return Ok(true) };
        if newest <= reached.load(Ordering::Relaxed) {
            return Ok(true);
        }
        self.is_current_now(node).await
    }

    /// The same, by what it says now: it may have lost its disk and begun anew since it was asked last. Before
    /// anything is believed not to be there.
    async fn is_current_now(&self, node: &RpcClient) -> Result<bool, RpcError> {
        let height = node.status().await?.height.get();
        if let Some(reached) = self.heights.get(node.index()) {
            reached.store(height, Ordering::Relaxed);
        }
        Ok(self.newest.load(Ordering::Relaxed) <= height)
    }
}

/// A key and its place on the chain: signs actions and brings them there, one after the other.
pub(in crate::agents) struct Signer {
    pub(in crate::agents) nodes: Nodes,
    pub(in crate::agents) key: KeyPair,
    /// Held from the choice of a nonce until the transaction is final: two transactions under way
    /// with one key could be lost both when the first is rejected after the second was taken.
    turn: tokio::sync::Mutex<()>,
}

impl Signer {
    pub(in crate::agents) fn new(nodes: Nodes, key: KeyPair) -> Self {
        Self { nodes, key, turn: tokio::sync::Mutex::default() }
    }

    pub(in crate::agents) fn address(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The action, signed with the account's own nonce. A transaction from before that still waits with
    /// this nonce (nobody else signs with the key) either becomes final, and this one stale, or is dropped,
    /// and leaves no gap for this one to wait behind.
    pub(in crate::agents) async fn sign(&self, action: Action) -> Result<SignedTransaction, AgentError> {
        let address = self.address();
        let info = self
            .nodes
            .ask_in_haste("ask for the own account", |rpc| async move { rpc.account(address).await })
            .await?;
        // Without account the ledger rejects whatever comes, and says what to do.
        let nonce = info.map_or(Nonce::ZERO, |info| info.account.nonce);
        Ok(Transaction { sender: address, nonce, action }.sign(&self.key, self.nodes.chain()))
    }

    /// Signs an action and brings it to the chain.
    pub(in crate::agents) async fn send(
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
pub(in crate::agents) fn nonces_taken(action: &Action) -> AgentError {
    AgentError::Rejected {
        action: action.kind(),
        reason: "nonce_too_low".to_owned(),
        message: "others send with the same key all the time: give each agent a key of its own".to_owned(),
    }
}

#[cfg(test)]
mod tests;
