//! Goal: an order whose installments or meters could hide more than one installment is refused, with what to do.
//! Method: orders at both sides of each limit.

use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Timestamp, Window};
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Weights};

use super::ChargeOrder;

const NOW: Timestamp = Timestamp::new(1_800_000_000_000);

/// An order as it is made without any option, in the middle of nowhere.
pub(in crate::agents::consumer) fn order(window: Window, energy: Energy) -> ChargeOrder {
    let choice = Choice {
        price_per_km: Amount::ZERO,
        weights: Weights::default(),
        max_distance: Distance::new(1),
        max_price: Amount::new(1),
        max_doubt: Doubt::MAX,
    };
    let position = Position { latitude_e7: 0, longitude_e7: 0 };
    ChargeOrder::new(RegionId::new(1), window, energy, position, choice)
}

/// What is said against an order for so much energy in so many installments, by meters like that.
fn refusal(energy_wh: u64, installments: u32, tolerance_permille: u16) -> Option<String> {
    let window =
        Window { start: Timestamp::new(NOW.get() + 60_000), end: Timestamp::new(NOW.get() + 120_000) };
    let order = ChargeOrder {
        installments: InstallmentCount::new(installments).expect("a number"),
        ..order(window, Energy::new(energy_wh))
    };
    order.check(NOW, tolerance_permille).err().map(|error| error.to_string())
}

#[test]
fn meters_may_not_hide_more_than_one_installment() {
    for (installments, tolerance) in [(100, 10), (1000, 1), (1000, 0), (1, 1000)] {
        assert_eq!(refusal(20_000, installments, tolerance), None, "{installments}, {tolerance}");
    }
    let said = refusal(20_000, 101, 10).expect("a refusal");
    assert!(said.contains("at most 100 (--installments)") && said.contains("at most 9 per mille"), "{said}");
    let said = refusal(20_000, 1000, 2).expect("a refusal");
    assert!(said.contains("at most 500 (--installments)") && said.contains("at most 1 per mille"), "{said}");
}

#[test]
fn an_installment_carries_a_watt_hour() {
    assert_eq!(refusal(100, 100, 10), None);
    let said = refusal(99, 100, 10).expect("a refusal");
    assert!(said.contains("ask for at most 99 installments"), "{said}");
}
