//! Takes bids until the price converges, a time limit, or the consumer stops (P18 3.2).

use std::collections::BTreeMap;
use std::time::Duration;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Amount, Timestamp, TxRef};
use tokio::sync::watch;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::config::{BiddingEnd, ChargeOrder};
use crate::agents::chain::blocks::{News, NewsReader};
use crate::agents::error::AgentError;
use crate::agents::event::AgentEvent;
use crate::agents::timing::sleep_until;
use crate::rpc::{BlockNotice, NodeApiClient};

/// The bids for a request, as far as they were heard.
#[derive(Debug)]
struct Heard {
    request: TxRef,
    /// When each producer placed its most recent bid; the last name of all for one that was asked for
    /// after a gap.
    placed: BTreeMap<PublicKey, TxRef>,
    lowest: Option<Lowest>,
    /// Whether the consumer has stopped the bidding.
    is_stopped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Lowest {
    price: Amount,
    since: Instant,
}

impl Attempt {
    /// Takes bids until the order, or the consumer by `decided`, says that it is enough. Gives when each
    /// producer placed its bid.
    pub(super) async fn take_bids(
        &self,
        order: &ChargeOrder,
        request: TxRef,
        deadline: Timestamp,
        mut news: NewsReader,
        mut decided: watch::Receiver<()>,
    ) -> Result<BTreeMap<PublicKey, TxRef>, AgentError> {
        let mut heard = Heard { request, placed: BTreeMap::new(), lowest: None, is_stopped: false };
        let mut time = Timestamp::ZERO;
        while time < deadline && !heard.is_enough(order, Instant::now()) {
            tokio::select! {
                news = news.next() => match news {
                    News::Block(block) => {
                        self.nodes.saw(block.header.height);
                        time = block.header.time_ms;
                        for (producer, price) in heard.take(&block) {
                            self.nodes.observe(&AgentEvent::BidHeard { request, producer, price });
                        }
                    }
                    News::Gap => time = self.ask_for_bids(&mut heard).await?,
                },
                () = sleep_until(heard.converged_at(order.until)) => {}
                // The sender lives as long as the order.
                Ok(()) = decided.changed(), if !heard.is_stopped => heard.is_stopped = true,
            }
        }
        Ok(heard.placed)
    }

    /// Asks for the bids that were missed, and gives the chain's time.
    async fn ask_for_bids(&self, heard: &mut Heard) -> Result<Timestamp, AgentError> {
        let status = self.nodes.need("ask for the chain's time", |rpc| async move { rpc.status().await });
        let time = status.await?.time;
        let request = heard.request;
        let bids = self.nodes.ask("ask for the bids", |rpc| async move { rpc.bids(request).await }).await?;
        for bid in bids.unwrap_or_default() {
            heard.placed.entry(bid.producer).or_insert(TxRef::MAX);
            heard.note_price(bid.bid.price, Instant::now());
        }
        Ok(time)
    }
}

impl Heard {
    /// Takes a block's bids, and gives them.
    fn take(&mut self, block: &BlockNotice) -> Vec<(PublicKey, Amount)> {
        let mut bids = Vec::new();
        for record in &block.events {
            if let Event::BidPlaced { request, producer, price } = record.event
                && request == self.request
            {
                self.placed.insert(producer, record.transaction.unwrap_or(TxRef::MAX));
                self.note_price(price, Instant::now());
                bids.push((producer, price));
            }
        }
        bids
    }

    fn note_price(&mut self, price: Amount, now: Instant) {
        if self.lowest.is_none_or(|lowest| price < lowest.price) {
            self.lowest = Some(Lowest { price, since: now });
        }
    }

    /// Whether it is time to decide, before the bid deadline.
    fn is_enough(&self, order: &ChargeOrder, now: Instant) -> bool {
        if self.placed.is_empty() {
            return false;
        }
        self.is_stopped
            || order.enough_bids.is_some_and(|enough| self.placed.len() >= enough as usize)
            || self.converged_at(order.until).is_some_and(|at| at <= now)
    }

    /// When the price counts as converged, if it does not fall before.
    fn converged_at(&self, until: BiddingEnd) -> Option<Instant> {
        match until {
            BiddingEnd::Deadline => None,
            BiddingEnd::Converged(quiet) => {
                // Far longer than any bidding, and no overflow.
                let quiet = Duration::from_millis(quiet.get()).min(Duration::from_hours(24 * 365));
                Some(self.lowest?.since + quiet)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use evchain_protocol::primitives::{Energy, Span, Window};

    use super::*;
    use crate::agents::consumer::config::{self, DecideNow};

    fn order() -> ChargeOrder {
        config::tests::order(Window { start: Timestamp::new(5), end: Timestamp::new(9) }, Energy::new(1))
    }

    fn nothing() -> Heard {
        Heard { request: TxRef::MIN, placed: BTreeMap::new(), lowest: None, is_stopped: false }
    }

    #[test]
    fn an_attempt_hears_of_its_own_decisions_only() {
        let decide_now = DecideNow::default();
        let first = decide_now.listen();
        decide_now.clone().decide();
        let second = decide_now.listen();
        // Before the first bid, too: it is kept until somebody looks.
        assert!(first.has_changed().is_ok_and(|decided| decided));
        assert!(second.has_changed().is_ok_and(|decided| !decided));
        decide_now.decide();
        assert!(second.has_changed().is_ok_and(|decided| decided));
    }

    #[test]
    fn the_price_converges_when_nobody_goes_lower() {
        let mut heard = nothing();
        let order = ChargeOrder { until: BiddingEnd::Converged(Span::new(100)), ..order() };
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let hear = |heard: &mut Heard, key: u8, price, ms| {
            heard.placed.insert(PublicKey::from_bytes([key; 32]), TxRef::MIN);
            heard.note_price(Amount::new(price), at(ms));
        };
        assert!(!heard.is_enough(&order, at(1_000)), "nobody has bid");
        hear(&mut heard, 1, 50, 1_000);
        hear(&mut heard, 2, 60, 1_050);
        hear(&mut heard, 2, 50, 1_060);
        assert!(!heard.is_enough(&order, at(1_099)));
        hear(&mut heard, 2, 49, 1_099);
        assert!(!heard.is_enough(&order, at(1_198)));
        assert!(heard.is_enough(&order, at(1_199)));
        assert!(!heard.is_enough(&ChargeOrder { until: BiddingEnd::Deadline, ..order }, at(1_199)));
    }

    #[test]
    fn bidding_ends_by_hand_or_with_enough_bids_but_never_without_any() {
        let (mut heard, now) = (nothing(), Instant::now());
        let (order, two) = (order(), ChargeOrder { enough_bids: Some(2), ..order() });
        heard.is_stopped = true;
        assert!(!heard.is_enough(&order, now));
        heard.placed.insert(PublicKey::from_bytes([1; 32]), TxRef::MIN);
        assert!(heard.is_enough(&order, now));
        heard.is_stopped = false;
        assert!(!heard.is_enough(&order, now) && !heard.is_enough(&two, now));
        heard.placed.insert(PublicKey::from_bytes([2; 32]), TxRef::MIN);
        assert!(heard.is_enough(&two, now));
    }
}
