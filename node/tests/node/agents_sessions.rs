//! Goal: consumers and producers trade with nobody's help, by each kind of payment, and the money
//! ends where it belongs.
//! Method: a real node and real agents in one process; balances are read from the chain.

use evchain_node::agents::consumer::Deposit;
use evchain_node::agents::producer::{Mobility, ProducerTariff};
use evchain_node::agents::{AgentEvent, ChargeOutcome, ChargeReport, Phase, Warning};
use evchain_protocol::primitives::{Amount, Span};
use evchain_protocol::session::{EndReason, PaymentKind, RejectReason};

use crate::agents_support::{Events, START, World, key, order, order_from, tariff};

/// 44 kWh at 0.40 a kWh.
const PRICE: Amount = Amount::new(176_000);

/// Charges with a dear station, and a cheap producer whose tariff is given; gives the report after
/// checking what holds for every full charge.
async fn charge_fully(kind: PaymentKind, cheap: ProducerTariff, fee: u64) -> ChargeReport {
    let world = World::start(&[1, 2], fee).await;
    let (seller, dear) = (world.produce(1, cheap).await, world.produce(2, tariff(60)).await);
    let charging = world.charge(order(kind, 5)).await;
    let events = charging.events.clone();
    let report = charging.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    assert_eq!(times_too_early(&events), 1, "it came before the window, was told when, and came then");
    assert_eq!((report.bids.len(), report.attempts, report.paid), (2, 1, PRICE));
    assert_eq!(report.chosen.as_ref().map(|bid| bid.producer), Some(key(1).public_key()));
    let session = report.session.as_ref().expect("a session");
    assert_eq!((session.outcome.reason, session.outcome.released), (EndReason::Completed, 5));
    let receipt = session.outcome.receipt.expect("a receipt");
    assert_eq!(receipt.receipt.amount, PRICE);
    assert!(receipt.verify(world.rpc().await.chain_id()).is_ok());

    let (sold, unsold) = (seller.finish().await, dear.finish().await);
    assert_eq!((sold.bids, sold.sessions, sold.unfinished), (1, 1, 0));
    assert_eq!((unsold.bids, unsold.sessions), (1, 0));
    // Money: the consumer paid the price and its fees, and its fresh key keeps nothing.
    let spent = PRICE.saturating_add(report.fees);
    assert_eq!(world.consumer_balance().await, START.saturating_sub(spent));
    assert_eq!(world.balance(report.consumer).await, Amount::ZERO);
    world.wallet.next_index().expect("a counter");
    report
}

fn times_too_early(events: &Events) -> usize {
    let is_it =
        |event: &&AgentEvent| matches!(event, AgentEvent::Refused { reason: RejectReason::TooEarly(_), .. });
    events.told().iter().filter(is_it).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_channel_pays_with_two_transactions() {
    let report = charge_fully(PaymentKind::Channel, tariff(40), 0).await;
    let phases: Vec<Phase> = report.phases.iter().map(|it| it.phase).collect();
    assert!(phases.windows(2).all(|pair| pair[0] <= pair[1]), "in order: {phases:?}");
    let kinds: Vec<&str> = report.transactions.iter().map(|sent| sent.kind.as_str()).collect();
    assert_eq!(kinds, ["transfer", "place_request", "commit", "open_channel", "transfer"]);
    // N-1 messages carry payment (Table I of P21).
    assert_eq!(report.session.map(|session| session.payment_messages), Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hash_chain_pays_with_fees() {
    let report = charge_fully(PaymentKind::Chain, tariff(40), 7).await;
    assert_eq!(report.fees, Amount::new(5 * 7));
    assert_eq!(report.session.map(|session| session.payment_messages), Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn independent_hashes_pay_a_vehicle() {
    let vehicle = ProducerTariff { mobility: Mobility::Vehicle, connectors: 1, ..tariff(40) };
    let report = charge_fully(PaymentKind::Hashes, vehicle, 0).await;
    let few = |warning: &Warning| matches!(warning, Warning::FewStations { stations: 1, wanted: 2, .. });
    assert!(report.warnings.iter().any(few), "{:?}", report.warnings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_locks_take_two_transactions_an_installment() {
    let world = World::start(&[1], 7).await;
    let seller = world.produce(1, ProducerTariff { early_tolerance: Span::new(20_000), ..tariff(40) }).await;
    let refused = world.charge(order(PaymentKind::Single, 5)).await;
    let error = refused.task.await.expect("no panic").expect_err("its deposit cannot be forfeit");
    assert!(error.to_string().contains("--refund"), "{error}");

    let mut wanted = order_from(PaymentKind::Single, 5, 12_000, 6_000);
    wanted.deposit = Deposit::Refund(Span::new(1_000));
    let report = world.charge(wanted).await.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    let count = |kind: &str| report.transactions.iter().filter(|sent| sent.kind == kind).count();
    assert_eq!((count("create_lock"), count("lock_installments")), (5, 0));
    let claims = seller.events.told().iter().find_map(|event| match event {
        AgentEvent::SessionEnded(session) => Some(session.transactions.clone()),
        _ => None,
    });
    let claims = claims.expect("an ended session");
    assert_eq!(claims.iter().filter(|sent| sent.kind == "claim").count(), 5, "{claims:#?}");
    let claim_fees = claims.iter().fold(Amount::ZERO, |sum, sent| sum.saturating_add(sent.fee));
    assert_eq!(report.paid, PRICE);
    // The station's fees: its record, its bid, its claims.
    let earned = PRICE.saturating_sub(claim_fees).saturating_sub(Amount::new(2 * 7));
    assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(earned));
    assert_eq!(world.balance(report.consumer).await, Amount::ZERO);
    assert_eq!(world.consumer_balance().await, START.saturating_sub(PRICE).saturating_sub(report.fees));
    seller.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_session_pays_for_what_was_delivered() {
    for kind in [PaymentKind::Channel, PaymentKind::Chain] {
        let world = World::start(&[1], 0).await;
        let seller = world.produce(1, tariff(40)).await;
        let charging = world.charge(order(kind, 10)).await;
        charging.events.wait_delivered(3).await;
        charging.stop.cancel();
        let report = charging.report().await;
        assert_eq!(report.outcome, ChargeOutcome::Partial, "{report:#?}");
        let released = report.session.as_ref().expect("a session").outcome.released;
        assert!((4..10).contains(&released), "{released} of 10");
        let amount = report.session.as_ref().expect("a session").outcome.amount;
        assert_eq!(report.paid, amount, "{kind:?}");
        assert_eq!(world.consumer_balance().await, START.saturating_sub(amount));
        assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(amount));
        assert!(seller.events.told().iter().any(|event| matches!(event, AgentEvent::SessionEnded(_))));
        seller.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_bids_and_the_money_comes_back() {
    let world = World::start(&[1], 0).await;
    let mut wanted = order(PaymentKind::Channel, 5);
    wanted.max_attempts = 2;
    let report = world.charge(wanted).await.report().await;
    assert_eq!((&report.outcome, report.attempts), (&ChargeOutcome::NoBids, 2));
    assert_eq!(world.consumer_balance().await, START);
    assert_eq!(report.warnings.iter().filter(|it| matches!(it, Warning::NoBids { .. })).count(), 2);
}
