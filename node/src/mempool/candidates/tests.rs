//! Goal: a leader tries settlements and decisions first, for their share of the block, and nothing twice (M12).
//! Method: batches made up by hand; the pool behind them has no more to give.

mod builds;

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::execute::Filled;
use evchain_protocol::primitives::Nonce;
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::{Action, Transaction, VerifiedTransaction};
use tokio::sync::{Notify, mpsc, watch};

use super::{Batch, Candidates};
use crate::chain::BlockLimits;
use crate::mempool::{MempoolHandle, MempoolStatus};

const CHAIN: ChainId = ChainId(Hash::ZERO);
const LIMITS: BlockLimits =
    BlockLimits { transactions: 16, bytes: 1024 * 1024, time: Duration::from_secs(1) };

fn transaction(sender: u8, nonce: u64) -> Arc<VerifiedTransaction> {
    let key = KeyPair::from_secret(&[sender; 32]);
    let action = Action::Commit(Commit { commitment: Hash::ZERO });
    let transaction = Transaction { sender: key.public_key(), nonce: Nonce::new(nonce), action };
    Arc::new(transaction.sign(&key, CHAIN).verify(CHAIN).expect("a valid signature"))
}

/// A handle to a pool that has ended.
fn gone() -> MempoolHandle {
    let (commands, _) = mpsc::channel(1);
    let (questions, _) = mpsc::channel(1);
    let (_, status) = watch::channel(MempoolStatus::default());
    MempoolHandle { chain: CHAIN, commands, questions, arrivals: Arc::new(Notify::new()), status }
}

/// What is tried, where every so many of those tried fit in.
fn tried(batch: Batch, one_in: usize) -> Vec<Arc<VerifiedTransaction>> {
    let mut candidates = Candidates::new(gone(), batch, LIMITS);
    let mut tried = Vec::new();
    loop {
        let transactions = tried.len() / one_in;
        if transactions == LIMITS.transactions {
            return tried;
        }
        match candidates.next(Filled { transactions, bytes: 0 }) {
            Some(candidate) => tried.push(candidate),
            None => return tried,
        }
    }
}

#[test]
fn shares_come_first_and_nothing_twice() {
    let free: Vec<_> = (0..5).map(|nonce| transaction(1, nonce)).collect();
    let settlements: Vec<_> = (0..20).map(|nonce| transaction(2, nonce)).collect();
    let others: Vec<_> = (0..20).map(|nonce| transaction(3, nonce)).collect();
    let rest: Vec<_> = [&others[..], &settlements, &free].concat();
    let batch =
        || Batch { free: free.clone(), settlements: settlements.clone(), rest: rest.clone(), last: None };
    // An eighth and half of 16, then by rank.
    let expected = [&free[..2], &settlements[..8], &others[..6]].concat();
    assert_eq!(tried(batch(), 1), expected);
    // What does not fit in costs no place: twice as many are tried.
    let expected = [&free[..4], &settlements[..16], &others[..12]].concat();
    assert_eq!(tried(batch(), 2), expected);
    // Everything, once, where nothing fits in.
    let all = tried(batch(), 1_000);
    assert_eq!(all.len(), rest.len());
    assert_eq!(all[5..25], settlements[..]);
}

#[test]
fn shares_end_when_half_of_the_time_is_over() {
    let settlements: Vec<_> = (0..5).map(|nonce| transaction(2, nonce)).collect();
    let rest = vec![transaction(3, 0), settlements[0].clone(), settlements[1].clone()];
    let batch = Batch { settlements: settlements.clone(), rest: rest.clone(), ..Batch::default() };
    let mut candidates = Candidates::new(gone(), batch, LIMITS);
    assert_eq!(candidates.next(Filled::default()), Some(settlements[0].clone()));
    candidates.end_shares();
    assert_eq!(candidates.next(Filled::default()), Some(rest[0].clone()));
    assert_eq!(candidates.next(Filled::default()), Some(settlements[1].clone()), "not the first again");
}

#[test]
fn a_pool_that_has_ended_gives_no_more() {
    let pool = crate::mempool::Rank { turn: 1, price: std::cmp::Reverse(0), arrival: 1 };
    let one = transaction(1, 0);
    let batch = Batch { rest: vec![one.clone()], last: Some(pool), ..Batch::default() };
    assert_eq!(tried(batch, 1), [one]);
    assert!(Candidates::new(gone(), Batch::default(), LIMITS).is_empty());
}
