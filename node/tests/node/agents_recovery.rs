//! Goal: agents survive crashes, of their own, of the other side and of the node, with no more lost
//! than one installment.
//! Method: a real node and real agents in one process. An aborted task is as good as kill -9: what
//! it had not written is gone.

use evchain_node::agents::sessions::{EntryState, Side, list};
use evchain_node::agents::{AgentEvent, ChargeOutcome};
use evchain_protocol::primitives::Amount;
use evchain_protocol::session::PaymentKind;

use crate::agents_support::{START, World, key, order_from, tariff};

const PRICE: Amount = Amount::new(176_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_producer_goes_on_where_it_was() {
    for kind in [PaymentKind::Channel, PaymentKind::Chain, PaymentKind::Hashes] {
        let world = World::start(&[1], 0).await;
        let seller = world.produce(1, tariff(40)).await;
        let contact = seller.events.told().into_iter().find_map(|event| match event {
            AgentEvent::Listening { contact } => Some(contact),
            _ => None,
        });
        let charging = world.charge(order_from(kind, 8, 5_000, 12_000)).await;
        charging.events.wait_delivered(2).await;
        seller.kill().await;
        // At the same address, as after a restart of the machine.
        let listen = contact.expect("it listened").parse().expect("an address");
        let seller = world.produce_at(1, tariff(40), listen).await;
        assert!(seller.events.told().iter().any(|event| matches!(event, AgentEvent::Resumed { .. })));
        let report = charging.report().await;
        assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
        assert_eq!(report.paid, PRICE, "{kind:?}");
        assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(PRICE));
        seller.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_consumer_goes_on_where_it_was() {
    for kind in [PaymentKind::Channel, PaymentKind::Chain] {
        let world = World::start(&[1], 0).await;
        let seller = world.produce(1, tariff(40)).await;
        let charging = world.charge(order_from(kind, 8, 5_000, 12_000)).await;
        charging.events.wait_delivered(2).await;
        charging.kill().await;
        let reports = world.resume_charges().await;
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].outcome, ChargeOutcome::Charged, "{:#?}", reports[0]);
        assert_eq!(world.consumer_balance().await, START.saturating_sub(PRICE), "{kind:?}");
        assert!(world.resume_charges().await.is_empty(), "nothing is left to do");
        seller.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consumer_killed_before_it_paid_gets_its_money_back() {
    let world = World::start(&[1], 0).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Chain, 8, 8_000, 6_000)).await;
    charging.events.wait("a request", |event| matches!(event, AgentEvent::Requested { .. })).await;
    charging.kill().await;
    assert!(world.consumer_balance().await < START);
    let reports = world.resume_charges().await;
    assert!(matches!(reports[0].outcome, ChargeOutcome::GivenUp { .. }), "{:#?}", reports[0]);
    assert_eq!(world.consumer_balance().await, START);
    seller.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_is_gone_for_a_while_stops_nobody() {
    let mut world = World::start(&[1], 0).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Chain, 8, 5_000, 12_000)).await;
    charging.events.wait_delivered(1).await;
    world.stop_node().await;
    charging.events.wait_delivered(4).await;
    world.start_node().await;
    let report = charging.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(PRICE));
    seller.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_producer_that_vanishes_costs_one_installment_at_most() {
    let world = World::start(&[1], 0).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Chain, 8, 5_000, 3_000)).await;
    charging.events.wait_delivered(2).await;
    seller.kill().await;
    charging.stop.cancel();
    let report = charging.report().await;
    // It claimed nothing in time, so only the forfeited deposit is gone.
    assert_eq!(report.paid, Amount::new(PRICE.get() / 8));
    assert_eq!(world.consumer_balance().await, START.saturating_sub(report.paid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn interrupted_sessions_are_seen_and_ended_by_hand() {
    let world = World::start(&[1], 0).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Chain, 8, 5_000, 6_000)).await;
    charging.events.wait_delivered(2).await;
    let running = list(&world.state_dir("consumer")).expect("a list");
    assert_eq!((running[0].state, running[0].side), (EntryState::Running, Side::Buys));
    charging.kill().await;
    seller.kill().await;

    let bought = world.interrupted("consumer").await;
    let sold = world.interrupted("producer-1").await;
    assert!(bought.released >= 3 && bought.delivered >= 3, "{bought:?}");
    assert!(sold.released >= 3 && sold.released <= bought.released, "{sold:?}");
    assert_eq!((bought.payment, bought.price), (sold.payment, Some(PRICE)));

    let session = world.abort_sale(1, &sold.name).await.expect("a session");
    assert_eq!((session.outcome.released, session.outcome.amount), (sold.released, sold.amount));
    assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(sold.amount));
    let report = world.abort_charge(&bought.name).await.expect("a charge");
    assert_eq!(report.outcome, ChargeOutcome::Partial, "{report:#?}");
    assert_eq!(report.paid, sold.amount);
    assert_eq!(world.consumer_balance().await, START.saturating_sub(sold.amount));
    for name in ["consumer", "producer-1"] {
        assert_eq!(list(&world.state_dir(name)).expect("a list")[0].state, EntryState::Over);
    }
    assert!(world.abort_sale(1, &sold.name).await.is_none(), "nothing is left to do");
}
