//! Answers requests with the posted price, as far as there are connectors and energy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evchain_protocol::event::Event;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Timestamp, TxRef, Window};
use evchain_protocol::state::auction::{Bid, BidPosition, Request};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::bid::PlaceBid;

use super::tariff::ProducerTariff;
use crate::agents::blocks::{News, NewsReader};
use crate::agents::error::AgentError;
use crate::agents::event::AgentEvent;
use crate::agents::nodes::Signer;
use crate::agents::report::Phase;
use crate::clock;
use crate::rpc::{Follow, Followed, NodeApiClient, RequestFilter, RequestInfo};

/// Requests that are remembered as answered. A request can be told twice only around a gap.
const REMEMBERED: usize = 4_096;
/// Sold sessions that are remembered; above, there is no more room to promise anything.
const MAX_BOOKED: usize = 4_096;

pub(super) struct Bidder {
    pub(super) tariff: ProducerTariff,
    pub(super) speed: u32,
    pub(super) position: BidPosition,
    pub(super) max_installments: InstallmentCount,
    pub(super) signer: Arc<Signer>,
    pub(super) news: NewsReader,
    pub(super) requests: Follow<RequestInfo>,
    pub(super) answered: BTreeSet<TxRef>,
    /// The requests that are paid for with this producer, by payment.
    pub(super) booked: BTreeMap<TxRef, Booking>,
    pub(super) sold: Energy,
    pub(super) bids: u64,
}

/// A session that was sold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Booking {
    pub(super) window: Window,
    pub(super) energy: Energy,
}

impl Bidder {
    /// Bids until it is cancelled.
    ///
    /// # Errors
    /// [`AgentError`] for what no new attempt cures.
    pub(super) async fn run(&mut self) -> Result<(), AgentError> {
        self.catch_up().await?;
        loop {
            tokio::select! {
                request = self.requests.next() => match request {
                    Followed::Item(request) => self.answer(request).await?,
                    Followed::Resumed => self.catch_up().await?,
                },
                news = self.news.next() => self.hear(news).await?,
            }
        }
    }

