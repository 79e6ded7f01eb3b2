//! Goal: posts that are sent together share a block, and one that fails holds up no other.
//! Method: a pool and a ledger that take one key's transactions by their nonces, as a node does: what breaks a
//! rule leaves its nonce unused, and what was sent once stays in the pool until it is invalid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use evchain_protocol::primitives::Nonce;
use tokio::sync::oneshot;

use super::{Came, bring_all};

const FIRST: u64 = 7;
const PATIENCE: usize = 1_000;

type Outcome = Came<(), &'static str>;

/// A node, and the transactions of one key that wait there.
struct Chain {
    next: u64,
    waiting: BTreeMap<u64, (usize, oneshot::Sender<Outcome>)>,
    /// The ledger never takes these.
    bad: BTreeSet<usize>,
    finals: Vec<usize>,
    /// Blocks with something in them.
    blocks: usize,
}

impl Chain {
    fn send(&mut self, index: usize, nonce: Nonce) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        if nonce.get() < self.next {
            let _ = sender.send(Came::Stale);
        } else {
            let before = self.waiting.insert(nonce.get(), (index, sender));
            assert!(before.is_none(), "two transactions with one nonce");
        }
        receiver
    }

    /// Takes what follows, until a nonce is missing. Who sent it may be gone.
    fn block(&mut self) {
        let before = self.finals.len();
        while let Some((index, sender)) = self.waiting.remove(&self.next) {
            if self.bad.contains(&index) || self.finals.contains(&index) {
                let _ = sender.send(Came::Failed("a rule"));
                break;
            }
            self.finals.push(index);
            self.next += 1;
            let _ = sender.send(Came::Final(()));
        }
        self.blocks += usize::from(self.finals.len() > before);
    }
}

/// Brings so many transactions to a chain that has come to nonce `next`.
async fn run(count: usize, next: u64, bad: BTreeSet<usize>) -> (Vec<Outcome>, Chain) {
    let (waiting, finals) = (BTreeMap::new(), Vec::new());
    let chain = Arc::new(Mutex::new(Chain { next, waiting, bad, finals, blocks: 0 }));
    let node = Arc::clone(&chain);
    let bringing = tokio::spawn(bring_all(count, Nonce::new(FIRST), move |index, nonce| {
        let came = node.lock().unwrap().send(index, nonce);
        async move { came.await.unwrap_or(Came::Stale) }
    }));
    let mut rounds = 0;
    while !bringing.is_finished() {
        assert!(rounds < PATIENCE, "a gap that nothing fills");
        rounds += 1;
        for _ in 0..PATIENCE {
            tokio::task::yield_now().await;
        }
        chain.lock().unwrap().block();
    }
    let came = bringing.await.unwrap();
    (came, Arc::into_inner(chain).unwrap().into_inner().unwrap())
}

#[tokio::test]
async fn what_is_sent_together_is_in_one_block_and_in_order() {
    for count in [0, 1, 2, 32] {
        let (came, chain) = run(count, FIRST, BTreeSet::new()).await;
        assert!(came.iter().all(|came| matches!(came, Came::Final(()))) && came.len() == count);
        assert_eq!(chain.finals, (0..count).collect::<Vec<_>>());
        assert_eq!(chain.blocks, usize::from(count > 0));
    }
}

#[tokio::test]
async fn one_that_fails_holds_up_no_other() {
    const COUNT: usize = 6;
    for choice in 0..1_u32 << COUNT {
        let bad: BTreeSet<usize> = (0..COUNT).filter(|index| choice >> index & 1 == 1).collect();
        let (came, chain) = run(COUNT, FIRST, bad.clone()).await;
        for (index, came) in came.iter().enumerate() {
            match came {
                Came::Final(()) => assert!(!bad.contains(&index), "{bad:?}"),
                Came::Failed(_) => assert!(bad.contains(&index), "{index} of {bad:?}"),
                Came::Stale => panic!("nobody else sends: {index} of {bad:?}"),
            }
        }
        let finals: BTreeSet<usize> = chain.finals.iter().copied().collect();
        assert_eq!((finals.len(), chain.finals.len()), (COUNT - bad.len(), COUNT - bad.len()), "once each");
    }
}

#[tokio::test]
async fn nonces_that_others_used_are_told() {
    let (came, chain) = run(3, FIRST + 1, BTreeSet::new()).await;
    assert!(matches!(came[..], [Came::Stale, Came::Final(()), Came::Final(())]), "{came:?}");
    assert_eq!(chain.finals, [1, 2]);
}
