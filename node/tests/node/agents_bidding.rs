//! Goal: the bidding of P18 3.2 and 4.2: prices fall until they converge, a bid keeps what it promises,
//! and the user is warned where the choice is no secret.
//! Method: a real node and real agents in one process; bids are read from the reports and from the chain.

use std::sync::Mutex;

use evchain_node::agents::consumer::{BiddingEnd, ChargeOrder, Deposit};
use evchain_node::agents::producer::{Mobility, ProducerTariff, Reservation};
use evchain_node::agents::{AgentEvent, ChargeOutcome, ChargeReport, Phase, Warning};
use evchain_node::rpc::{NodeApiClient, RequestFilter};
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Span};
use evchain_protocol::session::pricing::{Pricing, Tariff};
use evchain_protocol::session::{EndReason, PaymentKind, RejectReason};
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::bid::PlaceBid;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::agents_support::{START, World, key, order, order_from, submit, tariff};

/// 0.50 a kWh, in steps of a euro down to this floor. The order is for 44 kWh.
fn undercutting(floor_cents: u64) -> ProducerTariff {
    let per_kwh = |cents: u64| Tariff { price_per_kwh: Amount::new(cents * 100), flat: Amount::ZERO };
    let pricing =
        Pricing::Undercut { posted: per_kwh(50), floor: per_kwh(floor_cents), step: Amount::new(10_000) };
    ProducerTariff { pricing, max_updates: 20, early_tolerance: Span::new(60_000), ..tariff(50) }
}

/// Checks that it was decided before the time for bids, half a minute, was over.
fn assert_decided_early(report: &ChargeReport) {
    let bidding = report.phases.iter().find(|it| it.phase == Phase::Bidding).expect("bidding");
    assert!(bidding.ended.since(bidding.begun) < Span::new(25_000), "{bidding:?}");
}

