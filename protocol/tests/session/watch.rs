//! Goal: a watchtower brings the newest state that both signed to the chain for a producer that does not
//! come back, at no cost but one fee a channel, whatever its client does (W1-W9, C12 of the ledger).
//!
//! Method: a tower beside the two machines and the real ledger. The producer's process ends for good at
//! each installment while the consumer posts each state that it ever held, or nobody posts anything;
//! the tower crashes before each of its outputs. Then rule by rule on the tower's machine alone.

use std::cell::RefCell;
use std::rc::Rc;

use evchain_protocol::codec;
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::primitives::{Span, Timestamp, TxRef};
use evchain_protocol::session::{
    GuardRefusal, Guarded, OnChain, PaymentKind, ProducerSession, Refused, Settlement, WatchInput,
    WatchMessage, WatchOutput, WatchPolicy, WatchRecord, Watchtower,
};
use evchain_protocol::state::channel::{Channel, ChannelState, CoSignedState, PostedState};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::post::PostState;
use proptest::prelude::*;

use crate::bank::Side;
use crate::chain::{carol, dave};
use crate::deal::{CHALLENGE, Deal, END, START, Shape};
use crate::disputes::{held, released};
use crate::world::{World, at_start};

/// Longer than the channel lives.
const FOR_GOOD: Span = Span::new(3 * 3_600_000);
const POLICY: WatchPolicy = WatchPolicy {
    lead: Span::new(120_000),
    retry: Span::new(5_000),
    max_channels: 3,
    max_channels_per_client: 2,
};

/// A tower with its disk and its way to the chain.
struct Tower {
    machine: Watchtower,
    disk: Vec<WatchRecord>,
    answers: Vec<WatchMessage>,
    /// When it posted.
    posts: Vec<Timestamp>,
    seen: Timestamp,
    outputs: usize,
    /// Crash before the output of this number.
    crash: Option<usize>,
}

impl Tower {
    /// A tower that is told all by the world, each second.
    fn beside(world: &mut World, crash: Option<usize>) -> Rc<RefCell<Self>> {
        let tower = Rc::new(RefCell::new(Self {
            machine: Watchtower::new(world.deal.terms.chain, POLICY),
            disk: Vec::new(),
            answers: Vec::new(),
            posts: Vec::new(),
            seen: Timestamp::ZERO,
            outputs: 0,
            crash,
        }));
        let shared = Rc::clone(&tower);
        world.hook = Some(Box::new(move |world| shared.borrow_mut().tick(world)));
        tower
    }

    fn tick(&mut self, world: &mut World) {
        self.hear(world);
        if self.seen < world.chain_time {
            self.seen = world.chain_time;
            self.step(world, &WatchInput::ChainTime(self.seen));
            self.look(world);
        }
        if self.machine.deadline().is_some_and(|at| at <= world.now) {
            self.step(world, &WatchInput::Timeout);
        }
    }

    /// What the producer's driver sends after it persisted `Released`, and again on each connection.
    fn hear(&mut self, world: &mut World) {
        let producer = world.producer.as_ref().filter(|_| !world.is_down(Side::Producer));
        let Some(state) = producer.and_then(ProducerSession::to_guard) else { return };
        let is_news = self
            .machine
            .guards()
            .get(&state.state.channel)
            .is_none_or(|guard| guard.released() < state.state.released);
        if is_news {
            let bytes = WatchMessage::Guard(state).encode();
            assert_eq!(WatchMessage::decode(&bytes), Ok(WatchMessage::Guard(state)));
            let from = world.deal.producer.public_key();
            self.step(world, &WatchInput::Guard { from, state, found: found(world) });
        }
    }

    fn look(&mut self, world: &mut World) {
        self.step(world, &WatchInput::Found(world.deal.terms.payment, found(world)));
    }

