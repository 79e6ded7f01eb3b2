//! Goal: a leader's block is bounded by time, takes no candidate that stands below it already, and is not built
//! once nobody wants it (M13 to M15).
//! Method: a real ledger's thread, asked to build on a chain of one authority that nobody runs; the pools behind
//! the candidates are played by the test, which so holds the thread up where it likes.

use std::sync::Arc;
use std::time::Duration;

use evchain_consensus::block::{Block, BlockRef};
use evchain_consensus::output::BuildRequest;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, KeyPair};
use evchain_protocol::finality::{Justification, ParentProof};
use evchain_protocol::genesis::{Genesis, GenesisAccount};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Nonce, Span, Timestamp, View};
use evchain_protocol::state::account::Roles;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, Transaction, VerifiedTransaction};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::chain::{BlockLimits, BuildOrder, Built, ChainError, ChainHandle, OpenedChain};
use crate::mempool::handle::Command;
use crate::mempool::{Batch, Candidates, MempoolHandle, MempoolStatus, Rank};

const PATIENCE: Duration = Duration::from_mins(1);
const LIMITS: BlockLimits = BlockLimits { transactions: 100, bytes: 1024 * 1024, time: PATIENCE };
const RANK: Rank = Rank { turn: 1, price: std::cmp::Reverse(0), arrival: 1 };

/// A ledger that nobody else uses.
struct Ledger {
    chain: ChainHandle,
    id: ChainId,
    tip: BlockRef,
    authority_root: evchain_protocol::crypto::Hash,
    _folder: TempDir,
}

/// A pool that the test plays.
struct Played {
    handle: MempoolHandle,
    asked: mpsc::Receiver<Command>,
}

impl Played {
    fn new(chain: ChainId) -> Self {
        let (commands, _) = mpsc::channel(1);
        let (sender, asked) = mpsc::channel(8);
        let (_, status) = watch::channel(MempoolStatus::default());
        let handle =
            MempoolHandle { chain, commands, questions: sender, arrivals: Arc::new(Notify::new()), status };
        Self { handle, asked }
    }

    /// These candidates, of which this pool says that it has more.
    fn more_of(&self, rest: Vec<Arc<VerifiedTransaction>>) -> Candidates {
        let batch = Batch { rest, last: Some(RANK), ..Batch::default() };
        Candidates::new(self.handle.clone(), batch, LIMITS)
    }

    /// Where the ledger's thread waits for an answer, once it asks for more.
    async fn asked(&mut self) -> oneshot::Sender<Batch> {
        match timeout(PATIENCE, self.asked.recv()).await {
            Ok(Some(Command::Candidates { reply, .. })) => reply,
            other => panic!("not a question for candidates: {other:?}"),
        }
    }
}

fn payer() -> KeyPair {
    KeyPair::from_secret(&[1; 32])
}

fn authority() -> KeyPair {
    KeyPair::from_secret(&[2; 32])
}

