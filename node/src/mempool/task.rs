use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Amount, Height, Nonce, Span};
use evchain_protocol::state::account::{Account, Roles, Standing};
use evchain_protocol::transaction::{Action, RejectReason, VerifiedTransaction};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tracing::{debug, error, warn};

use super::candidates::BATCH;
use super::contest::Contest;
use super::handle::{Accepted, Command, MempoolHandle, MempoolStatus, Outcome, SubmitError};
use super::limits::{PoolError, PoolLimits};
use super::pool::{Change, Pool, Ready, Terms};
use super::repeats::Repeats;
use super::suspects::Suspects;
use crate::chain::{ChainError, ChainReader, CheckError, FinalBlock, Judge};
use crate::clock;
use crate::network::NetworkHandle;

/// Commands that wait for the task; above, their senders are held back.
const COMMANDS: usize = 1_024;
/// The same for what blocks wait for.
const QUESTIONS: usize = 64;
/// Callers that wait for an outcome, in all.
const MAX_WATCHERS: usize = 50_000;
/// How often some of what has been waiting is checked again (M10).
const RECHECK_EVERY: Duration = Duration::from_millis(500);
/// The senders that are looked at then.
const RECHECKED: usize = 256;
/// Suspects that are looked at between two commands.
const LOOKED_AT: usize = 8;
/// What has waited less is not checked again: most transactions are final sooner.
const RECHECK_AFTER: Span = Span::new(1_000);
/// What has waited this long is forgotten; its sender may send it again.
const FORGET_AFTER: Span = Span::new(600_000);
/// What has waited this long behind a gap is forgotten (M7).
const FORGET_GAP_AFTER: Span = Span::new(60_000);

/// The task that owns the pool.
pub struct Mempool {
    pool: Pool,
    repeats: Repeats,
    chain: ChainReader,
    judge: Judge,
    suspects: Suspects,
    /// The last sender that was looked at again.
    rechecked: Option<PublicKey>,
    network: NetworkHandle,
    watchers: BTreeMap<Hash, Vec<oneshot::Sender<Outcome>>>,
    watching: usize,
    refused: u64,
    commands: mpsc::Receiver<Command>,
    questions: mpsc::Receiver<Command>,
    arrivals: Arc<Notify>,
    status: watch::Sender<MempoolStatus>,
}