    fn step(&mut self, world: &mut World, input: &WatchInput) {
        let mut out = Vec::new();
        self.machine.step(world.now, input, &mut out);
        for output in out {
            if self.crash == Some(self.outputs) {
                self.crash = None;
                let chain = world.deal.terms.chain;
                self.machine = Watchtower::recover(chain, POLICY, &self.disk).unwrap();
                self.look(world);
                return;
            }
            self.outputs += 1;
            match output {
                WatchOutput::Persist(record) => {
                    let bytes = codec::encode(&record);
                    assert_eq!(codec::decode::<WatchRecord>(&bytes, 512), Ok(record));
                    self.disk.push(record);
                }
                WatchOutput::Answer(message) => self.answers.push(message),
                WatchOutput::Post(state) => {
                    assert!(self.disk.contains(&WatchRecord::Posted(state.state.channel)), "W9");
                    self.posts.push(world.now);
                    world.bank.of_others.push((carol(), Action::PostState(PostState { state })));
                }
            }
        }
    }
}

fn found(world: &World) -> Option<Channel> {
    match world.bank.on_chain() {
        Some(OnChain::Channel(channel)) => Some(channel),
        _ => None,
    }
}

/// A session over a channel with a tower, up to an energy. The tower has what the producer has.
fn guarded_until(deal: &Deal, at: u64, crash: Option<usize>) -> (World, Rc<RefCell<Tower>>) {
    let mut world = at_start(deal.clone());
    let tower = Tower::beside(&mut world, crash);
    world.run_until(|world| world.flowed >= at);
    tower.borrow_mut().hear(&mut world);
    (world, tower)
}

fn channel_deal(count: u32) -> Deal {
    Deal::new(Shape::new(PaymentKind::Channel, count))
}

/// In the middle of these installments.
fn moments(count: u32) -> Vec<u64> {
    match count {
        100 => vec![50, 150, 5_050, 9_950],
        _ => (0..count).map(|k| 10_000 / u64::from(count) * u64::from(k) + 50).collect(),
    }
}

#[test]
fn the_newest_state_wins_though_the_producer_never_comes_back() {
    for count in [1, 2, 10, 100] {
        let deal = channel_deal(count);
        for at in moments(count) {
            let states = held(&guarded_until(&deal, at, None).0);
            let some = |place: usize| states.len() <= 11 || place < 2 || place + 2 >= states.len();
            for (place, state) in states.iter().enumerate().filter(|(place, _)| some(*place)) {
                let (mut world, tower) = guarded_until(&deal, at, None);
                let newest = released(&world);
                let before = world.bank.chain.balance(&carol());
                world.kill(Side::Producer, usize::MAX, FOR_GOOD);
                world.bring(Side::Consumer, Settlement::ForceClose(*state));
                world.run();
                let what = format!("N = {count}, state {place} posted at {at} Wh");
                world.assert_risk_bounds(&what);
                assert_eq!(world.bank.paid.len(), newest, "{what}: the newest state wins");
                // Nobody else has closed or answered, and the tower only where it had to.
                let posted = state.map_or(1, |state| state.state.released as usize);
                let by = if posted < newest { carol() } else { deal.consumer.clone() };
                assert_eq!(world.bank.posted_by, Some(by.public_key()), "{what}");
                assert_eq!(tower.borrow().posts.len(), usize::from(posted < newest), "{what}");
                // There is no fee on this chain.
                assert_eq!(world.bank.chain.balance(&carol()), before, "{what}: a tower gets nothing");
                assert!(tower.borrow().machine.guards().is_empty(), "{what}: W8");
            }
        }
    }
}

