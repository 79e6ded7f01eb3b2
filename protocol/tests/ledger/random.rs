//! Goal: whatever participants send and whenever, money is conserved, nobody's transaction makes us
//! fail, the queue of due items fits the objects, track records fit the events, and equal inputs give
//! equal chains.
//!
//! Method: seeded random participants that mostly act sensibly (bid, decide, pay, claim, close) and
//! sometimes at random, over blocks of random distance. `Chain::block` checks money and that leader
//! and follower agree after every block; here the queue is checked against the objects. That the
//! walks really reach every kind of event is asserted too. `EVCHAIN_SEED=n` runs one seed.

use std::collections::{BTreeMap, BTreeSet};

use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::finality::{Evidence, Subject, Vote};
use evchain_protocol::governance::{Change, ParamChange, StandingChange};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::params::Params;
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Span, Timestamp, TxRef, View, Window};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::BidPosition;
use evchain_protocol::state::channel::{Channel, ChannelState, CoSignedState};
use evchain_protocol::state::key::{DueItem, StateKey};
use evchain_protocol::state::payment::HashLocks;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{
    ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel,
};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::evidence::ReportOffence;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::withdraw::Withdraw;
use evchain_protocol::transaction::{Action, VerifiedTransaction};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::chain::*;
use crate::governance::{member, with_members};
use crate::records::Tally;
use crate::values;

const SEEDS: u64 = 32;
const BLOCKS: u32 = 200;
const ANY: u8 = 1;

/// splitmix64
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap()
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let len = from.len() as u64;
        let index = usize::try_from(self.below(len.max(1))).unwrap();
        from.get(index).cloned()
    }
}

