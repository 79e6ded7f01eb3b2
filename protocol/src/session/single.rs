//! Single locks seen as one payment in installments (P21 III-D: `HTLC_0` to `HTLC_{N-1}`).

use std::collections::BTreeSet;

use crate::codec::List;
use crate::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use crate::primitives::{Amount, Span, Timestamp, TxRef, Window};
use crate::state::auction::Request;
use crate::state::payment::{HashLocks, Lock, Payment};

use super::messages::Open;
use super::open::OnChain;

impl OnChain {
    /// What the single locks that are open from the consumer to the producer amount to, for an `Open` of
    /// this kind (O8). `None` if they are not the installments of their sum over the request's window, the
    /// first one named by the `Open`. Whether the sum is the bid's price is O6.
    pub fn of_locks(open: &Open, request: &Request, locks: &[(TxRef, Lock)]) -> Option<Self> {
        locks.first().filter(|(name, _)| *name == open.payment)?;
        let locks: Vec<Lock> = locks.iter().map(|(_, lock)| *lock).collect();
        payment_of_locks(open.opening.request, request.window, &locks).map(Self::Installments)
    }
}

/// The payment that these locks amount to, in their order: lock k is installment k. `None` where they
/// are not the installments of one price over this window, all from one payer to one payee.
///
/// The first lock is a deposit that returns at its deadline, `t_max`. The last one's deadline says
/// how long after its slice of the window an installment can be claimed. The ledger does not know
/// that the locks belong together, so nobody can cancel them together.
fn payment_of_locks(request: TxRef, window: Window, locks: &[Lock]) -> Option<Payment> {
    let (first, last) = locks.first().zip(locks.last())?;
    let price = locks.iter().try_fold(Amount::ZERO, |sum, lock| sum.checked_add(lock.amount)).ok()?;
    let count = InstallmentCount::new(u32::try_from(locks.len()).ok()?).ok()?;
    let claim_margin = match count {
        InstallmentCount::ONE => Span::ZERO,
        _ => last.deadline.get().checked_sub(window.end.get()).map(Span::new)?,
    };
    let deposit = DepositRule::Refund(first.deadline);
    let plan = InstallmentPlan { price, count, window, deposit, claim_margin };
    let fits = |(index, lock): (u32, &Lock)| {
        (lock.payer, lock.payee) == (first.payer, first.payee)
            && lock.amount == plan.amount(index)
            && lock.deadline == plan.deadline(index)
    };
    // With one preimage all locks of its hash could be claimed, so the second release would pay for nothing
    // new; and a claim could not tell which lock is meant.
    let hashes: BTreeSet<_> = locks.iter().map(|lock| lock.hash).collect();
    if first.deadline >= window.start || hashes.len() < locks.len() || !(0..).zip(locks).all(fits) {
        return None;
    }
    Some(Payment {
        consumer: first.payer,
        producer: first.payee,
        request,
        plan,
        cancel_by: Timestamp::ZERO,
        installments_paid: 0,
        locks: HashLocks::Hashes(List::new(locks.iter().map(|lock| Some(lock.hash)).collect()).ok()?),
    })
}