/// An empty mempool, to be run as a task, and who talks to it.
pub fn new(chain: ChainReader, network: NetworkHandle, limits: PoolLimits) -> (MempoolHandle, Mempool) {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let (asker, questions) = mpsc::channel(QUESTIONS);
    let (status, status_receiver) = watch::channel(MempoolStatus::default());
    let arrivals = Arc::new(Notify::new());
    let handle = MempoolHandle {
        chain: chain.chain(),
        commands: sender,
        questions: asker,
        arrivals: Arc::clone(&arrivals),
        status: status_receiver,
    };
    let mempool = Mempool {
        pool: Pool::new(limits),
        repeats: Repeats::default(),
        judge: Judge::new(chain.clone()),
        suspects: Suspects::default(),
        rechecked: None,
        chain,
        network,
        watchers: BTreeMap::new(),
        watching: 0,
        refused: 0,
        commands,
        questions,
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
                        self.judge.move_on();
                        for sender in self.pool.senders_after(None, usize::MAX) {
                            self.follow(&sender);
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(question) = self.questions.recv() => self.take_command(question),
                // Before the commands, which a flood never lets end.
                _ = recheck.tick() => {
                    self.recheck();
                    self.forget_absent_watchers();
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.take_command(command),
                    None => return,
                },
                // With nothing else to do, on to the next suspects.
                () = std::future::ready(()), if !self.suspects.is_empty() => {}
            }
            for sender in self.suspects.take(LOOKED_AT) {
                self.follow(&sender);
            }
            self.status.send_replace(MempoolStatus { refused: self.refused, ..self.pool.status() });
        }
    }

    fn take_command(&mut self, command: Command) {
        // A caller that no longer waits for its reply has no need of it.
        match command {
            Command::Submit { transaction, is_own, reply } => {
                let outcome = self.submit(transaction, is_own);
                self.refused += u64::from(outcome.is_err());
                let _ = reply.send(outcome);
            }
            Command::Watch { id, at_once, reply } => self.watch(id, at_once, reply),
            Command::Candidates { after, reply } => {
                let _ = reply.send(self.pool.batch(after, BATCH));
            }
            Command::Suspect { senders } => self.suspects.add(senders),
            Command::Lookup { ids, reply } => {
                let _ = reply.send(ids.iter().map(|id| self.pool.get(id).cloned()).collect());
            }
            Command::NextNonce { account, reply } => {
                let waiting = self.pool.next_nonce(&account);
                let nonce = match self.judge.account(&account) {
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

    fn submit(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        is_own: bool,
    ) -> Result<Accepted, SubmitError> {
        let id = transaction.id();
        if self.pool.get(&id).is_some() {
            return Err(PoolError::Known.into());
        }
        let failed = |error| SubmitError::Failed(ChainError::Store(error));
        if let Some(place) = self.chain.place_of(&id).map_err(failed)? {
            return Err(SubmitError::AlreadyFinal(place));
        }
        let terms = self.terms(&transaction)?;
        let admitted = self.pool.admits(&transaction, &terms);
        // M2. The ledger's own word on what is not covered says more than the pool's.
        let is_judged = transaction.nonce() <= terms.next || transaction.action().settles();
        if is_judged && matches!(admitted, Ok(()) | Err(PoolError::NotCovered { .. })) {
            match self.judge.check(&transaction) {
                Ok(()) => {}
                Err(CheckError::Rejected(reason)) => return Err(SubmitError::Rejected(reason)),
                Err(CheckError::Failed(error)) => return Err(SubmitError::Failed(error)),
            }
        }
        admitted?;
        let change = self.pool.insert(transaction, &terms, clock::now(), is_own)?;
        self.carry_out(change);
        Ok(if self.pool.ready(&id).is_some() { Accepted::Ready } else { Accepted::Waiting })
    }

    /// What the final state says of a transaction, if its sender may send one like it at all (M1).
    fn terms(&mut self, transaction: &VerifiedTransaction) -> Result<Terms, SubmitError> {
        let sender = *transaction.sender();
        let fee = self.judge.fee(transaction).map_err(SubmitError::Failed)?;
        if fee.is_some() && transaction.action().is_by_authority() {
            return Err(RejectReason::NotAuthority { sender }.into());
        }
        let account = match self.judge.account(&sender).map_err(SubmitError::Failed)? {
            Some(account) => account,
            None if fee.is_some() => return Err(RejectReason::NoAccount { sender }.into()),
            None => Account::new(Amount::ZERO, Standing::Admitted(Roles::NONE)),
        };
        if account.standing.is_revoked() && fee.is_some() && !transaction.action().settles() {
            return Err(RejectReason::Revoked { sender }.into());
        }
        let outlay = match transaction.action() {
            Action::Transfer(transfer) => transfer.amount,
            Action::CreateLock(lock) => lock.amount,
            // What the others take is in the state only, and returns late or not at all.
            _ => Amount::ZERO,
        };
        Ok(Terms {
            next: account.nonce,
            balance: account.balance,
            fee: fee.unwrap_or(Amount::ZERO),
            outlay,
            is_free: fee.is_none(),
            height: self.chain.tip().height,
        })
    }

    /// Tells those concerned what a change of the pool did.
    fn carry_out(&mut self, change: Change) {
        for transaction in change.left {
            self.tell(&transaction.id(), &Outcome::Forgotten);
        }
        if !change.ready.is_empty() {
            self.arrivals.notify_waiters();
        }
        let height = self.chain.tip().height;
        for Ready { transaction, .. } in change.ready.into_iter().filter(|ready| ready.is_own) {
            self.publish(&transaction);
            self.repeats.add(transaction.id(), height);
        }
    }

    fn publish(&self, transaction: &VerifiedTransaction) {
        if let Err(error) = self.network.publish_transaction(transaction.signed().to_bytes()) {
            warn!(%error, "mempool: a transaction was not passed on; it will be tried again");
        }
    }

    /// Passes on again what has missed several blocks: there may have been no peers, or none that led since.
    fn repeat(&mut self, height: Height) {
        let pool = &self.pool;
        for id in self.repeats.due(height, |id| pool.ready(id).is_some()) {
            if let Some(transaction) = self.pool.ready(&id) {
                self.publish(transaction);
            }
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
        self.judge.move_on();
        for transaction in &block.transactions {
            self.tell(&transaction.id, &Outcome::Final(transaction.place));
        }
        let mut senders: BTreeSet<PublicKey> =
            block.transactions.iter().map(|transaction| transaction.sender).collect();
        let ended = block.events.iter().filter_map(|record| Contest::ended_by(&record.event));
        senders.extend(ended.flat_map(|contest| self.pool.contenders(contest)));
        for sender in senders {
            self.follow(&sender);
        }
        self.repeat(block.header.height);
    }

    /// Lets leave what the final state leaves no hope for (M9).
    fn follow(&mut self, sender: &PublicKey) {
        if !self.pool.has(sender) {
            return;
        }
        let account = match self.judge.account(sender) {
            Ok(account) => account,
            Err(error) => return error!(%error, "mempool: an account could not be read"),
        };
        // An authority's first transaction makes its account (G7).
        let (next, balance) =
            account.map_or((Nonce::ZERO, Amount::ZERO), |account| (account.nonce, account.balance));
        let mut change = self.pool.advance(sender, next, self.chain.tip().height);
        for overtaken in std::mem::take(&mut change.left) {
            self.tell_overtaken(&overtaken, next);
        }
        self.carry_out(change);
        let left = self.pool.cut_uncovered(sender, balance);
        self.carry_out(Change { left, ..Change::default() });
        self.check_head(sender);
    }

    fn check_head(&mut self, sender: &PublicKey) {
        let Some((head, _)) = self.pool.head(sender) else { return };
        let head = Arc::clone(head);
        let reason = match self.judge.check(&head) {
            Ok(()) => return,
            Err(CheckError::Rejected(reason)) => reason,
            Err(CheckError::Failed(error)) => {
                return error!(%error, "mempool: a transaction could not be checked");
            }
        };
        let id = head.id();
        debug!(%id, %reason, "mempool: a waiting transaction became invalid");
        let left = self.pool.cut(sender, head.nonce());
        match reason {
            // The state is ahead of the blocks that were told of.
            RejectReason::NonceTooLow { expected, .. } => self.tell_overtaken(&head, expected),
            reason => self.tell(&id, &Outcome::Dropped(reason)),
        }
        self.carry_out(Change { left, ..Change::default() });
    }

    /// Tells what became of a transaction whose nonce is used up: it did it itself, or another.
    fn tell_overtaken(&mut self, transaction: &VerifiedTransaction, expected: Nonce) {
        let id = transaction.id();
        if !self.watchers.contains_key(&id) {
            return;
        }
        let given = transaction.nonce();
        match self.chain.place_of(&id) {
            Ok(Some(place)) => self.tell(&id, &Outcome::Final(place)),
            Ok(None) => self.tell(&id, &Outcome::Dropped(RejectReason::NonceTooLow { expected, given })),
            Err(error) => {
                error!(%error, "mempool: the index of transactions could not be read");
                self.tell(&id, &Outcome::Forgotten);
            }
        }
    }

    /// Looks at some senders again, by turns, since deadlines pass and balances change (M10).
    fn recheck(&mut self) {
        let now = clock::now();
        for transaction in self.pool.expire_gaps(now.before(FORGET_GAP_AFTER)) {
            self.tell(&transaction.id(), &Outcome::Forgotten);
        }
        let senders = self.pool.senders_after(self.rechecked, RECHECKED);
        // After the last one the first has its turn again.
        self.rechecked = senders.last().copied().filter(|_| senders.len() == RECHECKED);
        for sender in senders {
            let Some((head, arrived)) = self.pool.head(&sender) else { continue };
            let waited = now.since(arrived);
            if waited >= FORGET_AFTER {
                let nonce = head.nonce();
                let left = self.pool.cut(&sender, nonce);
                self.carry_out(Change { left, ..Change::default() });
            } else if waited >= RECHECK_AFTER {
                self.follow(&sender);
            }
        }
    }

    fn tell(&mut self, id: &Hash, outcome: &Outcome) {
        for watcher in self.watchers.remove(id).unwrap_or_default() {
            self.watching -= 1;
            let _ = watcher.send(outcome.clone());
        }
    }
}