struct Walk {
    chain: Chain,
    random: Random,
    cast: Vec<KeyPair>,
    tally: Tally,
    /// For the actions that make no sense.
    noise: TestRunner,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut seed_bytes = [0; 32];
        seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
        Self {
            chain: Chain::of(&with_members(3, Params { epoch_length: 9, proposal_epochs: 1, ..params() })),
            random: Random::new(seed),
            cast: (1..=8).map(key).chain((0..3).map(member)).collect(),
            tally: Tally::default(),
            noise: TestRunner::new_with_rng(Config::default(), rng),
        }
    }

    fn now(&self) -> Timestamp {
        self.chain.tip.time_ms
    }

    fn in_minutes(&mut self, from: u64, to: u64) -> Timestamp {
        let span = from * MINUTE + self.random.below((to - from) * MINUTE);
        self.now().saturating_after(Span::new(span))
    }

    fn secret_of(&self, key: &PublicKey) -> KeyPair {
        self.cast.iter().find(|pair| pair.public_key() == *key).unwrap().clone()
    }

    fn names(&self, wanted: fn(&StateKey) -> Option<TxRef>) -> Vec<TxRef> {
        self.chain.state.iter().filter_map(|(key, _)| wanted(key)).collect()
    }

    fn a_request(&mut self) -> Option<TxRef> {
        let names = self.names(|key| if let StateKey::Request(name) = key { Some(*name) } else { None });
        self.random.pick(&names)
    }

    /// Who acts and what: nobody where there is nothing to do it to.
    fn act(&mut self) -> Option<(KeyPair, Action)> {
        let someone = self.random.pick(&self.cast.clone())?;
        let to = self.random.pick(&self.cast.clone())?.public_key();
        match self.random.below(32) {
            0 => {
                let amount = money(self.random.below(2 * MONEY / 10));
                Some((someone, Action::Transfer(Transfer { to, amount })))
            }
            1 => {
                let choice = [Roles::CONSUMER, Roles::PRODUCER, Roles::ALL, Roles::ALL, Roles::ALL];
                let roles = self.random.pick(&choice)?;
                let withdraw_to = self.a_place();
                Some((self.an_authority()?, Action::Admit(Admit { participant: to, roles, withdraw_to })))
            }
            2 => self.withdraw(),
            3 => Some((someone, Action::RecordStation(RecordStation { station: a_station() }))),
            4 | 5 => Some(self.ask(someone)),
            6..=8 | 17 => self.bid(someone),
            9 | 10 => self.commit(),
            11 | 12 | 18 => self.lock_installments(),
            13 => self.open_channel(),
            14 => Some(self.lock(someone, to)),
            15 => self.claim_lock(),
            16 => self.claim_payment(),
            19 | 20 => self.cancel(),
            21 | 22 => self.end_channel(),
            23 | 24 => {
                let change = self.change(to)?;
                Some((self.an_authority()?, Action::Propose(Propose { change })))
            }
            25..=29 => {
                let names =
                    self.names(|key| if let StateKey::Proposal(name) = key { Some(*name) } else { None });
                let proposal = self.random.pick(&names)?;
                Some((self.an_authority()?, Action::Approve(Approve { proposal })))
            }
            30 if self.random.below(6) == 0 => Some((someone, self.report()?)),
            _ => {
                let action = values::action().new_tree(&mut self.noise).unwrap().current();
                Some((someone, action))
            }
        }
    }

    /// One of the cast: noise adds others, too.
    fn an_authority(&mut self) -> Option<KeyPair> {
        let set = self.chain.authorities().set;
        let known: Vec<KeyPair> =
            self.cast.iter().filter(|pair| set.index_of(&pair.public_key()).is_some()).cloned().collect();
        self.random.pick(&known)
    }

    /// A withdrawal account, or none.
    fn a_place(&mut self) -> Option<PublicKey> {
        let place = self.random.pick(&self.cast.clone())?.public_key();
        Some(place).filter(|_| self.random.below(2) == 0)
    }

    fn revoked(&self) -> Vec<(PublicKey, PublicKey)> {
        let accounts = self.chain.state.iter().filter_map(|(key, value)| match (key, value) {
            (StateKey::Account(owner), StateValue::Account(account)) if account.standing.is_revoked() => {
                Some((*owner, account.withdraw_to.expect("a revoked account has a place for its money")))
            }
            _ => None,
        });
        accounts.collect()
    }

    fn withdraw(&mut self) -> Option<(KeyPair, Action)> {
        let (owner, to) = self.random.pick(&self.revoked())?;
        Some((self.secret_of(&owner), Action::Withdraw(Withdraw { to })))
    }

    /// Rarely shuts somebody out, and brings back who is.
    fn standing(&mut self, account: PublicKey) -> Option<StandingChange> {
        if self.random.below(6) == 0 {
            return Some(StandingChange::Revoke { account, withdraw_to: self.a_place() });
        }
        let back = self.random.pick(&self.revoked()).map(|(owner, _)| owner);
        Some(StandingChange::SetRoles { account: back?, roles: Roles::ALL })
    }

    fn change(&mut self, key: PublicKey) -> Option<Change> {
        let param = [
            ParamChange::MaxBids(1 + self.random.small(3)),
            ParamChange::EpochLength(7 + self.random.below(4)),
            ParamChange::EvidenceRemoves(self.random.below(2) == 0),
            ParamChange::MaxSkew(Span::new(self.random.below(9))),
            // Each alone fits, but not both.
            ParamChange::MaxChallenge(Span::new(7 * MINUTE)),
            ParamChange::MinChallenge(Span::new(8 * MINUTE)),
            ParamChange::MaxChallenge(Span::new(100 * MINUTE)),
            ParamChange::MinChallenge(Span::new(2 * MINUTE)),
        ];
        Some(match self.random.below(10) {
            0 | 1 => Change::AddAuthority(key),
            2 => Change::RemoveAuthority(key),
            6..=9 => Change::Standing(self.standing(key)?),
            _ => Change::SetParam(self.random.pick(&param)?),
        })
    }

    /// Two votes of an authority of this epoch, that exclude each other.
    fn report(&mut self) -> Option<Action> {
        let electorate = self.chain.authorities().electorate(self.chain.id);
        let key = self.an_authority()?;
        let signer = electorate.index_of(&key.public_key()).unwrap();
        let view = View::new(1 + self.random.below(3));
        let vote = |subject: Subject| {
            let signature = key.sign(subject.purpose(), electorate.chain, &subject.signed_bytes());
            Vote { subject, signer, signature }
        };
        let block = Hash::from_bytes([9; 32]);
        let nullify = vote(Subject::nullify(electorate.epoch, view));
        let finalize = vote(Subject::finalize(electorate.epoch, view, block));
        let evidence = Evidence::of_votes(nullify, finalize).unwrap();
        Some(Action::ReportOffence(ReportOffence { evidence }))
    }

    fn ask(&mut self, who: KeyPair) -> (KeyPair, Action) {
        let mut request = a_request();
        request.bid_deadline = self.in_minutes(5, 20).floor_to_tick();
        let start = self.in_minutes(20, 60).ceil_to_tick();
        request.window = Window { start, end: start.saturating_after(Span::new(60 * MINUTE)) };
        (who, Action::PlaceRequest(request.try_into().unwrap()))
    }

    fn bid(&mut self, who: KeyPair) -> Option<(KeyPair, Action)> {
        let request = self.a_request()?;
        let mut bid = a_bid();
        bid.price = money(1 + self.random.below(5000));
        bid.cancel_by = self.in_minutes(0, 20).floor_to_tick();
        if self.random.below(2) == 0 {
            bid.position = BidPosition::Station;
        }
        Some((who, Action::PlaceBid(PlaceBid::new(request, bid).unwrap())))
    }

    fn commit(&mut self) -> Option<(KeyPair, Action)> {
        let name = self.a_request()?;
        let request = self.chain.state.request(name).unwrap()?;
        let commitment = Hash::from_bytes([3; 32]);
        Some((self.secret_of(&request.consumer), Action::Commit(Commit { commitment })))
    }

    /// A request, its consumer and one of its bidders, decided as far as there are such.
    fn payable(&mut self) -> Option<(TxRef, KeyPair, PublicKey)> {
        let decided: Vec<(TxRef, PublicKey)> = self
            .chain
            .state
            .iter()
            .filter_map(|(key, value)| match (key, value) {
                (StateKey::Request(name), StateValue::Request(request)) if request.commitment.is_some() => {
                    Some((*name, request.consumer))
                }
                _ => None,
            })
            .collect();
        let (request, consumer) = self.random.pick(&decided)?;
        let bids = self.chain.state.range(StateKey::bids_of(request), 9).unwrap();
        let StateKey::Bid(_, producer) = self.random.pick(&bids)?.0 else { return None };
        Some((request, self.secret_of(&consumer), producer))
    }

    fn lock_installments(&mut self) -> Option<(KeyPair, Action)> {
        let (request, consumer, producer) = self.payable()?;
        let n = 1 + self.random.small(11);
        let locks = if self.random.below(2) == 0 {
            let hashes = vec![preimage(ANY).lock(); n as usize];
            InstallmentLocks::Hashes(hashes.try_into().unwrap())
        } else {
            let anchor = HashChain::new(preimage(ANY), count(n)).anchor();
            InstallmentLocks::Chain(ChainAnchor { anchor, count: count(n) })
        };
        let deposit = match self.random.below(2) {
            0 => DepositRule::Forfeit,
            _ => DepositRule::Refund(self.in_minutes(0, 30)),
        };
        Some((consumer, Action::LockInstallments(LockInstallments { request, producer, deposit, locks })))
    }

    fn open_channel(&mut self) -> Option<(KeyPair, Action)> {
        let (request, consumer, producer) = self.payable()?;
        let end = self.chain.state.request(request).unwrap()?.window.end;
        let open = OpenChannel {
            request,
            producer,
            count: count(1 + self.random.small(11)),
            challenge: Span::new(5 * MINUTE),
            deadline: end.saturating_after(Span::new((14 + self.random.below(20)) * MINUTE)),
        };
        Some((consumer, Action::OpenChannel(open)))
    }

    fn lock(&mut self, from: KeyPair, payee: PublicKey) -> (KeyPair, Action) {
        let amount = money(self.random.below(5000));
        let deadline = self.in_minutes(0, 60);
        let lock = CreateLock { payee, amount, hash: preimage(ANY).lock(), deadline };
        (from, Action::CreateLock(lock))
    }

    fn claim_lock(&mut self) -> Option<(KeyPair, Action)> {
        let names = self.names(|key| if let StateKey::Lock(name) = key { Some(*name) } else { None });
        let lock = self.random.pick(&names)?;
        let payee = self.chain.state.lock(lock).unwrap()?.payee;
        let claim = ClaimLock { lock, preimage: preimage(ANY) };
        Some((self.secret_of(&payee), Action::Claim(Claim::Lock(claim))))
    }

    fn claim_payment(&mut self) -> Option<(KeyPair, Action)> {
        let names = self.names(|key| if let StateKey::Payment(name) = key { Some(*name) } else { None });
        let name = self.random.pick(&names)?;
        let payment = self.chain.state.payment(name).unwrap()?;
        let producer = self.secret_of(&payment.producer);
        let unsettled: Vec<u32> = payment.unsettled().collect();
        let index = self.random.pick(&unsettled)?;
        let claim = match payment.locks {
            HashLocks::Hashes(_) => {
                let preimage = preimage(ANY);
                let chosen = unsettled.iter().filter(|_| self.random.below(2) == 0);
                let preimages: Vec<_> =
                    chosen.map(|index| IndexedPreimage { index: *index, preimage }).collect();
                Claim::Hashes(ClaimHashes { payment: name, preimages: preimages.try_into().unwrap() })
            }
            HashLocks::Chain(_) => {
                let link = HashChain::new(preimage(ANY), payment.plan.count).link(index)?;
                Claim::Chain(ClaimChain { payment: name, index, link })
            }
        };
        Some((producer, Action::Claim(claim)))
    }

    fn cancel(&mut self) -> Option<(KeyPair, Action)> {
        let open: Vec<(Cancel, PublicKey)> = self
            .chain
            .state
            .iter()
            .filter_map(|(key, value)| match (key, value) {
                (StateKey::Payment(name), StateValue::Payment(payment)) => {
                    Some((Cancel::Payment(*name), payment.consumer))
                }
                (StateKey::Channel(name), StateValue::Channel(channel)) => {
                    Some((Cancel::Channel(*name), channel.consumer))
                }
                _ => None,
            })
            .collect();
        let (cancel, consumer) = self.random.pick(&open)?;
        Some((self.secret_of(&consumer), Action::Cancel(cancel)))
    }

    fn end_channel(&mut self) -> Option<(KeyPair, Action)> {
        let names = self.names(|key| if let StateKey::Channel(name) = key { Some(*name) } else { None });
        let name = self.random.pick(&names)?;
        let channel = self.chain.state.channel(name).unwrap()?;
        let sides = [channel.consumer, channel.producer].map(|key| self.secret_of(&key));
        let [sender, other] =
            if self.random.below(2) == 0 { sides } else { [sides[1].clone(), sides[0].clone()] };
        let released = self.random.small(channel.count.get() + 2);
        let closing = self.random.below(2) == 0;
        let state = ChannelState { channel: name, released, closing }.sign(&other, self.chain.id);
        if self.random.below(4) == 0 {
            return self.post_state(&channel, state.state);
        }
        let action = match self.random.below(5) {
            0 => Action::CloseChannel(CloseChannel { state }),
            1 => Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: None }),
            2 => Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: Some(state) }),
            _ => Action::ChallengeChannel(ChallengeChannel { state }),
        };
        Some((sender, action))
    }

    /// Anybody posts what both signed.
    fn post_state(&mut self, channel: &Channel, state: ChannelState) -> Option<(KeyPair, Action)> {
        let sign = |key| state.sign(&self.secret_of(key), self.chain.id).signature;
        let (consumer, producer) = (sign(&channel.consumer), sign(&channel.producer));
        let state = CoSignedState { state, consumer, producer };
        Some((self.random.pick(&self.cast)?, Action::PostState(PostState { state })))
    }

    /// A block of a few random transactions.
    fn step(&mut self) {
        let mut transactions: Vec<VerifiedTransaction> = Vec::new();
        for _ in 0..self.random.below(24) {
            let Some((sender, action)) = self.act() else { continue };
            let pending = transactions.iter().filter(|tx| *tx.sender() == sender.public_key()).count() as u64;
            let nonce = self.chain.nonce(&sender.public_key()).get() + pending;
            let nonce = evchain_protocol::primitives::Nonce::new(nonce);
            transactions.extend(self.chain.sign_with(&sender, nonce, action));
        }
        let pause = if self.random.below(15) == 0 { 30 * MINUTE } else { MINUTE };
        let time = Timestamp::new(self.now().get() + 1 + self.random.below(pause));
        self.chain.block(time, transactions);
        check_queue(&self.chain);
        self.tally.check(&self.chain);
        self.check_withdrawals();
    }

    /// Every revoked account can withdraw all that it has in the next block, and its money can go on from
    /// there, place by place, until somebody has it who is not revoked.
    fn check_withdrawals(&self) {
        let revoked: BTreeMap<PublicKey, PublicKey> = self.revoked().into_iter().collect();
        for (owner, to) in &revoked {
            if self.chain.state.account(owner).unwrap().unwrap().balance > money(0) {
                let withdraw =
                    self.chain.sign(&self.secret_of(owner), Action::Withdraw(Withdraw { to: *to }));
                let built = self.chain.try_block(self.chain.next(), vec![withdraw]).unwrap();
                assert!(built.rejected.is_empty(), "{owner}: {:?}", built.rejected);
            }
            let (mut at, mut steps) = (*to, 0);
            while let Some(next) = revoked.get(&at) {
                (at, steps) = (*next, steps + 1);
                assert!(steps <= revoked.len(), "{owner}'s money goes round in a circle");
            }
            assert!(self.chain.state.account(&at).unwrap().is_some(), "{owner}'s money would end nowhere");
        }
    }
}

