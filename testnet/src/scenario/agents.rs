use std::path::Path;

use evchain_node::agents::consumer::{ChargeOrder, ConsumerConfig, Deposit};
use evchain_node::agents::producer::{Mobility, ProducerConfig, ProducerTariff};
use evchain_node::clock;
use evchain_node::network::Multiaddr;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Span, Window};
use evchain_protocol::session::PaymentKind;
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Weights};
use evchain_protocol::session::pricing::{Pricing, Tariff};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::PaymentKinds;

use super::plan::{Consumer, Plan, Producer, Speed};
use crate::cluster::Participant;
use crate::data::ProducerKind;

/// From the request to the beginning of its window, not compressed: time for bids, decision and deposit.
const LEAD: Span = Span::new(9_000);
/// The same with single locks, for the first of which charging must begin before it returns, and a producer must
/// have claimed it: three quarters of the claim margin, and what is in [`REFUND_LEAD`].
const LEAD_OF_LOCKS_MS: u64 = LEAD.get() + 25_000;
/// How much more that is for each.
const LEAD_OF_LOCK_MS: u64 = 200;
/// How long before its window the first single lock returns.
const REFUND_LEAD: Span = Span::new(1_000);
/// How long producers may bid.
const BIDDING: Span = Span::new(3_000);
/// How long before its window a session may begin at least.
const EARLY_TOLERANCE: Span = Span::new(1_000);
/// What a kilometre is worth to a consumer: EUR 0.30.
const PRICE_PER_KM: Amount = Amount::new(3_000);
/// No station farther away, in metres.
const MAX_DISTANCE: Distance = Distance::new(100_000);
/// The most installments that producers offer.
const MAX_INSTALLMENTS: u32 = 100;
/// What a producer has for fees: EUR 10.
const PRODUCER_BALANCE: Amount = Amount::new(100_000);
/// What a consumer has: EUR 1,000.
const CONSUMER_BALANCE: Amount = Amount::new(10_000_000);

/// Everybody who takes part, for the chain's genesis.
pub fn participants(plan: &Plan) -> Vec<Participant> {
    let producers = (0..plan.producers.len()).map(|index| Participant {
        name: producer_name(index),
        roles: Roles::PRODUCER,
        balance: PRODUCER_BALANCE,
    });
    let consumers = (0..plan.consumers.len()).map(|index| Participant {
        name: consumer_name(index),
        roles: Roles::CONSUMER,
        balance: CONSUMER_BALANCE,
    });
    producers.chain(consumers).chain([Participant::bank()]).collect()
}

/// The name of a producer's wallet.
pub(super) fn producer_name(index: usize) -> String {
    format!("producer-{}", index + 1)
}

/// The name of a consumer's wallet.
pub(super) fn consumer_name(index: usize) -> String {
    format!("consumer-{}", index + 1)
}

/// How long before its window a consumer asks.
pub(super) fn lead(payment: PaymentKind, installments: InstallmentCount) -> Span {
    match payment {
        PaymentKind::Single => Span::new(LEAD_OF_LOCKS_MS + LEAD_OF_LOCK_MS * u64::from(installments.get())),
        PaymentKind::Hashes | PaymentKind::Chain | PaymentKind::Channel => LEAD,
    }
}

/// How long before its window a session may begin: with single locks as soon as all are there.
fn early_tolerance(plan: &Plan) -> Span {
    let by_locks = plan.consumers.iter().filter(|consumer| consumer.payment == PaymentKind::Single);
    by_locks.map(|consumer| consumer.lead).max().unwrap_or(EARLY_TOLERANCE)
}

/// How a producer's agent works.
pub(super) fn producer_config(
    producer: &Producer,
    plan: &Plan,
    state_dir: &Path,
    listen: Multiaddr,
) -> ProducerConfig {
    let row = &producer.row;
    let tariff = ProducerTariff {
        region: producer.region,
        position: row.position,
        mobility: match row.kind {
            ProducerKind::Station => Mobility::Station,
            ProducerKind::Vehicle => Mobility::Vehicle,
        },
        power_w: row.power_w,
        connectors: row.connectors,
        energy: None,
        reservation: plan.reservation,
        pricing: Pricing::Fixed(Tariff { price_per_kwh: row.price_per_kwh, flat: Amount::ZERO }),
        max_updates: 0,
        kinds: PaymentKinds::ALL,
        max_installments: InstallmentCount::new(MAX_INSTALLMENTS).unwrap_or(InstallmentCount::ONE),
        cancel_lead: None,
        early_tolerance: early_tolerance(plan),
    };
    ProducerConfig { speed: plan.speed.get(), ..ProducerConfig::new(tariff, state_dir.to_owned(), listen) }
}

/// How a consumer's agent works.
pub(super) fn consumer_config(speed: Speed, state_dir: &Path) -> ConsumerConfig {
    ConsumerConfig { speed: speed.get(), ..ConsumerConfig::new(state_dir.to_owned()) }
}

/// What a consumer orders, now.
pub(super) fn order(consumer: &Consumer, producers: &[Producer]) -> ChargeOrder {
    let start = clock::now().saturating_after(consumer.lead).ceil_to_tick();
    let window = Window { start, end: start.saturating_after(consumer.window) }.on_ticks();
    let here = producers.iter().filter(|producer| producer.region == consumer.region);
    let price = |producer: &Producer| {
        let tariff = Tariff { price_per_kwh: producer.row.price_per_kwh, flat: Amount::ZERO };
        tariff.price(consumer.energy).ok()
    };
    let max_price = here.filter_map(price).max().unwrap_or(Amount::ZERO);
    let choice = Choice {
        price_per_km: PRICE_PER_KM,
        weights: Weights::default(),
        max_distance: MAX_DISTANCE,
        max_price,
        max_doubt: Doubt::MAX,
    };
    let deposit = match consumer.payment {
        PaymentKind::Single => Deposit::Refund(REFUND_LEAD),
        PaymentKind::Hashes | PaymentKind::Chain | PaymentKind::Channel => Deposit::Forfeit,
    };
    ChargeOrder {
        kinds: vec![consumer.payment],
        deposit,
        installments: consumer.installments,
        bidding: BIDDING,
        ..ChargeOrder::new(consumer.region, window, consumer.energy, consumer.position, choice)
    }
}
