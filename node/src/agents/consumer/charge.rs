//! From the locked price to the last payout.

use std::sync::Arc;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Span, Timestamp, TxRef};
use evchain_protocol::session::{
    Beginning, ConsumerOutput, ConsumerRecord, ConsumerSession, EndReason, Open, PaymentKind, RejectReason,
    Terms,
};
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::config::ConsumerConfig;
use super::link::Link;
use super::record::Decision;
use super::session::{Driven, Driver};
use crate::agents::chain::blocks::{Change, News, changes_of, settles_locks};
use crate::agents::error::AgentError;
use crate::agents::event::AgentEvent;
use crate::agents::meter::Meter;
use crate::agents::report::{Phase, SessionReport};
use crate::agents::timing::until;
use crate::clock;
use crate::network::{Multiaddr, NetworkLimits, Service, SessionEndpoint};
use crate::rpc::NodeApiClient;

/// What a vehicle's simulated meter counts where neither the vehicle nor the station says.
const USUAL_POWER_W: u32 = 22_000;
/// How often a producer may put a consumer off. Each time the journal grows by a beginning with all its
/// secrets, and a journal has a limit.
const MAX_ROUNDS: u32 = 16;
/// The first pause before a producer is asked again that has put off the consumer; it doubles.
const FIRST_PAUSE: Span = Span::new(1_000);

impl Attempt {
    /// Charges: opens the session as often as the producer asks to come again, and runs it to its
    /// end. None if there was nothing left to open.
    pub(super) async fn charge(
        &mut self,
        config: &ConsumerConfig,
        decision: &Decision,
        payment: TxRef,
        mut records: Vec<ConsumerRecord>,
        stop: &CancellationToken,
    ) -> Result<Option<SessionReport>, AgentError> {
        self.recorder.begin(Phase::Charging);
        let (stop, skew) = (stop.child_token(), self.params.max_skew);
        let mut rounds = 0;
        loop {
            let mut out = Vec::new();
            let (session, resumed) = if has_begun(&records) {
                (self.recover(config, &records, &mut out)?, true)
            } else {
                let Some(beginning) = self.beginning(decision, payment).await? else { return Ok(None) };
                let key = self.zeta.key.clone();
                (ConsumerSession::new(key, beginning, config.policy, &mut out), false)
            };
            if resumed {
                self.nodes.observe(&AgentEvent::Resumed { payment });
            }
            let terms = *session.terms();
            // What is paid, where the bid fell after the choice.
            self.chosen.iter_mut().for_each(|bid| bid.price = terms.plan.price);
            // A future of its own: it is large.
            let driven = Box::pin(self.drive(config, decision, session, out, &stop)).await?;
            let EndReason::Rejected(RejectReason::TooEarly(from)) = driven.outcome.reason else {
                return Ok(Some(self.report(&terms, driven)));
            };
            if stop.is_cancelled() {
                return Ok(Some(self.report(&terms, driven)));
            }
            match comes_again(from, clock::now(), terms.plan.window.start, skew, rounds) {
                Some(until) => self.wait(until, &stop).await,
                // A session that is told to stop takes its money back, if there is time for it.
                None => stop.cancel(),
            }
            rounds += 1;
            records.clear();
        }
    }