/// The queue of due items holds each open object once, at its own time, and nothing else. Request
/// counts fit as well.
fn check_queue(chain: &Chain) {
    let mut expected = BTreeSet::new();
    let mut open_requests: BTreeMap<PublicKey, u32> = BTreeMap::new();
    let mut bids: BTreeMap<TxRef, (u32, u32)> = BTreeMap::new();
    let mut undecided: BTreeMap<PublicKey, Vec<TxRef>> = BTreeMap::new();
    for (key, value) in chain.state.iter() {
        match (key, value) {
            (StateKey::Request(name), StateValue::Request(request)) => {
                expected.insert((request.window.end, DueItem::Request(*name)));
                *open_requests.entry(request.consumer).or_default() += 1;
                bids.entry(*name).or_default().0 = request.bids;
                if request.can_be_decided(chain.tip.time_ms) {
                    undecided.entry(request.consumer).or_default().push(*name);
                }
            }
            (StateKey::Bid(request, _), _) => bids.entry(*request).or_default().1 += 1,
            (StateKey::Lock(name), StateValue::Lock(lock)) => {
                expected.insert((lock.deadline, DueItem::Lock(*name)));
            }
            (StateKey::Payment(name), StateValue::Payment(payment)) => {
                let next = payment.next_deadline().expect("a settled payment leaves the state");
                expected.insert((next, DueItem::Payment(*name)));
            }
            (StateKey::Channel(name), StateValue::Channel(channel)) => {
                expected.insert((channel.due(), DueItem::Channel(*name)));
            }
            _ => {}
        }
    }
    let queue: BTreeSet<_> = chain.state.due(Timestamp::MAX, usize::MAX).unwrap().into_iter().collect();
    assert_eq!(queue, expected);
    assert!(bids.values().all(|(counted, present)| counted == present), "{bids:?}");
    for (key, value) in chain.state.iter() {
        if let (StateKey::Account(owner), StateValue::Account(account)) = (key, value) {
            let open = open_requests.get(owner).copied().unwrap_or_default();
            assert_eq!(account.open_requests, open, "{owner}");
            // B1: a commitment can only mean the newest.
            let undecided = undecided.get(owner).map(Vec::as_slice).unwrap_or_default();
            let newest = account.newest_request;
            assert!(undecided.is_empty() || undecided == newest.as_slice(), "{owner}");
            assert!(newest.is_none_or(|newest| bids.contains_key(&newest)), "{owner}: {newest:?} is over");
        }
    }
    let due_now = chain.state.due(chain.tip.time_ms, 1).unwrap();
    assert_eq!(due_now, [], "nothing due is left after a block");
}

