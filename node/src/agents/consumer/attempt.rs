//! One request with one fresh key, from its funding to its sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{Preimage, PublicKey};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::params::Params;
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use evchain_protocol::primitives::{Amount, Span, TxRef};
use evchain_protocol::session::{PaymentKind, Secrets, reaction};
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::channel::OpenChannel;
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::transfer::Transfer;

use super::config::{ChargeOrder, Deposit};
use super::evaluate::{Bidders, Candidate, Evaluation, Reader, evaluate};
use super::record::{ChargeRecord, Decision, Landed, Sending, Step};
use super::recorder::Recorder;
use crate::agents::chain::availability::sold_at_once;
use crate::agents::chain::blocks::Blocks;
use crate::agents::chain::nodes::{Brought, MAX_SIGNINGS, Nodes, Signer, nonces_taken};
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Warning};
use crate::agents::journal::Journal;
use crate::agents::report::{ConsideredBid, Phase};
use crate::clock;
use crate::rpc::{BidInfo, NodeApiClient};
use crate::wallet::private_file::random_preimage;

/// The time that committing and locking may take before the window starts.
const LOCK_LEAD: Span = Span::new(3_000);
/// The time that each single lock may take.
const LOCK_EACH: Span = Span::new(200);
/// The shortest time that producers get for bids.
const LEAST_BIDDING: Span = Span::new(500);
/// What a channel's deadline is after the earliest that the ledger accepts (C3): the tip's time may
/// be behind the block's.
const CHANNEL_SLACK: Span = Span::new(1_000);

/// A charge with one fresh key, under way.
pub(super) struct Attempt {
    pub(super) nodes: Nodes,
    pub(super) params: Params,
    /// The main key, which pays.
    pub(super) main: Arc<Signer>,
    /// zeta.
    pub(super) zeta: Arc<Signer>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) journal: Journal<ChargeRecord>,
    pub(super) recorder: Recorder,
    pub(super) landed: BTreeMap<Step, Landed>,
    /// The transaction that may be on its way, if the last step was broken off.
    pub(super) pending: Option<Sending>,
    /// Once the bid is chosen.
    pub(super) decision: Option<Decision>,
    /// What the fresh key was given.
    pub(super) funded: Amount,
    pub(super) considered: Vec<ConsideredBid>,
    pub(super) chosen: Option<ConsideredBid>,
}

/// How far an attempt came before money was locked.
#[derive(Debug)]
pub(super) enum Auction {
    /// The price is locked.
    Paid,
    /// Nobody bid.
    NoBids,
    /// Nobody bid what can be taken.
    NoUsableBid,
    /// The bid chosen changed in more than its price before the commitment was final.
    BidChanged,
    /// The window is too near for another request.
    TooLate,
}

impl Attempt {
    /// Explores, takes bids, decides and locks the price.
    pub(super) async fn auction(&mut self, order: &ChargeOrder) -> Result<Auction, AgentError> {
        let decided = order.decide_now.listen();
        let latest = order.window.start.before(self.lock_lead(order));
        if clock::now().saturating_after(LEAST_BIDDING) >= latest {
            return Ok(Auction::TooLate);
        }
        self.recorder.begin(Phase::Funding);
        let amount = self.funding(order)?;
        let transfer = Action::Transfer(Transfer { to: self.zeta.address(), amount });
        self.take_step(Step::Fund, &transfer).await?;

        self.recorder.begin(Phase::Exploration);
        self.warn_of_few_stations(order).await?;
        let bid_deadline = clock::now().saturating_after(order.bidding).min(latest).floor_to_tick();
        let request = Action::PlaceRequest(order.request(bid_deadline)?);
        // Before the request is final, so that no bid is missed.
        let news = self.blocks.reader();
        let request = self.take_step(Step::Request, &request).await?.place;
        self.nodes.observe(&AgentEvent::Requested { request, consumer: self.zeta.address() });

        self.recorder.begin(Phase::Bidding);
        let heard = self.take_bids(order, request, bid_deadline, news, decided).await?;
        self.recorder.begin(Phase::Evaluation);
        let Some((candidate, weighed)) = self.evaluate(order, request, &heard).await? else {
            return Ok(if self.considered.is_empty() { Auction::NoBids } else { Auction::NoUsableBid });
        };
        self.commit_and_pay(order, request, candidate, weighed).await
    }

