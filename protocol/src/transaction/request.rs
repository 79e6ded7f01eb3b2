//! Request: a consumer asks for energy (B1 to B3; P18 3.2).

use bincode::de::Decoder;
use bincode::error::DecodeError;
use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::compact::{Narrow, NotCompact, between, span_of, ticks};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::{Energy, RegionId, Span, Timestamp, TxRef, Window};
use crate::state::auction::{BiddingMode, Request};
use crate::state::key::{DueItem, StateKey};
use crate::state::value::StateValue;

/// Asks for energy in a region and a window. The transaction's name is the request's.
///
/// Encoded in 16 bytes, as the fields stand here; times are in ticks of a tenth of a second. It says exactly
/// what its [`RequestTerms`] say, and there is one for each that can be said.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Serialize, Deserialize)]
#[serde(try_from = "RequestTerms", into = "RequestTerms")]
pub struct PlaceRequest {
    region: RegionId,
    start: Narrow<5>,
    length: Narrow<3>,
    energy: Narrow<3>,
    /// The ticks from the bid deadline to the start, no more than `start` has, and [`UPDATES_BIT`].
    bidding: Narrow<3>,
}

/// Set where bids can be lowered.
const UPDATES_BIT: u64 = 1 << 23;

const MAX_LEAD_TICKS: u64 = UPDATES_BIT - 1;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTerms {
    /// R.
    pub region: RegionId,
    /// T.
    pub window: Window,
    /// e.
    pub energy: Energy,
    /// Whether bids can be lowered.
    pub mode: BiddingMode,
    /// Bids count while the block's time is before this.
    pub bid_deadline: Timestamp,
}

/// Why a request breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum RequestReason {
    /// B1
    #[error("{sender} is not a consumer, and only those ask for energy")]
    NotConsumer { sender: PublicKey },
    /// B1
    #[error(
        "the sender's request {request} can still be decided: ask with another key, as each charging should"
    )]
    Undecided { request: TxRef },
    /// B1
    #[error("{open} requests of this consumer are open, and at most {max} can be")]
    TooManyOpen { open: u32, max: u32 },
    /// B2
    #[error("a request needs a region: they are numbered from 1")]
    NoRegion,
    /// B2
    #[error("a request needs an energy above zero")]
    NoEnergy,
    /// B2
    #[error("the window ends at {end}, which is not after its start, {start}")]
    EmptyWindow { start: Timestamp, end: Timestamp },
    /// B2
    #[error("the window is {length} long, and at most {max} are allowed")]
    WindowTooLong { length: Span, max: Span },
    /// B3
    #[error("the bid deadline, {deadline}, is not after the block's time, {now}")]
    DeadlinePassed { deadline: Timestamp, now: Timestamp },
    /// B3
    #[error("the bid deadline, {deadline}, is not before the window's start, {start}")]
    DeadlineAfterStart { deadline: Timestamp, start: Timestamp },
    /// B3
    #[error("the window starts at {start}, and the latest start is now {latest}")]
    TooFarAhead { start: Timestamp, latest: Timestamp },
}

impl TryFrom<RequestTerms> for PlaceRequest {
    type Error = NotCompact;

    fn try_from(terms: RequestTerms) -> Result<Self, NotCompact> {
        let RequestTerms { region, window, energy, mode, bid_deadline } = terms;
        let start = Narrow::ticks("the window's start in ms", window.start.since(Timestamp::ZERO))?;
        let what = "the window's length in ms";
        let length = Narrow::ticks(what, between(what, window.start, window.end)?)?;
        let what = "the time from the bid deadline to the window's start in ms";
        let lead = ticks(what, between(what, bid_deadline, window.start)?, MAX_LEAD_TICKS)?;
        let updates = if mode == BiddingMode::Updates { UPDATES_BIT } else { 0 };
        Ok(Self {
            region,
            start,
            length,
            energy: Narrow::new("the energy in Wh", energy.get())?,
            bidding: Narrow::new(what, lead | updates)?,
        })
    }
}

