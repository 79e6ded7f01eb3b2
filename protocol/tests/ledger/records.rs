//! Goal: rules H: a producer's track record counts each settled session once, by how it ended.
//!
//! Method: every way in which a payment of either kind and a channel can end, and what the record says
//! after it; a tally of its own, by the chain's events alone, that the random walks compare with.

use std::collections::BTreeMap;

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::payment::{DepositRule, InstallmentCount};
use evchain_protocol::primitives::{Timestamp, TxRef};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::record::TrackRecord;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::installments::InstallmentLocks;

use crate::chain::*;
use crate::channels::{both, challenge, close, closing, force, open_with, post, state, with_channel};
use crate::payments::{chain_locks, claim_chain, claim_hashes, claim_lock, hashes, lock_with, with_payment};

const FORFEIT: DepositRule = DepositRule::Forfeit;
const REFUND: DepositRule = DepositRule::Refund(Timestamp::new(START + 45 * MINUTE));
/// After the last deadline of each payment and channel.
const END: u64 = 200 * MINUTE;

fn record_of(chain: &Chain, of: &KeyPair) -> Option<TrackRecord> {
    chain.state.track_record(&of.public_key()).unwrap()
}

/// A session of which so many of the installments agreed were paid, with this shortfall.
fn session(paid: u64, agreed: u64, shortfall: u64) -> TrackRecord {
    let mut record = TrackRecord {
        installments_paid: paid,
        installments_agreed: agreed,
        shortfall,
        ..TrackRecord::default()
    };
    if paid == agreed {
        record.completed = 1;
    } else {
        record.broken_off = 1;
    }
    record
}

fn unpaid() -> TrackRecord {
    TrackRecord { unpaid: 1, ..TrackRecord::default() }
}

/// Claims by the producer, at these minutes, up to these installments of 3.
type Claims = &'static [(u64, u32)];

/// Plays a payment of 3 installments to its end. Before the end the record says nothing.
fn settled(locks: &InstallmentLocks, deposit: DepositRule, claims: Claims) -> Option<TrackRecord> {
    let (mut chain, payment) = with_payment(locks.clone(), deposit);
    for (minute, index) in claims {
        assert_eq!(record_of(&chain, &bob()), None, "H1: not before it is settled");
        let claim = match locks {
            InstallmentLocks::Hashes(_) => claim_hashes(payment, &[*index]),
            InstallmentLocks::Chain(_) => claim_chain(payment, 3, *index),
        };
        chain.act(at(minute * MINUTE), &bob(), claim);
    }
    chain.pass(at(END));
    assert_eq!(chain.state.payment(payment).unwrap(), None);
    let record = record_of(&chain, &bob());
    assert_eq!(record_of(&chain, &alice()), None, "the record is the producer's");
    chain.pass(at(2 * END));
    assert_eq!(record_of(&chain, &bob()), record, "once");
    record
}

#[test]
fn h1_h2_h3_each_end_of_a_payment_counts_once() {
    let both: [(DepositRule, Claims, TrackRecord); 6] = [
        (FORFEIT, &[(70, 1), (110, 2)], session(3, 3, 0)),
        (FORFEIT, &[(50, 0), (70, 1), (110, 2)], session(3, 3, 0)),
        (FORFEIT, &[], session(1, 3, 1000)),
        (FORFEIT, &[(70, 1)], session(2, 3, 500)),
        (REFUND, &[], unpaid()),
        (REFUND, &[(40, 0)], session(1, 3, 1000)),
    ];
    let hashes_only: [(DepositRule, Claims, TrackRecord); 2] = [
        // The last one only: the others return.
        (FORFEIT, &[(100, 2)], session(2, 3, 500)),
        (REFUND, &[(100, 2)], session(1, 3, 1000)),
    ];
    let chain_only: [(DepositRule, Claims, TrackRecord); 2] = [
        (FORFEIT, &[(50, 2)], session(3, 3, 0)),
        // Link 2 gives away all before it, but the deposit has returned.
        (REFUND, &[(100, 2)], session(2, 3, 500)),
    ];
    for (deposit, claims, expected) in both.iter().chain(&hashes_only) {
        let what = format!("hashes, {deposit:?}, {claims:?}");
        assert_eq!(settled(&hashes(3), *deposit, claims), Some(*expected), "{what}");
    }
    for (deposit, claims, expected) in both.iter().chain(&chain_only) {
        let what = format!("chain, {deposit:?}, {claims:?}");
        assert_eq!(settled(&chain_locks(3), *deposit, claims), Some(*expected), "{what}");
    }
}

#[test]
fn h2_a_single_installment_tells_nothing() {
    for deposit in [FORFEIT, REFUND] {
        let claims: [Claims; 2] = [&[], &[(40, 0)]];
        for claims in claims {
            assert_eq!(settled(&hashes(1), deposit, claims), None, "{deposit:?}, {claims:?}");
        }
    }
    let (mut chain, request) = with_commitment();
    chain.act(at(4 * MINUTE), &alice(), open_with(request, |open| open.count = InstallmentCount::ONE));
    chain.pass(at(END));
    assert_eq!(record_of(&chain, &bob()), None);
}

