//! Goal: what is promised is what there is, by each policy of P18 4.2.
//! Method: promises step by step; then many random ones, whose connectors are counted at every moment.

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Energy, Height, Span, Timestamp, TxRef, Window};
use proptest::prelude::*;

use super::{NoRoom, Slot, Slots};
use crate::agents::producer::{ProducerTariff, Reservation};

fn slots(reservation: Reservation, connectors: u16, energy: Option<u64>) -> Slots {
    let example = ProducerTariff::from_toml(ProducerTariff::EXAMPLE).expect("a tariff");
    let early_tolerance = Span::new(10);
    let energy = energy.map(Energy::new);
    Slots::new(&ProducerTariff { connectors, energy, reservation, early_tolerance, ..example })
}

fn name(number: u64) -> TxRef {
    TxRef::new(Height::new(number), 0).expect("a name")
}

fn slot(start: u64, end: u64) -> Slot {
    let window = Window { start: Timestamp::new(start), end: Timestamp::new(end) };
    Slot { consumer: PublicKey::from_bytes([7; 32]), window, energy: Energy::new(5) }
}

#[test]
fn an_exclusive_bid_keeps_a_connector_until_it_is_decided_or_expires() {
    let mut slots = slots(Reservation::Exclusive, 1, None);
    slots.bid(name(1), slot(100, 200));
    assert_eq!(slots.room(slot(199, 300)), Err(NoRoom::Held));
    // Who comes as early as allowed needs the connector then.
    assert_eq!(slots.room(slot(209, 300)), Err(NoRoom::Held));
    assert_eq!(slots.room(slot(210, 300)), Ok(()));
    // Another was paid.
    assert!(slots.lose(name(1)) && !slots.lose(name(1)));
    assert_eq!(slots.room(slot(199, 300)), Ok(()));
    // This one was paid: the window is sold until its end.
    slots.bid(name(2), slot(100, 200));
    assert_eq!(slots.request_of(slot(100, 200).consumer), Some(name(2)));
    slots.sell(name(9), name(2), slot(100, 200));
    assert_eq!(slots.request_of(slot(100, 200).consumer), None);
    assert!(!slots.expire(Timestamp::new(199)));
    assert_eq!(slots.room(slot(150, 300)), Err(NoRoom::Sold));
    assert!(slots.expire(Timestamp::new(200)));
    assert_eq!(slots.room(slot(150, 300)), Ok(()));
    // Nobody was paid when the window began.
    slots.bid(name(3), slot(300, 400));
    assert!(!slots.expire(Timestamp::new(299)) && slots.expire(Timestamp::new(300)));
    assert_eq!(slots.bid_for(name(3)), None);
    // Taken back before the window.
    slots.sell(name(10), name(4), slot(500, 600));
    assert_eq!(slots.room(slot(500, 600)), Err(NoRoom::Sold));
    assert!(slots.cancel(name(10)) && !slots.cancel(name(10)));
    assert_eq!(slots.room(slot(500, 600)), Ok(()));
}

#[test]
fn an_overbooking_producer_bids_until_its_connectors_are_sold() {
    let mut slots = slots(Reservation::Overbook, 1, None);
    slots.bid(name(1), slot(100, 200));
    assert_eq!(slots.room(slot(100, 200)), Ok(()));
    slots.sell(name(9), name(1), slot(100, 200));
    assert_eq!(slots.room(slot(199, 200)), Err(NoRoom::Sold));
    assert_eq!(slots.room(slot(200, 300)), Ok(()));
}

#[test]
fn energy_is_promised_once() {
    let mut slots = slots(Reservation::Exclusive, 9, Some(10));
    slots.bid(name(1), slot(100, 200));
    slots.sell(name(9), name(2), slot(500, 600));
    let sold_out = NoRoom::Energy { promised: Energy::new(10), all: Energy::new(10), asked: Energy::new(5) };
    assert_eq!(slots.room(slot(700, 800)), Err(sold_out));
    assert!(slots.lose(name(1)));
    assert_eq!(slots.room(slot(700, 800)), Ok(()));
    // What was delivered is gone.
    slots.expire(Timestamp::new(1_000));
    slots.bid(name(3), slot(2_000, 3_000));
    assert_eq!(slots.room(slot(4_000, 5_000)), Err(sold_out));
}

proptest! {
    /// However bids, payments and losses come, an exclusive producer never needs more connectors
    /// than it has, not even if everybody comes as early as allowed.
    #[test]
    fn nobody_finds_a_connector_taken(
        connectors in 1_u16..4,
        steps in prop::collection::vec((0_u64..300, 1_u64..80, 0_u8..3), 1..60),
    ) {
        let mut slots = slots(Reservation::Exclusive, connectors, None);
        for (number, (start, length, fate)) in (1..).zip(steps) {
            let slot = slot(20 + start, 20 + start + length);
            if slots.room(slot).is_err() {
                continue;
            }
            slots.bid(name(number), slot);
            match fate {
                0 => slots.sell(name(1_000 + number), name(number), slot),
                1 => prop_assert!(slots.lose(name(number))),
                _ => {}
            }
        }
        let promised: Vec<Slot> = slots.sold.values().chain(slots.bids.values()).copied().collect();
        for moment in 0..420 {
            let busy = |slot: &&Slot| (slot.window.start.get() - 10..slot.window.end.get()).contains(&moment);
            prop_assert!(promised.iter().filter(busy).count() <= usize::from(connectors), "at {}", moment);
        }
    }
}
