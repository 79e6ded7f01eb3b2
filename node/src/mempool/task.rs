use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Nonce, Span, Timestamp};
use evchain_protocol::transaction::{RejectReason, VerifiedTransaction};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tracing::{debug, error, warn};

use super::handle::{Command, MempoolHandle, MempoolStatus, Outcome, SubmitError};
use super::pool::{Pool, PoolLimits};
use crate::chain::{ChainError, ChainReader, CheckError, FinalBlock};
use crate::clock;
use crate::network::NetworkHandle;

/// Commands that wait for the task; above, their senders are held back.
const COMMANDS: usize = 1_024;
/// Callers that wait for an outcome, in all.
const MAX_WATCHERS: usize = 50_000;
/// How often what has been waiting is checked again.
const RECHECK_EVERY: Duration = Duration::from_millis(500);
/// What has waited less is not checked again: most transactions are final sooner.
const RECHECK_AFTER: Span = Span::new(1_000);
/// Clients' transactions that are passed on again at a time.
const MAX_REPEATED: usize = 256;
/// What has waited this long is forgotten; its sender may send it again.
const FORGET_AFTER: Span = Span::new(600_000);

/// The task that owns the pool.
pub struct Mempool {
    pool: Pool,
    /// Those of this node's clients, to be passed on until they are final.
    own: BTreeMap<Hash, Arc<VerifiedTransaction>>,
    chain: ChainReader,
    network: NetworkHandle,
    watchers: BTreeMap<Hash, Vec<oneshot::Sender<Outcome>>>,
    watching: usize,
    commands: mpsc::Receiver<Command>,
    arrivals: Arc<Notify>,
    status: watch::Sender<MempoolStatus>,
}

/// An empty mempool, to be run as a task, and who talks to it.
pub fn new(chain: ChainReader, network: NetworkHandle, limits: PoolLimits) -> (MempoolHandle, Mempool) {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let (status, status_receiver) = watch::channel(MempoolStatus::default());
    let arrivals = Arc::new(Notify::new());
    let handle = MempoolHandle {
        chain: chain.chain(),
        commands: sender,
        arrivals: Arc::clone(&arrivals),
        status: status_receiver,
    };
    let mempool = Mempool {
        pool: Pool::new(limits),
        own: BTreeMap::new(),
        chain,
        network,
        watchers: BTreeMap::new(),
        watching: 0,
        commands,
        arrivals,
        status,
    };
    (handle, mempool)
}