#[test]
fn h5_what_is_cancelled_tells_nothing() {
    for locks in [hashes(3), chain_locks(3)] {
        let (mut chain, payment) = with_payment(locks, FORFEIT);
        chain.act(at(10 * MINUTE), &alice(), Action::Cancel(Cancel::Payment(payment)));
        chain.pass(at(END));
        assert_eq!(record_of(&chain, &bob()), None);
    }
    let (mut chain, channel) = with_channel();
    chain.act(at(10 * MINUTE), &alice(), Action::Cancel(Cancel::Channel(channel)));
    chain.pass(at(END));
    assert_eq!(record_of(&chain, &bob()), None);
}

#[test]
fn h5_single_locks_tell_nothing() {
    let mut chain = Chain::new();
    let claimed = chain.act(at(MINUTE), &alice(), lock_with(|_| {}));
    chain.act(at(2 * MINUTE), &alice(), lock_with(|_| {}));
    chain.act(at(3 * MINUTE), &bob(), claim_lock(claimed, preimage(1)));
    chain.pass(at(END));
    assert_eq!(record_of(&chain, &bob()), None);
}

/// Who posts and how many installments that state releases, a minute after the one before.
type Posts = &'static [(fn() -> KeyPair, u32)];

/// A channel of 10 in which these states are posted, until it pays out.
fn disputed(posts: Posts) -> TrackRecord {
    let (mut chain, channel) = with_channel();
    for (nth, (who, released)) in (0..).zip(posts) {
        let sender = who();
        let other = if sender.public_key() == alice().public_key() { bob() } else { alice() };
        let posted = state(&chain, &other, channel, *released);
        let action = if nth == 0 { force(channel, Some(posted)) } else { challenge(posted) };
        chain.act(at((70 + nth) * MINUTE), &sender, action);
    }
    assert_eq!(record_of(&chain, &bob()), None, "H1: not before the payout");
    chain.pass(at(END));
    record_of(&chain, &bob()).unwrap()
}

#[test]
fn h1_h3_a_channels_payout_counts_once() {
    // 9 installments after the deposit.
    for (released, shortfall) in [(1, 1000), (2, 889), (4, 667), (9, 112), (10, 0)] {
        let expected = session(released, 10, shortfall);
        let number = u32::try_from(released).unwrap();
        let (chain, channel) = with_channel();
        for (who, how) in [
            (bob(), close(state(&chain, &alice(), channel, number))),
            (alice(), close(closing(&chain, &bob(), channel, number))),
            (bob(), force(channel, Some(state(&chain, &alice(), channel, number)))),
        ] {
            let mut chain = chain.clone();
            chain.act(at(70 * MINUTE), &who, how);
            chain.pass(at(END));
            assert_eq!(record_of(&chain, &bob()), Some(expected), "{released} of 10");
        }
    }
    let (mut chain, _) = with_channel();
    chain.pass(at(END));
    assert_eq!(record_of(&chain, &bob()), Some(session(1, 10, 1000)), "nobody closes");
}

#[test]
fn h4_a_dispute_is_lost_to_somebody_elses_newer_state() {
    let lost: [Posts; 3] = [
        &[(bob, 3), (alice, 5)],
        // Twice in one channel is once.
        &[(bob, 3), (alice, 5), (bob, 6), (alice, 7)],
        &[(alice, 2), (bob, 3), (alice, 4)],
    ];
    let not_lost: [Posts; 4] =
        [&[(bob, 3)], &[(bob, 3), (bob, 5)], &[(alice, 1), (bob, 6)], &[(alice, 1), (bob, 6), (bob, 7)]];
    for posts in lost {
        assert_eq!(disputed(posts).disputes_lost, 1);
    }
    for posts in not_lost {
        assert_eq!(disputed(posts).disputes_lost, 0);
    }
    // Both signed that it ends with a newer one: they agree.
    let (mut chain, channel) = with_channel();
    chain.act(at(70 * MINUTE), &bob(), force(channel, Some(state(&chain, &alice(), channel, 3))));
    chain.act(at(71 * MINUTE), &alice(), close(closing(&chain, &bob(), channel, 5)));
    assert_eq!(record_of(&chain, &bob()), Some(session(5, 10, 556)));
}

/// A watchtower corrects a producer that forgot, and answers for one that is away.
#[test]
fn h4_somebody_else_is_a_third_party_too() {
    for (first, lost) in [(bob as fn() -> KeyPair, 1), (alice, 0)] {
        let (mut chain, channel) = with_channel();
        chain.act(at(70 * MINUTE), &first(), force(channel, None));
        let newest = both(&chain, channel, 6, false);
        chain.act(at(71 * MINUTE), &carol(), post(newest));
        chain.pass(at(END));
        let expected = TrackRecord { disputes_lost: lost, ..session(6, 10, 445) };
        assert_eq!(record_of(&chain, &bob()), Some(expected));
        assert_eq!(record_of(&chain, &carol()), None);
    }
}

