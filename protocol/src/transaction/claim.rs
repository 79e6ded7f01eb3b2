//! Claim: a payee shows secrets and is paid (L4, I6, I7).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::Preimage;
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::hash_chain::anchor_from;
use crate::payment::InstallmentPlan;
use crate::primitives::TxRef;
use crate::primitives::{Amount, Timestamp};
use crate::state::key::{DueItem, StateKey};
use crate::state::payment::MAX_INSTALLMENTS_LEN;
use crate::state::payment::{HashLocks, Payment};
use crate::state::read::StateRead;
use crate::tagged_enum;

/// Takes what the secrets unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Of a single lock.
    Lock(ClaimLock),
    /// Of installments with hashes of their own.
    Hashes(ClaimHashes),
    /// Of all installments up to one, along a hash chain.
    Chain(ClaimChain),
}

tagged_enum!(Claim { 0 => Lock(ClaimLock), 1 => Hashes(ClaimHashes), 2 => Chain(ClaimChain) });

/// The secret of a single lock.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ClaimLock {
    /// Which lock.
    pub lock: TxRef,
    /// r.
    pub preimage: Preimage,
}

/// Secrets of installments.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ClaimHashes {
    /// Of which payment.
    pub payment: TxRef,
    /// Which installments, in ascending order.
    pub preimages: List<IndexedPreimage, MAX_INSTALLMENTS_LEN>,
}

/// The secret of one installment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct IndexedPreimage {
    /// k.
    pub index: u32,
    /// `r_k`.
    pub preimage: Preimage,
}

/// A link of a payment's hash chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ClaimChain {
    /// Of which payment.
    pub payment: TxRef,
    /// k: every unsettled installment up to this one is claimed.
    pub index: u32,
    /// The link of installment k.
    pub link: Preimage,
}

/// Why a claim breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum ClaimReason {
    /// L4
    #[error("there is no open lock {lock}")]
    NoLock { lock: TxRef },
    /// I6, I7
    #[error("there is no open payment {payment}")]
    NoPayment { payment: TxRef },
    /// L4, I6, I7
    #[error("only {payee} can claim this, not {sender}")]
    NotPayee { payee: PublicKey, sender: PublicKey },
    /// L4, I6, I7
    #[error("it could be claimed until {deadline}, and the block's time is {now}")]
    TooLate { deadline: Timestamp, now: Timestamp },
    /// L4
    #[error("the preimage does not fit the lock's hash")]
    WrongPreimage,
    /// I6
    #[error("the claim names no installment")]
    NoInstallments,
    /// I6
    #[error("installment {index} is out of order: they are named in ascending order, each once")]
    OutOfOrder { index: u32 },
    /// I6
    #[error("payment {payment} is locked by a hash chain, not by a hash for each installment")]
    LockedByChain { payment: TxRef },
    /// I7
    #[error("payment {payment} is locked by a hash for each installment, not by a hash chain")]
    LockedByHashes { payment: TxRef },
    /// I6, I7
    #[error("there is no installment {index}: they are numbered from 0, and there are {count}")]
    NoSuchInstallment { index: u32, count: u32 },
    /// I6, I7
    #[error("installment {index} is settled already")]
    Settled { index: u32 },
    /// I6
    #[error("the preimage does not fit the hash of installment {index}")]
    WrongInstallmentPreimage { index: u32 },
    /// I7
    #[error("the link does not lead to the chain's anchor from installment {index}")]
    WrongLink { index: u32 },
}

impl Claim {
    pub(super) fn check(&self) -> Result<(), ClaimReason> {
        let Self::Hashes(claim) = self else { return Ok(()) };
        // I6, the part that shows alone
        if claim.preimages.is_empty() {
            return Err(ClaimReason::NoInstallments);
        }
        let pairs = claim.preimages.iter().zip(claim.preimages.iter().skip(1));
        match pairs.map(|(a, b)| (a.index, b.index)).find(|(a, b)| a >= b) {
            Some((_, index)) => Err(ClaimReason::OutOfOrder { index }),
            None => Ok(()),
        }
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        match self {
            Self::Lock(claim) => claim.apply(sender, ledger),
            Self::Hashes(claim) => claim.apply(sender, ledger),
            Self::Chain(claim) => claim.apply(sender, ledger),
        }
    }
}

