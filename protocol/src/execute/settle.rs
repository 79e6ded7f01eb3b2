//! What settles by itself when its time has come (K1).

use std::collections::BTreeSet;

use super::ledger::Ledger;
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::payment::DepositRule;
use crate::primitives::{Amount, Timestamp, TxRef};
use crate::state::channel::Channel;
use crate::state::key::{DueItem, StateKey};
use crate::state::payment::Payment;
use crate::state::read::{ReadError, StateRead};
use crate::state::record::TrackRecord;
use crate::state::value::StateValue;

/// How many due items settle in one block. The rest is first in the next.
pub const MAX_DUE_PER_BLOCK: usize = 512;

impl Ledger<'_> {
    /// Settles what is due at the block's time, in order of time.
    ///
    /// # Errors
    /// [`ReadError`]; the block cannot be executed then.
    pub fn settle_due(&mut self) -> Result<(), ReadError> {
        let now = self.block.time;
        let mut queue: BTreeSet<(Timestamp, DueItem)> =
            self.state.due(now, MAX_DUE_PER_BLOCK)?.into_iter().collect();
        for _ in 0..MAX_DUE_PER_BLOCK {
            let Some((time, item)) = queue.pop_first() else { break };
            match item {
                DueItem::Request(name) => self.end_request(name, time)?,
                DueItem::Lock(name) => self.refund_lock(name, time)?,
                DueItem::Channel(name) => self.settle_channel(name)?,
                DueItem::Payment(name) => {
                    let next = self.settle_payment(name, time)?;
                    // It may come before items that are in the queue already.
                    queue.extend(next.filter(|next| *next <= now).map(|next| (next, item)));
                }
            }
        }
        Ok(())
    }

    /// B10: the request leaves with its bids.
    fn end_request(&mut self, name: TxRef, time: Timestamp) -> Result<(), ReadError> {
        let key = StateKey::Request(name);
        let request = self.state.request(name)?.ok_or(dangling(key))?;
        let mut account = self.existing_account(&request.consumer)?;
        account.open_requests = account.open_requests.saturating_sub(1);
        account.newest_request = account.newest_request.filter(|newest| *newest != name);
        self.put_account(request.consumer, account);
        let bids =
            self.state.range(StateKey::bids_of(name), usize::try_from(request.bids).unwrap_or(usize::MAX))?;
        for (bid, _) in bids {
            self.state.remove(bid);
        }
        self.state.remove(key);
        self.reschedule(DueItem::Request(name), Some(time), None);
        self.emit(Event::RequestEnded { request: name, bids: request.bids });
        Ok(())
    }

    /// L5: the money returns.
    fn refund_lock(&mut self, name: TxRef, time: Timestamp) -> Result<(), ReadError> {
        let key = StateKey::Lock(name);
        let lock = self.state.lock(name)?.ok_or(dangling(key))?;
        self.state.remove(key);
        self.reschedule(DueItem::Lock(name), Some(time), None);
        self.credit(&lock.payer, lock.amount)?;
        self.emit(Event::LockRefunded { lock: name, payer: lock.payer, amount: lock.amount });
        Ok(())
    }

    /// I5: installments whose deadline was `time` settle. Gives the payment's next deadline.
    fn settle_payment(&mut self, name: TxRef, time: Timestamp) -> Result<Option<Timestamp>, ReadError> {
        let before = self.state.payment(name)?.ok_or(dangling(StateKey::Payment(name)))?;
        let mut payment = before.clone();
        self.settle_overdue(name, &mut payment, time)?;
        self.put_payment(name, &before, payment)
    }

    /// Settles, to whom the rules say, each installment of the payment whose deadline is at `time`
    /// or before (I5). The caller writes the payment back.
    pub(crate) fn settle_overdue(
        &mut self,
        name: TxRef,
        payment: &mut Payment,
        time: Timestamp,
    ) -> Result<(), ReadError> {
        let overdue: Vec<u32> =
            payment.unsettled().take_while(|index| payment.plan.deadline(*index) <= time).collect();
        let (mut refunds, mut refunded, mut up_to) = (0_u32, Amount::ZERO, 0);
        for index in overdue {
            let amount = payment.plan.amount(index);
            if index == 0 && payment.plan.deposit == DepositRule::Forfeit {
                payment.pay(index);
                let producer = payment.producer;
                self.credit(&producer, amount)?;
                self.emit(Event::DepositForfeited { payment: name, producer, amount });
            } else {
                payment.refund(index);
                refunds = refunds.saturating_add(1);
                refunded = refunded.saturating_add(amount);
                up_to = index;
            }
        }
        if refunds > 0 {
            let consumer = payment.consumer;
            self.credit(&consumer, refunded)?;
            self.emit(Event::InstallmentsRefunded {
                payment: name,
                consumer,
                up_to,
                installments: refunds,
                amount: refunded,
            });
        }
        Ok(())
    }

    /// Writes a payment, or removes it where all is settled (I9, H1). Gives its next deadline.
    pub(crate) fn put_payment(
        &mut self,
        name: TxRef,
        before: &Payment,
        after: Payment,
    ) -> Result<Option<Timestamp>, ReadError> {
        let next = after.next_deadline();
        self.reschedule(DueItem::Payment(name), before.next_deadline(), next);
        if next.is_some() {
            self.state.put(StateKey::Payment(name), StateValue::Payment(after));
        } else {
            self.state.remove(StateKey::Payment(name));
            self.update_record(&after.producer, |record| {
                record.add_session(after.plan.count, after.installments_paid);
            })?;
            self.emit(Event::PaymentEnded { payment: name });
        }
        Ok(next)
    }

    /// C10: the posted or the initial state pays out.
    fn settle_channel(&mut self, name: TxRef) -> Result<(), ReadError> {
        let channel = self.state.channel(name)?.ok_or(dangling(StateKey::Channel(name)))?;
        self.pay_out_channel(name, &channel, channel.released())
    }

    /// Ends a channel with this many installments released (C7, C10, H1).
    pub(crate) fn pay_out_channel(
        &mut self,
        name: TxRef,
        channel: &Channel,
        released: u32,
    ) -> Result<(), ReadError> {
        let to_producer = channel.share(released);
        let to_consumer = channel.price.saturating_sub(to_producer);
        self.remove_channel(name, channel);
        self.credit(&channel.producer, to_producer)?;
        self.credit(&channel.consumer, to_consumer)?;
        let Channel { producer, consumer, .. } = *channel;
        self.update_record(&producer, |record| {
            record.add_session(channel.count, released);
            if channel.dispute_lost {
                record.add_dispute_lost();
            }
        })?;
        self.emit(Event::ChannelClosed {
            channel: name,
            producer,
            consumer,
            released,
            to_producer,
            to_consumer,
        });
        Ok(())
    }

    /// H1: what has just been settled goes into the producer's track record.
    fn update_record(
        &mut self,
        producer: &PublicKey,
        add: impl FnOnce(&mut TrackRecord),
    ) -> Result<(), ReadError> {
        let before = self.state.track_record(producer)?.unwrap_or_default();
        let mut after = before;
        add(&mut after);
        if after != before {
            self.state.put(StateKey::TrackRecord(*producer), StateValue::TrackRecord(after));
        }
        Ok(())
    }

    pub(crate) fn remove_channel(&mut self, name: TxRef, channel: &Channel) {
        self.state.remove(StateKey::Channel(name));
        self.reschedule(DueItem::Channel(name), Some(channel.due()), None);
    }
}

fn dangling(key: StateKey) -> ReadError {
    ReadError::Inconsistent { key, reason: "the object that the queue of due items names" }
}