    /// Signs, notes and brings a transaction to the chain. In the journal before it is sent, so
    /// that it is the same after a crash.
    async fn take_step(&mut self, step: Step, action: &Action) -> Result<Landed, AgentError> {
        let signer = if step == Step::Fund { Arc::clone(&self.main) } else { Arc::clone(&self.zeta) };
        for _ in 0..MAX_SIGNINGS {
            let transaction = signer.sign(action.clone()).await?;
            let sending = Sending { step, transaction: transaction.clone() };
            self.journal.append(&ChargeRecord::Sending(sending.clone())).await?;
            self.note_sending(sending);
            if let Brought::Final(finality, report) = self.nodes.bring(step.phase(), &transaction).await? {
                self.recorder.sent(report);
                return self.land(Landed { step, place: finality.place, fee: finality.fee }).await;
            }
        }
        Err(nonces_taken(action))
    }

    /// Notes that a transaction is on its way.
    pub(super) fn note_sending(&mut self, sending: Sending) {
        if let (Step::Fund, Action::Transfer(transfer)) =
            (sending.step, &sending.transaction.transaction.action)
        {
            self.funded = transfer.amount;
        }
        self.pending = Some(sending);
    }

    /// Finishes the step that was broken off, if one was: it is final, or will never be.
    pub(super) async fn finish_pending(&mut self) -> Result<(), AgentError> {
        let Some(Sending { step, transaction }) = self.pending.take() else { return Ok(()) };
        match self.nodes.bring(step.phase(), &transaction).await {
            Ok(Brought::Final(finality, report)) => {
                self.recorder.sent(report);
                self.land(Landed { step, place: finality.place, fee: finality.fee }).await?;
                Ok(())
            }
            Ok(Brought::Stale) | Err(AgentError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Notes that a step is final.
    async fn land(&mut self, landed: Landed) -> Result<Landed, AgentError> {
        self.journal.append(&ChargeRecord::Final(landed)).await?;
        self.landed.insert(landed.step, landed);
        self.pending = None;
        Ok(landed)
    }

    /// What the fresh key needs: the highest price, and the fees of everything that it may send.
    fn funding(&self, order: &ChargeOrder) -> Result<Amount, AgentError> {
        /// Request, commitment, payment, cancel, close or force-close, sweep.
        const TRANSACTIONS: u64 = 6;
        /// More than any of these has, the hashes aside.
        const BYTES_EACH: u64 = 400;
        const BYTES_OF_HASH: u64 = 32;
        let bytes = TRANSACTIONS * BYTES_EACH + BYTES_OF_HASH * u64::from(order.installments.get());
        let too_much =
            || AgentError::Settings("the highest price and the fees are more than there can be".to_owned());
        let locks = if order.kinds.contains(&PaymentKind::Single) { order.installments.get() } else { 0 };
        let bytes = bytes + BYTES_EACH * u64::from(locks);
        let flat = self.params.fee_flat.get().checked_mul(TRANSACTIONS + u64::from(locks));
        let by_bytes = self.params.fee_per_byte.get().checked_mul(bytes);
        flat.zip(by_bytes)
            .and_then(|(flat, by_bytes)| {
                flat.checked_add(by_bytes)?.checked_add(order.choice.max_price.get())
            })
            .map(Amount::new)
            .ok_or_else(too_much)
    }

    async fn warn_of_few_stations(&mut self, order: &ChargeOrder) -> Result<(), AgentError> {
        let region = order.region;
        let page = self
            .nodes
            .need(
                "ask for the region's stations",
                |rpc| async move { rpc.stations(Some(region), None).await },
            )
            .await?;
        let stations = page.items.len();
        if stations < order.min_stations && page.next.is_none() {
            self.recorder.warn(Warning::FewStations { region, stations, wanted: order.min_stations });
        }
        Ok(())
    }

    async fn evaluate(
        &mut self,
        order: &ChargeOrder,
        request: TxRef,
        heard: &BTreeMap<PublicKey, TxRef>,
    ) -> Result<Option<(Candidate, ConsideredBid)>, AgentError> {
        let bids = self.nodes.ask("ask for the bids", |rpc| async move { rpc.bids(request).await }).await?;
        let bids = bids.unwrap_or_default();
        match bids.len() {
            0 => self.recorder.warn(Warning::NoBids { request }),
            1 => self.recorder.warn(Warning::OnlyOneBid { request }),
            _ => {}
        }
        let mut bidders = Bidders::default();
        let records = self
            .nodes
            .ask("ask for the bidders' records", |rpc| async move { rpc.bidder_records(request).await })
            .await?;
        bidders.doubts.extend(records.into_iter().flatten().map(|info| (info.producer, info.scored.doubt)));
        for producer in bids.iter().map(|bid| bid.producer) {
            let found =
                self.nodes.ask("ask for a station", |rpc| async move { rpc.station(producer).await }).await?;
            bidders.stations.extend(found.map(|info| (producer, info.station)));
        }
        let Evaluation { considered, best } = self.weigh(order, &bids, &bidders, heard).await?;
        for bid in &considered {
            if let Some(reason) = bid.unusable.clone() {
                self.recorder.warn(Warning::UnusableBid { producer: bid.producer, reason });
            }
        }
        self.considered = considered;
        Ok(best)
    }

    /// The best bid of those who still have a connector; if nobody has, the best of all, since one
    /// may become free within the window.
    async fn weigh(
        &self,
        order: &ChargeOrder,
        bids: &[BidInfo],
        bidders: &Bidders,
        heard: &BTreeMap<PublicKey, TxRef>,
    ) -> Result<Evaluation, AgentError> {
        let reader = Reader { chain: self.nodes.chain(), key: &self.zeta.key };
        let mut sold_out = BTreeSet::new();
        loop {
            let evaluation = evaluate(order, bids, &reader, bidders, heard, &sold_out);
            let Some((best, _)) = &evaluation.best else {
                return Ok(evaluate(order, bids, &reader, bidders, heard, &BTreeSet::new()));
            };
            let producer = best.bid.producer;
            let connectors = bidders.stations.get(&producer).map_or(1, |station| station.connectors);
            let sold = sold_at_once(&self.nodes, producer, order.window, |_| true).await?;
            if sold < usize::from(connectors) {
                return Ok(evaluation);
            }
            sold_out.insert(producer);
        }
    }

    async fn commit_and_pay(
        &mut self,
        order: &ChargeOrder,
        request: TxRef,
        candidate: Candidate,
        weighed: ConsideredBid,
    ) -> Result<Auction, AgentError> {
        let Candidate { bid, contact, power_w, kind, .. } = candidate.clone();
        let count = order.installments.min(bid.bid.max_installments);
        let opening = Opening {
            request,
            price: bid.bid.price,
            consumer: self.zeta.address(),
            producer: bid.producer,
            secret: random_preimage()?,
        };
        let decision = Decision {
            opening,
            kind,
            installments: count.get(),
            secrets: secrets(kind, count)?,
            contact,
            power_w,
            distance_m: weighed.distance_m.unwrap_or_default(),
            doubt_permille: weighed.doubt.get(),
        };
        self.journal.append(&ChargeRecord::Decided(decision.clone())).await?;
        self.decision = Some(decision.clone());
        self.nodes.observe(&AgentEvent::Chosen {
            producer: bid.producer,
            price: bid.bid.price,
            distance_m: decision.distance_m,
        });
        self.chosen = Some(weighed);
        let commit = Action::Commit(Commit { commitment: opening.commitment(self.nodes.chain()) });
        self.take_step(Step::Commit, &commit).await?;
        let Some(price) = self.frozen_price(&candidate, count).await? else { return Ok(Auction::BidChanged) };
        self.recorder.begin(Phase::Deposit);
        if let (PaymentKind::Single, Secrets::Hashes(preimages)) = (kind, &decision.secrets) {
            let plan = InstallmentPlan {
                price,
                count,
                window: order.window,
                deposit: deposit_rule(order),
                claim_margin: self.params.claim_margin,
            };
            self.lock_singly(&plan, bid.producer, preimages).await?;
        } else {
            let pay = self.payment(order, &decision, count);
            self.take_step(Step::Pay, &pay).await?;
        }
        Ok(Auction::Paid)
    }

    /// The price of the bid that was chosen, now that the commitment ended the bidding: an update that came
    /// before it may have lowered the price, and that is what the ledger locks. `None`, with a warning,
    /// where it changed in something else, too.
    async fn frozen_price(
        &mut self,
        chosen: &Candidate,
        count: InstallmentCount,
    ) -> Result<Option<Amount>, AgentError> {
        let BidInfo { request, producer, .. } = chosen.bid;
        let bids = self.nodes.ask("ask for the bids", |rpc| async move { rpc.bids(request).await }).await?;
        let frozen = bids.into_iter().flatten().find(|bid| bid.producer == producer);
        let reader = Reader { chain: self.nodes.chain(), key: &self.zeta.key };
        let kept = frozen.filter(|bid| chosen.is_kept_by(bid, count, &reader)).map(|bid| bid.bid.price);
        if kept.is_none() {
            let reason = "it changed in more than its price before the decision was final".to_owned();
            self.recorder.warn(Warning::UnusableBid { producer, reason });
        }
        Ok(kept)
    }

    /// Locks the price by one transaction for each installment (P21 III-D). The first names the payment.
    async fn lock_singly(
        &mut self,
        plan: &InstallmentPlan,
        producer: PublicKey,
        preimages: &[Preimage],
    ) -> Result<(), AgentError> {
        let mut first = None;
        for (index, preimage) in (0..).zip(preimages) {
            let (amount, deadline) = (plan.amount(index), plan.deadline(index));
            let lock = CreateLock { payee: producer, amount, hash: preimage.lock(), deadline };
            let landed = self.take_step(Step::Lock(index), &Action::CreateLock(lock)).await?;
            first.get_or_insert(landed.place);
        }
        if let Some(place) = first {
            self.land(Landed { step: Step::Pay, place, fee: Amount::ZERO }).await?;
        }
        Ok(())
    }

    /// The transaction that locks the price.
    fn payment(&self, order: &ChargeOrder, decision: &Decision, count: InstallmentCount) -> Action {
        let Opening { request, producer, .. } = decision.opening;
        let locks = match &decision.secrets {
            Secrets::Hashes(preimages) => InstallmentLocks::Hashes(preimages.map(Preimage::lock)),
            Secrets::Chain(seed) => {
                InstallmentLocks::Chain(ChainAnchor { anchor: HashChain::new(*seed, count).anchor(), count })
            }
            Secrets::Channel => {
                let challenge = self.challenge();
                let earliest =
                    order.window.end.saturating_after(self.params.claim_margin).saturating_after(challenge);
                let deadline = earliest.saturating_after(CHANNEL_SLACK);
                return Action::OpenChannel(OpenChannel { request, producer, count, challenge, deadline });
            }
        };
        let deposit = deposit_rule(order);
        Action::LockInstallments(LockInstallments { request, producer, deposit, locks })
    }

    /// A challenge period in which the producer can answer, as slow as the chain is (O7).
    fn challenge(&self) -> Span {
        let Params { min_challenge, max_challenge, .. } = self.params;
        let reaction = reaction(&self.params, self.blocks.finality(&self.params));
        // Twice, since the producer measures by itself.
        reaction.saturating_add(reaction).max(min_challenge).min(max_challenge)
    }

    /// How long before the window the last transaction is under way. With `refund`, charging must begin
    /// before `t_max`, so there has to be time for it.
    fn lock_lead(&self, order: &ChargeOrder) -> Span {
        let locks = if order.kinds.contains(&PaymentKind::Single) { order.installments.get() } else { 0 };
        let each = LOCK_EACH.get().saturating_mul(locks.into());
        let locking = LOCK_LEAD.max(Span::new(each));
        match order.deposit {
            Deposit::Forfeit => locking,
            // Producers claim within half the chain's margin, and a release must come half as long before (S5).
            Deposit::Refund(lead) => {
                let claim_lead = self.params.claim_margin.get() / 2;
                locking.saturating_add(lead).saturating_add(Span::new(claim_lead + claim_lead / 2))
            }
        }
    }

    /// Sends what the fresh key has left to the main key. Gives the amount.
    pub(super) async fn sweep(&mut self) -> Result<Amount, AgentError> {
        let Some(account) = self.nodes.account(self.zeta.address()).await? else { return Ok(Amount::ZERO) };
        let to = self.main.address();
        let transfer = |amount| Action::Transfer(Transfer { to, amount });
        // The authorities may have changed the fees since the charge began.
        let what = "ask for the chain's parameters";
        let params = self.nodes.need(what, |rpc| async move { rpc.params().await }).await?;
        // Amounts have a fixed width, so any stands for the fee.
        let bytes = self.zeta.sign(transfer(account.balance)).await?.to_bytes().len() as u64;
        let fee = params.fee_per_byte.get().saturating_mul(bytes).saturating_add(params.fee_flat.get());
        let amount = account.balance.saturating_sub(Amount::new(fee));
        if amount == Amount::ZERO {
            return Ok(Amount::ZERO);
        }
        self.recorder.begin(Phase::Sweep);
        self.take_step(Step::Sweep, &transfer(amount)).await?;
        Ok(amount)
    }
}

fn deposit_rule(order: &ChargeOrder) -> DepositRule {
    match order.deposit {
        Deposit::Forfeit => DepositRule::Forfeit,
        Deposit::Refund(lead) => DepositRule::Refund(order.window.start.before(lead)),
    }
}

fn secrets(kind: PaymentKind, count: InstallmentCount) -> Result<Secrets, AgentError> {
    Ok(match kind {
        PaymentKind::Hashes | PaymentKind::Single => {
            let preimages = (0..count.get()).map(|_| random_preimage()).collect::<Result<Vec<_>, _>>()?;
            Secrets::Hashes(List::new(preimages).map_err(|error| AgentError::Settings(error.to_string()))?)
        }
        PaymentKind::Chain => Secrets::Chain(random_preimage()?),
        PaymentKind::Channel => Secrets::Channel,
    })
}