impl Mempool {
    /// Runs until the last handle is gone.
    pub async fn run(mut self) {
        let mut finals = self.chain.subscribe();
        let mut recheck = tokio::time::interval(RECHECK_EVERY);
        recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                block = finals.recv() => match block {
                    Ok(block) => self.take_final(&block),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        warn!(missed, "mempool: fell behind the final blocks, checks everything again");
                        self.recheck(Span::ZERO);
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.take_command(command),
                    None => return,
                },
                _ = recheck.tick() => {
                    self.recheck(RECHECK_AFTER);
                    self.repeat_own();
                    self.forget_absent_watchers();
                }
            }
            self.status
                .send_replace(MempoolStatus { transactions: self.pool.count(), bytes: self.pool.bytes() });
        }
    }

    fn take_command(&mut self, command: Command) {
        // A caller that no longer waits for its reply has no need of it.
        match command {
            Command::Submit { transaction, gossip, reply } => {
                let _ = reply.send(self.submit(transaction, gossip));
            }
            Command::Watch { id, at_once, reply } => self.watch(id, at_once, reply),
            Command::Candidates { limits, reply } => {
                let _ = reply.send(self.pool.candidates(limits.transactions, limits.bytes));
            }
            Command::Lookup { ids, reply } => {
                let _ = reply.send(ids.iter().map(|id| self.pool.get(id).cloned()).collect());
            }
            Command::NextNonce { account, reply } => {
                let waiting = self.pool.next_nonce(&account);
                let nonce = match self.chain.state().account(&account) {
                    Ok(Some(account)) => Some(waiting.map_or(account.nonce, |next| next.max(account.nonce))),
                    // An authority's first transaction makes its account (G7).
                    Ok(None) => waiting,
                    Err(error) => {
                        error!(%error, "mempool: an account could not be read");
                        None
                    }
                };
                let _ = reply.send(nonce);
            }
        }
    }

    fn submit(&mut self, transaction: Arc<VerifiedTransaction>, gossip: bool) -> Result<(), SubmitError> {
        let failed = |error| SubmitError::Failed(ChainError::Store(error));
        if let Some(place) = self.chain.place_of(&transaction.id()).map_err(failed)? {
            return Err(SubmitError::AlreadyFinal(place));
        }
        let account = self.chain.state().account(transaction.sender()).map_err(failed)?;
        let next = account.map_or(Nonce::ZERO, |account| account.nonce);
        self.pool.admits(&transaction, next)?;
        // A later nonce can only be judged once those before it are final.
        if transaction.nonce() <= next {
            match self.chain.check(&transaction) {
                Ok(()) => {}
                Err(CheckError::Rejected(reason)) => return Err(SubmitError::Rejected(reason)),
                Err(CheckError::Failed(error)) => return Err(SubmitError::Failed(error)),
            }
        }
        self.pool.insert(Arc::clone(&transaction), next, clock::now())?;
        self.arrivals.notify_waiters();
        if gossip {
            self.publish(&transaction);
            self.own.insert(transaction.id(), transaction);
        }
        Ok(())
    }

    fn publish(&self, transaction: &VerifiedTransaction) {
        if let Err(error) = self.network.publish_transaction(transaction.signed().to_bytes()) {
            warn!(%error, "mempool: a transaction was not passed on; it will be tried again");
        }
    }

    /// Passes clients' transactions on again: there may have been no peers, or none that led since.
    fn repeat_own(&mut self) {
        self.own.retain(|id, _| self.pool.get(id).is_some());
        for transaction in self.own.values().take(MAX_REPEATED) {
            self.publish(transaction);
        }
    }

    fn watch(&mut self, id: Hash, at_once: bool, reply: oneshot::Sender<Outcome>) {
        let now = match self.chain.place_of(&id) {
            Ok(Some(place)) => Outcome::Final(place),
            Ok(None) if self.pool.get(&id).is_none() => Outcome::Forgotten,
            Ok(None) if at_once || !self.has_room_to_watch() => Outcome::Waiting,
            Ok(None) => {
                self.watching += 1;
                self.watchers.entry(id).or_default().push(reply);
                return;
            }
            Err(error) => {
                error!(%error, "mempool: the index of transactions could not be read");
                Outcome::Failed(error.to_string())
            }
        };
        // A caller that has left has no need of it.
        let _ = reply.send(now);
    }

    fn has_room_to_watch(&mut self) -> bool {
        if self.watching >= MAX_WATCHERS {
            self.forget_absent_watchers();
        }
        self.watching < MAX_WATCHERS
    }

    /// Gives the places of callers that no longer wait to others.
    fn forget_absent_watchers(&mut self) {
        self.watchers.retain(|_, watchers| {
            watchers.retain(|watcher| !watcher.is_closed());
            !watchers.is_empty()
        });
        self.watching = self.watchers.values().map(Vec::len).sum();
    }

    fn take_final(&mut self, block: &FinalBlock) {
        let mut senders: BTreeMap<PublicKey, Nonce> = BTreeMap::new();
        for transaction in &block.transactions {
            self.pool.remove(&transaction.id);
            self.tell(&transaction.id, &Outcome::Final(transaction.place));
            senders.insert(transaction.sender, transaction.nonce.saturating_add(Nonce::new(1)));
        }
        for (sender, next) in senders {
            for overtaken in self.pool.remove_below(&sender, next) {
                self.drop_if_invalid(&overtaken);
            }
        }
    }

    /// Checks each sender's first transaction, since deadlines pass and balances change.
    fn recheck(&mut self, waited: Span) {
        let now = clock::now();
        let old: Vec<_> = self
            .pool
            .heads()
            .filter(|(_, arrived)| now.since(*arrived) >= waited)
            .map(|(transaction, arrived)| (Arc::clone(transaction), arrived))
            .collect();
        for (transaction, arrived) in old {
            self.recheck_one(&transaction, arrived, now);
        }
    }

    fn recheck_one(&mut self, transaction: &Arc<VerifiedTransaction>, arrived: Timestamp, now: Timestamp) {
        if now.since(arrived) >= FORGET_AFTER {
            self.pool.remove(&transaction.id());
            self.tell(&transaction.id(), &Outcome::Forgotten);
            return;
        }
        self.drop_if_invalid(transaction);
    }

    fn drop_if_invalid(&mut self, transaction: &VerifiedTransaction) {
        let id = transaction.id();
        match self.chain.check(transaction) {
            // A gap before it may still be filled.
            Ok(()) | Err(CheckError::Rejected(RejectReason::NonceTooHigh { .. })) => {}
            Err(CheckError::Rejected(reason)) => {
                debug!(%id, %reason, "mempool: a waiting transaction became invalid");
                self.pool.remove(&id);
                self.tell(&id, &Outcome::Dropped(reason));
            }
            Err(CheckError::Failed(error)) => error!(%error, "mempool: a transaction could not be checked"),
        }
    }

    fn tell(&mut self, id: &Hash, outcome: &Outcome) {
        for watcher in self.watchers.remove(id).unwrap_or_default() {
            self.watching -= 1;
            let _ = watcher.send(outcome.clone());
        }
    }
}