#[test]
fn where_nobody_closes_the_tower_posts_before_the_deadline() {
    for count in [1, 2, 10] {
        let deal = channel_deal(count);
        let deadline = deal.terms.channel_deadline.unwrap();
        for at in moments(count) {
            for has_tower in [true, false] {
                let (mut world, tower) = guarded_until(&deal, at, None);
                if !has_tower {
                    world.hook = None;
                }
                let newest = if has_tower { released(&world) } else { 1 };
                world.kill(Side::Producer, usize::MAX, FOR_GOOD);
                world.kill(Side::Consumer, usize::MAX, FOR_GOOD);
                world.run();
                let what = format!("N = {count}, stopped at {at} Wh, with tower: {has_tower}");
                assert_eq!(world.bank.paid.len(), newest, "{what}");
                let posts = &tower.borrow().posts;
                // The initial state pays by itself.
                assert_eq!(posts.len(), usize::from(newest > 1), "{what}");
                assert!(posts.iter().all(|at| deadline.before(POLICY.lead) <= *at && *at > END), "{what}");
            }
        }
    }
}

#[test]
fn a_tower_that_crashes_before_any_output_still_answers_and_pays_one_fee() {
    let deal = channel_deal(10);
    let run = |crash: Option<usize>| {
        let (mut world, tower) = guarded_until(&deal, 5_050, crash);
        let newest = released(&world);
        world.kill(Side::Producer, usize::MAX, FOR_GOOD);
        world.bring(Side::Consumer, Settlement::ForceClose(None));
        let nonce = world.bank.chain.nonce(&carol().public_key());
        world.run();
        assert_eq!(world.bank.paid.len(), newest, "crash before output {crash:?}");
        let paid = world.bank.chain.nonce(&carol().public_key()).get() - nonce.get();
        assert_eq!(paid, 1, "crash before output {crash:?}: transactions in blocks");
        tower.borrow().outputs
    };
    let all = run(None);
    assert!(all > 10, "{all}");
    for crash in 0..all {
        run(Some(crash));
    }
}

/// Whoever holds what both signed can end a session early by it, and gains nothing.
#[test]
fn a_tower_that_posts_in_the_middle_of_a_session_takes_no_money() {
    let deal = channel_deal(10);
    for at in moments(10) {
        for older in [false, true] {
            let mut world = at_start(deal.clone());
            world.run_until(|world| world.flowed >= at);
            let Some(newest) = world.producer.as_ref().unwrap().to_guard() else { continue };
            let state = if older { both(&deal, deal.terms.payment, 2, false) } else { newest };
            world.bank.of_others.push((carol(), Action::PostState(PostState { state })));
            let before = world.bank.chain.balance(&carol());
            let released = released(&world);
            world.run();
            let what = format!("at {at} Wh, an older state: {older}");
            world.assert_risk_bounds(&what);
            assert!(world.bank.paid.len() >= released, "{what}: the producer closes with its newest");
            assert_eq!(world.bank.chain.balance(&carol()), before, "{what}");
        }
    }
}

/// A state of a channel that consumer and producer signed.
fn both(deal: &Deal, channel: TxRef, released: u32, closing: bool) -> CoSignedState {
    let state = ChannelState { channel, released, closing };
    let sign = |key: &KeyPair| state.sign(key, deal.terms.chain).signature;
    CoSignedState { state, consumer: sign(&deal.consumer), producer: sign(&deal.producer) }
}

/// A tower's machine on its own, with channels that only differ by name.
struct Alone {
    deal: Deal,
    tower: Watchtower,
    disk: Vec<WatchRecord>,
    now: Timestamp,
}

impl Alone {
    fn new() -> Self {
        let deal = channel_deal(10);
        Self { tower: Watchtower::new(deal.terms.chain, POLICY), deal, disk: Vec::new(), now: START }
    }

    fn channel(&self) -> Channel {
        match self.deal.facts.payment {
            Some(OnChain::Channel(channel)) => channel,
            _ => unreachable!("the deal is paid by a channel"),
        }
    }

    fn producer(&self) -> PublicKey {
        self.deal.producer.public_key()
    }

    fn name(number: u32) -> TxRef {
        crate::deal::reference(number)
    }

    /// The answer, and what is posted.
    fn guard(&mut self, state: CoSignedState) -> (Result<u32, GuardRefusal>, Vec<CoSignedState>) {
        self.guard_for(self.producer(), state, Some(self.channel()))
    }

