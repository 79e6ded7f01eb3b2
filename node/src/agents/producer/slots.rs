//! Which connectors and how much energy are promised to whom (P18 4.2). Knows the chain by what it is
//! told, and has no clock.

use std::collections::BTreeMap;

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
    /// What is kept free for those who have not paid anybody yet, by request. Empty where nothing is kept.
    held: BTreeMap<TxRef, Slot>,
}

/// A connector's place in time, and what it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
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
            held: BTreeMap::new(),
        }
    }

    /// Whether this can be promised beside all that is.
    pub(super) fn room(&self, slot: Slot) -> Result<(), NoRoom> {
        let held = self.held.values().fold(Energy::ZERO, |sum, held| sum.saturating_add(held.energy));
        let promised = self.sold_energy.saturating_add(held);
        if let Some(all) = self.energy
            && promised.saturating_add(slot.energy) > all
        {
            return Err(NoRoom::Energy { promised, all, asked: slot.energy });
        }
        let meanwhile = |slots: &BTreeMap<TxRef, Slot>| {
            slots.values().filter(|other| self.taken(other).overlaps(&self.taken(&slot))).count()
        };
        let (sold, held) = (meanwhile(&self.sold), meanwhile(&self.held));
        if sold >= self.connectors || self.sold.len() >= MAX_SLOTS {
            return Err(NoRoom::Sold);
        }
        if sold + held >= self.connectors || self.held.len() >= MAX_SLOTS {
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
        if self.reservation == Reservation::Exclusive {
            self.held.insert(request, slot);
        }
    }

    /// What is kept for a request.
    pub(super) fn held(&self, request: TxRef) -> Option<Slot> {
        self.held.get(&request).copied()
    }

    /// Whether this payment is noted.
    pub(super) fn is_sold(&self, payment: TxRef) -> bool {
        self.sold.contains_key(&payment)
    }

    /// A session is paid for with this producer.
    pub(super) fn sell(&mut self, payment: TxRef, request: TxRef, slot: Slot) {
        self.held.remove(&request);
        if self.sold.len() < MAX_SLOTS && self.sold.insert(payment, slot).is_none() {
            self.sold_energy = self.sold_energy.saturating_add(slot.energy);
        }
    }

    /// A consumer pays somebody else. Whether that makes room.
    pub(super) fn lose(&mut self, request: TxRef) -> bool {
        self.held.remove(&request).is_some()
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
        let before = self.sold.len() + self.held.len();
        self.sold.retain(|_, slot| slot.window.end > time);
        self.held.retain(|_, slot| slot.window.start > time);
        self.sold.len() + self.held.len() < before
    }
}

#[cfg(test)]
mod tests;
