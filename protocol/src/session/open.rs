//! What the producer checks before it serves anybody (O1 to O7; O8 stands in `single.rs`).

use crate::crypto::{ChainId, PublicKey};
use crate::payment::{DepositRule, InstallmentPlan};
use crate::primitives::{Span, Timestamp};
use crate::state::auction::{Bid, Request};
use crate::state::channel::Channel;
use crate::state::payment::{HashLocks, Payment};

use super::messages::{Open, RejectReason};
use super::producer::ProducerPolicy;
use super::terms::{PaymentKind, Terms, later};

/// What the final chain says about the objects that an [`Open`] names, all in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFacts {
    /// The chain.
    pub chain: ChainId,
    /// The time of its newest final block.
    pub time: Timestamp,
    /// The request.
    pub request: Option<Request>,
    /// The producer's own bid for it.
    pub bid: Option<Bid>,
    /// What pays.
    pub payment: Option<OnChain>,
    /// Whether the producer's own records know a session with this payment, running or over.
    pub served: bool,
}

/// A payment as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnChain {
    /// In installments, or what single locks amount to.
    Installments(Payment),
    /// A channel.
    Channel(Channel),
}

impl Terms {
    /// The terms of a session that `payment` pays for.
    pub fn new(chain: ChainId, open: &Open, request: &Request, payment: &OnChain) -> Self {
        let (consumer, producer, plan, cancel_by, channel_deadline) = match payment {
            OnChain::Installments(it) => (it.consumer, it.producer, it.plan, it.cancel_by, None),
            OnChain::Channel(it) => {
                let plan = InstallmentPlan {
                    price: it.price,
                    count: it.count,
                    window: request.window,
                    deposit: DepositRule::Forfeit,
                    claim_margin: Span::ZERO,
                };
                (it.consumer, it.producer, plan, it.cancel_by, Some(it.deadline))
            }
        };
        Self {
            chain,
            request: open.opening.request,
            payment: open.payment,
            kind: open.kind,
            consumer,
            producer,
            energy: request.energy,
            plan,
            cancel_by,
            channel_deadline,
        }
    }
}

/// Whether `own` serves the consumer `remote` that sent `open`: the terms, and the locks that its
/// proofs are checked against.
///
/// # Errors
/// The first check of O1 to O7 that fails.
pub fn check_open(
    own: PublicKey,
    remote: PublicKey,
    open: &Open,
    facts: &ChainFacts,
    policy: &ProducerPolicy,
    now: Timestamp,
) -> Result<(Terms, Option<HashLocks>), RejectReason> {
    let opening = &open.opening;
    // O1
    if opening.producer != own {
        return Err(RejectReason::OtherProducer);
    }
    if opening.consumer != remote {
        return Err(RejectReason::OtherConsumer);
    }
    // O2
    if facts.served {
        return Err(RejectReason::InUse);
    }
    // O3
    let request = facts.request.as_ref().filter(|it| it.consumer == remote).ok_or(RejectReason::NoRequest)?;
    let bid = facts.bid.as_ref().ok_or(RejectReason::NoBid)?;
    // O4. What is paid is the bid's price, O6, which an update may have lowered since.
    if opening.price < bid.price {
        return Err(RejectReason::OtherPrice);
    }
    if request.commitment != Some(opening.commitment(facts.chain)) {
        return Err(RejectReason::WrongCommitment);
    }
    // O5
    let from = request.window.start.before(policy.early_tolerance);
    if now < from {
        return Err(RejectReason::TooEarly(from));
    }
    if now >= request.window.end {
        return Err(RejectReason::TooLate(request.window.end));
    }
    // O6
    let payment = facts.payment.as_ref().ok_or(RejectReason::NoPayment)?;
    let terms = Terms::new(facts.chain, open, request, payment);
    let paid_for = match payment {
        OnChain::Installments(it) => it.request,
        OnChain::Channel(it) => it.request,
    };
    let parties = (terms.consumer, terms.producer) == (remote, own);
    if !parties || paid_for != opening.request || terms.plan.price != bid.price {
        return Err(RejectReason::OtherPayment);
    }
    let offered = bid.kinds.contains(open.kind.offered()) && terms.plan.count <= bid.max_installments;
    if !offered {
        return Err(RejectReason::NotOffered);
    }
    check_collectable(payment, open.kind, &terms, policy, now.max(facts.time)).map(|locks| (terms, locks))
}

/// O7, and that the payment is of the kind that was named (O6).
fn check_collectable(
    payment: &OnChain,
    kind: PaymentKind,
    terms: &Terms,
    policy: &ProducerPolicy,
    moment: Timestamp,
) -> Result<Option<HashLocks>, RejectReason> {
    match (kind, payment) {
        (PaymentKind::Channel, OnChain::Channel(channel)) => {
            if channel.challenge < policy.reaction {
                return Err(RejectReason::ChallengeTooShort(policy.reaction));
            }
            let least = later(terms.plan.window.end, policy.claim_lead);
            if channel.posted.is_some() || channel.deadline < least {
                return Err(RejectReason::ChannelEnding);
            }
            Ok(None)
        }
        (
            PaymentKind::Hashes | PaymentKind::Single,
            OnChain::Installments(it @ Payment { locks: HashLocks::Hashes(_), .. }),
        )
        | (PaymentKind::Chain, OnChain::Installments(it @ Payment { locks: HashLocks::Chain(_), .. })) => {
            // A deposit that settled before the session began went back, unless its rule is forfeit.
            let returned = it.is_settled(0) && !terms.deposit_is_forfeit();
            if returned || terms.is_late(0, moment, policy.claim_lead) {
                return Err(RejectReason::DepositLate);
            }
            Ok(Some(it.locks.clone()))
        }
        _ => Err(RejectReason::OtherPayment),
    }
}