    fn guard_for(
        &mut self,
        from: PublicKey,
        state: CoSignedState,
        found: Option<Channel>,
    ) -> (Result<u32, GuardRefusal>, Vec<CoSignedState>) {
        let (answer, posts) = self.step(&WatchInput::Guard { from, state, found });
        let name = state.state.channel;
        let answer = match answer.expect("every question has an answer") {
            WatchMessage::Guarded(Guarded { channel, released }) if channel == name => Ok(released),
            WatchMessage::Refused(Refused { channel, reason }) if channel == name => Err(reason),
            other => panic!("{other:?}"),
        };
        (answer, posts)
    }

    fn step(&mut self, input: &WatchInput) -> (Option<WatchMessage>, Vec<CoSignedState>) {
        let (mut out, mut answer, mut posts) = (Vec::new(), None, Vec::new());
        self.tower.step(self.now, input, &mut out);
        for output in out {
            match output {
                WatchOutput::Persist(record) => self.disk.push(record),
                WatchOutput::Answer(message) => answer = Some(message),
                WatchOutput::Post(state) => posts.push(state),
            }
        }
        // W9: what is on disk is what there is, and the short form says the same.
        for records in [self.disk.clone(), self.tower.records()] {
            let again = Watchtower::recover(self.deal.terms.chain, POLICY, &records).unwrap();
            let held = |tower: &Watchtower| -> Vec<_> {
                tower.guards().iter().map(|(name, guard)| (*name, guard.released())).collect()
            };
            assert_eq!(held(&again), held(&self.tower));
            assert_eq!(again.records(), self.tower.records());
        }
        (answer, posts)
    }

    fn posted(&mut self, name: TxRef, released: u32) -> Vec<CoSignedState> {
        let channel = self.channel();
        let until = self.now.after(CHALLENGE).unwrap();
        let posted = Some(PostedState { released, until, by: channel.consumer });
        let found = Channel { posted, ..channel };
        self.step(&WatchInput::Found(name, Some(found))).1
    }

    /// What would be posted if the chain showed this, without leaving a trace.
    fn clone_posted(&self, name: TxRef, released: u32) -> Vec<CoSignedState> {
        let mut copy = Self {
            tower: self.tower.clone(),
            disk: self.disk.clone(),
            deal: self.deal.clone(),
            now: self.now,
        };
        copy.posted(name, released)
    }
}

#[test]
fn w1_what_is_guarded() {
    let mut alone = Alone::new();
    let (name, channel, producer) = (Alone::name(0), alone.channel(), alone.producer());
    let deal = alone.deal.clone();
    let good = both(&deal, name, 4, false);
    assert_eq!(alone.guard_for(producer, good, None).0, Err(GuardRefusal::NoChannel));
    let due = Channel {
        posted: Some(PostedState { released: 1, until: alone.now, by: channel.consumer }),
        ..channel
    };
    assert_eq!(alone.guard_for(producer, good, Some(due)).0, Err(GuardRefusal::NoChannel));
    for stranger in [deal.consumer.public_key(), carol().public_key()] {
        let refused = alone.guard_for(stranger, good, Some(channel)).0;
        assert_eq!(refused, Err(GuardRefusal::NotProducer));
    }
    for released in [0, 1, 11] {
        let refused = alone.guard(both(&deal, name, released, false)).0;
        assert_eq!(refused, Err(GuardRefusal::OutOfRange), "{released}");
    }
    let forged = dave();
    let by_dave = good.state.sign(&forged, deal.terms.chain).signature;
    let raised = CoSignedState { state: ChannelState { released: 5, ..good.state }, ..good };
    for bad in [
        CoSignedState { consumer: by_dave, ..good },
        CoSignedState { producer: by_dave, ..good },
        CoSignedState { consumer: good.producer, producer: good.consumer, ..good },
        raised,
    ] {
        assert_eq!(alone.guard(bad).0, Err(GuardRefusal::NotSigned));
    }
    assert_eq!((alone.disk.len(), alone.tower.guards().len()), (0, 0));
    assert_eq!(alone.guard(good), (Ok(4), vec![]));
    assert_eq!(alone.guard(both(&deal, name, 10, true)), (Ok(10), vec![]), "a closing state is one");
}

