use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use evchain_protocol::crypto::{Hash, PublicKey};
use evchain_protocol::primitives::{Amount, Height, Nonce, Timestamp};
use evchain_protocol::transaction::{MAX_TRANSACTION_BYTES, VerifiedTransaction};

use super::candidates::Batch;
use super::contest::{Contest, Contests};
use super::handle::MempoolStatus;
use super::lane::{Lane, Load, Rank, Rooms, price_of};
use super::limits::{PoolError, PoolLimits};
use super::sender::{Place, Sender, Waiting};

/// Transactions that wait for a block, by the rules M3 to M8 and M18 of `docs/mempool.md`. It knows of the chain what
/// its caller tells it. Each call takes a time that grows with the logarithm of what waits.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    senders: BTreeMap<PublicKey, Sender>,
    /// Those that are ready.
    order: BTreeMap<Rank, Arc<VerifiedTransaction>>,
    rooms: Rooms,
    /// Those that wait behind a gap, by how many came before them.
    gaps: BTreeMap<u64, (PublicKey, Nonce)>,
    gap_load: Load,
    contests: Contests,
    by_id: BTreeMap<Hash, (PublicKey, Nonce)>,
    arrivals: u64,
}

/// What the final state says of a transaction that comes.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The next nonce of its sender's account.
    pub next: Nonce,
    /// The account's balance.
    pub balance: Amount,
    /// The transaction's fee.
    pub fee: Amount,
    /// The amount of a transfer or of a lock (M3).
    pub outlay: Amount,
    /// An authority sent it, and pays no fee for it (G7).
    pub is_free: bool,
    /// The height of the newest final block.
    pub height: Height,
}

/// What a change of the pool did.
#[derive(Debug, Default)]
pub struct Change {
    /// What can be in a block from now on.
    pub ready: Vec<Ready>,
    /// What waits no longer.
    pub left: Vec<Arc<VerifiedTransaction>>,
}

