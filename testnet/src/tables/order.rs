//! What is charged for the tables, and by whom.

use std::time::Duration;

use evchain_node::agents::consumer::{ChargeOrder, Deposit};
use evchain_node::agents::producer::{Mobility, ProducerTariff, Reservation};
use evchain_node::clock;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Window};
use evchain_protocol::session::PaymentKind;
use evchain_protocol::session::decide::{Choice, Distance, Doubt, Weights};
use evchain_protocol::session::pricing::{Pricing, Tariff};
use evchain_protocol::state::auction::PaymentKinds;
use serde::Serialize;

/// The kinds of payment, in the order of the table.
pub(super) const KINDS: [PaymentKind; 4] =
    [PaymentKind::Single, PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel];
/// Kinds and N of the sessions that run alone, to be timed.
pub(super) const TIMED: [(PaymentKind, u32); 2] = [(PaymentKind::Chain, 100), (PaymentKind::Channel, 100)];
/// Stations, N of P18 4.4.
pub(super) const STATIONS: usize = 2;
/// Where those and their consumers are.
pub(super) const REGION: RegionId = RegionId::new(1);
/// What everybody has at first.
pub(super) const BALANCE: Amount = Amount::new(10_000_000);
/// How long after its slice of T an installment can be claimed.
pub(super) const CLAIM_MARGIN: Span = Span::new(20_000);
/// Energy takes no time, so that what is timed is the protocol.
pub(super) const SPEED: u32 = 1_000_000;
/// How long a session takes at most until it is settled.
pub(super) const SESSION: Duration = Duration::from_mins(4);

const HERE: Position = Position { latitude_e7: 478_000_000, longitude_e7: 130_400_000 };
const ENERGY: Energy = Energy::new(20_000);
/// EUR 0.45 for each kWh at the first station, EUR 0.05 more at each further one.
const PRICE_PER_KWH: u64 = 4_500;
const PRICE_STEP: u64 = 500;
const POWER_W: u32 = 22_000;
/// Enough for every session at once.
const CONNECTORS: u16 = 64;
/// How long producers may bid.
const BIDDING: Span = Span::new(2_000);
/// From the request to the window's start.
const LEAD: Span = Span::new(8_000);
/// The same with single locks, whose deposit is to be claimed before the window, and for each of them.
const LEAD_OF_LOCKS_MS: u64 = 25_000;
const LEAD_OF_LOCK_MS: u64 = 200;
/// How long before the window the deposit of single locks comes back.
const REFUND_LEAD: Span = Span::new(1_000);
/// How long before the window stations serve, more than any lead.
const EARLY: Span = Span::new(60_000);
/// T.
const WINDOW: Span = Span::new(6_000);

/// How much is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TablesPlan {
    /// N, each with every kind of payment.
    pub counts: Vec<u32>,
    /// How often each session of 100 installments runs alone, to be timed.
    pub timed_runs: usize,
}

/// What is to be charged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) kind: PaymentKind,
    /// N.
    pub(super) count: u32,
    pub(super) region: RegionId,
    /// How many stations are there.
    pub(super) stations: usize,
    /// How many times as fast as in reality the meters count.
    pub(super) speed: u32,
}

impl TablesPlan {
    /// The sessions that run at once.
    pub(super) fn together(&self) -> impl Iterator<Item = Order> {
        self.counts.iter().flat_map(|count| KINDS.map(|kind| Order::usual(kind, *count)))
    }

    /// The sessions that run one after the other.
    pub(super) fn alone(&self) -> impl Iterator<Item = Order> {
        let runs = |(kind, count)| std::iter::repeat_n(Order::usual(kind, count), self.timed_runs);
        TIMED.into_iter().flat_map(runs)
    }
}

impl Order {
    fn usual(kind: PaymentKind, count: u32) -> Self {
        Self { kind, count, region: REGION, stations: STATIONS, speed: SPEED }
    }

    /// What a consumer's agent is told, from now on.
    pub(super) fn wanted(self) -> ChargeOrder {
        let (lead, deposit) = match self.kind {
            PaymentKind::Single => {
                let lead = LEAD_OF_LOCKS_MS + LEAD_OF_LOCK_MS * u64::from(self.count);
                (Span::new(lead), Deposit::Refund(REFUND_LEAD))
            }
            _ => (LEAD, Deposit::Forfeit),
        };
        let start = clock::now().saturating_after(lead).ceil_to_tick();
        let window = Window { start, end: start.saturating_after(WINDOW) };
        let choice = Choice {
            price_per_km: Amount::ZERO,
            weights: Weights::default(),
            max_distance: Distance::new(1_000),
            max_price: Amount::new(200_000),
            max_doubt: Doubt::MAX,
        };
        ChargeOrder {
            kinds: vec![self.kind],
            installments: InstallmentCount::new(self.count).unwrap_or(InstallmentCount::ONE),
            deposit,
            bidding: BIDDING,
            min_stations: self.stations,
            ..ChargeOrder::new(self.region, window, ENERGY, HERE, choice)
        }
    }
}

/// What a region's station offers, which is the dearer the higher its index.
pub(super) fn tariff(region: RegionId, index: usize) -> ProducerTariff {
    ProducerTariff {
        region,
        position: HERE,
        mobility: Mobility::Station,
        power_w: POWER_W,
        connectors: CONNECTORS,
        energy: None,
        reservation: Reservation::Overbook,
        pricing: Pricing::Fixed(Tariff {
            price_per_kwh: Amount::new(PRICE_PER_KWH + PRICE_STEP * index as u64),
            flat: Amount::ZERO,
        }),
        max_updates: 0,
        kinds: PaymentKinds::ALL,
        max_installments: InstallmentCount::new(100).unwrap_or(InstallmentCount::ONE),
        cancel_lead: None,
        early_tolerance: EARLY,
    }
}