#[test]
fn w2_newer_states_replace_older_ones_until_the_tower_posts() {
    let mut alone = Alone::new();
    let (name, deal) = (Alone::name(0), alone.deal.clone());
    let state = |released| both(&deal, name, released, false);
    assert_eq!(alone.guard(state(4)).0, Ok(4));
    let records = alone.disk.len();
    assert_eq!(alone.guard(state(3)).0, Ok(4));
    assert_eq!(alone.guard(state(4)).0, Ok(4));
    assert_eq!(alone.disk.len(), records, "nothing new, nothing written");
    assert_eq!(alone.guard(state(5)).0, Ok(5));
    assert_eq!(alone.posted(name, 1), vec![state(5)]);
    // One fee for a channel, after a crash as well.
    for _ in 0..2 {
        assert_eq!(alone.guard(state(6)), (Err(GuardRefusal::Answered), vec![]));
        assert_eq!(alone.guard(state(5)).0, Ok(5));
        alone.tower = Watchtower::recover(deal.terms.chain, POLICY, &alone.disk).unwrap();
    }
}

#[test]
fn w3_limits() {
    let mut alone = Alone::new();
    let deal = alone.deal.clone();
    let state = |number| both(&deal, Alone::name(number), 2, false);
    for number in 0..2 {
        assert_eq!(alone.guard(state(number)).0, Ok(2));
    }
    assert_eq!(alone.guard(state(2)).0, Err(GuardRefusal::ClientFull));
    // Another producer has the last place.
    let signed = |number| {
        let state = ChannelState { channel: Alone::name(number), released: 2, closing: false };
        let sign = |key: &KeyPair| state.sign(key, deal.terms.chain).signature;
        CoSignedState { state, consumer: sign(&deal.consumer), producer: sign(&dave()) }
    };
    let of_dave = Channel { producer: dave().public_key(), ..alone.channel() };
    assert_eq!(alone.guard_for(dave().public_key(), signed(3), Some(of_dave)).0, Ok(2));
    assert_eq!(alone.guard_for(dave().public_key(), signed(4), Some(of_dave)).0, Err(GuardRefusal::Full));
    // What is guarded already takes no further place; what ended leaves one.
    assert_eq!(alone.guard(both(&deal, Alone::name(0), 3, false)).0, Ok(3));
    alone.step(&WatchInput::Found(Alone::name(1), None));
    assert_eq!(alone.guard(state(2)).0, Ok(2));
}

#[test]
fn w4_an_older_state_is_answered_once_and_a_newer_one_never() {
    let mut alone = Alone::new();
    let (name, deal) = (Alone::name(0), alone.deal.clone());
    let held = both(&deal, name, 5, false);
    alone.guard(held).0.unwrap();
    for posted in [5, 6] {
        assert_eq!(alone.clone_posted(name, posted), vec![], "{posted} is not older");
    }
    assert_eq!(alone.posted(name, 4), vec![held]);
    assert_eq!(alone.posted(name, 4), vec![], "it is on its way");
    assert_eq!(alone.step(&WatchInput::ChainTime(alone.now)).1, vec![]);
    assert_eq!(alone.posted(name, 5), vec![], "W7");
    // Late news of how it was before.
    let before = Some(alone.channel());
    assert_eq!(alone.posted(name, 4), vec![]);
    assert_eq!(alone.step(&WatchInput::Found(name, before)).1, vec![]);
    alone.now = alone.channel().deadline.before(Span::new(1));
    assert_eq!(alone.step(&WatchInput::Timeout).1, vec![], "it is posted");
    // At once, where the state is under guard only after an older one was posted.
    let mut late = Alone::new();
    let channel = late.channel();
    let until = late.now.after(CHALLENGE).unwrap();
    let posted = Some(PostedState { released: 1, until, by: channel.consumer });
    let found = Channel { posted, ..channel };
    assert_eq!(late.guard_for(late.producer(), held, Some(found)), (Ok(5), vec![held]));
}

