//! Goal: the producer serves exactly whom it should (O1 to O7, in this order), recovery refuses what is
//! not one session's records, and the decision functions decide as documented.
//!
//! Method: tables. For `Open`, one agreement in order, and for each check the change that breaks it,
//! together with a change that breaks a later one.

use crate::deal::{ALL_KINDS, Deal, END, KINDS, PRICE, START, Shape, reference};
use crate::world::{World, at_start};
use evchain_protocol::crypto::{Preimage, PublicKey};
use evchain_protocol::payment::{DepositRule, InstallmentCount};
use evchain_protocol::primitives::{Amount, Position, Span, Timestamp};
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Offer, Weights};
use evchain_protocol::session::{
    ConsumerInput, ConsumerOutput, ConsumerPolicy, ConsumerRecord, ConsumerSession, EndReason, Message,
    OnChain, PaymentKind, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord, ProducerSession,
    RecoverError, RejectReason, Settlement, StopReason, check_open,
};
use evchain_protocol::state::auction::PaymentKinds;
use evchain_protocol::state::channel::PostedState;
use evchain_protocol::state::payment::HashLocks;

type Change = fn(&mut Deal, &mut Timestamp);

/// When a deposit with the rule `refund` returns.
const T_MAX: Timestamp = Timestamp::new(START.get() - 100_000);

fn answer(shape: Shape, changes: &[Change]) -> Result<(), RejectReason> {
    let mut deal = Deal::new(shape);
    let mut now = START;
    let remote = deal.consumer.public_key();
    for change in changes {
        change(&mut deal, &mut now);
    }
    let own = deal.producer.public_key();
    check_open(own, remote, &deal.open, &deal.facts, &ProducerPolicy::default(), now).map(|_| ())
}

fn settle_deposit(deal: &mut Deal) {
    if let Some(OnChain::Installments(payment)) = &mut deal.facts.payment {
        match &mut payment.locks {
            HashLocks::Chain(lock) => lock.settled = 1,
            HashLocks::Hashes(hashes) => {
                let mut locks = hashes.to_vec();
                locks[0] = None;
                *hashes = evchain_protocol::codec::List::new(locks).unwrap();
            }
        }
    }
}

