//! Goal: agents survive crashes, of their own, of the other side and of the node, with no more lost
//! than one installment.
//! Method: a real node and real agents in one process. An aborted task is as good as kill -9: what
//! it had not written is gone.

use std::fs;
use std::time::Duration;

use evchain_node::agents::sessions::{EntryState, Side, list};
use evchain_node::agents::{AgentError, AgentEvent, ChargeOutcome, Phase, Warning};
use evchain_node::network::{NetworkLimits, Service, SessionEndpoint};
use evchain_node::rpc::{NodeApiClient, RpcClient};
use evchain_protocol::governance::{Change, ParamChange};
use evchain_protocol::primitives::Amount;
use evchain_protocol::session::{Message, PaymentKind, Resume, StopReason};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::propose::Propose;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::agents_support::{START, World, key, order_from, soon, submit, tariff};

const PRICE: Amount = Amount::new(176_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_producer_goes_on_where_it_was() {
    for kind in [PaymentKind::Channel, PaymentKind::Chain, PaymentKind::Hashes] {
        let world = World::start(&[1], 0).await;
        let seller = world.produce(1, tariff(40)).await;
        let contact = seller.contact();
        let charging = world.charge(order_from(kind, 8, 5_000, 12_000)).await;
        charging.events.wait_delivered(2).await;
        seller.kill().await;
        // At the same address, as after a restart of the machine.
        let seller = world.produce_at(1, tariff(40), contact).await;
        assert!(seller.events.told().iter().any(|event| matches!(event, AgentEvent::Resumed { .. })));
        let report = charging.report().await;
        assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
        assert_eq!(report.paid, PRICE, "{kind:?}");
        assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(PRICE));
        seller.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_lost_its_receipt_gets_it_again() {
    for kind in [PaymentKind::Channel, PaymentKind::Chain] {
        let world = World::start(&[1], 0).await;
        let seller = world.produce(1, tariff(40)).await;
        let contact = seller.contact();
        let report = world.charge(order_from(kind, 3, 5_000, 6_000)).await.report().await;
        let session = report.session.expect("a session");
        seller.events.wait("the sale's end", |event| matches!(event, AgentEvent::SessionEnded(_))).await;
        let zeta =
            (0..9).map(|index| world.wallet.key(index)).find(|key| key.public_key() == report.consumer);
        let resume = Message::Resume(Resume { payment: session.payment, released: 3, delivered: 3 });
        for (asks, key) in [(true, zeta.expect("a key of the wallet")), (false, key(9))] {
            let chain = world.rpc().await.chain_id();
            let (endpoint, _) =
                SessionEndpoint::start(Service::Charging, None, chain, &key, NetworkLimits::default())
                    .expect("an endpoint");
            let opened = endpoint.open_session(session.producer, vec![contact.clone()]);
            let mut stream = soon("a stream", opened).await.expect("a stream");
            stream.send(&resume.encode()).await.expect("sent");
            let said = stream.receive(Duration::from_secs(20)).await.expect("an answer");
            match Message::decode(&said).expect("a message") {
                Message::Receipt(it) if asks => {
                    assert_eq!(Some(it.receipt), session.outcome.receipt.map(|signed| signed.receipt));
                }
                Message::Stop(StopReason::Ended) if !asks => {}
                other => panic!("{kind:?}, the consumer: {asks}: {other:?}"),
            }
        }
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
    // One that cannot be read does not hold up the others.
    let journal = world.journal("consumer").await;
    let mut damaged = fs::read(&journal).expect("a journal");
    damaged[20] ^= 1;
    fs::write(journal.with_file_name("key-00000.journal"), damaged).expect("written");
    let ended = world.try_resume_charges().await;
    let Ok(report) = &ended[1] else { panic!("{ended:#?}") };
    assert!(matches!(ended[0], Err(AgentError::Damaged { .. })), "{ended:#?}");
    assert!(matches!(report.outcome, ChargeOutcome::GivenUp { .. }), "{report:#?}");
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

    // Who ends it with another key would claim in vain and never again.
    let error = world.try_abort_sale(1, key(2), &sold.name).await.expect_err("another's sale");
    assert!(error.to_string().contains("--key"), "{error}");
    assert_eq!(world.interrupted("producer-1").await, sold);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn journals_of_others_and_broken_ones_stop_nobody_else() {
    let world = World::start(&[1], 0).await;
    let (buys, sells) = (world.state_dir("consumer"), world.state_dir("producer-1"));
    for dir in [&buys, &sells] {
        std::fs::create_dir_all(dir.join("sessions")).expect("a folder");
        // A vehicle that buys and sells keeps both in one folder.
        std::fs::write(dir.join("sessions/key-77.journal"), "evjrnl1\n").expect("a purchase");
    }
    // A crash before the first record: the consumer comes again, and must not be told that it was served.
    std::fs::write(sells.join("sessions/900-1.journal"), "evjrnl1\n").expect("a sale");
    // A record that is not the one written, with another behind it.
    let broken = b"evjrnl1\n\x01\0\0\0checksum.and more";
    std::fs::write(buys.join("sessions/900-2.journal"), broken).expect("a sale");
    let seller = world.produce(1, tariff(40)).await;
    assert!(!sells.join("sessions/900-1.journal").exists() && !sells.join("sessions/900-1.closed").exists());
    assert!(sells.join("sessions/key-77.journal").exists(), "it is not the seller's");
    assert!(world.resume_charges().await.is_empty());
    let listed = list(&buys).expect("a list");
    let states: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.state)).collect();
    assert_eq!(states, [("900-2", EntryState::Damaged), ("key-77", EntryState::Over)]);
    assert!(listed[0].stage.contains("damaged"), "{:?}", listed[0]);
    seller.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_settlement_that_is_rejected_is_sent_again() {
    let world = World::start(&[1], 7).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 5_000, 6_000)).await;
    charging.events.wait_delivered(1).await;
    // Nothing is left for the fee of the closing.
    let left = world.balance(key(1).public_key()).await.saturating_sub(Amount::new(7));
    world.transfer(&key(1), key(200).public_key(), left).await;
    let failed = |event: &AgentEvent| matches!(event, AgentEvent::Warned(Warning::Trouble { reason }) if reason.contains("cannot settle"));
    seller.events.wait("a settlement that is rejected", failed).await;
    world.transfer(&key(200), key(1).public_key(), Amount::new(100)).await;
    let report = charging.report().await;
    assert_eq!((&report.outcome, report.paid), (&ChargeOutcome::Charged, PRICE), "{report:#?}");
    seller.finish().await;
    let balance = world.balance(key(1).public_key()).await;
    assert_eq!(balance, PRICE.saturating_add(Amount::new(100 - 7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rest_that_cannot_be_taken_back_is_not_forgotten() {
    let world = World::start_with(&[1], 7, |params| params.epoch_length = 20).await;
    let seller = world.produce(1, tariff(40)).await;
    // Between the choice of the fee and the sweep.
    let rpc = world.rpc().await;
    let raise = move |event: &AgentEvent| {
        if matches!(event, AgentEvent::PhaseBegun { phase: Phase::Sweep }) {
            block_in_place(|| Handle::current().block_on(raise_fee(&rpc, 5_000)));
        }
    };
    let charging = world.charge_observed(order_from(PaymentKind::Chain, 4, 5_000, 4_000), raise).await;
    let report = charging.report().await;
    assert_eq!((&report.outcome, report.settled), (&ChargeOutcome::Charged, false), "{report:#?}");
    assert!(world.balance(report.consumer).await > Amount::new(5_000));
    assert_eq!(world.interrupted("consumer").await.consumer, Some(report.consumer));

    let reports = world.resume_charges().await;
    assert!(reports[0].settled, "{:#?}", reports[0]);
    assert_eq!(world.balance(report.consumer).await, Amount::ZERO);
    assert!(world.resume_charges().await.is_empty(), "nothing is left to do");
    seller.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fees_that_rise_during_a_charge_are_paid() {
    let world = World::start_with(&[1], 7, |params| params.epoch_length = 20).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Chain, 4, 5_000, 6_000)).await;
    charging.events.wait("a session", |event| matches!(event, AgentEvent::Accepted { .. })).await;
    raise_fee(&world.rpc().await, 5_000).await;
    let report = charging.report().await;
    assert_eq!((&report.outcome, report.settled), (&ChargeOutcome::Charged, true), "{report:#?}");
    assert_eq!(report.transactions.last().map(|sweep| sweep.fee), Some(Amount::new(5_000)));
    assert_eq!(world.balance(report.consumer).await, Amount::ZERO);
    seller.finish().await;
}

/// The authority decides it, alone, and the next epoch begins.
async fn raise_fee(rpc: &RpcClient, fee: u64) {
    let change = Change::SetParam(ParamChange::FeeFlat(Amount::new(fee)));
    submit(rpc, &key(200), Action::Propose(Propose { change })).await;
    soon("the next epoch", async {
        while rpc.params().await.expect("parameters").fee_flat != Amount::new(fee) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_settlement_before_a_crash_costs_its_fee_and_no_more() {
    let world = World::start(&[1], 7).await;
    let seller = world.produce(1, tariff(40)).await;
    let charging = world.charge(order_from(PaymentKind::Channel, 8, 5_000, 6_000)).await;
    charging.events.wait_delivered(2).await;
    seller.kill().await;
    charging.stop.cancel();
    soon("a forced close in the journal", async {
        while list(&world.state_dir("consumer")).expect("a list")[0].stage != "the settlement is final" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    charging.kill().await;
    let report = world.resume_charges().await.pop().expect("a charge");
    // By the newest state that the consumer had; the station's fees were for its record and its bid.
    let earned = report.paid.saturating_sub(Amount::new(2 * 7));
    assert_eq!(world.balance(key(1).public_key()).await, START.saturating_add(earned), "{report:#?}");
    assert!(report.paid >= Amount::new(PRICE.get() / 8 * 2), "{report:#?}");
    // Also what was sent before the crash has cost its fees.
    let spent = report.paid.saturating_add(report.fees);
    assert_eq!(world.consumer_balance().await.saturating_add(spent), START, "{report:#?}");
}
