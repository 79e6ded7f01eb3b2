//! Which connectors and how much energy are promised to whom (P18 4.2). Knows the chain by what it is
//! told, and has no clock.

use std::collections::BTreeMap;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Energy, Span, Timestamp, TxRef, Window};

use super::tariff::{ProducerTariff, Reservation};

/// Promises that are remembered; above, there is no more room to promise anything.
const MAX_SLOTS: usize = 4_096;

/// A producer's promises.
#[derive(Debug)]
pub(super) struct Slots {
    reservation: Reservation,
    connectors: usize,
    /// How long before its window a session may begin.
    early: Span,
    /// What can be sold in all.
    energy: Option<Energy>,
    /// What was sold since the start.
    sold_energy: Energy,
    /// The sessions that are paid for, by payment or channel.
    sold: BTreeMap<TxRef, Slot>,
    /// The bids for those who have not paid anybody yet, by request. They keep connectors free where the
    /// policy says so.
    bids: BTreeMap<TxRef, Slot>,
}

/// A connector's place in time, and what it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) consumer: PublicKey,
    pub(super) window: Window,
    pub(super) energy: Energy,
}

/// Why nothing more can be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    #[error("all connectors are sold in this window")]
    Sold,
    #[error("all connectors are sold or kept for others in this window")]
    Held,
    #[error("{promised} of {all} are promised, and it asks for {asked}")]
    Energy { promised: Energy, all: Energy, asked: Energy },
}

impl Slots {
    /// Nothing is promised yet.
    pub(super) fn new(tariff: &ProducerTariff) -> Self {
        Self {
            reservation: tariff.reservation,
            connectors: tariff.connectors.into(),
            early: tariff.early_tolerance,
            energy: tariff.energy,
            sold_energy: Energy::ZERO,
            sold: BTreeMap::new(),
            bids: BTreeMap::new(),
        }
    }

    /// Whether this can be promised beside all that is.
    pub(super) fn room(&self, slot: Slot) -> Result<(), NoRoom> {
        let held = || self.bids.values().filter(|_| self.reservation == Reservation::Exclusive);
        let held_energy = held().fold(Energy::ZERO, |sum, held| sum.saturating_add(held.energy));
        let promised = self.sold_energy.saturating_add(held_energy);
        if let Some(all) = self.energy
            && promised.saturating_add(slot.energy) > all
        {
            return Err(NoRoom::Energy { promised, all, asked: slot.energy });
        }
        let taken = self.taken(&slot);
        let is_meanwhile = |other: &&Slot| self.taken(other).overlaps(&taken);
        let sold = self.sold.values().filter(is_meanwhile).count();
        if sold >= self.connectors || self.sold.len() >= MAX_SLOTS {
            return Err(NoRoom::Sold);
        }
        if sold + held().filter(is_meanwhile).count() >= self.connectors || self.bids.len() >= MAX_SLOTS {
            return Err(NoRoom::Held);
        }
        Ok(())
    }

    /// When a session may need its connector. Who promises one keeps it free as soon as charging may
    /// begin, since whoever comes early takes it from the one before.
    fn taken(&self, slot: &Slot) -> Window {
        match self.reservation {
            Reservation::Exclusive => {
                Window { start: slot.window.start.before(self.early), end: slot.window.end }
            }
            Reservation::Overbook => slot.window,
        }
    }

    /// Notes a bid.
    pub(super) fn bid(&mut self, request: TxRef, slot: Slot) {
        self.bids.insert(request, slot);
    }

    /// What was bid for a request.
    pub(super) fn bid_for(&self, request: TxRef) -> Option<Slot> {
        self.bids.get(&request).copied()
    }

    /// The request of this consumer that a bid stands for. It asks with a key of its own for each.
    pub(super) fn request_of(&self, consumer: PublicKey) -> Option<TxRef> {
        self.bids.iter().find(|(_, slot)| slot.consumer == consumer).map(|(request, _)| *request)
    }

    /// Whether this payment is noted.
    pub(super) fn is_sold(&self, payment: TxRef) -> bool {
        self.sold.contains_key(&payment)
    }

    /// A session is paid for with this producer.
    pub(super) fn sell(&mut self, payment: TxRef, request: TxRef, slot: Slot) {
        self.bids.remove(&request);
        if self.sold.len() < MAX_SLOTS && self.sold.insert(payment, slot).is_none() {
            self.sold_energy = self.sold_energy.saturating_add(slot.energy);
        }
    }

    /// A consumer pays somebody else. Whether that makes room.
    pub(super) fn lose(&mut self, request: TxRef) -> bool {
        self.bids.remove(&request).is_some()
    }

    /// A consumer takes everything back. Whether that makes room.
    pub(super) fn cancel(&mut self, payment: TxRef) -> bool {
        let cancelled = self.sold.remove(&payment);
        if let Some(slot) = cancelled {
            self.sold_energy = self.sold_energy.saturating_sub(slot.energy);
        }
        cancelled.is_some()
    }

    /// Drops what is over at this time of the chain: sessions whose window has ended, and bids whose
    /// window has begun, which nobody can pay for any more (I1). Whether that makes room.
    pub(super) fn expire(&mut self, time: Timestamp) -> bool {
        let before = self.sold.len() + self.bids.len();
        self.sold.retain(|_, slot| slot.window.end > time);
        self.bids.retain(|_, slot| slot.window.start > time);
        self.sold.len() + self.bids.len() < before
    }
}

#[cfg(test)]
mod tests;
