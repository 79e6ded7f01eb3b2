//! Brings to the chain what a session's end asks for.

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::Preimage;
use evchain_protocol::primitives::{Span, Timestamp, TxRef};
use evchain_protocol::session::{OnChain, PaymentKind, Settlement, Terms};
use evchain_protocol::state::payment::{Lock, Payment};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{CloseChannel, ForceCloseChannel};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};

use tokio::task::JoinSet;

use super::nodes::Signer;
use crate::agents::error::AgentError;
use crate::agents::event::Warning;
use crate::agents::report::{Phase, TransactionReport};
use crate::rpc::{NodeApiClient, RpcClient};

/// The first pause before a settlement that the ledger rejects is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The settlements of a session that are under way.
#[derive(Default)]
pub(in crate::agents) struct Settlements {
    tasks: JoinSet<Settled>,
}

/// What came of a settlement: its transactions, none if there was nothing left to do.
pub(in crate::agents) type Settled = Result<Vec<TransactionReport>, AgentError>;

impl Settlements {
    /// Begins to settle what pays for a session, and goes on until it is done or the chain holds no money
    /// for it any more.
    pub(in crate::agents) fn begin(&mut self, signer: &Arc<Signer>, terms: &Terms, settlement: Settlement) {
        let task = SettlementTask { signer: Arc::clone(signer), terms: *terms, settlement, sent: Vec::new() };
        self.tasks.spawn(task.run());
    }

    /// The next that is done, or none if there are none. Cancel safe.
    pub(in crate::agents) async fn next(&mut self) -> Option<Settled> {
        let settled = self.tasks.join_next().await?;
        let failed = |error| Err(AgentError::Task(format!("a settlement, {error}")));
        Some(settled.unwrap_or_else(failed))
    }
}

/// One settlement, and what was sent for it so far.
struct SettlementTask {
    signer: Arc<Signer>,
    terms: Terms,
    settlement: Settlement,
    sent: Vec<TransactionReport>,
}

impl SettlementTask {
    async fn run(mut self) -> Settled {
        let (mut pause, mut spare) = (FIRST_PAUSE, Span::ZERO);
        loop {
            match self.attempt(spare).await {
                // What was left out is tried by itself.
                Ok(()) if spare > Span::ZERO => {
                    spare = Span::ZERO;
                    continue;
                }
                Ok(()) => return Ok(self.sent),
                // What stands against it may pass: too little money for the fee, a block in between.
                Err(error @ AgentError::Rejected { .. }) => {
                    let reason = format!("cannot settle {} yet: {error}", self.terms.payment);
                    self.signer.nodes.warn(Warning::Trouble { reason });
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            spare = Span::new(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// `spare` is how much time an installment must have until its deadline to be claimed with others: the
    /// ledger takes all of a claim or nothing (I6), and time goes on until a block has it.
    async fn attempt(&mut self, spare: Span) -> Result<(), AgentError> {
        let Self { signer, terms, settlement, sent } = self;
        if let (PaymentKind::Single, Settlement::ClaimHashes(preimages)) = (terms.kind, &*settlement) {
            return claim_locks(signer, terms, preimages, sent).await;
        }
        let (name, time) = (terms.payment, chain_time(signer).await?);
        let Some(state) = signer.nodes.payment(terms.kind, name).await? else { return Ok(()) };
        // The chain may hold it already, or have settled in another way meanwhile.
        let Some(action) = action(name, settlement, &state, time, spare) else { return Ok(()) };
        sent.push(signer.send(Phase::Settlement, &action).await?.1);
        Ok(())
    }
}

/// Claims single locks, one after the other, as far as they can be collected.
async fn claim_locks(
    signer: &Signer,
    terms: &Terms,
    preimages: &[(u32, Preimage)],
    sent: &mut Vec<TransactionReport>,
) -> Result<(), AgentError> {
    let mut rejected = Ok(());
    let locks = signer.nodes.locks(terms.consumer, terms.producer).await?;
    let time = chain_time(signer).await?;
    for (index, preimage) in preimages {
        // No two have the same hash (O8).
        let hash = preimage.lock();
        let is_collectable = |lock: &Lock| terms.is_lock_of(*index, hash, lock) && time < lock.deadline;
        let Some((lock, _)) = locks.iter().find(|(_, lock)| is_collectable(lock)) else { continue };
        let claim = ClaimLock { lock: *lock, preimage: *preimage };
        match signer.send(Phase::Settlement, &Action::Claim(Claim::Lock(claim))).await {
            Ok((_, report)) => sent.push(report),
            // The others may be collected all the same.
            Err(error @ AgentError::Rejected { .. }) => rejected = Err(error),
            Err(error) => return Err(error),
        }
    }
    rejected
}

async fn chain_time(signer: &Signer) -> Result<Timestamp, AgentError> {
    let ask = |rpc: RpcClient| async move { rpc.status().await };
    // An old time leaves less out, and the ledger has the last word.
    let status = signer.nodes.ask_in_haste("ask for the chain's time", ask).await?;
    Ok(status.map_or(Timestamp::ZERO, |status| status.time))
}

/// What is to be sent in this state of the payment; none if it is settled as far as it can be.
fn action(
    name: TxRef,
    settlement: &Settlement,
    state: &OnChain,
    time: Timestamp,
    spare: Span,
) -> Option<Action> {
    match (settlement, state) {
        (Settlement::ClaimHashes(preimages), OnChain::Installments(payment)) => {
            let open = |time| {
                let open = preimages.iter().filter(move |(index, _)| is_collectable(payment, *index, time));
                open.map(|(index, preimage)| IndexedPreimage { index: *index, preimage: *preimage })
            };
            let mut chosen: Vec<_> = open(time.saturating_after(spare)).collect();
            if chosen.is_empty() {
                chosen = open(time).collect();
            }
            let preimages = List::new(chosen).ok().filter(|chosen| !chosen.is_empty())?;
            Some(Action::Claim(Claim::Hashes(ClaimHashes { payment: name, preimages })))
        }
        (Settlement::ClaimChain { index, link }, OnChain::Installments(payment)) => {
            is_collectable(payment, *index, time).then_some(Action::Claim(Claim::Chain(ClaimChain {
                payment: name,
                index: *index,
                link: *link,
            })))
        }
        (Settlement::Close(signed), OnChain::Channel(channel)) => {
            let is_newest = channel.posted.is_none_or(|posted| posted.released <= signed.state.released);
            is_newest.then_some(Action::CloseChannel(CloseChannel { state: *signed }))
        }
        (Settlement::ForceClose(signed), OnChain::Channel(channel)) => channel
            .posted
            .is_none()
            .then_some(Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: *signed })),
        (Settlement::Cancel, OnChain::Installments(payment)) => {
            (time < payment.cancel_by).then_some(Action::Cancel(Cancel::Payment(name)))
        }
        (Settlement::Cancel, OnChain::Channel(channel)) => {
            (time < channel.cancel_by).then_some(Action::Cancel(Cancel::Channel(name)))
        }
        _ => None,
    }
}

fn is_collectable(payment: &Payment, index: u32, time: Timestamp) -> bool {
    !payment.is_settled(index) && time < payment.plan.deadline(index)
}
