//! Who gets in, and who has to leave for it.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Amount, Nonce};
use evchain_protocol::transaction::{MAX_TRANSACTION_BYTES, VerifiedTransaction};

use super::{Pool, Terms};
use crate::mempool::contest::{Contest, Merit, NoSeat, SEATS};
use crate::mempool::lane::{Lane, Rank};
use crate::mempool::limits::{MAX_FREE_BYTES, MAX_SENDER_GAP_BYTES, PoolError};
use crate::mempool::sender::{Place, Sender, Waiting};

/// The most transactions that one pushes out, not counting their successors: so many are longer together than the
/// longest.
const MAX_VICTIMS: usize = 512;

/// Why there is no room for one that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Its lane is full of what is not worse.
    Lane,
    /// Enough wait to do the same.
    Contest,
}

impl Pool {
    /// Whether a transaction could be added. One whose nonce the account has passed is the caller's to refuse.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn admits(&self, transaction: &VerifiedTransaction, terms: &Terms) -> Result<(), PoolError> {
        let nonce = transaction.nonce();
        if self.by_id.contains_key(&transaction.id()) {
            return Err(PoolError::Known);
        }
        let max = self.limits.max_per_sender;
        // The last nonce of all has none after it, and no account gets past it (G3).
        if nonce.saturating_sub(terms.next).get() >= max as u64 || nonce == Nonce::MAX {
            return Err(PoolError::NonceTooFar { given: nonce, next: terms.next, max });
        }
        let lane = Lane::of(transaction.action(), terms.is_free);
        let nobody = Sender::default();
        let sender = self.senders.get(transaction.sender()).unwrap_or(&nobody);
        let old = sender.waiting.get(&nonce);
        if old.is_some_and(|old| !old.may_be_replaced_by(lane, terms.fee)) {
            return Err(PoolError::NonceTaken(nonce));
        }
        self.sender_admits(sender, old, transaction.encoded_len(), terms)?;
        let is_ready = old.map_or(nonce <= sender.end.max(terms.next), Waiting::is_ready);
        if !is_ready {
            let old_len = old.map_or(0, Waiting::len);
            let waiting = sender.gap_bytes.saturating_sub(old_len);
            let max = MAX_SENDER_GAP_BYTES;
            let fits = waiting.saturating_add(transaction.encoded_len()) <= max;
            return if fits { Ok(()) } else { Err(PoolError::SenderFull { waiting, max }) };
        }
        let contest = Contest::of(transaction.action(), lane);
        let no_room = |reason| match reason {
            NoRoom::Lane => PoolError::Full(self.rooms.get(lane).load.transactions),
            NoRoom::Contest => PoolError::Contested(SEATS),
        };
        let Some(old) = old else {
            let rank = self.rank(sender.next_turn(terms.height.get()), terms.fee, transaction);
            let room = self.room_for(transaction.sender(), lane, contest, transaction.encoded_len(), rank);
            return room.map(|_| ()).map_err(no_room);
        };
        if let Place::Ready(rank) = old.place
            && old.contest().map(|(contest, _)| contest) != contest.map(|(contest, _)| contest)
        {
            let rank = self.rank(rank.turn, terms.fee, transaction);
            self.loser(transaction.sender(), contest, rank).map_err(no_room)?;
        }
        // In its lane nobody else has to go for a second thought.
        let room = self.rooms.get(lane);
        let load = if old.lane == lane { room.load.without(old.len()) } else { room.load };
        let fits = load.with(transaction.encoded_len()).is_within(room.limit);
        if fits { Ok(()) } else { Err(no_room(NoRoom::Lane)) }
    }

    /// M3 and M4: what a sender may have waiting, with this instead of `old`.
    fn sender_admits(
        &self,
        sender: &Sender,
        old: Option<&Waiting>,
        len: usize,
        terms: &Terms,
    ) -> Result<(), PoolError> {
        let (old_len, old_cost) = old.map_or((0, Amount::ZERO), |old| (old.len(), old.cost));
        let waiting = sender.bytes.saturating_sub(old_len);
        let max = self.limits.max_sender_bytes.max(MAX_TRANSACTION_BYTES);
        if waiting.saturating_add(len) > max {
            return Err(PoolError::SenderFull { waiting, max });
        }
        if terms.is_free && !sender.free.with(len).is_within(self.limits.free_share()) {
            return Err(PoolError::SenderFull { waiting: sender.free.bytes, max: MAX_FREE_BYTES });
        }
        let cost = terms.fee.saturating_add(terms.outlay);
        let needed = sender.owed.saturating_sub(old_cost).saturating_add(cost);
        if cost > Amount::ZERO && needed > terms.balance {
            return Err(PoolError::NotCovered { balance: terms.balance, needed });
        }
        Ok(())
    }

    /// Which have to leave so that one of this sender, lane, contest, length and rank has room: the worst of its
    /// contest if that is full (M18), and the worst of its lane.
    ///
    /// # Errors
    /// Where too many would have to, or one that is not worse (M6), or as in [`Self::loser`].
    pub(super) fn room_for(
        &self,
        sender: &PublicKey,
        lane: Lane,
        contest: Option<(Contest, Merit)>,
        len: usize,
        rank: Rank,
    ) -> Result<Vec<Rank>, NoRoom> {
        let mut victims: Vec<Rank> = self.loser(sender, contest, rank)?.into_iter().collect();
        let room = self.rooms.get(lane);
        let len_of = |rank| self.order.get(rank).map_or(0, |transaction| transaction.encoded_len());
        // Whoever contends is of one lane.
        let mut load = victims.iter().fold(room.load.with(len), |load, loser| load.without(len_of(loser)));
        let mut worst = room.ranks.iter().rev().filter(|rank| !victims.contains(rank)).take(MAX_VICTIMS);
        let mut others = Vec::new();
        while !load.is_within(room.limit) {
            let victim = worst.next().filter(|victim| **victim > rank).ok_or(NoRoom::Lane)?;
            load = load.without(len_of(victim));
            others.push(*victim);
        }
        victims.extend(others);
        Ok(victims)
    }

    /// Who has to leave so that one of this sender has a seat in its contest, if it contends and all are taken (M18).
    ///
    /// # Errors
    /// Where nobody is worse, or the worst is its sender's own, which it may come after.
    pub(super) fn loser(
        &self,
        sender: &PublicKey,
        contest: Option<(Contest, Merit)>,
        rank: Rank,
    ) -> Result<Option<Rank>, NoRoom> {
        let Some((contest, merit)) = contest else { return Ok(None) };
        let loser = self.contests.seat(contest, merit, rank).map_err(|NoSeat| NoRoom::Contest)?;
        let is_own = |loser| self.order.get(&loser).is_some_and(|loser| loser.sender() == sender);
        if loser.is_some_and(is_own) { Err(NoRoom::Contest) } else { Ok(loser) }
    }
}
