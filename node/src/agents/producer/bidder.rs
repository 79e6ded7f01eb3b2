//! Answers requests with a price, as far as there are connectors and energy, and follows the bids of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{Amount, Energy, Timestamp, TxRef, Window};
use evchain_protocol::sealed::{SealError, SealedFor, SealedPlace};
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode, PaymentKinds, Place, Request};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::bid::PlaceBid;

use super::slots::{NoRoom, Slot, Slots};
use super::tariff::ProducerTariff;
use crate::agents::chain::blocks::{News, NewsReader};
use crate::agents::chain::nodes::Signer;
use crate::agents::error::AgentError;
use crate::agents::event::AgentEvent;
use crate::agents::report::Phase;
use crate::clock;
use crate::rpc::{
    BidInfo, BlockNotice, Follow, Followed, NodeApiClient, RequestFilter, RequestInfo, RpcClient,
};
use crate::wallet::private_file::random_bytes;

/// Requests that are remembered as answered. A request is told twice only around a gap; one that was forgotten by then
/// is looked at anew, and an own bid for it is found on the chain.
const REMEMBERED: usize = 4_096;
/// Requests that are followed after the answer: own bids that can be lowered, and those that wait for room.
const MAX_FOLLOWED: usize = 1_024;

pub(super) struct Bidder {
    pub(super) tariff: ProducerTariff,
    /// How many times faster than real time energy flows, for simulations.
    pub(super) speed: u32,
    /// Where a vehicle is; a station's record says it.
    pub(super) place: Option<Place>,
    /// The most installments that the chain allows in this epoch.
    pub(super) max_installments: InstallmentCount,
    pub(super) signer: Arc<Signer>,
    pub(super) news: NewsReader,
    pub(super) requests: Follow<RequestInfo>,
    pub(super) slots: Slots,
    pub(super) answered: BTreeSet<TxRef>,
    /// Own bids that others' bids may make lower.
    pub(super) standing: BTreeMap<TxRef, Standing>,
    /// Requests that found all connectors kept for others' bids, as long as they take bids. One that finds them sold is
    /// not looked at again: what is sold is seldom cancelled.
    pub(super) waiting: BTreeMap<TxRef, Request>,
    /// Bids that were sent, lowered ones too.
    pub(super) bids: u64,
}