impl Ledger {
    fn open() -> Self {
        let account =
            GenesisAccount { key: payer().public_key(), balance: Amount::new(1_000), roles: Roles::CONSUMER };
        let genesis = Genesis {
            name: "test".to_owned().try_into().expect("a name"),
            time: Timestamp::new(1),
            treasury: authority().public_key(),
            authorities: List::new(vec![authority().public_key()]).expect("one"),
            params: Params { state_tree_depth: 4, ..Params::default() },
            accounts: List::new(vec![account]).expect("one"),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let opened = OpenedChain::open(folder.path(), genesis, Vec::new()).expect("a new chain");
        let id = opened.reader.chain();
        let (tip, authority_root) = (opened.tip, opened.authorities.root());
        let chain = opened.start(Played::new(id).handle).handle;
        Self { chain, id, tip, authority_root, _folder: folder }
    }

    fn pay(&self, nonce: u64) -> Arc<VerifiedTransaction> {
        self.pay_units(nonce, 1)
    }

    fn pay_units(&self, nonce: u64, units: u64) -> Arc<VerifiedTransaction> {
        let action = Action::Transfer(Transfer { to: authority().public_key(), amount: Amount::new(units) });
        let transaction = Transaction { sender: payer().public_key(), nonce: Nonce::new(nonce), action };
        Arc::new(transaction.sign(&payer(), self.id).verify(self.id).expect("a valid signature"))
    }

    fn all_of(&self, rest: Vec<Arc<VerifiedTransaction>>) -> Candidates {
        let batch = Batch { rest, ..Batch::default() };
        Candidates::new(Played::new(self.id).handle, batch, LIMITS)
    }

    fn order(&self, parent: BlockRef, candidates: Candidates) -> BuildOrder {
        let request = BuildRequest {
            chain: self.id,
            epoch: evchain_protocol::primitives::Epoch::ZERO,
            view: View::new(parent.view.get() + 1),
            height: parent.height.next().expect("a height"),
            parent,
            just: Justification { parent: ParentProof::Root, skips: List::default() },
            proposer: authority().public_key(),
            authority_root: self.authority_root,
            idle: Span::ZERO,
        };
        let time = Timestamp::new(parent.time_ms.get() + 1);
        BuildOrder { request, time, limits: LIMITS, candidates, or_empty: false }
    }

    /// Builds in a task of its own.
    fn start(&self, order: BuildOrder) -> tokio::task::JoinHandle<Result<Option<Built>, ChainError>> {
        let chain = self.chain.clone();
        tokio::spawn(async move { chain.build(order).await })
    }

    async fn build(&self, order: BuildOrder) -> Option<(Arc<Block>, usize)> {
        let built = timeout(PATIENCE, self.chain.build(order)).await.expect("the thread is free");
        built.expect("the ledger works").map(|built| (built.block, built.transactions))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_bounds_what_is_tried_and_never_to_nothing() {
    let ledger = Ledger::open();
    let candidates = || ledger.all_of((0..20).map(|nonce| ledger.pay(nonce)).collect());
    let mut order = ledger.order(ledger.tip, candidates());
    order.limits.time = Duration::ZERO;
    let (_, packed) = ledger.build(order).await.expect("a block");
    assert_eq!(packed, 1, "whoever has no time makes a short block, and goes on");
    let (block, packed) = ledger.build(ledger.order(ledger.tip, candidates())).await.expect("a block");
    assert_eq!(packed, 20);

    // What stands in the parent, which is not final, is not tried again.
    let mut order = ledger.order(block.reference(), candidates());
    order.limits.time = Duration::ZERO;
    assert!(ledger.build(order).await.is_none(), "nothing is left, and empty it was not to be");
    let with_new = ledger.all_of((0..21).map(|nonce| ledger.pay(nonce)).collect());
    let mut order = ledger.order(block.reference(), with_new);
    order.limits.time = Duration::ZERO;
    assert_eq!(
        ledger.build(order).await.map(|(_, packed)| packed),
        Some(1),
        "the one new is the first tried"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_share_comes_first_only_while_half_of_the_time_is_left() {
    let ledger = Ledger::open();
    let (shared, other) = (ledger.pay_units(0, 1), ledger.pay_units(0, 2));
    // Both have one nonce, so that the first tried is the only one in the block.
    let first_in = async |time| {
        let (settlements, rest) = (vec![Arc::clone(&shared)], vec![Arc::clone(&other), Arc::clone(&shared)]);
        let batch = Batch { settlements, rest, ..Batch::default() };
        let candidates = Candidates::new(Played::new(ledger.id).handle, batch, LIMITS);
        let mut order = ledger.order(ledger.tip, candidates);
        order.limits.time = time;
        ledger.build(order).await.expect("a block").0.header().tx_root
    };
    let alone = async |one: &Arc<VerifiedTransaction>| {
        let order = ledger.order(ledger.tip, ledger.all_of(vec![Arc::clone(one)]));
        ledger.build(order).await.expect("a block").0.header().tx_root
    };
    assert_eq!(first_in(PATIENCE).await, alone(&shared).await);
    assert_eq!(first_in(Duration::ZERO).await, alone(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_stand_in_the_block_costs_no_place() {
    let ledger = Ledger::open();
    let mut pool = Played::new(ledger.id);
    // More than a block's worth of what is behind a gap, then what the pool has beyond its first page.
    let junk = (10..150).map(|nonce| ledger.pay(nonce)).collect();
    let building = ledger.start(ledger.order(ledger.tip, pool.more_of(junk)));
    let good = (0..3).map(|nonce| ledger.pay(nonce)).collect();
    pool.asked().await.send(Batch { rest: good, ..Batch::default() }).expect("the thread waits");
    let built = timeout(PATIENCE, building).await.expect("in time").expect("no panic").expect("it works");
    assert_eq!(built.expect("a block").transactions, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_is_told_of_what_was_tried_in_vain() {
    let ledger = Ledger::open();
    let mut pool = Played::new(ledger.id);
    let overdrawn = ledger.pay_units(0, 2_000);
    let candidates = || Batch { rest: vec![ledger.pay(0), Arc::clone(&overdrawn)], ..Batch::default() };
    let order = ledger.order(ledger.tip, Candidates::new(pool.handle.clone(), candidates(), LIMITS));
    assert_eq!(ledger.build(order).await.map(|(_, packed)| packed), Some(1));
    match timeout(PATIENCE, pool.asked.recv()).await {
        Ok(Some(Command::Suspect { senders })) => assert_eq!(senders, [payer().public_key()]),
        other => panic!("not told: {other:?}"),
    }
    let order = ledger.order(
        ledger.tip,
        Candidates::new(pool.handle.clone(), Batch { rest: vec![ledger.pay(0)], ..Batch::default() }, LIMITS),
    );
    assert!(ledger.build(order).await.is_some());
    assert!(pool.asked.try_recv().is_err(), "nothing was tried in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_block_is_not_built() {
    let ledger = Ledger::open();
    let (mut first, mut second, mut third) =
        (Played::new(ledger.id), Played::new(ledger.id), Played::new(ledger.id));
    // The first holds up the thread; the second waits behind it, and is given up there.
    let holding = ledger.start(ledger.order(ledger.tip, first.more_of(Vec::new())));
    let held = first.asked().await;
    let waiting = ledger.start(ledger.order(ledger.tip, second.more_of(Vec::new())));
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.expect_err("it was given up").is_cancelled());
    drop(held);
    assert!(holding.await.expect("no panic").expect("it works").is_none());

    // The third is given up while it is under way: it asks for no more.
    let started = ledger.start(ledger.order(ledger.tip, third.more_of(Vec::new())));
    let held = third.asked().await;
    started.abort();
    assert!(started.await.expect_err("it was given up").is_cancelled());
    held.send(Batch { rest: vec![ledger.pay(0)], last: Some(RANK), ..Batch::default() }).expect("it waits");

    let (_, packed) =
        ledger.build(ledger.order(ledger.tip, ledger.all_of(vec![ledger.pay(0)]))).await.expect("a block");
    assert_eq!(packed, 1, "the thread is free again");
    assert!(second.asked.try_recv().is_err(), "nobody was asked for the block that was given up");
    assert!(third.asked.try_recv().is_err(), "nor a second time for the other");
}