impl<C> Decode<C> for PlaceRequest {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let request = Self {
            region: Decode::decode(decoder)?,
            start: Decode::decode(decoder)?,
            length: Decode::decode(decoder)?,
            energy: Decode::decode(decoder)?,
            bidding: Decode::decode(decoder)?,
        };
        if request.lead_ticks() > request.start.get() {
            return Err(DecodeError::Other("a bid deadline before the Unix epoch"));
        }
        Ok(request)
    }
}

bincode::impl_borrow_decode!(PlaceRequest);

impl From<PlaceRequest> for RequestTerms {
    fn from(request: PlaceRequest) -> Self {
        request.terms()
    }
}

impl PlaceRequest {
    /// What it asks for.
    pub const fn terms(&self) -> RequestTerms {
        let start = Timestamp::ZERO.saturating_after(self.start.span());
        let updates = self.bidding.get() & UPDATES_BIT != 0;
        RequestTerms {
            region: self.region,
            window: Window { start, end: start.saturating_after(self.length.span()) },
            energy: Energy::new(self.energy.get()),
            mode: if updates { BiddingMode::Updates } else { BiddingMode::FirstOnly },
            bid_deadline: start.before(span_of(self.lead_ticks())),
        }
    }

    const fn lead_ticks(&self) -> u64 {
        self.bidding.get() & MAX_LEAD_TICKS
    }

    pub(super) fn check(&self) -> Result<(), RequestReason> {
        let RequestTerms { region, window: Window { start, end }, energy, bid_deadline, .. } = self.terms();
        // B2
        if region == RegionId::ZERO {
            return Err(RequestReason::NoRegion);
        }
        if energy == Energy::ZERO {
            return Err(RequestReason::NoEnergy);
        }
        if start >= end {
            return Err(RequestReason::EmptyWindow { start, end });
        }
        // B3
        if bid_deadline >= start {
            return Err(RequestReason::DeadlineAfterStart { deadline: bid_deadline, start });
        }
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (params, now) = (&ledger.block.params, ledger.block.time);
        let terms = self.terms();
        let mut account = ledger.existing_account(&sender.key)?;
        // B1
        if !account.standing.is_consumer() {
            return Err(RequestReason::NotConsumer { sender: sender.key }.into());
        }
        if let Some((request, newest)) = ledger.newest_request(&sender.key)?
            && newest.can_be_decided(now)
        {
            return Err(RequestReason::Undecided { request }.into());
        }
        let (open, max) = (account.open_requests, params.max_open_requests);
        if open >= max {
            return Err(RequestReason::TooManyOpen { open, max }.into());
        }
        // B2
        let length = terms.window.length();
        if length > params.max_window {
            return Err(RequestReason::WindowTooLong { length, max: params.max_window }.into());
        }
        // B3
        if terms.bid_deadline <= now {
            return Err(RequestReason::DeadlinePassed { deadline: terms.bid_deadline, now }.into());
        }
        let (start, latest) = (terms.window.start, now.saturating_after(params.max_lead));
        if start > latest {
            return Err(RequestReason::TooFarAhead { start, latest }.into());
        }
        account.open_requests = open.saturating_add(1);
        account.newest_request = Some(sender.name);
        ledger.put_account(sender.key, account);
        ledger.reschedule(DueItem::Request(sender.name), None, Some(terms.window.end));
        ledger.emit(Event::Requested {
            request: sender.name,
            consumer: sender.key,
            region: terms.region,
            window: terms.window,
        });
        ledger.state.put(StateKey::Request(sender.name), StateValue::Request(terms.open(sender.key)));
        Ok(())
    }
}

impl RequestTerms {
    const fn open(self, consumer: PublicKey) -> Request {
        Request {
            consumer,
            region: self.region,
            window: self.window,
            energy: self.energy,
            mode: self.mode,
            bid_deadline: self.bid_deadline,
            bids: 0,
            commitment: None,
            payment: None,
        }
    }
}
