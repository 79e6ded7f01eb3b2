//! What a payment in installments and a channel have in common: a decided request, paid by a bid.

use crate::crypto::PublicKey;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::payment::InstallmentCount;
use crate::primitives::{Timestamp, TxRef};
use crate::state::auction::{Bid, PaymentKinds, Request};
use crate::state::key::StateKey;
use crate::state::read::StateRead;
use crate::state::value::StateValue;

/// Why a request cannot be paid this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum PayableReason {
    /// I1, C1
    #[error("there is no open request {request}")]
    NoRequest { request: TxRef },
    /// I1, C1
    #[error("request {request} is {consumer}'s, not the sender's")]
    NotOwner { request: TxRef, consumer: PublicKey },
    /// I1, C1
    #[error("request {request} has no commitment yet")]
    NotCommitted { request: TxRef },
    /// I1, C1
    #[error("request {request} was paid by {payment} already")]
    AlreadyPaid { request: TxRef, payment: TxRef },
    /// I1, C1
    #[error("the window started at {start}, and the block's time is {now}")]
    TooLate { start: Timestamp, now: Timestamp },
    /// I2, C2
    #[error("{producer} is revoked")]
    ProducerRevoked { producer: PublicKey },
    /// I2, C2
    #[error("{producer} has no bid for request {request}")]
    NoBid { request: TxRef, producer: PublicKey },
    /// I2, C2
    #[error("the bid does not offer payment by {kind}, only by {offered}")]
    KindNotOffered { kind: PaymentKinds, offered: PaymentKinds },
    /// I2, C2
    #[error("{count} installments are more than the bid's {max}")]
    TooManyInstallments { count: InstallmentCount, max: InstallmentCount },
}

/// How a request is to be paid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paying {
    pub(super) request: TxRef,
    pub(super) producer: PublicKey,
    pub(super) kind: PaymentKinds,
    pub(super) count: InstallmentCount,
}

impl Paying {
    /// Rules I1 and I2, which are also C1 and C2. Gives the request and the bid.
    pub(super) fn check(
        &self,
        sender: PublicKey,
        ledger: &Ledger<'_>,
    ) -> Result<(Request, Bid), ExecuteError> {
        let Self { request: name, producer, kind, count } = *self;
        // I1
        let Some(request) = ledger.state.request(name)? else {
            return Err(PayableReason::NoRequest { request: name }.into());
        };
        if request.consumer != sender {
            return Err(PayableReason::NotOwner { request: name, consumer: request.consumer }.into());
        }
        if request.commitment.is_none() {
            return Err(PayableReason::NotCommitted { request: name }.into());
        }
        if let Some(payment) = request.payment {
            return Err(PayableReason::AlreadyPaid { request: name, payment }.into());
        }
        let (start, now) = (request.window.start, ledger.block.time);
        if now >= start {
            return Err(PayableReason::TooLate { start, now }.into());
        }
        // I2
        let Some(bid) = ledger.state.bid(name, &producer)? else {
            return Err(PayableReason::NoBid { request: name, producer }.into());
        };
        if ledger.existing_account(&producer)?.standing.is_revoked() {
            return Err(PayableReason::ProducerRevoked { producer }.into());
        }
        if !bid.kinds.contains(kind) {
            return Err(PayableReason::KindNotOffered { kind, offered: bid.kinds }.into());
        }
        if count > bid.max_installments {
            return Err(PayableReason::TooManyInstallments { count, max: bid.max_installments }.into());
        }
        Ok((request, bid))
    }

    /// Takes the price from the sender (I4, C4) and notes in the request what pays for it.
    pub(super) fn pay(
        &self,
        sender: Sender,
        mut request: Request,
        bid: &Bid,
        ledger: &mut Ledger<'_>,
    ) -> Result<(), ExecuteError> {
        ledger.debit(&sender.key, bid.price)?;
        request.payment = Some(sender.name);
        ledger.state.put(StateKey::Request(self.request), StateValue::Request(request));
        Ok(())
    }
}