/// Charges among two that undercut each other, with plenty of time for bids. Gives what producers 1 and
/// 2 brought to the chain.
async fn undercut(mode: BiddingMode, until: BiddingEnd) -> (ChargeReport, u64, u64) {
    let world = World::start(&[1, 2], 0).await;
    let first = world.produce(1, undercutting(30)).await;
    let second = world.produce(2, undercutting(35)).await;
    let wanted = ChargeOrder {
        mode,
        until,
        bidding: Span::new(30_000),
        ..order_from(PaymentKind::Channel, 5, 40_000, 6_000)
    };
    let report = world.charge(wanted).await.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    let (first, second) = (first.finish().await, second.finish().await);
    (report, first.bids, second.bids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn prices_fall_until_they_converge() {
    let (report, ..) = undercut(BiddingMode::Updates, BiddingEnd::Converged(Span::new(1_500))).await;
    assert_decided_early(&report);
    // The second ends at its floor of 44 kWh at 0.35, and the first one step below.
    let mut prices: Vec<_> = report.bids.iter().map(|bid| (bid.price, bid.producer)).collect();
    prices.sort();
    let expected = [(Amount::new(144_000), key(1).public_key()), (Amount::new(154_000), key(2).public_key())];
    assert_eq!(prices, expected);
    assert_eq!(report.paid, Amount::new(144_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_first_bids_only_nobody_goes_lower() {
    let (report, first, second) =
        undercut(BiddingMode::FirstOnly, BiddingEnd::Converged(Span::new(1_500))).await;
    assert_eq!((first, second, report.bids.len()), (1, 1, 2));
    // Whoever came second saw the posted price, or bid at the same moment.
    let seen = [Amount::new(210_000), Amount::new(220_000)];
    assert!(report.bids.iter().all(|bid| seen.contains(&bid.price)), "{:?}", report.bids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vehicles_lone_bid_is_sealed_warned_of_and_taken_at_once() {
    let world = World::start(&[1], 0).await;
    let alone = ProducerTariff {
        mobility: Mobility::Vehicle,
        connectors: 1,
        early_tolerance: Span::new(60_000),
        ..tariff(40)
    };
    let producer = world.produce(1, alone).await;
    let wanted =
        ChargeOrder { bidding: Span::new(30_000), ..order_from(PaymentKind::Chain, 3, 40_000, 6_000) };
    let decide_now = wanted.decide_now.clone();
    let charging = world.charge(wanted).await;
    charging.events.wait("a bid", |event| matches!(event, AgentEvent::BidHeard { .. })).await;
    // Where the vehicle is only the consumer reads.
    let filter = RequestFilter::default();
    let requests = world.rpc().await.requests(filter, None).await.expect("requests").items;
    let bids = world.rpc().await.bids(requests[0].name).await.expect("bids");
    assert!(matches!(bids[0].bid.position, BidPosition::Sealed(_)), "{bids:?}");
    decide_now.cancel();
    let report = charging.report().await;
    assert_eq!(report.outcome, ChargeOutcome::Charged, "{report:#?}");
    assert_decided_early(&report);
    let lone = |warning: &Warning| matches!(warning, Warning::OnlyOneBid { request } if Some(*request) == report.request);
    assert!(report.warnings.iter().any(lone), "{:?}", report.warnings);
    producer.finish().await;
}

/// Charges at a producer that changes its bid between the consumer's choice and its commitment.
async fn changed_after_the_choice(kind: PaymentKind, change: fn(&mut Bid)) -> ChargeReport {
    let world = World::start(&[1], 0).await;
    let offer = ProducerTariff { early_tolerance: Span::new(60_000), ..tariff(40) };
    let producer = world.produce(1, offer).await;
    let deposit =
        if kind == PaymentKind::Single { Deposit::Refund(Span::new(1_000)) } else { Deposit::Forfeit };
    let wanted = ChargeOrder {
        enough_bids: Some(1),
        bidding: Span::new(20_000),
        max_attempts: 1,
        deposit,
        ..order_from(kind, 3, 40_000, 6_000)
    };
    let (rpc, handle) = (world.rpc().await, Handle::current());
    let asked = Mutex::new(None);
    let charging = world.charge_observed(wanted, move |event| match event {
        AgentEvent::Requested { request, .. } => *asked.lock().expect("no panic") = Some(*request),
        AgentEvent::Chosen { .. } => block_in_place(|| {
            handle.block_on(async {
                let request = asked.lock().expect("no panic").take().expect("a request");
                let mut bid = rpc.bids(request).await.expect("bids").remove(0).bid;
                change(&mut bid);
                let place = PlaceBid::new(request, bid).expect("a bid");
                submit(&rpc, &key(1), Action::PlaceBid(place)).await;
            });
        }),
        _ => {}
    });
    let report = charging.await.report().await;
    producer.finish().await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bid_that_falls_after_the_choice_costs_less() {
    for kind in [PaymentKind::Channel, PaymentKind::Single] {
        let lower = |bid: &mut Bid| bid.price = Amount::new(170_000);
        let report = changed_after_the_choice(kind, lower).await;
        assert_eq!(report.outcome, ChargeOutcome::Charged, "{kind:?}: {report:#?}");
        assert_eq!(report.paid, Amount::new(170_000), "{kind:?}: {report:#?}");
        assert_eq!(report.chosen.map(|bid| bid.price), Some(report.paid), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bid_that_changes_otherwise_after_the_choice_is_not_paid() {
    let fewer = |bid: &mut Bid| {
        bid.price = Amount::new(170_000);
        bid.max_installments = InstallmentCount::ONE;
    };
    let report = changed_after_the_choice(PaymentKind::Channel, fewer).await;
    assert_eq!(
        (report.outcome.clone(), report.paid),
        (ChargeOutcome::NoUsableBid, Amount::ZERO),
        "{report:#?}"
    );
    assert_eq!(report.returned.saturating_add(report.fees), START, "{report:#?}");
}

/// Two ask for one connector in the same hours, the second while the first decides. Gives what the
/// producer bid, and what came of the second.
async fn two_for_one(reservation: Reservation) -> (u64, ChargeReport) {
    let world = World::start(&[1], 0).await;
    let producer = world.produce(1, ProducerTariff { reservation, connectors: 1, ..tariff(40) }).await;
    let first =
        ChargeOrder { bidding: Span::new(3_000), ..order_from(PaymentKind::Channel, 3, 8_000, 6_000) };
    let first = world.charge(first).await;
    producer.events.wait("a bid", |event| matches!(event, AgentEvent::BidPlaced { .. })).await;
    let second = ChargeOrder { max_attempts: 1, ..order_from(PaymentKind::Channel, 3, 7_000, 6_000) };
    let second = world.charge(second).await.report().await;
    let first = first.report().await;
    if reservation == Reservation::Exclusive {
        assert_eq!(first.outcome, ChargeOutcome::Charged, "{first:#?}");
    }
    (producer.finish().await.bids, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_exclusive_bid_keeps_its_connector_free() {
    let (bids, second) = two_for_one(Reservation::Exclusive).await;
    assert_eq!((bids, second.outcome), (1, ChargeOutcome::NoBids));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_overbooking_producer_bids_for_both() {
    let (bids, second) = two_for_one(Reservation::Overbook).await;
    assert_eq!((bids, second.bids.len()), (2, 1), "{second:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_pays_too_late_is_told_in_time_to_cancel() {
    let world = World::start(&[1], 0).await;
    let offer = ProducerTariff {
        reservation: Reservation::Overbook,
        connectors: 1,
        cancel_lead: Some(Span::new(1_000)),
        ..tariff(40)
    };
    let producer = world.produce(1, offer).await;
    let wanted = || ChargeOrder {
        bidding: Span::new(3_000),
        max_attempts: 1,
        ..order_from(PaymentKind::Channel, 3, 12_000, 6_000)
    };
    let first = world.charge(wanted()).await;
    let second = world.charge(wanted()).await;
    let reports = [first.report().await, second.report().await];
    let (served, refused): (Vec<_>, Vec<_>) =
        reports.iter().partition(|report| report.outcome == ChargeOutcome::Charged);
    assert_eq!((served.len(), refused.len()), (1, 1), "{reports:#?}");
    let told = refused[0].session.as_ref().map(|session| session.outcome.reason);
    assert_eq!(told, Some(EndReason::Rejected(RejectReason::SoldOut)), "{refused:#?}");
    assert_eq!((refused[0].paid, served[0].paid), (Amount::ZERO, Amount::new(176_000)));
    producer.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restarted_producer_keeps_what_it_promised() {
    let world = World::start(&[1], 0).await;
    let offer = ProducerTariff { connectors: 1, ..tariff(40) };
    let before = world.produce(1, offer.clone()).await;
    let first = ChargeOrder { bidding: Span::new(5_000), ..order_from(PaymentKind::Chain, 3, 10_000, 6_000) };
    let first = world.charge(first).await;
    before.events.wait("a bid", |event| matches!(event, AgentEvent::BidPlaced { .. })).await;
    before.kill().await;
    let after = world.produce(1, offer).await;
    let second = ChargeOrder { max_attempts: 1, ..order(PaymentKind::Channel, 3) };
    let second = world.charge(second).await.report().await;
    assert_eq!(second.outcome, ChargeOutcome::NoBids, "{second:#?}");
    assert_eq!(first.report().await.outcome, ChargeOutcome::Charged);
    assert_eq!(after.finish().await.bids, 0);
}