#[test]
fn open_is_checked_in_the_order_of_its_lines() {
    let early = Timestamp::new(START.get() - 300_000);
    let table: [(RejectReason, Change); 12] = [
        (RejectReason::OtherProducer, |deal, _| deal.open.opening.producer = PublicKey::from_bytes([4; 32])),
        (RejectReason::OtherConsumer, |deal, _| deal.open.opening.consumer = PublicKey::from_bytes([4; 32])),
        (RejectReason::InUse, |deal, _| deal.facts.served = true),
        (RejectReason::NoRequest, |deal, _| deal.facts.request = None),
        (RejectReason::NoBid, |deal, _| deal.facts.bid = None),
        (RejectReason::OtherPrice, |deal, _| deal.open.opening.price = Amount::new(1)),
        (RejectReason::WrongCommitment, |deal, _| deal.open.opening.secret = Preimage::from_bytes([4; 32])),
        (RejectReason::TooEarly(early), |_, now| *now = Timestamp::new(START.get() - 300_001)),
        (RejectReason::TooLate(END), |_, now| *now = END),
        (RejectReason::NoPayment, |deal, _| deal.facts.payment = None),
        (RejectReason::OtherPayment, |deal, _| match &mut deal.facts.payment {
            Some(OnChain::Installments(payment)) => payment.request = reference(9),
            Some(OnChain::Channel(channel)) => channel.request = reference(9),
            None => {}
        }),
        (RejectReason::NotOffered, |deal, _| {
            deal.facts.bid.iter_mut().for_each(|bid| bid.kinds = PaymentKinds::NONE);
        }),
    ];
    for kind in KINDS {
        let shape = Shape::new(kind, 10);
        assert_eq!(answer(shape, &[]), Ok(()), "{kind:?}");
        for (place, (reason, change)) in table.iter().enumerate() {
            assert_eq!(answer(shape, &[*change]), Err(*reason), "{kind:?}");
            for (later_reason, later) in &table[place + 1..] {
                // The two moments exclude each other.
                if !matches!((reason, later_reason), (RejectReason::TooEarly(_), RejectReason::TooLate(_))) {
                    assert_eq!(
                        answer(shape, &[*change, *later]),
                        Err(*reason),
                        "{kind:?} before {later_reason}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_bid_that_fell_after_the_choice_is_served_at_the_lower_price() {
    let higher = Amount::new(PRICE.get() + 1);
    for kind in ALL_KINDS {
        let deal = Deal::new(Shape { chosen_at: higher, ..Shape::new(kind, 10) });
        let on_chain = deal.facts.bid.as_ref().map(|bid| bid.price);
        assert_eq!((deal.open.opening.price, on_chain), (higher, Some(PRICE)), "{kind:?}");
        assert_eq!(deal.terms.plan.price, PRICE, "{kind:?}");
        let begin = if kind == PaymentKind::Single { Timestamp::new(START.get() - 290_000) } else { START };
        let mut world = World::new(deal, begin);
        world.run();
        world.assert_complete(&format!("{kind:?}"));
        // A bid does not rise; a consumer that opens less than the bid has never seen that.
        let dearer: Change = |deal, _| deal.facts.bid.as_mut().unwrap().price = Amount::new(PRICE.get() + 2);
        assert_eq!(
            answer(Shape { chosen_at: higher, ..Shape::new(kind, 10) }, &[dearer]),
            Err(RejectReason::OtherPrice)
        );
    }
}

#[test]
fn open_needs_a_payment_of_the_named_kind_and_parties() {
    for kind in KINDS {
        let shape = Shape::new(kind, 10);
        let few: Change = |deal, _| deal.facts.bid.as_mut().unwrap().max_installments = InstallmentCount::ONE;
        assert_eq!(answer(shape, &[few]), Err(RejectReason::NotOffered));
        let stranger: Change = |deal, _| match deal.facts.payment.as_mut().unwrap() {
            OnChain::Installments(payment) => payment.producer = PublicKey::from_bytes([4; 32]),
            OnChain::Channel(channel) => channel.producer = PublicKey::from_bytes([4; 32]),
        };
        assert_eq!(answer(shape, &[stranger]), Err(RejectReason::OtherPayment));
        let other_kind: Change = |deal, _| {
            deal.open.kind = match deal.open.kind {
                PaymentKind::Hashes => PaymentKind::Chain,
                PaymentKind::Chain => PaymentKind::Channel,
                PaymentKind::Channel => PaymentKind::Single,
                PaymentKind::Single => PaymentKind::Hashes,
            };
        };
        assert_eq!(answer(shape, &[other_kind]), Err(RejectReason::OtherPayment), "{kind:?}");
    }
}

#[test]
fn open_needs_a_payment_that_can_still_be_collected() {
    let settled: Change = |deal, _| settle_deposit(deal);
    for kind in [PaymentKind::Hashes, PaymentKind::Chain] {
        // Forfeited: it went to the producer.
        assert_eq!(answer(Shape::new(kind, 10), &[settled]), Ok(()));
        let lead = ProducerPolicy::default().claim_lead;
        let shape = Shape { deposit: DepositRule::Refund(T_MAX), ..Shape::new(kind, 10) };
        let in_time: Change = |deal, now| {
            *now = T_MAX.before(ProducerPolicy::default().claim_lead);
            deal.facts.time = *now;
        };
        assert!(T_MAX.before(lead) > START.before(ProducerPolicy::default().early_tolerance));
        assert_eq!(answer(shape, &[in_time]), Ok(()));
        assert_eq!(answer(shape, &[in_time, settled]), Err(RejectReason::DepositLate));
        let late: Change = |_, now| *now = now.after(Span::new(1)).unwrap();
        assert_eq!(answer(shape, &[in_time, late]), Err(RejectReason::DepositLate));
        // The chain may know a later time than the own clock.
        let ahead: Change = |deal, _| deal.facts.time = deal.facts.time.after(Span::new(1)).unwrap();
        assert_eq!(answer(shape, &[in_time, ahead]), Err(RejectReason::DepositLate));
    }
    let posted: Change = |deal, _| {
        if let Some(OnChain::Channel(channel)) = &mut deal.facts.payment {
            channel.posted = Some(PostedState { released: 1, until: END, by: channel.consumer });
        }
    };
    let short: Change = |deal, _| {
        if let Some(OnChain::Channel(channel)) = &mut deal.facts.payment {
            channel.deadline = END;
        }
    };
    for change in [posted, short] {
        assert_eq!(answer(Shape::new(PaymentKind::Channel, 10), &[change]), Err(RejectReason::ChannelEnding));
    }
}

#[test]
fn an_open_that_is_repeated_hears_again_of_a_channels_deposit() {
    for count in [1, 2] {
        let deal = Deal::new(Shape::new(PaymentKind::Channel, count));
        let (key, remote, policy) =
            (deal.producer.clone(), deal.consumer.public_key(), ProducerPolicy::default());
        let mut out = Vec::new();
        let mut session =
            ProducerSession::open(key, remote, &deal.open, &deal.facts, policy, START, &mut out).unwrap();
        let mut said = |input: ProducerInput| {
            let mut out = Vec::new();
            session.step(START, input, &mut out).unwrap();
            out.retain(|output| matches!(output, ProducerOutput::Send(_)));
            out
        };
        let accept = || ProducerOutput::Send(Message::Accept(policy.claim_lead));
        assert_eq!(said(ProducerInput::Message(Message::Open(deal.open))), [accept()], "N = {count}");
        said(ProducerInput::ChainTime(START));
        let delivered = said(ProducerInput::Metered(deal.terms.energy));
        assert!(matches!(delivered[..], [ProducerOutput::Send(Message::Delivered(_))]), "N = {count}");
        let again = [accept(), delivered[0].clone()];
        assert_eq!(said(ProducerInput::Message(Message::Open(deal.open))), again, "N = {count}");
        // Who has ended accepts nobody.
        said(ProducerInput::Message(Message::Stop(StopReason::Requested)));
        if count > 1 {
            assert!(session.step(START, ProducerInput::Message(Message::Open(deal.open)), &mut out).is_err());
        }
    }
}

#[test]
fn recovery_refuses_records_that_are_not_one_session() {
    for kind in KINDS {
        let mut world = at_start(Deal::new(Shape::new(kind, 4)));
        world.run();
        let mut out = Vec::new();
        let consumer = |records: &[ConsumerRecord]| {
            let key = world.deal.consumer.clone();
            ConsumerSession::recover(key, ConsumerPolicy::default(), records, START, &mut Vec::new()).err()
        };
        let mut producer = |records: &[ProducerRecord]| {
            let key = world.deal.producer.clone();
            ProducerSession::recover(key, ProducerPolicy::default(), records, START, &mut out).err()
        };
        let (theirs, ours) = (&world.consumer_disk, &world.producer_disk);
        assert_eq!(consumer(theirs), None);
        assert_eq!(producer(ours), None);
        assert_eq!(consumer(&[]), Some(RecoverError::Empty));
        assert_eq!(producer(&[]), Some(RecoverError::Empty));
        assert_eq!(consumer(&theirs[1..]), Some(RecoverError::OutOfPlace(0)));
        assert_eq!(producer(&ours[1..]), Some(RecoverError::OutOfPlace(0)));
        let mut gap = theirs.clone();
        gap.remove(1);
        assert_eq!(consumer(&gap), Some(RecoverError::OutOfPlace(1)));
        let mut twice = ours.clone();
        twice.insert(1, twice[1].clone());
        assert_eq!(producer(&twice), Some(RecoverError::OutOfPlace(2)));
        let again = [ours.as_slice(), &[ProducerRecord::Ended(EndReason::Completed)]].concat();
        assert_eq!(producer(&again), Some(RecoverError::OutOfPlace(ours.len())));
    }
}

#[test]
fn a_cancel_that_comes_too_late_ends_as_if_it_was_not_tried() {
    for kind in KINDS {
        let deal = Deal::new(Shape { cancel_by: START, ..Shape::new(kind, 4) });
        let before = Timestamp::new(START.get() - 1);
        let mut out = Vec::new();
        let policy = ConsumerPolicy::default();
        let mut session = ConsumerSession::new(deal.consumer.clone(), deal.beginning(), policy, &mut out);
        session.step(before, ConsumerInput::Connected, &mut out).unwrap();
        let reject = ConsumerInput::Message(Message::Reject(RejectReason::NoBid));
        session.step(before, reject, &mut out).unwrap();
        assert_eq!(out.last(), Some(&ConsumerOutput::Settle(Settlement::Cancel)), "{kind:?}");
        let at = session.deadline().unwrap();
        session.step(at, ConsumerInput::Timeout, &mut out).unwrap();
        match kind {
            PaymentKind::Channel => {
                assert_eq!(out.last(), Some(&ConsumerOutput::Settle(Settlement::ForceClose(None))));
                assert!(!session.is_over(), "the channel is not closed yet");
            }
            _ => assert!(session.is_over(), "{kind:?}: the locks return by themselves"),
        }
    }
}

fn offer(key: u8, price: u64, metres: u64, placed: u32) -> Offer {
    Offer {
        producer: PublicKey::from_bytes([key; 32]),
        price: Amount::new(price),
        distance: Distance::new(metres),
        doubt: Doubt::NEWCOMER,
        placed: reference(placed),
    }
}

#[test]
fn the_consumer_weighs_price_against_way_and_breaks_ties_by_rule() {
    let choice = Choice {
        price_per_km: Amount::new(100),
        weights: Weights::default(),
        max_distance: Distance::new(20_000),
        max_price: Amount::new(9_000),
        max_doubt: Doubt::MAX,
    };
    let best_by = |choice: Choice, offers: &[Offer]| {
        let forward = choice.best(offers).copied();
        let backward = choice.best(offers.iter().rev()).copied();
        assert_eq!(forward, backward, "the order of offers matters");
        forward.map(|offer| offer.producer.as_bytes()[0])
    };
    let best = |offers: &[Offer]| best_by(choice, offers);
    // 5000 + 10 km * 100 against 5500 + 4 km * 100.
    assert_eq!(best(&[offer(1, 5_000, 10_000, 1), offer(2, 5_500, 4_000, 2)]), Some(2));
    assert_eq!(best(&[offer(1, 5_000, 8_999, 1), offer(2, 5_500, 4_000, 2)]), Some(1));
    // Equal costs: the cheaper, then the earlier, then the smaller key.
    assert_eq!(best(&[offer(1, 5_000, 9_000, 2), offer(2, 5_500, 4_000, 1)]), Some(1));
    assert_eq!(best(&[offer(1, 5_000, 9_000, 2), offer(2, 5_000, 9_000, 1)]), Some(2));
    assert_eq!(best(&[offer(2, 5_000, 9_000, 1), offer(1, 5_000, 9_000, 1)]), Some(1));
    // Out of reach, or too dear.
    assert_eq!(best(&[offer(1, 1, 20_001, 1), offer(2, 9_001, 1, 1)]), None);
    assert_eq!(best(&[offer(1, 1, 20_000, 1)]), Some(1));
    assert_eq!(best(&[]), None);
    // 5000 at 10 km, 5500 at 4 km, 8000 at 1 km: by equal weights, price alone, way alone, way thrice.
    let three = [offer(1, 5_000, 10_000, 1), offer(2, 5_500, 4_000, 2), offer(3, 8_000, 1_000, 3)];
    for (price, distance, winner) in [(1, 1, 2), (1, 0, 1), (0, 1, 3), (2, 1, 1), (1, 9, 3)] {
        let weights = Weights { price, distance, record: 0 };
        assert_eq!(best_by(Choice { weights, ..choice }, &three), Some(winner), "{weights:?}");
    }
}

/// The great circle on the same sphere, by the haversine formula.
fn great_circle(a: Position, b: Position) -> f64 {
    let radians = |e7: i32| (f64::from(e7) / 1e7).to_radians();
    let (north_a, north_b) = (radians(a.latitude_e7), radians(b.latitude_e7));
    let east = radians(b.longitude_e7) - radians(a.longitude_e7);
    let h = ((north_b - north_a) / 2.0).sin().powi(2)
        + north_a.cos() * north_b.cos() * (east / 2.0).sin().powi(2);
    2.0 * 6_371_000.0 * h.sqrt().asin()
}

#[test]
fn distances_keep_the_documented_bound() {
    let mut farthest: f64 = 0.0;
    for latitude in (-700_000_000..=700_000_000).step_by(17_370_001) {
        for longitude in [-1_799_000_000, -300_000_000, 0, 130_550_000, 1_799_500_000] {
            for (north, east) in
                [(0, 9_000), (9_000, 0), (1_000_000, 2_000_000), (-8_000_000, 5_000_000), (3, -4)]
            {
                let a = Position { latitude_e7: latitude, longitude_e7: longitude };
                let mut b = Position { latitude_e7: latitude + north, longitude_e7: longitude + east };
                if b.latitude_e7.abs() > 700_000_000 {
                    continue;
                }
                if b.longitude_e7 > 1_800_000_000 {
                    b.longitude_e7 = i32::try_from(i64::from(b.longitude_e7) - 3_600_000_000).unwrap();
                }
                #[allow(clippy::cast_precision_loss)] // metres on the earth
                let (got, exact) = (Distance::between(a, b).get() as f64, great_circle(a, b));
                farthest = farthest.max(exact);
                assert!((got - exact).abs() <= exact * 0.001 + 2.0, "{a:?} to {b:?}: {got} for {exact}");
                assert_eq!(Distance::between(a, b), Distance::between(b, a));
            }
        }
    }
    assert!(farthest > 100_000.0);
    assert_eq!(Span::ZERO.get(), Distance::between(position(5), position(5)).get());
}

const fn position(e7: i32) -> Position {
    Position { latitude_e7: e7, longitude_e7: e7 }
}
