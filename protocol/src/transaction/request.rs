//! Request: a consumer asks for energy (B1 to B3; P18 3.2).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Span;
use crate::primitives::{Energy, RegionId, Timestamp, Window};
use crate::state::auction::BiddingMode;
use crate::state::auction::Request;
use crate::state::key::{DueItem, StateKey};
use crate::state::value::StateValue;

/// Asks for energy in a region and a window. The transaction's name is the request's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PlaceRequest {
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

impl PlaceRequest {
    pub(super) fn check(&self) -> Result<(), RequestReason> {
        let Window { start, end } = self.window;
        // B2
        if self.region == RegionId::ZERO {
            return Err(RequestReason::NoRegion);
        }
        if self.energy == Energy::ZERO {
            return Err(RequestReason::NoEnergy);
        }
        if start >= end {
            return Err(RequestReason::EmptyWindow { start, end });
        }
        // B3
        if self.bid_deadline >= start {
            return Err(RequestReason::DeadlineAfterStart { deadline: self.bid_deadline, start });
        }
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (params, now) = (&ledger.block.params, ledger.block.time);
        let mut account = ledger.existing_account(&sender.key)?;
        // B1
        if !account.standing.is_consumer() {
            return Err(RequestReason::NotConsumer { sender: sender.key }.into());
        }
        let (open, max) = (account.open_requests, params.max_open_requests);
        if open >= max {
            return Err(RequestReason::TooManyOpen { open, max }.into());
        }
        // B2
        let length = self.window.length();
        if length > params.max_window {
            return Err(RequestReason::WindowTooLong { length, max: params.max_window }.into());
        }
        // B3
        if self.bid_deadline <= now {
            return Err(RequestReason::DeadlinePassed { deadline: self.bid_deadline, now }.into());
        }
        let (start, latest) = (self.window.start, now.saturating_after(params.max_lead));
        if start > latest {
            return Err(RequestReason::TooFarAhead { start, latest }.into());
        }
        account.open_requests = open.saturating_add(1);
        ledger.put_account(sender.key, account);
        ledger.state.put(StateKey::Request(sender.name), StateValue::Request(self.open(sender.key)));
        ledger.reschedule(DueItem::Request(sender.name), None, Some(self.window.end));
        ledger.emit(Event::Requested {
            request: sender.name,
            consumer: sender.key,
            region: self.region,
            window: self.window,
        });
        Ok(())
    }

    const fn open(&self, consumer: PublicKey) -> Request {
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