#[test]
fn w5_before_the_deadline() {
    for (lead, ahead) in [(POLICY.lead, POLICY.lead), (Span::new(9_000_000), CHALLENGE)] {
        let mut alone = Alone::new();
        let policy = WatchPolicy { lead, ..POLICY };
        alone.tower = Watchtower::new(alone.deal.terms.chain, policy);
        let held = both(&alone.deal, Alone::name(0), 5, false);
        assert_eq!(alone.tower.deadline(), None);
        alone.guard(held).0.unwrap();
        let due = alone.channel().deadline.before(ahead);
        assert_eq!(alone.tower.deadline(), Some(due));
        assert!(due > END);
        // By the own clock, or by the chain's.
        for by_chain in [true, false] {
            let mut alone = Alone { tower: alone.tower.clone(), disk: alone.disk.clone(), ..Alone::new() };
            let mut at = |time: Timestamp| {
                if by_chain {
                    return alone.step(&WatchInput::ChainTime(time)).1;
                }
                alone.now = time;
                alone.step(&WatchInput::Timeout).1
            };
            assert_eq!(at(due.before(Span::new(1))), vec![]);
            assert_eq!(at(due), vec![held]);
            assert_eq!(at(due.after(Span::new(1)).unwrap()), vec![], "it is on its way");
            assert_eq!(alone.tower.deadline(), None);
        }
    }
}

#[test]
fn w6_a_post_that_failed_is_repeated() {
    let mut alone = Alone::new();
    let (name, deal) = (Alone::name(0), alone.deal.clone());
    let held = both(&deal, name, 5, false);
    alone.guard(held).0.unwrap();
    alone.step(&WatchInput::Failed(name));
    assert_eq!(alone.posted(name, 1), vec![held], "nothing had failed before");
    let records = alone.disk.len();
    alone.step(&WatchInput::Failed(name));
    let again = alone.now.after(POLICY.retry).unwrap();
    assert_eq!(alone.tower.deadline(), Some(again));
    assert_eq!(alone.posted(name, 1), vec![], "not yet");
    alone.now = again;
    assert_eq!(alone.step(&WatchInput::Timeout).1, vec![held]);
    assert_eq!(alone.disk.len(), records, "it is written once");
    // Somebody else brought it there meanwhile.
    alone.step(&WatchInput::Failed(name));
    alone.now = alone.now.after(POLICY.retry).unwrap();
    assert_eq!(alone.posted(name, 5), vec![]);
    assert_eq!(alone.tower.deadline(), None);
}

#[test]
fn w8_w9_what_ended_is_forgotten_and_records_out_of_place_are_refused() {
    let mut alone = Alone::new();
    let (name, deal) = (Alone::name(0), alone.deal.clone());
    alone.guard(both(&deal, name, 5, false)).0.unwrap();
    alone.step(&WatchInput::Found(Alone::name(1), None));
    assert_eq!(alone.tower.guards().len(), 1, "that was another");
    alone.step(&WatchInput::Found(name, None));
    assert!(alone.tower.guards().is_empty() && alone.tower.records().is_empty());
    let guarded = alone.disk[0];
    let (posted, ended) = (WatchRecord::Posted(name), WatchRecord::Ended(name));
    for bad in [vec![posted], vec![ended], vec![guarded, ended, posted], vec![guarded, guarded]] {
        assert!(Watchtower::recover(deal.terms.chain, POLICY, &bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn messages_of_a_tower_have_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = WatchMessage::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}
