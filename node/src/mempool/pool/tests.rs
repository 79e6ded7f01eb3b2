//! Goal: whoever has little money cannot keep others out of the pool or out of blocks (rules M3 to M8 and M12
//! of `docs/mempool.md`).
//! Method: the pool alone, told what a final state would say; after each step all its counts and indexes are
//! made up anew and compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, Preimage, PublicKey, Signature};
use evchain_protocol::primitives::{Amount, Height, Nonce, Timestamp, TxRef};
use evchain_protocol::state::channel::{ChannelState, CoSignedState};
use evchain_protocol::transaction::claim::{Claim, ClaimHashes, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::{Action, Transaction, VerifiedTransaction};

use super::{Change, Pool, Terms};
use crate::mempool::contest::{Contest, SEATS};
use crate::mempool::lane::{Lane, Load};
use crate::mempool::limits::{PoolError, PoolLimits};
use crate::mempool::sender::Place;

const CHAIN: ChainId = ChainId(Hash::ZERO);
const RICH: Amount = Amount::new(1_000_000);
/// The live attacks had EUR 0.0001.
const POOR: Amount = Amount::new(1);
const FEE: u64 = 1;

fn key(number: u16) -> KeyPair {
    let mut secret = [9; 32];
    secret[..2].copy_from_slice(&number.to_le_bytes());
    KeyPair::from_secret(&secret)
}

fn sign(sender: &KeyPair, nonce: u64, action: Action) -> Arc<VerifiedTransaction> {
    let transaction = Transaction { sender: sender.public_key(), nonce: Nonce::new(nonce), action };
    Arc::new(transaction.sign(sender, CHAIN).verify(CHAIN).expect("a valid signature"))
}

/// A short one that settles nothing. Different `seed`s make different ones.
fn small(sender: &KeyPair, nonce: u64, seed: u8) -> Arc<VerifiedTransaction> {
    sign(sender, nonce, Action::Commit(Commit { commitment: Hash::from_bytes([seed; 32]) }))
}

/// A settlement with so many secrets: 1,000 have 37 kB.
fn claim(sender: &KeyPair, nonce: u64, secrets: u32) -> Arc<VerifiedTransaction> {
    let secret = |index| IndexedPreimage { index, preimage: Preimage::from_bytes([1; 32]) };
    let preimages = List::new((0..secrets).map(secret).collect()).expect("not too many");
    let payment = TxRef::new(Height::new(1), 1).expect("a name");
    sign(sender, nonce, Action::Claim(Claim::Hashes(ClaimHashes { payment, preimages })))
}

/// A state of this channel, which the pool takes to be co-signed.
fn post(sender: &KeyPair, nonce: u64, channel: u32, released: u32) -> Arc<VerifiedTransaction> {
    let state = ChannelState { channel: channel_name(channel), released, closing: false };
    let signature = Signature::from_bytes([0; 64]);
    let state = CoSignedState { state, consumer: signature, producer: signature };
    sign(sender, nonce, Action::PostState(PostState { state }))
}

fn channel_name(number: u32) -> TxRef {
    TxRef::new(Height::new(2), number).expect("a name")
}

/// A pool, and the height and the balances that the final state has.
struct Bench {
    pool: Pool,
    height: u64,
    limits: PoolLimits,
}

impl Bench {
    fn new(limits: PoolLimits) -> Self {
        Self { pool: Pool::new(limits), height: 10, limits }
    }

    fn terms(&self, balance: Amount, fee: u64) -> Terms {
        Terms {
            next: Nonce::ZERO,
            balance,
            fee: Amount::new(fee),
            outlay: Amount::ZERO,
            is_free: false,
            height: Height::new(self.height),
        }
    }

    fn insert(&mut self, transaction: &Arc<VerifiedTransaction>, terms: &Terms) -> Result<Change, PoolError> {
        let admitted = self.pool.admits(transaction, terms);
        let now = Timestamp::new(self.height);
        let change = self.pool.insert(Arc::clone(transaction), terms, now, true);
        assert_eq!(change.as_ref().err(), admitted.as_ref().err(), "what is admitted is taken");
        assert_sound(&self.pool, &self.limits);
        change
    }

    fn add(&mut self, transaction: &Arc<VerifiedTransaction>) -> Result<Change, PoolError> {
        self.insert(transaction, &self.terms(RICH, FEE))
    }

    fn candidates(&self) -> Vec<Arc<VerifiedTransaction>> {
        self.pool.batch(None, usize::MAX).rest
    }
}

/// Every count and index is what the waiting transactions make it, and every limit is kept.
fn assert_sound(pool: &Pool, limits: &PoolLimits) {
    let (mut ready, mut gaps, mut bytes) = (0, Load::default(), 0);
    let mut rooms = [Load::default(); 3];
    let mut contenders: BTreeMap<Contest, Vec<PublicKey>> = BTreeMap::new();
    for (key, sender) in &pool.senders {
        assert!(!sender.waiting.is_empty(), "an empty sender");
        let (mut owed, mut sender_bytes, mut gap_bytes) = (Amount::ZERO, 0, 0);
        let mut turn = None;
        for (nonce, waiting) in &sender.waiting {
            assert_eq!((waiting.transaction.sender(), waiting.transaction.nonce()), (key, *nonce));
            assert_eq!(pool.by_id.get(&waiting.transaction.id()), Some(&(*key, *nonce)));
            owed = owed.saturating_add(waiting.cost);
            sender_bytes += waiting.len();
            match waiting.place {
                Place::Ready(rank) => {
                    assert!(*nonce < sender.end && turn.is_none_or(|turn| turn < rank.turn), "in order");
                    turn = Some(rank.turn);
                    assert_eq!(pool.order.get(&rank).map(|tx| tx.id()), Some(waiting.transaction.id()));
                    assert!(pool.rooms.get(waiting.lane).ranks.contains(&rank));
                    if let Some((contest, _)) = waiting.contest() {
                        contenders.entry(contest).or_default().push(*key);
                    }
                    ready += 1;
                    let lane = [Lane::Settlement, Lane::Free, Lane::Other]
                        .iter()
                        .position(|lane| *lane == waiting.lane)
                        .expect("a lane");
                    rooms[lane] = rooms[lane].with(waiting.len());
                }
                Place::Gap(arrival) => {
                    assert!(*nonce > sender.end, "a gap that is closed");
                    assert_eq!(pool.gaps.get(&arrival), Some(&(*key, *nonce)));
                    gaps = gaps.with(waiting.len());
                    gap_bytes += waiting.len();
                }
            }
        }
        assert_eq!((sender.owed, sender.bytes, sender.gap_bytes), (owed, sender_bytes, gap_bytes));
        assert!(sender_bytes <= limits.max_sender_bytes && sender.waiting.len() <= limits.max_per_sender);
        bytes += sender_bytes;
    }
    assert_eq!((pool.order.len(), pool.gap_load, pool.gaps.len()), (ready, gaps, gaps.transactions));
    assert_eq!(pool.by_id.len(), ready + gaps.transactions);
    assert!(gaps.is_within(limits.gaps()));
    for (lane, load) in [Lane::Settlement, Lane::Free, Lane::Other].into_iter().zip(rooms) {
        let room = pool.rooms.get(lane);
        assert_eq!((room.load, room.ranks.len()), (load, load.transactions));
        assert!(load.is_within(limits.room(lane)), "{lane:?} has {load:?}");
    }
    for channel in 0..3 {
        let contest = Contest::Post(channel_name(channel));
        let mut seated = pool.contenders(contest);
        seated.sort_unstable();
        assert!(seated.len() <= SEATS, "{contest:?} has {seated:?}");
        assert_eq!(seated, contenders.remove(&contest).unwrap_or_default());
    }
    assert!(contenders.is_empty());
    let status = pool.status();
    assert_eq!((status.ready, status.gaps, status.bytes), (ready, gaps.transactions, bytes));
}

#[test]
fn gapped_claims_of_a_poor_sender_take_no_place() {
    let mut bench = Bench::new(PoolLimits::default());
    let (attacker, honest) = (key(1), key(2));
    let mut taken = 0;
    for nonce in 1..64 {
        // The pool is not asked to judge them: it has no chain.
        taken += usize::from(bench.insert(&claim(&attacker, nonce, 1_000), &bench.terms(POOR, FEE)).is_ok());
    }
    assert_eq!(taken, 1, "who can pay for one has one");
    // Nor with money: what waits behind a gap has little room.
    let rich = key(3);
    let mut taken = 0;
    for nonce in 1..64 {
        taken += usize::from(bench.add(&claim(&rich, nonce, 1_000)).is_ok());
    }
    assert_eq!(taken, 1, "one of the longest fits");
    let payment = small(&honest, 0, 0);
    bench.add(&payment).expect("an honest sender has room");
    assert_eq!(bench.candidates(), [payment]);
    assert_eq!((bench.pool.status().ready, bench.pool.status().gaps), (1, 2));
}

#[test]
fn gaps_of_many_senders_take_no_place() {
    let mut bench = Bench::new(PoolLimits { max_gaps: 1_000, ..PoolLimits::default() });
    let senders: Vec<KeyPair> = (0..70).map(key).collect();
    for sender in &senders {
        for nonce in 1..64 {
            bench.add(&small(sender, nonce, 0)).expect("the oldest gap leaves");
        }
    }
    assert_eq!(bench.pool.status().gaps, 1_000, "70 times 63 came");
    assert!(bench.candidates().is_empty(), "none of them is a candidate");
    let honest = key(100);
    let run: Vec<_> = (0..5).map(|nonce| small(&honest, nonce, 1)).collect();
    // Out of order, as gossip may bring them.
    for nonce in [3, 1, 4, 0, 2] {
        bench.add(&run[nonce]).expect("there is room");
    }
    assert_eq!(bench.candidates(), run);
}

#[test]
fn a_gap_that_closes_makes_ready_what_waited_behind_it() {
    let mut bench = Bench::new(PoolLimits::default());
    let sender = key(1);
    for nonce in [1, 2, 4] {
        assert!(bench.add(&small(&sender, nonce, 0)).expect("taken").ready.is_empty());
    }
    assert_eq!(bench.pool.next_nonce(&sender.public_key()), None);
    let ready = bench.add(&small(&sender, 0, 0)).expect("taken").ready;
    let nonces: Vec<u64> = ready.iter().map(|ready| ready.transaction.nonce().get()).collect();
    assert_eq!(nonces, [0, 1, 2]);
    assert!(ready.iter().all(|ready| ready.is_own), "they are passed on now");
    // The next one of a client that asks fills the gap.
    assert_eq!(bench.pool.next_nonce(&sender.public_key()), Some(Nonce::new(3)));
    // Blocks of others' may close it, too.
    let change = bench.pool.advance(&sender.public_key(), Nonce::new(4), Height::new(11));
    assert_eq!((change.left.len(), change.ready.len()), (3, 1));
    assert_sound(&bench.pool, &bench.limits);
    // Those that nobody closes leave with time.
    bench.add(&small(&sender, 9, 0)).expect("taken");
    assert!(bench.pool.expire_gaps(Timestamp::new(bench.height)).is_empty());
    assert_eq!(bench.pool.expire_gaps(Timestamp::new(bench.height + 1)).len(), 1);
    assert_sound(&bench.pool, &bench.limits);
}

#[test]
fn a_sender_can_pay_for_all_that_it_has_waiting() {
    let mut bench = Bench::new(PoolLimits::default());
    let sender = key(1);
    let with =
        |bench: &Bench, outlay| Terms { outlay: Amount::new(outlay), ..bench.terms(Amount::new(10), 2) };
    bench.insert(&small(&sender, 0, 0), &with(&bench, 3)).expect("5 of 10");
    bench.insert(&small(&sender, 5, 0), &with(&bench, 0)).expect("7 of 10, those behind a gap count too");
    let refused = bench.insert(&small(&sender, 1, 0), &with(&bench, 2));
    let (balance, needed) = (Amount::new(10), Amount::new(11));
    assert_eq!(refused.err(), Some(PoolError::NotCovered { balance, needed }));
    bench.insert(&small(&sender, 1, 0), &with(&bench, 1)).expect("10 of 10");
    // The balance falls, by something that the pool did not know of: the last ones leave.
    let left = bench.pool.cut_uncovered(&sender.public_key(), Amount::new(7));
    assert_eq!(left.iter().map(|tx| tx.nonce().get()).collect::<Vec<_>>(), [1, 5]);
    assert_sound(&bench.pool, &bench.limits);
    let whale = Terms { outlay: Amount::MAX, ..bench.terms(RICH, FEE) };
    let refused = bench.insert(&small(&key(2), 0, 0), &whale);
    assert!(matches!(refused, Err(PoolError::NotCovered { needed: Amount::MAX, .. })), "sums do not wrap");
}

#[test]
fn one_sender_has_a_limit_in_pieces_and_in_bytes() {
    let mut bench = Bench::new(PoolLimits::default());
    let sender = key(1);
    let taken = (0..64).filter(|nonce| bench.add(&claim(&sender, *nonce, 1_000)).is_ok()).count();
    assert_eq!(taken, 7, "256 KiB are 7 of the longest");
    let sender = key(2);
    for nonce in 0..64 {
        bench.add(&small(&sender, nonce, 0)).expect("64 short ones fit");
    }
    let far = bench.add(&small(&sender, 64, 0));
    assert!(matches!(far, Err(PoolError::NonceTooFar { .. })));
    for nonce in [u64::MAX - 1, u64::MAX] {
        assert!(matches!(bench.add(&small(&key(3), nonce, 0)), Err(PoolError::NonceTooFar { .. })));
        // No account gets there; if one did, the last nonce of all would be left out.
        let next = Terms { next: Nonce::new(nonce), ..bench.terms(RICH, FEE) };
        assert_eq!(bench.insert(&small(&key(3), nonce, 0), &next).is_ok(), nonce < u64::MAX);
    }
}

#[test]
fn when_it_is_full_the_worst_leave() {
    let limits = PoolLimits { max_transactions: 100, ..PoolLimits::default() };
    let mut bench = Bench::new(limits);
    let room = limits.room(Lane::Other).transactions;
    assert_eq!(room, 75);
    // Two senders fill the pool.
    for nonce in 0..64 {
        bench.add(&small(&key(1), nonce, 0)).expect("there is room");
    }
    for nonce in 0..11 {
        bench.add(&small(&key(2), nonce, 0)).expect("there is room");
    }
    assert!(bench.pool.status().is_full);
    // Whoever sends one comes before the 64th of another.
    let change = bench.add(&small(&key(3), 0, 0)).expect("the worst leaves");
    assert_eq!(change.left.iter().map(|tx| tx.nonce().get()).collect::<Vec<_>>(), [63]);
    assert_eq!(change.left[0].sender(), &key(1).public_key());
    // Neither comes its own sender's next, nor a newcomer's 12th before somebody's 11th.
    assert_eq!(bench.add(&small(&key(1), 63, 0)).err(), Some(PoolError::Full(room)));
    // In the end everybody has a place, as long as one is left for each.
    for sender in 4..76 {
        bench.add(&small(&key(sender), 0, 0)).unwrap_or_else(|_| panic!("sender {sender} has no place"));
    }
    assert_eq!(bench.pool.senders.len(), room);
    // Among equals the one that pays more for its room stays, then the older one.
    assert_eq!(bench.add(&small(&key(200), 0, 0)).err(), Some(PoolError::Full(room)));
    let better = bench.terms(RICH, FEE + 1);
    let change = bench.insert(&small(&key(200), 0, 0), &better).expect("it pays more");
    assert_eq!(change.left[0].sender(), &key(75).public_key(), "the youngest of the cheap");
    // Later ones are worse: what waits is not pushed out by what comes.
    bench.height += 1;
    let later = bench.terms(RICH, 100);
    assert_eq!(bench.insert(&small(&key(201), 0, 0), &later).err(), Some(PoolError::Full(room)));
}

#[test]
fn no_flood_takes_the_room_of_settlements_and_decisions() {
    let limits = PoolLimits { max_transactions: 40, ..PoolLimits::default() };
    let mut bench = Bench::new(limits);
    for sender in 0..100 {
        // Refused once it is full.
        let _ = bench.add(&small(&key(sender), 0, 0));
    }
    assert_eq!(bench.pool.status().ready, 30);
    let settlement = claim(&key(200), 0, 1);
    bench.add(&settlement).expect("settlements have room of their own");
    let free = Terms { is_free: true, ..bench.terms(Amount::ZERO, 0) };
    let decision = small(&key(201), 0, 0);
    bench.insert(&decision, &free).expect("so has what authorities send for nothing");
    // And the other way round.
    for sender in 300..400 {
        let _ = bench.add(&claim(&key(sender), 0, 1));
    }
    for nonce in 1..100 {
        let _ = bench.insert(&small(&key(201), nonce, 0), &free);
    }
    assert_eq!(bench.pool.status().ready, 40 + 64);
    let batch = bench.pool.batch(None, 1_000);
    assert_eq!((batch.settlements.len(), batch.free.len(), batch.rest.len()), (10, 64, 104));
    assert!(batch.settlements.contains(&settlement) && batch.free.contains(&decision));
}

#[test]
fn an_authority_has_little_for_nothing() {
    let mut bench = Bench::new(PoolLimits::default());
    let free = Terms { is_free: true, ..bench.terms(Amount::ZERO, 0) };
    let taken = (0..64).filter(|nonce| bench.insert(&claim(&key(1), *nonce, 1_000), &free).is_ok()).count();
    assert_eq!(taken, 3, "128 KiB of the longest");
}

#[test]
fn a_settlement_leads_only_if_nothing_else_of_its_sender_comes_before() {
    let mut bench = Bench::new(PoolLimits::default());
    bench.add(&small(&key(1), 0, 0)).expect("taken");
    bench.add(&claim(&key(1), 1, 1)).expect("taken");
    let leading = claim(&key(2), 0, 1);
    bench.add(&leading).expect("taken");
    assert_eq!(bench.pool.batch(None, 100).settlements, [leading]);
    bench.pool.advance(&key(1).public_key(), Nonce::new(1), Height::new(11));
    assert_eq!(bench.pool.batch(None, 100).settlements.len(), 2);
}

#[test]
fn a_nonce_is_taken_over_by_a_settlement_or_twice_the_fee() {
    let mut bench = Bench::new(PoolLimits::default());
    let sender = key(1);
    let fee = |bench: &Bench, fee| bench.terms(RICH, fee);
    for nonce in 0..3 {
        bench.insert(&small(&sender, nonce, 0), &fee(&bench, 100)).expect("taken");
    }
    let same = bench.insert(&small(&sender, 1, 1), &fee(&bench, 199));
    assert_eq!(same.err(), Some(PoolError::NonceTaken(Nonce::new(1))));
    let dearer = small(&sender, 1, 2);
    let change = bench.insert(&dearer, &fee(&bench, 200)).expect("twice the fee");
    assert_eq!((change.left.len(), change.ready.len()), (1, 1));
    let settlement = claim(&sender, 1, 1);
    let change = bench.insert(&settlement, &fee(&bench, 1)).expect("a settlement, whatever it pays");
    assert_eq!(change.left, [dearer]);
    assert_eq!(bench.candidates().len(), 3, "those behind it stay");
    // And not back.
    assert!(bench.insert(&small(&sender, 1, 3), &fee(&bench, 1_000)).is_err());
    // Behind a gap too.
    bench.insert(&small(&sender, 9, 0), &fee(&bench, 1)).expect("taken");
    bench.insert(&claim(&sender, 9, 1), &fee(&bench, 1)).expect("a settlement");
    assert_eq!(bench.pool.status().gaps, 1);
}

#[test]
fn replacing_for_ever_costs_what_it_floods() {
    let mut bench = Bench::new(PoolLimits::default());
    let sender = key(1);
    let (mut passed_on, mut last) = (0, 0);
    for fee in 0..10_000_u64 {
        let seed = u8::try_from(fee % 256).expect("a byte");
        if bench.insert(&small(&sender, 0, seed), &bench.terms(RICH, fee)).is_ok() {
            passed_on += fee;
            last = fee;
        }
    }
    assert!(passed_on <= 2 * last, "{passed_on} would have been paid for, {last} is");
    // Where nothing costs anything, nothing is replaced but by a settlement.
    let sender = key(2);
    let free_chain = bench.terms(RICH, 0);
    bench.insert(&small(&sender, 0, 0), &free_chain).expect("taken");
    assert!(bench.insert(&small(&sender, 0, 1), &free_chain).is_err());
    bench.insert(&claim(&sender, 0, 1), &free_chain).expect("a settlement");
    assert!(bench.insert(&claim(&sender, 0, 2), &free_chain).is_err());
}

#[test]
fn few_wait_to_do_what_one_does_for_all() {
    let mut bench = Bench::new(PoolLimits::default());
    let channel = 1;
    let senders_of = |pool: &Pool| pool.contenders(Contest::Post(channel_name(channel)));
    for sender in 0..8 {
        bench.add(&post(&key(sender), 0, channel, 5)).expect("a seat");
    }
    // The next does nothing that these do not.
    assert_eq!(bench.add(&post(&key(8), 0, channel, 5)).err(), Some(PoolError::Contested(SEATS)));
    assert_eq!(bench.add(&post(&key(8), 0, channel, 4)).err(), Some(PoolError::Contested(SEATS)));
    bench.add(&post(&key(8), 0, 2, 1)).expect("other channels have other seats");
    // Whoever posts a newer state has a seat, whatever older states wait: the last of those leaves.
    let change = bench.add(&post(&key(9), 0, channel, 6)).expect("it does more");
    assert_eq!(change.left.iter().map(|tx| *tx.sender()).collect::<Vec<_>>(), [key(7).public_key()]);
    // Behind a gap nothing holds a seat, and nothing takes one when the gap closes and all do as much.
    bench.add(&post(&key(10), 1, channel, 5)).expect("it waits behind a gap");
    bench.add(&post(&key(11), 1, channel, 7)).expect("so does this");
    assert_eq!(senders_of(&bench.pool).len(), SEATS);
    let change = bench.add(&small(&key(10), 0, 0)).expect("taken");
    assert_eq!(change.left.iter().map(|tx| *tx.sender()).collect::<Vec<_>>(), [key(10).public_key()]);
    bench.add(&small(&key(11), 0, 0)).expect("taken");
    assert!(senders_of(&bench.pool).contains(&key(11).public_key()));
    // It is the same where it takes over the nonce of another transaction.
    bench.add(&small(&key(12), 0, 0)).expect("taken");
    assert_eq!(bench.add(&post(&key(12), 0, channel, 5)).err(), Some(PoolError::Contested(SEATS)));
    let change = bench.add(&post(&key(12), 0, channel, 9)).expect("it does more");
    assert_eq!(change.left.len(), 2, "the one whose nonce it has, and one with an older state");
    assert_eq!(senders_of(&bench.pool).len(), SEATS);
    // A sender's own newer state does not push out what it comes after.
    for nonce in 0..8 {
        bench.add(&post(&key(20), nonce, 0, 1)).expect("a seat");
    }
    assert_eq!(bench.add(&post(&key(20), 8, 0, 2)).err(), Some(PoolError::Contested(SEATS)));
    // Seats are free again once their transactions have left.
    bench.pool.advance(&key(20).public_key(), Nonce::new(1), Height::new(bench.height));
    bench.add(&post(&key(21), 0, 0, 1)).expect("a seat");
    // An authority's are in nobody's way: they cost nothing, and have limits of their own.
    let free = Terms { is_free: true, ..bench.terms(RICH, 0) };
    bench.insert(&post(&key(22), 0, 0, 1), &free).expect("room of its own");
}

#[test]
fn what_fails_leaves_with_its_successors() {
    let mut bench = Bench::new(PoolLimits::default());
    let sender = key(1);
    for nonce in [0, 1, 2, 3, 7] {
        bench.add(&small(&sender, nonce, 0)).expect("taken");
    }
    let left = bench.pool.cut(&sender.public_key(), Nonce::new(1));
    assert_eq!(left.iter().map(|tx| tx.nonce().get()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_sound(&bench.pool, &bench.limits);
    assert_eq!(bench.pool.next_nonce(&sender.public_key()), Some(Nonce::new(1)));
    bench.add(&small(&sender, 1, 1)).expect("its nonce is free again");
}

#[test]
fn candidates_come_in_turns_and_in_pages() {
    let mut bench = Bench::new(PoolLimits::default());
    for nonce in 0..60 {
        bench.add(&small(&key(1), nonce, 0)).expect("taken");
    }
    for sender in 2..12 {
        bench.add(&small(&key(sender), 0, 0)).expect("taken");
    }
    let all = bench.candidates();
    assert_eq!(all.len(), 70);
    let first: Vec<_> = all.iter().take(11).map(|tx| tx.nonce().get()).collect();
    assert_eq!(first, [0; 11], "everybody's first comes before anybody's second");
    let (mut paged, mut last, mut is_first) = (Vec::new(), None, true);
    while is_first || last.is_some() {
        let batch = bench.pool.batch(last, 7);
        assert!(batch.rest.len() <= 7);
        paged.extend(batch.rest);
        (last, is_first) = (batch.last, false);
    }
    assert_eq!(paged, all);
}

#[test]
fn counts_and_indexes_stay_right() {
    let limits = PoolLimits {
        max_transactions: 60,
        max_bytes: 200_000,
        max_gaps: 20,
        max_gap_bytes: 50_000,
        ..PoolLimits::default()
    };
    let mut bench = Bench::new(limits);
    let senders: Vec<KeyPair> = (0..12).map(key).collect();
    let mut nexts = [0_u64; 12];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for step in 0..4_000_u64 {
        let which = usize::try_from(random(12)).expect("an index");
        let (sender, next) = (&senders[which], nexts[which]);
        match random(10) {
            0 => {
                nexts[which] += random(4);
                bench.pool.advance(&sender.public_key(), Nonce::new(nexts[which]), Height::new(bench.height));
            }
            1 => drop(bench.pool.cut(&sender.public_key(), Nonce::new(next + random(5)))),
            2 => drop(bench.pool.cut_uncovered(&sender.public_key(), Amount::new(random(300)))),
            3 => bench.height += random(2),
            _ => {
                let nonce = next + random(8);
                let seed = u8::try_from(step % 256).expect("a byte");
                let transaction = match random(6) {
                    1 | 2 => {
                        let released = u32::try_from(random(4)).expect("a count");
                        post(sender, nonce, u32::try_from(random(2)).expect("a number"), released)
                    }
                    0 => claim(sender, nonce, u32::try_from(random(900) + 1).expect("a count")),
                    _ => small(sender, nonce, seed),
                };
                let is_free = which == 0 && random(2) == 0;
                let fee = if is_free { 0 } else { random(100) };
                let terms = Terms { next: Nonce::new(next), is_free, ..bench.terms(Amount::new(400), fee) };
                let _ = bench.insert(&transaction, &terms);
            }
        }
        assert_sound(&bench.pool, &bench.limits);
    }
}
