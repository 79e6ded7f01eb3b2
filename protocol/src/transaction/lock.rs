//! Lock: money for who knows a secret (L1 to L3; P21 II-B).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::{Hash, PublicKey};
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::{Amount, Timestamp};
use crate::state::key::{DueItem, StateKey};
use crate::state::payment::Lock;
use crate::state::read::StateRead;
use crate::state::value::StateValue;

/// Locks money behind a hash. The transaction's name is the lock's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CreateLock {
    /// B, who can claim it.
    pub payee: PublicKey,
    /// x.
    pub amount: Amount,
    /// y = H(r).
    pub hash: Hash,
    /// t, when it returns.
    pub deadline: Timestamp,
}

/// Why a lock breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum LockReason {
    /// L1
    #[error("{sender} is not a consumer, and only those lock money")]
    NotConsumer { sender: PublicKey },
    /// L1
    #[error("{sender} cannot lock money for itself")]
    ToSelf { sender: PublicKey },
    /// L1
    #[error("the payee {payee} has no account")]
    NoPayee { payee: PublicKey },
    /// L1
    #[error("the payee {payee} is revoked")]
    PayeeRevoked { payee: PublicKey },
    /// L2
    #[error("a lock needs an amount above zero")]
    ZeroAmount,
    /// L2
    #[error("the deadline, {deadline}, is not after the block's time, {now}")]
    DeadlinePassed { deadline: Timestamp, now: Timestamp },
    /// L2
    #[error("the deadline is {deadline}, and the latest is now {latest}")]
    TooFarAhead { deadline: Timestamp, latest: Timestamp },
}

impl CreateLock {
    pub(super) fn check(&self, sender: &PublicKey) -> Result<(), LockReason> {
        // L1
        if self.payee == *sender {
            return Err(LockReason::ToSelf { sender: *sender });
        }
        // L2
        if self.amount == Amount::ZERO {
            return Err(LockReason::ZeroAmount);
        }
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { payee, amount, hash, deadline } = *self;
        let now = ledger.block.time;
        // L1
        if !ledger.existing_account(&sender.key)?.standing.is_consumer() {
            return Err(LockReason::NotConsumer { sender: sender.key }.into());
        }
        match ledger.state.account(&payee)? {
            None => return Err(LockReason::NoPayee { payee }.into()),
            Some(account) if account.standing.is_revoked() => {
                return Err(LockReason::PayeeRevoked { payee }.into());
            }
            Some(_) => {}
        }
        // L2
        if deadline <= now {
            return Err(LockReason::DeadlinePassed { deadline, now }.into());
        }
        let latest = now.saturating_after(ledger.block.params.max_lead);
        if deadline > latest {
            return Err(LockReason::TooFarAhead { deadline, latest }.into());
        }
        // L3
        ledger.debit(&sender.key, amount)?;
        let (payer, name) = (sender.key, sender.name);
        ledger
            .state
            .put(StateKey::Lock(name), StateValue::Lock(Lock { payer, payee, amount, hash, deadline }));
        ledger.reschedule(DueItem::Lock(name), None, Some(deadline));
        ledger.emit(Event::Locked { lock: name, payer, payee, amount, deadline });
        Ok(())
    }
}
