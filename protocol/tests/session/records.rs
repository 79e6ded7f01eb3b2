//! Goal: what a session leaves in the producer's track record, and what a consumer makes of it (P21 IV-A).
//!
//! Method: both machines on the real ledger, with a producer or a consumer that goes after so many
//! installments, or does not come; then doubt and choice on the records that came of it.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::Amount;
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Offer, Weights};
use evchain_protocol::session::{Message, PaymentKind};
use evchain_protocol::state::record::TrackRecord;

use crate::bank::Side;
use crate::deal::{Deal, END, KINDS, Shape, T_MAX, reference};
use crate::world::{World, at_start};

/// A session whose producer takes no notice of installment `last` and of what follows.
fn left_at(kind: PaymentKind, count: u32, last: u32) -> TrackRecord {
    let mut world = at_start(Deal::new(Shape::new(kind, count)));
    let mut is_gone = false;
    world.tamper = Some(Box::new(move |side, message| {
        is_gone |= matches!(message, Message::Release(release) if release.index >= last);
        (is_gone && side == Side::Producer).then(Vec::new)
    }));
    world.run();
    world.assert_risk_bounds("the producer leaves");
    world.bank.record().unwrap()
}

fn session_of(world: &World) -> Option<TrackRecord> {
    world.assert_risk_bounds("a session");
    world.bank.record()
}

#[test]
fn the_outcome_of_a_session_is_in_the_record() {
    for kind in KINDS {
        let mut honest = at_start(Deal::new(Shape::new(kind, 10)));
        honest.run();
        let record = session_of(&honest).unwrap();
        assert_eq!((record.completed, record.broken_off, record.shortfall), (1, 0, 0), "{kind:?}");
        assert_eq!((record.installments_paid, record.installments_agreed), (10, 10), "{kind:?}");

        // The consumer has released 0 to 4 when it sees that nothing comes for the last of them.
        let record = left_at(kind, 10, 4);
        assert_eq!((record.completed, record.broken_off), (0, 1), "{kind:?}");
        assert_eq!((record.installments_paid, record.shortfall), (5, 556), "{kind:?}");

        // Neither side's absence shows as whose it was.
        let mut no_show = World::new(Deal::new(Shape::new(kind, 10)), END);
        no_show.run();
        let record = session_of(&no_show).unwrap();
        assert_eq!((record.broken_off, record.installments_paid, record.shortfall), (1, 1, 1000), "{kind:?}");
    }
    // With `refund` nobody pays for an absence, and the record gives no doubt for it.
    let shape = Shape { deposit: DepositRule::Refund(T_MAX), ..Shape::new(PaymentKind::Chain, 10) };
    let mut refunded = World::new(Deal::new(shape), END);
    refunded.run();
    let record = session_of(&refunded).unwrap();
    assert_eq!(record, TrackRecord { unpaid: 1, ..TrackRecord::default() });
    assert_eq!(Doubt::of(&record), Doubt::NEWCOMER);
}

#[test]
fn single_installments_and_single_locks_are_not_in_the_record() {
    for (kind, count) in [(PaymentKind::Chain, 1), (PaymentKind::Channel, 1), (PaymentKind::Single, 10)] {
        let mut world = at_start(Deal::new(Shape::new(kind, count)));
        world.run();
        world.assert_complete("honest");
        assert_eq!(session_of(&world), None, "{kind:?}");
    }
}

fn record(completed: u64, broken_off: u64, shortfall: u64, disputes_lost: u64) -> TrackRecord {
    TrackRecord { completed, broken_off, shortfall, disputes_lost, ..TrackRecord::default() }
}

