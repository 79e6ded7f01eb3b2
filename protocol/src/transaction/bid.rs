//! Bid: a producer offers a price for a request (B4 to B8; P18 3.2).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::compact::{Narrow, NotCompact};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::payment::InstallmentCount;
use crate::primitives::TxRef;
use crate::primitives::{Amount, Position, RegionId, Timestamp};
use crate::state::auction::{Bid, BidPosition, BiddingMode, PaymentKinds, Request};
use crate::state::key::StateKey;
use crate::state::read::StateRead;
use crate::state::value::StateValue;

/// Bids for a request, or lowers the sender's earlier bid.
///
/// Encoded in 23 bytes, as the fields stand here, where the position is the station's; the time is in
/// ticks of a tenth of a second.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(try_from = "BidTerms", into = "BidTerms")]
pub struct PlaceBid {
    request: TxRef,
    price: Narrow<6>,
    kinds: PaymentKinds,
    max_installments: InstallmentCount,
    cancel_by: Narrow<5>,
    position: BidPosition,
}

/// A bid in JSON.
#[derive(Serialize, Deserialize)]
struct BidTerms {
    request: TxRef,
    bid: Bid,
}

impl TryFrom<BidTerms> for PlaceBid {
    type Error = NotCompact;

    fn try_from(terms: BidTerms) -> Result<Self, NotCompact> {
        Self::new(terms.request, terms.bid)
    }
}

impl From<PlaceBid> for BidTerms {
    fn from(placed: PlaceBid) -> Self {
        Self { request: placed.request, bid: placed.bid() }
    }
}

/// Why a bid breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum BidReason {
    /// B4
    #[error("{sender} is not a producer, and only those bid")]
    NotProducer { sender: PublicKey },
    /// B4
    #[error("there is no open request {request}")]
    NoRequest { request: TxRef },
    /// B4
    #[error("request {request} is the sender's own")]
    OwnRequest { request: TxRef },
    /// B5
    #[error("bids for this request ended at {deadline}, and the block's time is {now}")]
    DeadlinePassed { deadline: Timestamp, now: Timestamp },
    /// B5
    #[error("request {request} has a commitment, which ends its bidding")]
    Committed { request: TxRef },
    /// B6
    #[error("a bid needs a price above zero")]
    ZeroPrice,
    /// B6
    #[error("a bid needs at least one kind of payment")]
    NoPaymentKind,
    /// B6
    #[error("the bid offers {offered} installments, and at most {max} are allowed")]
    TooManyInstallments { offered: InstallmentCount, max: InstallmentCount },
    /// B6
    #[error("the bid can be cancelled until {cancel_by}, which is after the window's start, {start}")]
    CancelAfterStart { cancel_by: Timestamp, start: Timestamp },
    /// B7
    #[error("{sender} has no station record, so the bid must state a position")]
    NoStation { sender: PublicKey },
    /// B7
    #[error("the sender's station is in region {station}, the request in region {request}")]
    StationElsewhere { station: RegionId, request: RegionId },
    /// B7
    #[error(
        "there is no place at latitude {} and longitude {} (in 1e-7 degrees)",
        position.latitude_e7, position.longitude_e7
    )]
    OffTheGlobe { position: Position },
    /// B8
    #[error("{max} producers have bid for this request, which is the most that can")]
    TooManyBids { max: u32 },
    /// B8
    #[error("the sender has bid, and request {request} takes no updates")]
    NoUpdates { request: TxRef },
    /// B8
    #[error("the new price, {price}, is not below the earlier one, {earlier}")]
    NotLower { price: Amount, earlier: Amount },
}

impl PlaceBid {
    /// This offer for this request.
    ///
    /// # Errors
    /// [`NotCompact`] where no transaction can say it.
    pub fn new(request: TxRef, bid: Bid) -> Result<Self, NotCompact> {
        let Bid { price, kinds, max_installments, position, cancel_by } = bid;
        Ok(Self {
            request,
            price: Narrow::new("the price in EUR 0.0001", price.get())?,
            kinds,
            max_installments,
            cancel_by: Narrow::ticks(
                "the moment until which it can be cancelled in ms",
                cancel_by.since(Timestamp::ZERO),
            )?,
            position,
        })
    }

    /// The offer.
    pub fn bid(&self) -> Bid {
        Bid {
            price: Amount::new(self.price.get()),
            kinds: self.kinds,
            max_installments: self.max_installments,
            position: self.position.clone(),
            cancel_by: Timestamp::ZERO.saturating_after(self.cancel_by.span()),
        }
    }

    pub(super) fn check(&self) -> Result<(), BidReason> {
        // B6
        if self.price.get() == 0 {
            return Err(BidReason::ZeroPrice);
        }
        if self.kinds.is_empty() {
            return Err(BidReason::NoPaymentKind);
        }
        // B7
        match &self.position {
            BidPosition::Public(place) if !place.position.is_on_globe() => {
                Err(BidReason::OffTheGlobe { position: place.position })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (params, now) = (&ledger.block.params, ledger.block.time);
        let (name, bid) = (self.request, self.bid());
        // B4
        if !ledger.existing_account(&sender.key)?.standing.is_producer() {
            return Err(BidReason::NotProducer { sender: sender.key }.into());
        }
        let Some(mut request) = ledger.state.request(name)? else {
            return Err(BidReason::NoRequest { request: name }.into());
        };
        if request.consumer == sender.key {
            return Err(BidReason::OwnRequest { request: name }.into());
        }
        // B5
        if now >= request.bid_deadline {
            return Err(BidReason::DeadlinePassed { deadline: request.bid_deadline, now }.into());
        }
        if request.commitment.is_some() {
            return Err(BidReason::Committed { request: name }.into());
        }
        // B6
        if bid.max_installments > params.max_installments {
            let (offered, max) = (bid.max_installments, params.max_installments);
            return Err(BidReason::TooManyInstallments { offered, max }.into());
        }
        let start = request.window.start;
        if bid.cancel_by > start {
            return Err(BidReason::CancelAfterStart { cancel_by: bid.cancel_by, start }.into());
        }
        self.check_station(sender.key, &request, ledger)?;
        // B8
        match ledger.state.bid(name, &sender.key)? {
            None if request.bids >= params.max_bids => {
                return Err(BidReason::TooManyBids { max: params.max_bids }.into());
            }
            None => {
                request.bids = request.bids.saturating_add(1);
                ledger.state.put(StateKey::Request(name), StateValue::Request(request));
            }
            Some(_) if request.mode == BiddingMode::FirstOnly => {
                return Err(BidReason::NoUpdates { request: name }.into());
            }
            Some(earlier) if bid.price >= earlier.price => {
                return Err(BidReason::NotLower { price: bid.price, earlier: earlier.price }.into());
            }
            Some(_) => {}
        }
        ledger.emit(Event::BidPlaced { request: name, producer: sender.key, price: bid.price });
        ledger.state.put(StateKey::Bid(name, sender.key), StateValue::Bid(bid));
        Ok(())
    }

    /// B7
    fn check_station(
        &self,
        sender: PublicKey,
        request: &Request,
        ledger: &Ledger<'_>,
    ) -> Result<(), ExecuteError> {
        if self.position != BidPosition::Station {
            return Ok(());
        }
        match ledger.state.station(&sender)? {
            None => Err(BidReason::NoStation { sender }.into()),
            Some(station) if station.region != request.region => {
                Err(BidReason::StationElsewhere { station: station.region, request: request.region }.into())
            }
            Some(_) => Ok(()),
        }
    }
}
