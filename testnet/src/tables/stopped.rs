//! Sessions in which one side stops, and what the other loses by it, read from their accounts.

use std::sync::Arc;

use evchain_node::agents::sessions::Side;
use evchain_node::agents::{AgentEvent, ChargeReport, Observer, SessionReport};
use evchain_protocol::primitives::{Amount, Energy, RegionId};
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::order::{BALANCE, KINDS, Order};
use super::report::StoppedRow;
use super::run::TablesError;
use super::steps::{Log, Told};
use crate::cluster::Cluster;

/// N.
const COUNT: u32 = 10;
/// Installments that both have had when one stops.
pub(super) const AFTER: u32 = 5;
/// An installment's energy takes a third of a second, so that there is time to stop before it is there.
const SPEED: u32 = 1_000;
/// Each pair has a region of its own from this one on, and with it accounts that nobody else pays into.
const FIRST_REGION: u16 = 100;

/// A pair of agents of which one stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) index: usize,
    pub(super) stops: Side,
    pub(super) order: Order,
}

/// A pair when it is over.
pub(super) struct Stopped {
    pub(super) pair: Pair,
    /// None where the consumer has vanished.
    pub(super) report: Option<ChargeReport>,
}

/// Every kind of payment with either side.
pub(super) fn pairs() -> Vec<Pair> {
    let kinds = KINDS.into_iter().flat_map(|kind| [Side::Buys, Side::Sells].map(|stops| (kind, stops)));
    kinds
        .enumerate()
        .map(|(index, (kind, stops))| {
            let region = RegionId::new(FIRST_REGION + u16::try_from(index).unwrap_or_default());
            Pair { index, stops, order: Order { kind, count: COUNT, region, stations: 1, speed: SPEED } }
        })
        .collect()
}

impl Pair {
    pub(super) fn vehicle(self) -> String {
        format!("stopped-vehicle-{}", self.index + 1)
    }

    pub(super) fn station(self) -> String {
        format!("stopped-station-{}", self.index + 1)
    }

    /// Tells a log, and cancels the token in the moment that is the worst for the other side: a consumer has
    /// its energy and is to pay for the next, a producer has been paid and is to deliver.
    pub(super) fn observer(self, side: Side, log: &Log, token: CancellationToken) -> Observer {
        let tell = log.observer();
        Arc::new(move |event| {
            tell(event);
            let is_the_moment = match (side, event) {
                (Side::Buys, AgentEvent::Delivered { index, .. }) => *index == AFTER - 1,
                (Side::Sells, AgentEvent::Released { index, .. }) => *index == AFTER,
                _ => false,
            };
            if side == self.stops && is_the_moment {
                token.cancel();
            }
        })
    }
}

impl Stopped {
    /// What the accounts say. None where there was no session.
    pub(super) fn row(
        &self,
        cluster: &Cluster,
        book: &Book,
        sold: &Told,
    ) -> Result<Option<StoppedRow>, TablesError> {
        let Self { pair, report } = self;
        let station = cluster.files().wallet(&pair.station())?.main_key().public_key();
        let vehicle = cluster.files().wallet(&pair.vehicle())?.main_key().public_key();
        let Some(sale) = sold.ended.values().find(|sale| sale.producer == station) else { return Ok(None) };
        let bought = report.as_ref().and_then(|report| report.session.as_ref());
        // Whoever stays believes its own meter.
        let (got, spent) = (book.gain(station, BALANCE), book.gain(vehicle, BALANCE).map(|gain| -gain));
        let (delivered, loss) = match (pair.stops, bought) {
            (Side::Buys, _) => {
                let delivered = sale.outcome.energy;
                (delivered, got.map(|got| worth_at_most(sale, delivered) - got))
            }
            (Side::Sells, Some(bought)) => {
                let delivered = bought.outcome.energy;
                (delivered, spent.map(|spent| spent - worth_at_least(bought, delivered)))
            }
            (Side::Sells, None) => return Ok(None),
        };
        Ok(Some(StoppedRow {
            kind: pair.order.kind,
            installments: sale.installments,
            stops: pair.stops,
            released: sale.outcome.released,
            delivered,
            spent: spent.and_then(amount),
            got: got.and_then(amount),
            loss: loss.and_then(|loss| amount(loss.max(0))),
            installment: Amount::new(sale.price.get().div_ceil(sale.installments.into())),
        }))
    }
}

/// What energy costs at a session's price, rounded against the producer that claims to have lost it.
fn worth_at_most(session: &SessionReport, energy: Energy) -> i128 {
    let (price, asked) = (i128::from(session.price.get()), i128::from(session.energy_asked.get().max(1)));
    (price * i128::from(energy.get()) + asked - 1) / asked
}

/// The same, rounded against the consumer that has it.
fn worth_at_least(session: &SessionReport, energy: Energy) -> i128 {
    let (price, asked) = (i128::from(session.price.get()), i128::from(session.energy_asked.get().max(1)));
    price * i128::from(energy.get()) / asked
}

/// None for less than nothing.
pub(super) fn amount(value: i128) -> Option<Amount> {
    u64::try_from(value).ok().map(Amount::new)
}
