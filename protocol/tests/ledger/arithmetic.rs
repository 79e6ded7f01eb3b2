//! Goal: amounts, deadlines and hash chains of installments. Method: hand-computed tables, and
//! properties over random prices, numbers and windows.

use evchain_protocol::crypto::Hash;
use evchain_protocol::hash_chain::{HashChain, anchor_from, step};
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan, MAX_INSTALLMENTS};
use evchain_protocol::primitives::{Amount, Energy, Span, Timestamp, Window};
use evchain_protocol::text::{Text, TextError};
use proptest::prelude::*;

use crate::chain::{count, money, preimage};
use crate::values;

#[test]
fn installments_by_hand() {
    for (price, n, expected) in [
        (10, 3, vec![3, 3, 4]),
        (1003, 10, vec![100, 100, 100, 101, 100, 100, 101, 100, 100, 101]),
        (2, 4, vec![0, 1, 0, 1]),
        (7, 1, vec![7]),
    ] {
        let amounts: Vec<u64> = (0..n).map(|k| count(n).money_of(money(price), k).get()).collect();
        assert_eq!(amounts, expected, "{price} in {n}");
    }
    assert_eq!(count(3).energy_released(Energy::new(10), 2), Energy::new(6));
    assert_eq!(count(1024).money_released(Amount::MAX, 1024), Amount::MAX);
    assert!(InstallmentCount::new(0).is_err());
    assert!(InstallmentCount::new(MAX_INSTALLMENTS + 1).is_err());
}

#[test]
fn deadlines_by_hand() {
    let window = Window { start: Timestamp::new(1000), end: Timestamp::new(1010) };
    let mut plan = InstallmentPlan {
        price: money(100),
        count: count(3),
        window,
        deposit: DepositRule::Forfeit,
        claim_margin: Span::new(5),
    };
    // 10/3 and 20/3 rounded up, and the margin.
    let deadlines = |plan: &InstallmentPlan| [0, 1, 2].map(|k| plan.deadline(k).get());
    assert_eq!(deadlines(&plan), [1000, 1012, 1015]);
    plan.deposit = DepositRule::Refund(Timestamp::new(900));
    assert_eq!(deadlines(&plan), [900, 1012, 1015]);
    let whole = InstallmentPlan { count: count(1), deposit: DepositRule::Forfeit, ..plan };
    assert_eq!(whole.deadline(0).get(), 1010, "I5: the deposit is all there is");
}

#[test]
fn hash_chain_by_hand() {
    let chain = HashChain::new(preimage(9), count(3));
    let seed = preimage(9);
    assert_eq!(chain.link(2), Some(seed));
    assert_eq!(chain.link(1), Some(step(seed)));
    assert_eq!(chain.link(0), Some(step(step(seed))));
    assert_eq!(chain.anchor(), step(step(seed)).lock());
    assert_eq!(chain.link(3), None);
    for index in 0..3 {
        assert_eq!(anchor_from(chain.link(index).unwrap(), index), chain.anchor());
        assert_ne!(anchor_from(chain.link(index).unwrap(), index + 1), chain.anchor());
    }
}

#[test]
fn texts_are_short_and_printable() {
    assert!(Text::<5>::new("héy!").is_ok());
    assert_eq!(Text::<4>::new("héy!"), Err(TextError::TooLong { len: 5, max: 4 }));
    for bad in ["a\nb", "a\u{202e}b", "\u{200b}", "\u{7f}"] {
        assert!(matches!(Text::<9>::new(bad), Err(TextError::NotPrintable(_))), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn installments_add_up_and_none_is_too_large(price in any::<u64>(), n in values::installments()) {
        let amounts: Vec<u64> =
            (0..n.get()).map(|index| n.money_of(Amount::new(price), index).get()).collect();
        prop_assert_eq!(amounts.iter().map(|amount| u128::from(*amount)).sum::<u128>(), u128::from(price));
        let largest = price.div_ceil(u64::from(n.get()));
        prop_assert!(amounts.iter().all(|amount| *amount <= largest));
        prop_assert_eq!(n.money_of(Amount::new(price), n.get()), Amount::ZERO);
    }

    /// What rounding adds to what a session can cost (docs/session.md, "Who has lost what"): less than what a Wh
    /// is worth for the consumer, and less than a unit of money for the producer. All times e.
    #[test]
    fn rounding_costs_a_wh_or_a_unit(price in 1..1_u64 << 60, energy in 1..1_u64 << 60, n in values::installments()) {
        let (b, e) = (u128::from(price), u128::from(energy));
        let paid = |released| u128::from(n.money_released(money(price), released).get()) * e;
        let worth = |released| u128::from(n.energy_released(Energy::new(energy), released).get()) * b;
        let largest = b.div_ceil(u128::from(n.get())) * e;
        for k in 0..n.get() {
            prop_assert!(paid(k + 1) < worth(k) + largest + b, "the consumer, {k} delivered");
            prop_assert!(worth(k) < paid(k) + e, "the producer, {k} delivered");
        }
    }

    #[test]
    fn deadlines_never_fall(start in any::<u64>(), length in any::<u32>(), n in values::installments()) {
        let start = Timestamp::new(start);
        let window = Window { start, end: start.saturating_after(Span::new(u64::from(length))) };
        let deposit = DepositRule::Forfeit;
        let plan = InstallmentPlan { price: money(1), count: n, window, deposit, claim_margin: Span::new(9) };
        let deadlines: Vec<_> = (0..n.get()).map(|index| plan.deadline(index)).collect();
        prop_assert!(deadlines.is_sorted());
        prop_assert_eq!(plan.slice_end(n.get() - 1), window.end);
        prop_assert_eq!(plan.slice_end(u32::MAX), window.end);
    }

    #[test]
    fn every_link_leads_to_the_anchor(seed in any::<u8>(), n in values::installments(), index in 0..1024u32) {
        let chain = HashChain::new(preimage(seed), n);
        match chain.link(index) {
            Some(link) => prop_assert_eq!(anchor_from(link, index), chain.anchor()),
            None => prop_assert!(index >= n.get()),
        }
        prop_assert_ne!(chain.anchor(), Hash::ZERO);
    }
}