/// An own bid that can be lowered.
#[derive(Debug)]
pub(super) struct Standing {
    request: Request,
    price: Amount,
    /// The lowest bid of others.
    lowest: Option<Amount>,
    /// How often it was lowered.
    updates: u32,
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
                news = self.news.next() => match news {
                    News::Block(block) => self.hear(&block).await?,
                    // The node may have been given up: requests come from where the blocks come now, and
                    // what was missed is asked for once they do.
                    News::Gap => self.requests.restart(),
                },
            }
        }
    }

    /// Asks for what was missed: sold sessions, own bids, and requests that take bids.
    async fn catch_up(&mut self) -> Result<(), AgentError> {
        self.catch_up_with_sales().await?;
        let now = clock::now();
        let filter = RequestFilter { region: Some(self.tariff.region), ..RequestFilter::default() };
        let ask = |rpc: RpcClient, after| async move { rpc.requests(filter, after).await };
        for info in self.signer.nodes.all("ask for requests", ask).await? {
            if info.value.payment.is_some() {
                self.forget(info.name);
            } else if info.value.window.end > now && !self.adopt(&info).await? {
                self.answer(info).await?;
            }
        }
        Ok(())
    }

    async fn catch_up_with_sales(&mut self) -> Result<(), AgentError> {
        let (nodes, own) = (self.signer.nodes.clone(), self.signer.address());
        let payments = |rpc: RpcClient, after| async move { rpc.payments(Some(own), after).await };
        let payments = nodes.all("ask for payments", payments).await?;
        let channels = |rpc: RpcClient, after| async move { rpc.channels(Some(own), after).await };
        let channels = nodes.all("ask for channels", channels).await?;
        let payments = payments.iter().map(|it| (it.name, it.value.producer, it.value.request));
        let channels = channels.iter().map(|it| (it.name, it.value.producer, it.value.request));
        let paid: Vec<_> = payments.chain(channels).filter(|(_, producer, _)| *producer == own).collect();
        for (payment, _, request) in paid {
            self.sell(payment, request).await?;
        }
        Ok(())
    }

    /// Takes up an own bid that the agent does not know of, such as one from before its start. Returns whether
    /// there is one.
    async fn adopt(&mut self, info: &RequestInfo) -> Result<bool, AgentError> {
        if info.value.bids == 0 {
            return Ok(false);
        }
        let (own, bids) = self.bids_of(info.name).await?;
        let Some(price) = own else { return Ok(false) };
        self.remember(info.name);
        let consumer = info.value.consumer;
        self.note_bid(info.name, info.value.clone(), price, lowest(&bids));
        for (_, lock) in self.signer.nodes.locks(consumer, self.signer.address()).await? {
            self.take_lock(info.name, lock.amount).await?;
        }
        Ok(true)
    }

    /// The own bid, and those of others.
    async fn bids_of(&self, request: TxRef) -> Result<(Option<Amount>, Vec<BidInfo>), AgentError> {
        let own = self.signer.address();
        let ask = |rpc: RpcClient| async move { rpc.bids(request).await };
        let bids = self.signer.nodes.ask("ask for bids", ask).await?.unwrap_or_default();
        let (mine, others): (Vec<_>, Vec<_>) = bids.into_iter().partition(|bid| bid.producer == own);
        Ok((mine.first().map(|bid| bid.bid.price), others))
    }

    async fn hear(&mut self, block: &BlockNotice) -> Result<(), AgentError> {
        self.signer.nodes.saw(block.header.height);
        let (own, time) = (self.signer.address(), block.header.time_ms);
        let mut makes_room = self.slots.expire(time);
        let mut undercut = BTreeSet::new();
        for record in &block.events {
            match record.event {
                Event::PaymentLocked { payment, request, producer, .. } if producer == own => {
                    self.sell(payment, request).await?;
                }
                Event::ChannelOpened { channel, request, producer, .. } if producer == own => {
                    self.sell(channel, request).await?;
                }
                Event::PaymentLocked { request, .. } | Event::ChannelOpened { request, .. } => {
                    makes_room |= self.forget(request);
                }
                Event::Locked { payer, payee, amount, .. } if payee == own => {
                    if let Some(request) = self.slots.request_of(payer) {
                        self.take_lock(request, amount).await?;
                    }
                }
                Event::PaymentCancelled { payment: name, .. }
                | Event::ChannelCancelled { channel: name, .. } => {
                    makes_room |= self.slots.cancel(name);
                }
                // The parameters change with epochs only.
                Event::EpochStarted { .. } => {
                    let ask = |rpc: RpcClient| async move { rpc.params().await };
                    let params = self.signer.nodes.need("ask for the chain's parameters", ask).await?;
                    self.max_installments = params.max_installments;
                }
                Event::Committed { request, .. } => {
                    self.standing.remove(&request);
                    self.waiting.remove(&request);
                }
                Event::BidPlaced { request, producer, price } if producer != own => {
                    if let Some(standing) = self.standing.get_mut(&request) {
                        standing.lowest = Some(standing.lowest.map_or(price, |lowest| lowest.min(price)));
                        undercut.insert(request);
                    }
                }
                _ => {}
            }
        }
        self.standing.retain(|_, standing| standing.request.bid_deadline > time);
        self.waiting.retain(|_, request| request.bid_deadline > time);
        for request in undercut {
            self.lower(request).await?;
        }
        if makes_room {
            for (name, request) in std::mem::take(&mut self.waiting) {
                self.consider(name, request).await?;
            }
        }
        Ok(())
    }

    /// Notes a session that is paid by single locks, if this can be the first of them. A lock names no request: one to
    /// another producer does not tell which request it pays for.
    async fn take_lock(&mut self, request: TxRef, amount: Amount) -> Result<(), AgentError> {
        if !self.tariff.kinds.contains(PaymentKinds::SINGLE) {
            return Ok(());
        }
        if self.slots.is_sold(request) {
            // Its bid keeps no second connector.
            self.forget(request);
            return Ok(());
        }
        let Some(price) = self.bids_of(request).await?.0 else { return Ok(()) };
        let most = self.tariff.max_installments.min(self.max_installments).get();
        let is_deposit =
            |count| InstallmentCount::new(count).is_ok_and(|count| count.money_of(price, 0) == amount);
        if (1..=most).any(is_deposit) {
            // Each lock has a name, and the request's stands for all of them.
            self.sell(request, request).await?;
        }
        Ok(())
    }

    /// Notes a session that was sold.
    async fn sell(&mut self, payment: TxRef, request: TxRef) -> Result<(), AgentError> {
        if self.slots.is_sold(payment) {
            self.forget(request);
            return Ok(());
        }
        let mut slot = self.slots.bid_for(request);
        if slot.is_none() {
            let ask = |rpc: RpcClient| async move { rpc.energy_request(request).await };
            let found = self.signer.nodes.ask("ask for a request", ask).await?;
            slot = found.map(|info| slot_of(&info.value));
        }
        // A request leaves the chain at the end of its window.
        if let Some(slot) = slot {
            self.slots.sell(payment, request, slot);
        }
        self.forget(request);
        Ok(())
    }

    /// Gives up a request for which somebody was paid. Returns whether that frees a connector.
    fn forget(&mut self, request: TxRef) -> bool {
        self.standing.remove(&request);
        self.waiting.remove(&request);
        self.slots.lose(request)
    }

    /// Answers a request, once.
    async fn answer(&mut self, info: RequestInfo) -> Result<(), AgentError> {
        self.signer.nodes.saw(info.name.height());
        if info.value.region != self.tariff.region || !self.remember(info.name) {
            return Ok(());
        }
        self.consider(info.name, info.value).await
    }

    /// Remembers a request as answered, and returns whether it was not yet.
    fn remember(&mut self, request: TxRef) -> bool {
        let is_new = self.answered.insert(request);
        while self.answered.len() > REMEMBERED {
            self.answered.pop_first();
        }
        is_new
    }

    /// Bids, or says why not.
    async fn consider(&mut self, name: TxRef, request: Request) -> Result<(), AgentError> {
        if let Err(reason) = self.can_serve(&request, clock::now()) {
            self.decline(name, reason);
            return Ok(());
        }
        if let Err(no_room) = self.slots.room(slot_of(&request)) {
            self.decline(name, no_room.to_string());
            if no_room != NoRoom::Sold && self.waiting.len() < MAX_FOLLOWED {
                self.waiting.insert(name, request);
            }
            return Ok(());
        }
        let mut lowest_other = None;
        if self.tariff.pricing.heeds_others() {
            lowest_other = lowest(&self.bids_of(name).await?.1);
        }
        match self.tariff.pricing.price(request.window, request.energy, lowest_other) {
            Ok(Some(price)) => {
                if self.place(name, &request, price).await? {
                    self.note_bid(name, request, price, lowest_other);
                }
            }
            Ok(None) => self.decline(name, "the price would be zero".to_owned()),
            Err(error) => self.decline(name, error.to_string()),
        }
        Ok(())
    }

    /// Why this producer has nothing to offer, whatever it has promised to others.
    fn can_serve(&self, request: &Request, now: Timestamp) -> Result<(), String> {
        if request.consumer == self.signer.address() {
            return Err("it is the own request".to_owned());
        }
        if request.commitment.is_some() || now >= request.bid_deadline {
            return Err("it takes no more bids".to_owned());
        }
        let most = deliverable(self.tariff.power_w, self.speed, request.window);
        if request.energy > most {
            let asked = request.energy;
            return Err(format!("{asked} in this window are more than the {most} that one connector gives"));
        }
        Ok(())
    }

    /// Lowers the own bid where others are cheaper and the tariff allows it.
    async fn lower(&mut self, name: TxRef) -> Result<(), AgentError> {
        let Some(standing) = self.standing.get(&name) else { return Ok(()) };
        if standing.updates >= self.tariff.max_updates || clock::now() >= standing.request.bid_deadline {
            return Ok(());
        }
        let (window, energy) = (standing.request.window, standing.request.energy);
        let Ok(Some(price)) = self.tariff.pricing.price(window, energy, standing.lowest) else {
            return Ok(());
        };
        if price >= standing.price {
            return Ok(());
        }
        let request = standing.request.clone();
        if !self.place(name, &request, price).await? {
            self.standing.remove(&name);
        } else if let Some(standing) = self.standing.get_mut(&name) {
            standing.price = price;
            standing.updates += 1;
        }
        Ok(())
    }

    /// Brings a bid to the chain, if the ledger takes it.
    async fn place(&mut self, name: TxRef, request: &Request, price: Amount) -> Result<bool, AgentError> {
        let start = request.window.start;
        let position = match self.position(name, request.consumer)? {
            Ok(position) => position,
            Err(unusable) => {
                self.decline(name, unusable.to_string());
                return Ok(false);
            }
        };
        let bid = Bid {
            price,
            kinds: self.tariff.kinds,
            max_installments: self.tariff.max_installments.min(self.max_installments),
            position,
            cancel_by: self
                .tariff
                .cancel_lead
                .map_or(Timestamp::ZERO, |lead| start.before(lead).floor_to_tick()),
        };
        let bid = match PlaceBid::new(name, bid) {
            Ok(bid) => bid,
            Err(not_compact) => {
                self.decline(name, not_compact.to_string());
                return Ok(false);
            }
        };
        match self.signer.send(Phase::Bidding, &Action::PlaceBid(bid)).await {
            Ok(_) => {
                self.bids += 1;
                self.signer.nodes.observe(&AgentEvent::BidPlaced { request: name, price });
                Ok(true)
            }
            Err(AgentError::Rejected { message, .. }) => {
                self.decline(name, message);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Where this producer delivers, which only the consumer can read if it is a vehicle.
    fn position(
        &self,
        request: TxRef,
        consumer: PublicKey,
    ) -> Result<Result<BidPosition, SealError>, AgentError> {
        let Some(place) = &self.place else { return Ok(Ok(BidPosition::Station)) };
        let bid = SealedFor { chain: self.signer.nodes.chain(), request, producer: self.signer.address() };
        let secret = random_bytes()?;
        Ok(SealedPlace::seal(place, &consumer, &bid, &secret).map(BidPosition::Sealed))
    }

    /// Notes an own bid that stands.
    fn note_bid(&mut self, name: TxRef, request: Request, price: Amount, lowest: Option<Amount>) {
        self.slots.bid(name, slot_of(&request));
        let can_change = request.mode == BiddingMode::Updates && self.tariff.pricing.heeds_others();
        if can_change && self.standing.len() < MAX_FOLLOWED {
            let updates = self.standing.get(&name).map_or(0, |standing| standing.updates);
            self.standing.insert(name, Standing { request, price, lowest, updates });
        }
    }

    fn decline(&self, request: TxRef, reason: String) {
        self.signer.nodes.observe(&AgentEvent::NotBidding { request, reason });
    }
}

fn slot_of(request: &Request) -> Slot {
    Slot { consumer: request.consumer, window: request.window, energy: request.energy }
}

fn lowest(bids: &[BidInfo]) -> Option<Amount> {
    bids.iter().map(|bid| bid.bid.price).min()
}

/// What one connector gives in a window.
fn deliverable(power_w: u32, speed: u32, window: Window) -> Energy {
    const MS_PER_HOUR: u128 = 3_600_000;
    let watts = u128::from(power_w) * u128::from(speed.max(1));
    let energy = watts * u128::from(window.length().get()) / MS_PER_HOUR;
    Energy::new(u64::try_from(energy).unwrap_or(u64::MAX))
}