/// The name of an event's kind.
fn kind(event: &Event) -> String {
    let json = serde_json::to_value(event).unwrap();
    json["kind"].as_str().unwrap().to_owned()
}

fn walk(seed: u64, reached: &mut BTreeMap<String, u32>) -> Hash {
    println!("EVCHAIN_SEED={seed}");
    let mut walk = Walk::new(seed);
    for _ in 0..BLOCKS {
        walk.step();
        for record in &walk.chain.events {
            *reached.entry(kind(&record.event)).or_default() += 1;
            if let Event::ChannelPosted { channel, by, .. } = record.event {
                let channel = walk.chain.state.channel(channel).unwrap();
                let is_third = channel.is_some_and(|it| it.other_side(&by).is_none());
                *reached.entry("channel_posted by a third party".to_owned()).or_default() +=
                    u32::from(is_third);
            }
        }
    }
    // Everything ends by itself.
    walk.chain.pass(walk.now().saturating_after(Span::new(60 * 24 * 3600 * 1000)));
    assert_eq!(walk.chain.state.due(Timestamp::MAX, 1).unwrap(), []);
    walk.tally.check(&walk.chain);
    for record in walk.tally.records.values() {
        // What else a record counts is too rare here to be asked for.
        for (what, times) in [("completed", record.completed), ("broken off", record.broken_off)] {
            *reached.entry(format!("record: {what}")).or_default() += u32::try_from(times).unwrap();
        }
    }
    walk.chain.tip.hash()
}

#[test]
fn money_is_conserved_and_the_queue_fits_on_random_walks() {
    let one = std::env::var("EVCHAIN_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let mut reached = BTreeMap::new();
    for seed in one.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        walk(seed, &mut reached);
    }
    println!("{reached:#?}");
    if one.is_none() {
        let (events, records) = (35, 2);
        assert_eq!(reached.len(), events + records, "kinds of events that were reached: {reached:#?}");
        assert!(reached.values().all(|times| *times >= 5), "too rare to mean much: {reached:#?}");
    }
}

#[test]
fn equal_walks_give_equal_chains() {
    let tip = |seed| walk(seed, &mut BTreeMap::new());
    assert_eq!(tip(7), tip(7));
    assert_ne!(tip(7), tip(8));
}