impl ClaimLock {
    fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (name, now) = (self.lock, ledger.block.time);
        // L4
        let Some(lock) = ledger.state.lock(name)? else {
            return Err(ClaimReason::NoLock { lock: name }.into());
        };
        if lock.payee != sender.key {
            return Err(ClaimReason::NotPayee { payee: lock.payee, sender: sender.key }.into());
        }
        if now >= lock.deadline {
            return Err(ClaimReason::TooLate { deadline: lock.deadline, now }.into());
        }
        if self.preimage.lock() != lock.hash {
            return Err(ClaimReason::WrongPreimage.into());
        }
        ledger.state.remove(StateKey::Lock(name));
        ledger.reschedule(DueItem::Lock(name), Some(lock.deadline), None);
        ledger.credit(&lock.payee, lock.amount)?;
        ledger.emit(Event::LockClaimed { lock: name, payee: lock.payee, amount: lock.amount });
        Ok(())
    }
}

impl ClaimHashes {
    fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (name, now) = (self.payment, ledger.block.time);
        let before = claimable(name, sender.key, ledger)?;
        let HashLocks::Hashes(hashes) = &before.locks else {
            return Err(ClaimReason::LockedByChain { payment: name }.into());
        };
        let mut payment = before.clone();
        let mut claimed = Claimed::default();
        // I6
        for &IndexedPreimage { index, preimage } in self.preimages.iter() {
            check_installment(&before, index, now)?;
            let hash = usize::try_from(index).ok().and_then(|index| hashes.get(index));
            if hash != Some(&Some(preimage.lock())) {
                return Err(ClaimReason::WrongInstallmentPreimage { index }.into());
            }
            claimed.add(&before.plan, index);
            payment.pay(index);
        }
        claimed.pay(name, &before, payment, ledger)
    }
}

impl ClaimChain {
    fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { payment: name, index, link } = *self;
        let now = ledger.block.time;
        let before = claimable(name, sender.key, ledger)?;
        let HashLocks::Chain(chain) = before.locks else {
            return Err(ClaimReason::LockedByHashes { payment: name }.into());
        };
        // I7
        check_installment(&before, index, now)?;
        if anchor_from(link, index) != chain.anchor {
            return Err(ClaimReason::WrongLink { index }.into());
        }
        // Where the queue of due items is behind (K1), earlier installments may be overdue. The
        // link comes too late for those.
        let mut payment = before.clone();
        ledger.settle_overdue(name, &mut payment, now)?;
        let mut claimed = Claimed::default();
        let unsettled: Vec<u32> = payment.unsettled().take_while(|other| *other <= index).collect();
        for unsettled in unsettled {
            claimed.add(&before.plan, unsettled);
            payment.pay(unsettled);
        }
        claimed.pay(name, &before, payment, ledger)
    }
}

/// The payment, if it is open and the sender's to claim.
fn claimable(name: TxRef, sender: PublicKey, ledger: &Ledger<'_>) -> Result<Payment, ExecuteError> {
    match ledger.state.payment(name)? {
        None => Err(ClaimReason::NoPayment { payment: name }.into()),
        Some(payment) if payment.producer != sender => {
            Err(ClaimReason::NotPayee { payee: payment.producer, sender }.into())
        }
        Some(payment) => Ok(payment),
    }
}

/// I6, I7: the installment exists, is unsettled and before its deadline.
fn check_installment(payment: &Payment, index: u32, now: Timestamp) -> Result<(), ClaimReason> {
    let count = payment.plan.count.get();
    if index >= count {
        return Err(ClaimReason::NoSuchInstallment { index, count });
    }
    if payment.is_settled(index) {
        return Err(ClaimReason::Settled { index });
    }
    let deadline = payment.plan.deadline(index);
    if now >= deadline {
        return Err(ClaimReason::TooLate { deadline, now });
    }
    Ok(())
}

/// What a claim adds up to.
#[derive(Debug, Clone, Copy, Default)]
struct Claimed {
    up_to: u32,
    installments: u32,
    amount: Amount,
}

impl Claimed {
    fn add(&mut self, plan: &InstallmentPlan, index: u32) {
        self.up_to = self.up_to.max(index);
        self.installments = self.installments.saturating_add(1);
        // The installments of a price add up to at most the price.
        self.amount = self.amount.saturating_add(plan.amount(index));
    }

    fn pay(
        self,
        name: TxRef,
        before: &Payment,
        after: Payment,
        ledger: &mut Ledger<'_>,
    ) -> Result<(), ExecuteError> {
        let Self { up_to, installments, amount } = self;
        let producer = before.producer;
        ledger.credit(&producer, amount)?;
        ledger.emit(Event::InstallmentsClaimed { payment: name, producer, up_to, installments, amount });
        ledger.put_payment(name, before, after)?;
        Ok(())
    }
}