/// A transaction that can be in a block from now on.
#[derive(Debug)]
pub struct Ready {
    /// The transaction.
    pub transaction: Arc<VerifiedTransaction>,
    /// A client of this node sent it.
    pub is_own: bool,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            senders: BTreeMap::new(),
            order: BTreeMap::new(),
            rooms: Rooms::new(&limits),
            gaps: BTreeMap::new(),
            gap_load: Load::default(),
            contests: Contests::default(),
            by_id: BTreeMap::new(),
            arrivals: 0,
        }
    }

    /// How much waits.
    pub fn status(&self) -> MempoolStatus {
        let rooms = [Lane::Settlement, Lane::Free, Lane::Other].map(|lane| self.rooms.get(lane));
        let ready_bytes: usize = rooms.iter().map(|room| room.load.bytes).sum();
        let others = self.rooms.get(Lane::Other);
        MempoolStatus {
            transactions: self.by_id.len(),
            bytes: ready_bytes.saturating_add(self.gap_load.bytes),
            ready: self.order.len(),
            gaps: self.gap_load.transactions,
            is_full: !others.load.with(MAX_TRANSACTION_BYTES).is_within(others.limit),
            // The task counts them.
            refused: 0,
        }
    }

    /// The transaction with this id, whether it is ready or waits behind a gap.
    pub fn get(&self, id: &Hash) -> Option<&Arc<VerifiedTransaction>> {
        self.waiting(id).map(|waiting| &waiting.transaction)
    }

    /// The transaction with this id, if it is ready for a block.
    pub fn ready(&self, id: &Hash) -> Option<&Arc<VerifiedTransaction>> {
        self.waiting(id).filter(|waiting| waiting.is_ready()).map(|waiting| &waiting.transaction)
    }

    /// Adds a transaction that the pool admits.
    ///
    /// # Errors
    /// As [`Self::admits`].
    pub fn insert(
        &mut self,
        transaction: Arc<VerifiedTransaction>,
        terms: &Terms,
        now: Timestamp,
        is_own: bool,
    ) -> Result<Change, PoolError> {
        self.admits(&transaction, terms)?;
        let (key, nonce) = (*transaction.sender(), transaction.nonce());
        let mut change = Change::default();
        self.arrivals = self.arrivals.saturating_add(1);
        let mut waiting = Waiting {
            lane: Lane::of(transaction.action(), terms.is_free),
            fee: terms.fee,
            cost: terms.fee.saturating_add(terms.outlay),
            arrived: now,
            is_own,
            place: Place::Gap(self.arrivals),
            transaction,
        };
        let sender = self.senders.entry(key).or_default();
        sender.end = sender.end.max(terms.next);
        if let Some(old) = self.take(&key, nonce) {
            if let Place::Ready(rank) = old.place {
                let rank = self.rank(rank.turn, waiting.fee, &waiting.transaction);
                if let Ok(Some(loser)) = self.loser(&key, waiting.contest(), rank) {
                    self.evict(&[loser], &mut change);
                }
                waiting.place = Place::Ready(rank);
                let transaction = Arc::clone(&waiting.transaction);
                change.ready.push(Ready { transaction, is_own });
            }
            change.left.push(old.transaction);
        }
        self.put(key, nonce, waiting);
        self.close_gaps(&key, terms.height, &mut change);
        self.bound_gaps(&mut change);
        self.tidy(&key);
        Ok(change)
    }

    /// Follows a sender's account: what is below its next nonce leaves, and the gap may be closed.
    pub fn advance(&mut self, key: &PublicKey, next: Nonce, height: Height) -> Change {
        let mut change = Change::default();
        let Some(sender) = self.senders.get_mut(key) else { return change };
        sender.end = sender.end.max(next);
        let below: Vec<Nonce> = sender.waiting.range(..next).map(|(nonce, _)| *nonce).collect();
        let gone = below.into_iter().filter_map(|nonce| self.take(key, nonce));
        change.left = gone.map(|waiting| waiting.transaction).collect();
        self.close_gaps(key, height, &mut change);
        self.tidy(key);
        change
    }

    /// Removes a sender's ready transactions from this nonce on. What waits behind a gap goes on waiting.
    pub fn cut(&mut self, key: &PublicKey, from: Nonce) -> Vec<Arc<VerifiedTransaction>> {
        let Some(sender) = self.senders.get_mut(key).filter(|sender| from < sender.end) else {
            return Vec::new();
        };
        let nonces: Vec<Nonce> = sender.waiting.range(from..sender.end).map(|(nonce, _)| *nonce).collect();
        sender.end = from;
        let gone = nonces.into_iter().filter_map(|nonce| self.take(key, nonce));
        let left = gone.map(|waiting| waiting.transaction).collect();
        self.tidy(key);
        left
    }

    /// Removes what a sender's balance does not cover any more, from the first such on (M9).
    pub fn cut_uncovered(&mut self, key: &PublicKey, balance: Amount) -> Vec<Arc<VerifiedTransaction>> {
        let first = self.senders.get(key).and_then(|sender| sender.first_uncovered(balance));
        let Some(first) = first else { return Vec::new() };
        let mut left = self.cut(key, first);
        let behind: Vec<Nonce> = self
            .senders
            .get(key)
            .map(|sender| sender.waiting.range(first..).map(|(nonce, _)| *nonce).collect())
            .unwrap_or_default();
        left.extend(
            behind.into_iter().filter_map(|nonce| self.take(key, nonce)).map(|waiting| waiting.transaction),
        );
        self.tidy(key);
        left
    }

    /// Removes what has waited behind a gap since before this moment.
    pub fn expire_gaps(&mut self, before: Timestamp) -> Vec<Arc<VerifiedTransaction>> {
        let mut left = Vec::new();
        while let Some((_, (key, nonce))) = self.gaps.first_key_value() {
            let (key, nonce) = (*key, *nonce);
            let arrived = self.senders.get(&key).and_then(|sender| sender.waiting.get(&nonce));
            if arrived.is_some_and(|waiting| waiting.arrived >= before) {
                break;
            }
            left.extend(self.take(&key, nonce).map(|waiting| waiting.transaction));
            self.tidy(&key);
        }
        left
    }

    /// Whether anything of this sender waits.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.senders.contains_key(key)
    }

    /// A sender's first transaction, if it is ready, and when it arrived.
    pub fn head(&self, key: &PublicKey) -> Option<(&Arc<VerifiedTransaction>, Timestamp)> {
        let head = self.senders.get(key)?.head()?;
        Some((&head.transaction, head.arrived))
    }

    /// The senders of what contends for something (M18).
    pub(super) fn contenders(&self, contest: Contest) -> Vec<PublicKey> {
        let found = self.contests.of(contest).filter_map(|rank| self.order.get(&rank));
        found.map(|transaction| *transaction.sender()).collect()
    }

    /// The senders after this one, so many of them, in the order of their keys.
    pub fn senders_after(&self, key: Option<PublicKey>, count: usize) -> Vec<PublicKey> {
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.senders.range((start, Bound::Unbounded)).take(count).map(|(key, _)| *key).collect()
    }

    /// The nonce after a sender's last ready transaction.
    pub fn next_nonce(&self, key: &PublicKey) -> Option<Nonce> {
        let sender = self.senders.get(key)?;
        sender.head().map(|_| sender.end)
    }

    /// The candidates of ranks above this one, at most so many of each part (M12). The lanes with a share
    /// of each block come with the first of them.
    pub fn batch(&self, after: Option<Rank>, count: usize) -> Batch {
        let leading = |lane| {
            let ranks = self.rooms.get(lane).ranks.iter().take(if after.is_none() { count } else { 0 });
            let found = ranks.filter_map(|rank| self.order.get(rank));
            found.filter(|transaction| self.leads(transaction)).map(Arc::clone).collect()
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut next = self.order.range((start, Bound::Unbounded));
        let mut last = None;
        let mut rest = Vec::new();
        while rest.len() < count {
            let found = next.next();
            last = found.map(|(rank, _)| *rank);
            let Some((_, transaction)) = found else { break };
            rest.push(Arc::clone(transaction));
        }
        Batch { free: leading(Lane::Free), settlements: leading(Lane::Settlement), rest, last }
    }

    /// Whether all that its sender has before a transaction is in lanes with a share of the block.
    fn leads(&self, transaction: &VerifiedTransaction) -> bool {
        let Some(sender) = self.senders.get(transaction.sender()) else { return false };
        let mut before = sender.waiting.range(..transaction.nonce());
        before.all(|(_, waiting)| waiting.lane != Lane::Other)
    }

    fn waiting(&self, id: &Hash) -> Option<&Waiting> {
        let (key, nonce) = self.by_id.get(id)?;
        self.senders.get(key)?.waiting.get(nonce)
    }

    fn rank(&self, turn: u64, fee: Amount, transaction: &VerifiedTransaction) -> Rank {
        Rank { turn, price: price_of(fee, transaction.encoded_len()), arrival: self.arrivals }
    }

    /// Makes ready what follows a sender's ready ones without a gap.
    fn close_gaps(&mut self, key: &PublicKey, height: Height, change: &mut Change) {
        loop {
            let Some(sender) = self.senders.get(key) else { return };
            let nonce = sender.end;
            let Some(next) = sender.waiting.get(&nonce).filter(|next| !next.is_ready()) else { return };
            let arrival = match next.place {
                Place::Ready(rank) => rank.arrival,
                Place::Gap(arrival) => arrival,
            };
            let turn = sender.next_turn(height.get());
            let rank = Rank { turn, price: price_of(next.fee, next.len()), arrival };
            let victims = self.room_for(key, next.lane, next.contest(), next.len(), rank);
            let Some(mut waiting) = self.take(key, nonce) else { return };
            let Ok(victims) = victims else {
                change.left.push(waiting.transaction);
                return;
            };
            self.evict(&victims, change);
            let transaction = Arc::clone(&waiting.transaction);
            change.ready.push(Ready { transaction, is_own: waiting.is_own });
            waiting.place = Place::Ready(rank);
            self.put(*key, nonce, waiting);
            if let Some(sender) = self.senders.get_mut(key) {
                sender.end = nonce.saturating_add(Nonce::new(1));
            }
        }
    }

    /// Removes these, and what follows each in its sender's order.
    fn evict(&mut self, victims: &[Rank], change: &mut Change) {
        for victim in victims {
            let Some(transaction) = self.order.get(victim) else { continue };
            let (key, nonce) = (*transaction.sender(), transaction.nonce());
            change.left.extend(self.cut(&key, nonce));
        }
    }

    /// Bounds what waits behind gaps: the oldest leave, since an honest gap closes soon (M7).
    fn bound_gaps(&mut self, change: &mut Change) {
        while !self.gap_load.is_within(self.limits.gaps()) {
            let Some((_, (key, nonce))) = self.gaps.first_key_value() else { return };
            let (key, nonce) = (*key, *nonce);
            change.left.extend(self.take(&key, nonce).map(|waiting| waiting.transaction));
            self.tidy(&key);
        }
    }

    fn put(&mut self, key: PublicKey, nonce: Nonce, waiting: Waiting) {
        let len = waiting.len();
        self.by_id.insert(waiting.transaction.id(), (key, nonce));
        let sender = self.senders.entry(key).or_default();
        sender.owed = sender.owed.saturating_add(waiting.cost);
        sender.bytes = sender.bytes.saturating_add(len);
        if waiting.lane == Lane::Free {
            sender.free = sender.free.with(len);
        }
        match waiting.place {
            Place::Ready(rank) => {
                let room = self.rooms.get_mut(waiting.lane);
                room.load = room.load.with(len);
                room.ranks.insert(rank);
                self.contests.put(&waiting, rank);
                self.order.insert(rank, Arc::clone(&waiting.transaction));
            }
            Place::Gap(arrival) => {
                sender.gap_bytes = sender.gap_bytes.saturating_add(len);
                self.gap_load = self.gap_load.with(len);
                self.gaps.insert(arrival, (key, nonce));
            }
        }
        sender.waiting.insert(nonce, waiting);
    }

    /// Undoes [`Self::put`]. The sender stays, see [`Self::tidy`].
    fn take(&mut self, key: &PublicKey, nonce: Nonce) -> Option<Waiting> {
        let sender = self.senders.get_mut(key)?;
        let waiting = sender.waiting.remove(&nonce)?;
        let len = waiting.len();
        sender.owed = sender.owed.saturating_sub(waiting.cost);
        sender.bytes = sender.bytes.saturating_sub(len);
        if waiting.lane == Lane::Free {
            sender.free = sender.free.without(len);
        }
        self.by_id.remove(&waiting.transaction.id());
        match waiting.place {
            Place::Ready(rank) => {
                let room = self.rooms.get_mut(waiting.lane);
                room.load = room.load.without(len);
                room.ranks.remove(&rank);
                self.contests.take(&waiting, rank);
                self.order.remove(&rank);
            }
            Place::Gap(arrival) => {
                sender.gap_bytes = sender.gap_bytes.saturating_sub(len);
                self.gap_load = self.gap_load.without(len);
                self.gaps.remove(&arrival);
            }
        }
        Some(waiting)
    }

    /// Forgets a sender that has nothing waiting.
    fn tidy(&mut self, key: &PublicKey) {
        if self.senders.get(key).is_some_and(|sender| sender.waiting.is_empty()) {
            self.senders.remove(key);
        }
    }
}

mod admission;
#[cfg(test)]
mod tests;