/// Two sessions of one producer, and one of another, at the same time.
#[test]
fn h1_records_add_up_for_each_producer() {
    let mut chain = Chain::new();
    let sessions = [(alice(), bob(), 10), (carol(), bob(), 4), (alice(), carol(), 2)];
    let mut channels = Vec::new();
    for (consumer, producer, released) in &sessions {
        let request =
            chain.act(chain.next(), consumer, Action::PlaceRequest(a_request().try_into().unwrap()));
        let bid = Action::PlaceBid(PlaceBid::new(request, a_bid()).unwrap());
        chain.act(chain.next(), producer, bid);
        let commit = Action::Commit(Commit { commitment: preimage(1).lock() });
        chain.act(chain.next(), consumer, commit);
        let open = open_with(request, |open| open.producer = producer.public_key());
        channels.push((chain.act(chain.next(), consumer, open), consumer, producer, *released));
    }
    for (channel, consumer, producer, released) in channels {
        let newest = state(&chain, consumer, channel, released);
        chain.act(chain.next(), producer, close(newest));
    }
    let both = TrackRecord {
        completed: 1,
        broken_off: 1,
        installments_agreed: 20,
        installments_paid: 14,
        shortfall: 667,
        ..TrackRecord::default()
    };
    assert_eq!(record_of(&chain, &bob()), Some(both));
    assert_eq!(record_of(&chain, &carol()), Some(session(2, 10, 889)));
}

/// What the events of a chain come to, by the rules in the document and none of the ledger's code.
#[derive(Default)]
pub(crate) struct Tally {
    open: BTreeMap<TxRef, OpenSession>,
    pub(crate) records: BTreeMap<PublicKey, TrackRecord>,
}

struct OpenSession {
    producer: PublicKey,
    agreed: u64,
    paid: u64,
    posted_by: Option<PublicKey>,
    dispute_lost: bool,
}

impl Tally {
    /// Takes up the last block, and compares.
    pub(crate) fn check(&mut self, chain: &Chain) {
        for record in &chain.events {
            self.take(&record.event);
        }
        let in_state: BTreeMap<PublicKey, TrackRecord> = chain
            .state
            .iter()
            .filter_map(|(key, value)| match (key, value) {
                (StateKey::TrackRecord(producer), StateValue::TrackRecord(record)) => {
                    Some((*producer, *record))
                }
                _ => None,
            })
            .collect();
        assert_eq!(in_state, self.records);
        for record in in_state.values() {
            assert!(record.installments_paid + record.broken_off <= record.installments_agreed, "{record:?}");
            assert!(record.installments_paid >= record.completed + record.broken_off, "{record:?}");
            let bounds = record.broken_off..=1000 * record.broken_off;
            assert!(bounds.contains(&record.shortfall), "{record:?}");
        }
    }

    fn take(&mut self, event: &Event) {
        match *event {
            Event::PaymentLocked { payment: name, producer, installments, .. }
            | Event::ChannelOpened { channel: name, producer, installments, .. } => {
                let agreed = installments.get().into();
                let opened = OpenSession { producer, agreed, paid: 0, posted_by: None, dispute_lost: false };
                self.open.insert(name, opened);
            }
            Event::InstallmentsClaimed { payment, installments, .. } => {
                self.of(payment).paid += u64::from(installments);
            }
            Event::DepositForfeited { payment, .. } => self.of(payment).paid += 1,
            Event::ChannelPosted { channel, by, .. } => {
                let session = self.of(channel);
                let producer = Some(session.producer);
                session.dispute_lost |= session.posted_by == producer && Some(by) != producer;
                session.posted_by = Some(by);
            }
            Event::PaymentCancelled { payment: name, .. } | Event::ChannelCancelled { channel: name, .. } => {
                self.open.remove(&name);
            }
            Event::PaymentEnded { payment } => self.end(payment),
            Event::ChannelClosed { channel, released, .. } => {
                self.of(channel).paid = released.into();
                self.end(channel);
            }
            _ => {}
        }
    }

    fn of(&mut self, name: TxRef) -> &mut OpenSession {
        self.open.get_mut(&name).expect("an open session")
    }

    fn end(&mut self, name: TxRef) {
        let OpenSession { producer, agreed, paid, dispute_lost, .. } = self.open.remove(&name).unwrap();
        if agreed == 1 {
            return;
        }
        let record = self.records.entry(producer).or_default();
        record.disputes_lost += u64::from(dispute_lost);
        if paid == 0 {
            record.unpaid += 1;
            return;
        }
        if paid == agreed {
            record.completed += 1;
        } else {
            record.broken_off += 1;
        }
        record.installments_agreed += agreed;
        record.installments_paid += paid;
        record.shortfall += ((agreed - paid) * 1000).div_ceil(agreed - 1);
    }
}