    /// Asks for what was missed: sold sessions, and requests that take bids.
    async fn catch_up(&mut self) -> Result<(), AgentError> {
        self.catch_up_with_bookings().await?;
        let filter = RequestFilter { region: Some(self.tariff.region), consumer: None, open: true };
        let mut after = None;
        loop {
            let ask = |rpc: crate::rpc::RpcClient| async move { rpc.requests(filter, after).await };
            let page = self.signer.nodes.need("ask for open requests", ask).await?;
            for request in page.items {
                self.answer(request).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn catch_up_with_bookings(&mut self) -> Result<(), AgentError> {
        let (nodes, own) = (self.signer.nodes.clone(), self.signer.address());
        let mut paid = Vec::new();
        let mut after = None;
        loop {
            let ask = |rpc: crate::rpc::RpcClient| async move { rpc.payments(Some(own), after).await };
            let page = nodes.need("ask for payments", ask).await?;
            paid.extend(
                page.items.iter().filter(|it| it.value.producer == own).map(|it| (it.name, it.value.request)),
            );
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut after = None;
        loop {
            let ask = |rpc: crate::rpc::RpcClient| async move { rpc.channels(Some(own), after).await };
            let page = nodes.need("ask for channels", ask).await?;
            paid.extend(
                page.items.iter().filter(|it| it.value.producer == own).map(|it| (it.name, it.value.request)),
            );
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for (payment, request) in paid {
            self.book(payment, request).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, news: News) -> Result<(), AgentError> {
        let News::Block(block) = news else { return self.catch_up_with_bookings().await };
        self.signer.nodes.saw(block.header.height);
        self.booked.retain(|_, booking| booking.window.end > block.header.time_ms);
        let own = self.signer.address();
        for record in &block.events {
            match record.event {
                Event::PaymentLocked { payment, request, producer, .. } if producer == own => {
                    self.book(payment, request).await?;
                }
                Event::ChannelOpened { channel, request, producer, .. } if producer == own => {
                    self.book(channel, request).await?;
                }
                Event::PaymentCancelled { payment, .. } => self.release(payment),
                Event::ChannelCancelled { channel, .. } => self.release(channel),
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes a session that was sold.
    async fn book(&mut self, payment: TxRef, request: TxRef) -> Result<(), AgentError> {
        if self.booked.contains_key(&payment) || self.booked.len() >= MAX_BOOKED {
            return Ok(());
        }
        let found = self
            .signer
            .nodes
            .ask("ask for a request", |rpc| async move { rpc.energy_request(request).await })
            .await?;
        if let Some(Request { window, energy, .. }) = found.map(|info| info.value) {
            self.booked.insert(payment, Booking { window, energy });
            self.sold = self.sold.saturating_add(energy);
        }
        Ok(())
    }

    fn release(&mut self, payment: TxRef) {
        if let Some(booking) = self.booked.remove(&payment) {
            self.sold = self.sold.saturating_sub(booking.energy);
        }
    }

    /// Bids, or says why not.
    async fn answer(&mut self, info: RequestInfo) -> Result<(), AgentError> {
        let (name, request) = (info.name, info.value);
        self.signer.nodes.saw(name.height());
        if request.region != self.tariff.region || !self.answered.insert(name) {
            return Ok(());
        }
        if self.answered.len() > REMEMBERED {
            self.answered.pop_first();
        }
        let bid = match self.offer(&request, clock::now()) {
            Ok(bid) => bid,
            Err(reason) => {
                self.signer.nodes.observe(&AgentEvent::NotBidding { request: name, reason });
                return Ok(());
            }
        };
        let price = bid.price;
        let event = match self
            .signer
            .send(Phase::Bidding, &Action::PlaceBid(PlaceBid { request: name, bid }))
            .await
        {
            Ok(_) => {
                self.bids += 1;
                AgentEvent::BidPlaced { request: name, price }
            }
            Err(AgentError::Rejected { message, .. }) => {
                AgentEvent::NotBidding { request: name, reason: message }
            }
            Err(error) => return Err(error),
        };
        self.signer.nodes.observe(&event);
        Ok(())
    }

    /// `f_i(T, e)` by the tariff, or why there is no offer.
    fn offer(&self, request: &Request, now: Timestamp) -> Result<Bid, String> {
        let Request { window, energy, .. } = *request;
        if request.consumer == self.signer.address() {
            return Err("it is the own request".to_owned());
        }
        if request.commitment.is_some() || now >= request.bid_deadline {
            return Err("it takes no more bids".to_owned());
        }
        let most = deliverable(self.tariff.power_w, self.speed, window);
        if energy > most {
            return Err(format!("{energy} in this window are more than the {most} that one connector gives"));
        }
        if let Some(all) = self.tariff.energy
            && self.sold.saturating_add(energy) > all
        {
            return Err(format!("{} of {all} are sold, and it asks for {energy}", self.sold));
        }
        let meanwhile = self.booked.values().filter(|booking| booking.window.overlaps(&window)).count();
        if meanwhile >= usize::from(self.tariff.connectors) {
            return Err("all connectors are sold in this window".to_owned());
        }
        let price = self.tariff.price.price(energy).map_err(|error| error.to_string())?;
        if price == Amount::ZERO {
            return Err("the price would be zero".to_owned());
        }
        Ok(Bid {
            price,
            kinds: self.tariff.kinds,
            max_installments: self.tariff.max_installments.min(self.max_installments),
            position: self.position.clone(),
            cancel_by: self.tariff.cancel_lead.map_or(Timestamp::ZERO, |lead| window.start.before(lead)),
        })
    }
}

/// What one connector gives in a window.
fn deliverable(power_w: u32, speed: u32, window: Window) -> Energy {
    const MS_PER_HOUR: u128 = 3_600_000;
    let watts = u128::from(power_w) * u128::from(speed.max(1));
    let energy = watts * u128::from(window.length().get()) / MS_PER_HOUR;
    Energy::new(u64::try_from(energy).unwrap_or(u64::MAX))
}