    /// Waits until a producer serves, or the user stops.
    async fn wait(&self, moment: Timestamp, stop: &CancellationToken) {
        let reason = "the producer serves from then on".to_owned();
        self.nodes.observe(&AgentEvent::Waiting { until: moment, reason });
        tokio::select! {
            () = tokio::time::sleep(until(moment)) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Waits until the chain has paid out all that was locked.
    pub(super) async fn wait_settled(
        &mut self,
        decision: &Decision,
        payment: TxRef,
    ) -> Result<(), AgentError> {
        if decision.kind == PaymentKind::Single {
            return self.wait_for_locks(decision.opening.producer).await;
        }
        self.recorder.begin(Phase::Settlement);
        let mut news = self.blocks.reader();
        while self.nodes.payment(decision.kind, payment).await?.is_some() {
            loop {
                match news.next().await {
                    News::Gap => break,
                    News::Block(block) => {
                        self.nodes.saw(block.header.height);
                        let changes = changes_of(&block, payment);
                        if changes.iter().any(|change| matches!(change, Change::Ended | Change::Cancelled)) {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until no single lock to the producer is open.
    pub(super) async fn wait_for_locks(&mut self, producer: PublicKey) -> Result<(), AgentError> {
        self.recorder.begin(Phase::Settlement);
        let (mut news, consumer) = (self.blocks.reader(), self.zeta.address());
        while !self.nodes.locks(consumer, producer).await?.is_empty() {
            loop {
                match news.next().await {
                    News::Block(block) if !settles_locks(&block, consumer, producer) => {
                        self.nodes.saw(block.header.height);
                    }
                    News::Block(_) | News::Gap => break,
                }
            }
        }
        Ok(())
    }

    fn recover(
        &self,
        config: &ConsumerConfig,
        records: &[ConsumerRecord],
        out: &mut Vec<ConsumerOutput>,
    ) -> Result<ConsumerSession, AgentError> {
        let key = self.zeta.key.clone();
        ConsumerSession::recover(key, config.policy, records, clock::now(), out)
            .map_err(|source| AgentError::Damaged { path: self.journal.path().to_owned(), source })
    }

    /// What the final chain says about the session to open; none where it has ended already.
    async fn beginning(&self, decision: &Decision, payment: TxRef) -> Result<Option<Beginning>, AgentError> {
        let opening = decision.opening;
        let name = opening.request;
        let request =
            self.nodes.ask("ask for the request", |rpc| async move { rpc.energy_request(name).await });
        let Some(request) = request.await? else { return Ok(None) };
        let open = Open { opening, kind: decision.kind, payment };
        let Some(on_chain) = self.nodes.paying(&open, &request.value).await? else { return Ok(None) };
        let terms = Terms::new(self.nodes.chain(), &open, &request.value, &on_chain);
        Ok(Some(Beginning { terms, opening, secrets: decision.secrets.clone() }))
    }

    async fn drive(
        &mut self,
        config: &ConsumerConfig,
        decision: &Decision,
        session: ConsumerSession,
        first: Vec<ConsumerOutput>,
        stop: &CancellationToken,
    ) -> Result<Driven, AgentError> {
        let terms = session.terms();
        let (endpoint, _) = SessionEndpoint::start(
            Service::Charging,
            None,
            terms.chain,
            &self.zeta.key,
            NetworkLimits::default(),
        )?;
        // The bid was chosen because this is an address; a journal may hold what it likes.
        let address = decision.contact.as_str().parse::<Multiaddr>();
        let link = Link::new(endpoint, terms.producer, address.into_iter().collect());
        let power_w = config.power_w.or(decision.power_w).unwrap_or(USUAL_POWER_W);
        let meter = Meter::new(power_w, config.speed, session.outcome().energy);
        let (signer, news) = (Arc::clone(&self.zeta), self.blocks.reader());
        Driver::new(session, signer, &mut self.journal, link, news, meter, stop.clone()).run(first).await
    }

    fn report(&mut self, terms: &Terms, driven: Driven) -> SessionReport {
        let Driven { outcome, accepted, payment_messages, transactions, warnings } = driven;
        for transaction in &transactions {
            self.recorder.sent(transaction.clone());
        }
        self.recorder.keep(warnings);
        let report = SessionReport::now(terms, &outcome, accepted, payment_messages, transactions);
        self.nodes.observe(&AgentEvent::SessionEnded(report.clone()));
        report
    }
}

/// When to come again to a producer that serves from `from` on; none if it only puts off. Its clock may be
/// behind, so that this has come here already, by as much as two clocks of the chain differ.
fn comes_again(
    from: Timestamp,
    now: Timestamp,
    start: Timestamp,
    skew: Span,
    rounds: u32,
) -> Option<Timestamp> {
    let earliest = now.before(skew.saturating_add(skew));
    if rounds >= MAX_ROUNDS || !(earliest..=start).contains(&from) {
        return None;
    }
    // What is still to come is taken at its word, once.
    if rounds == 0 && from > now {
        return Some(from);
    }
    let pause = Span::new(FIRST_PAUSE.get() << rounds.saturating_sub(1));
    // From the window's start on each moment counts.
    let pause = pause.min(start.since(now)).max(FIRST_PAUSE);
    Some(from.max(now.saturating_after(pause)))
}

/// Whether the records are those of a session that is to go on, not of one that came too early.
fn has_begun(records: &[ConsumerRecord]) -> bool {
    let too_early = |record: &ConsumerRecord| {
        matches!(record, ConsumerRecord::Ended(EndReason::Rejected(RejectReason::TooEarly(_))))
    };
    !records.is_empty() && !records.iter().any(too_early)
}

#[cfg(test)]
mod tests {
    //! Goal: a producer's clock may be behind, and nobody is put off for ever. Method: moments by hand.

    use super::*;

    const START: Timestamp = Timestamp::new(100_000);
    const SKEW: Span = Span::new(500);

    fn comes(from: u64, now: u64, rounds: u32) -> Option<u64> {
        let (from, now) = (Timestamp::new(from), Timestamp::new(now));
        comes_again(from, now, START, SKEW, rounds).map(Timestamp::get)
    }

    #[test]
    fn what_an_honest_producer_says_is_waited_for() {
        assert_eq!(comes(90_000, 50_000, 0), Some(90_000));
        assert_eq!(comes(90_000, 89_900, 0), Some(90_000));
        // By its clock that moment is still to come; a second later it has come for everybody.
        assert_eq!(comes(90_000, 90_000, 1), Some(91_000));
        assert_eq!(comes(90_000, 91_000, 2), Some(93_000));
        assert_eq!(comes(100_000, 100_400, 4), Some(101_400), "from the start on no longer pauses");
        assert_eq!(comes(90_000, 91_001, 0), None, "further behind than clocks may be");
        assert_eq!(comes(100_001, 50_000, 0), None, "not in this window");
    }

    #[test]
    fn who_puts_off_again_and_again_is_asked_a_few_times() {
        let (mut now, mut rounds) = (0, 0);
        while let Some(next) = comes(now + 50, now, rounds) {
            assert!(rounds == 0 || next >= now + 1_000);
            (now, rounds) = (next, rounds + 1);
        }
        assert!(rounds <= MAX_ROUNDS, "{rounds} rounds");
        assert!(comes(START.get(), START.get(), MAX_ROUNDS).is_none());
    }
}
