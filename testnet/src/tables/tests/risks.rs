//! Goal: the risk columns say what was at risk, whatever the sides did.
//! Method: steps by hand, as honest and as cheated agents take them.

use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::Amount;
use evchain_protocol::session::PaymentKind;

use super::super::steps::Step::{Accepted, Delivered, Released};
use super::super::steps::{Step, Steps};

const PRICE: Amount = Amount::new(103);

fn risks(kind: PaymentKind, steps: &[Step]) -> (u64, u64) {
    let (steps, count) = (Steps::of(steps), InstallmentCount::new(10).expect("a count"));
    (steps.consumer_risk(kind, count, PRICE).get(), steps.producer_risk(kind, count, PRICE).get())
}

#[test]
fn an_honest_session_risks_one_installment() {
    let mut steps = vec![Accepted];
    for index in 0..10 {
        steps.extend([Released(index), Delivered(index)]);
    }
    // floor(103k/10) grows by 10 or 11.
    assert_eq!(risks(PaymentKind::Chain, &steps), (11, 0));
    // The first state has paid the deposit.
    steps.remove(1);
    assert_eq!(risks(PaymentKind::Channel, &steps), (11, 0));
    assert_eq!(risks(PaymentKind::Channel, &[Accepted]), (10, 0));
}

#[test]
fn what_is_not_honest_shows() {
    assert_eq!(risks(PaymentKind::Hashes, &[Accepted, Released(0), Released(1)]), (20, 0));
    assert_eq!(risks(PaymentKind::Hashes, &[Accepted, Released(0), Delivered(0), Delivered(1)]), (10, 10));
    assert_eq!(risks(PaymentKind::Single, &[Accepted, Delivered(0)]), (0, 10));
}