#[test]
fn doubt_is_the_mean_shortfall_with_a_prior() {
    let table = [
        (record(0, 0, 0, 0), 250),
        (record(1, 0, 0, 0), 200),
        (record(4, 0, 0, 0), 125),
        (record(96, 0, 0, 0), 10),
        (record(997, 0, 0, 0), 0),
        // A session that ends early, the more so the earlier.
        (record(0, 1, 112, 0), 222),
        (record(0, 1, 556, 0), 311),
        (record(0, 1, 1000, 0), 400),
        (record(0, 12, 12_000, 0), 812),
        (record(12, 12, 12_000, 0), 464),
        (record(12, 0, 0, 1), 117),
        (record(0, 0, 0, 6), 700),
        (record(u64::MAX, u64::MAX, u64::MAX, u64::MAX), 500),
    ];
    for (record, doubt) in table {
        assert_eq!(Doubt::of(&record).get(), doubt, "{record:?}");
        let unpaid = TrackRecord { unpaid: 99, ..record };
        assert_eq!(Doubt::of(&unpaid).get(), doubt, "unpaid sessions do not count");
    }
    assert_eq!(Doubt::of(&TrackRecord::default()), Doubt::NEWCOMER);
}

fn offer(key: u8, price: u64, record: &TrackRecord) -> Offer {
    Offer {
        producer: PublicKey::from_bytes([key; 32]),
        price: Amount::new(price),
        distance: Distance::new(1_000),
        doubt: Doubt::of(record),
        placed: reference(key.into()),
    }
}

#[test]
fn a_consumer_that_weighs_records_leaves_who_left_others() {
    let choice = |record, max_doubt| Choice {
        price_per_km: Amount::new(100),
        weights: Weights { record, ..Weights::default() },
        max_distance: Distance::new(20_000),
        max_price: Amount::new(9_000),
        max_doubt,
    };
    let best_of = |choice: Choice, offers: &[Offer]| {
        let forward = choice.best(offers).copied();
        assert_eq!(forward, choice.best(offers.iter().rev()).copied(), "the order of offers matters");
        forward.map(|offer| offer.producer.as_bytes()[0])
    };
    let left = left_at(PaymentKind::Channel, 10, 1);
    assert_eq!(Doubt::of(&left).get(), 377);
    let (good, newcomer) = (record(10, 0, 0, 0), TrackRecord::default());
    // Doubts of 377, 250 and 71 per mille of the price.
    let three = [offer(1, 4_000, &left), offer(2, 4_300, &newcomer), offer(3, 4_800, &good)];
    for (weight, winner) in [(0, 1), (1, 3), (9, 3)] {
        assert_eq!(best_of(choice(weight, Doubt::MAX), &three), Some(winner), "weight {weight}");
    }
    // 4000 * 1.377 = 5508, and 5143 * 1.071 = 5508.153.
    let even = |price| [offer(1, 4_000, &left), offer(3, price, &good)];
    assert_eq!(best_of(choice(1, Doubt::MAX), &even(5_142)), Some(3));
    assert_eq!(best_of(choice(1, Doubt::MAX), &even(5_143)), Some(1));
    assert_eq!(choice(1, Doubt::MAX).cost(&offer(1, 4_000, &left)), Some(4_000_000 + 100_000 + 1_508_000));
    // A bound, whatever the weights.
    assert_eq!(best_of(choice(0, Doubt::new(376)), &three), Some(2));
    assert_eq!(best_of(choice(0, Doubt::new(377)), &three), Some(1));
    assert_eq!(best_of(choice(0, Doubt::new(70)), &three), None);
    // Ties as ever: of equal costs the cheaper, then the one placed first.
    let equal = [offer(1, 4_000, &good), offer(2, 4_000, &good)];
    assert_eq!(best_of(choice(1, Doubt::MAX), &equal), Some(1));
    let doubtful = Offer { doubt: Doubt::new(1_000), ..offer(1, 2_000, &good) };
    let sure = Offer { doubt: Doubt::new(0), ..offer(2, 4_000, &good) };
    assert_eq!(best_of(choice(1, Doubt::MAX), &[doubtful, sure]), Some(1), "2000 + 2000 against 4000");
}

/// A late consumer, a full battery and a broken charger look the same: the record tells how much was
/// paid, and not why the rest was not.
#[test]
fn a_consumer_that_goes_early_leaves_the_same_record() {
    let mut world = at_start(Deal::new(Shape::new(PaymentKind::Channel, 10)));
    world.run_until(|world| world.flowed >= 4_500);
    world.disconnect(u64::from(u32::MAX));
    world.run();
    assert_eq!(session_of(&world), Some(left_at(PaymentKind::Channel, 10, 4)));
}
