//! Cancel: a consumer withdraws in time and gets everything back (I8, C11).

use serde::{Deserialize, Serialize};

use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Timestamp;
use crate::primitives::TxRef;
use crate::state::key::{DueItem, StateKey};
use crate::state::read::StateRead;
use crate::tagged_enum;

/// Ends a payment or a channel before the bid's cancel-by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancel {
    /// A payment in installments.
    Payment(TxRef),
    /// A channel.
    Channel(TxRef),
}

tagged_enum!(Cancel { 0 => Payment(TxRef), 1 => Channel(TxRef) });

/// Why a cancellation breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum CancelReason {
    /// I8
    #[error("there is no open payment {payment}")]
    NoPayment { payment: TxRef },
    /// C11
    #[error("there is no open channel {channel}")]
    NoChannel { channel: TxRef },
    /// I8, C11
    #[error("only {payer}, who pays, can cancel this")]
    NotPayer { payer: PublicKey },
    /// I8
    #[error("an installment of payment {payment} is settled already")]
    Settled { payment: TxRef },
    /// C11
    #[error("a forced close of channel {channel} is under way")]
    Posted { channel: TxRef },
    /// I8, C11
    #[error("this bid could be cancelled before {cancel_by}, and the block's time is {now}")]
    TooLate { cancel_by: Timestamp, now: Timestamp },
}

impl Cancel {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        match *self {
            Self::Payment(name) => cancel_payment(name, sender.key, ledger),
            Self::Channel(name) => cancel_channel(name, sender.key, ledger),
        }
    }
}

/// I8
fn cancel_payment(name: TxRef, sender: PublicKey, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
    let Some(payment) = ledger.state.payment(name)? else {
        return Err(CancelReason::NoPayment { payment: name }.into());
    };
    if payment.consumer != sender {
        return Err(CancelReason::NotPayer { payer: payment.consumer }.into());
    }
    if (0..payment.plan.count.get()).any(|index| payment.is_settled(index)) {
        return Err(CancelReason::Settled { payment: name }.into());
    }
    check_time(payment.cancel_by, ledger)?;
    let amount = payment.plan.price;
    ledger.state.remove(StateKey::Payment(name));
    ledger.reschedule(DueItem::Payment(name), payment.next_deadline(), None);
    ledger.credit(&sender, amount)?;
    ledger.emit(Event::PaymentCancelled { payment: name, consumer: sender, amount });
    Ok(())
}

/// C11
fn cancel_channel(name: TxRef, sender: PublicKey, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
    let Some(channel) = ledger.state.channel(name)? else {
        return Err(CancelReason::NoChannel { channel: name }.into());
    };
    if channel.consumer != sender {
        return Err(CancelReason::NotPayer { payer: channel.consumer }.into());
    }
    if channel.posted.is_some() {
        return Err(CancelReason::Posted { channel: name }.into());
    }
    check_time(channel.cancel_by, ledger)?;
    ledger.remove_channel(name, &channel);
    ledger.credit(&sender, channel.price)?;
    ledger.emit(Event::ChannelCancelled { channel: name, consumer: sender, amount: channel.price });
    Ok(())
}

fn check_time(cancel_by: Timestamp, ledger: &Ledger<'_>) -> Result<(), CancelReason> {
    let now = ledger.block.time;
    if now >= cancel_by {
        return Err(CancelReason::TooLate { cancel_by, now });
    }
    Ok(())
}
