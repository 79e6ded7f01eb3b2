//! Drives the producer's machine: carries out its outputs in order, and feeds it what happens.

use std::sync::Arc;

use evchain_protocol::primitives::{Timestamp, TxRef};
use evchain_protocol::session::{
    Message, OnChain, PaymentKind, ProducerInput, ProducerOutput, ProducerRecord, ProducerSession,
    StopReason, Terms,
};
use evchain_protocol::state::payment::Lock;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::greet::Greeted;
use super::guarding::Guarding;
use crate::agents::chain::asking::Asking;
use crate::agents::chain::blocks::{Change, News, NewsReader, changes_of, settles_locks};
use crate::agents::chain::nodes::Signer;
use crate::agents::chain::settle::{Settled, Settlements};
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Warning};
use crate::agents::journal::Journal;
use crate::agents::line::Line;
use crate::agents::meter::Meter;
use crate::agents::report::{SessionReport, TransactionReport};
use crate::agents::timing::{sleep_until, until};
use crate::clock;
use crate::rpc::NodeApiClient;

/// One session under way.
pub(super) struct Driver {
    pub(super) session: ProducerSession,
    pub(super) signer: Arc<Signer>,
    pub(super) journal: Journal<ProducerRecord>,
    /// The connection, and the consumer's later ones.
    pub(super) line: Option<Line>,
    pub(super) connections: mpsc::Receiver<Greeted>,
    pub(super) news: NewsReader,
    pub(super) guarding: Guarding,
    pub(super) meter: Meter,
    pub(super) stop: CancellationToken,
    /// Cancelled as soon as the session needs its connector no more.
    pub(super) unplugged: CancellationToken,
    pub(super) settling: Settlements,
    /// What is asked of the chain, as news were missed.
    pub(super) looking: Asking<Look>,
    /// Whether the first look was answered. Until then nobody is served: after a restart the money may be gone.
    pub(super) has_looked: bool,
    pub(super) accepted: Option<Timestamp>,
    pub(super) transactions: Vec<TransactionReport>,
}

#[allow(clippy::large_enum_variant)] // moved once, never collected
enum Happened {
    Said(Result<Message, String>),
    Connected(Greeted),
    News(News),
    Looked(Result<Look, AgentError>),
    Settled(Settled),
    Input(ProducerInput),
    Metered,
}

impl Driver {
    /// Runs the session to its end. `first` are the outputs that came with it.
    pub(super) async fn run(mut self, first: Vec<ProducerOutput>) -> Result<SessionReport, AgentError> {
        // A node that has not got so far finds no payment.
        self.signer.nodes.saw(self.session.terms().payment.height());
        self.carry_out(first).await?;
        self.guarding.hold(self.session.to_guard());
        self.look_at_chain();
        let mut told_stop = false;
        while !self.session.is_over() {
            let now = Instant::now();
            let deadline = self.session.deadline().map(|at| now + until(at));
            let full = self.meter.full_at();
            let happened = tokio::select! {
                said = receive(&mut self.line), if self.has_looked => Happened::Said(said),
                Some(greeted) = self.connections.recv(), if self.has_looked => Happened::Connected(greeted),
                // What comes after missed news says little without them (S8).
                news = self.news.next(), if self.looking.is_idle() => Happened::News(news),
                Some(look) = self.looking.answer() => Happened::Looked(look),
                Some(settled) = self.settling.next() => Happened::Settled(settled),
                () = sleep_until(deadline) => Happened::Input(ProducerInput::Timeout),
                () = sleep_until(full) => Happened::Metered,
                () = self.stop.cancelled(), if !told_stop => {
                    told_stop = true;
                    Happened::Input(ProducerInput::Stop(StopReason::Requested))
                }
            };
            self.take(happened).await?;
        }
        // The last word. Whoever does not hear it asks again.
        if let Some(line) = &mut self.line {
            let _ = line.flush().await;
        }
        // What the news told may be known before the transaction's own answer came.
        while let Some(settled) = self.settling.next().await {
            self.transactions.extend(settled.unwrap_or_default());
        }
        self.guarding.let_go(self.session.terms().payment);
        if let Some(line) = self.line.take() {
            line.close().await;
        }
        let report = self.report();
        self.journal.close()?;
        self.signer.nodes.observe(&AgentEvent::SessionEnded(report.clone()));
        Ok(report)
    }

    async fn take(&mut self, happened: Happened) -> Result<(), AgentError> {
        match happened {
            Happened::Said(Ok(message)) => self.hear(message).await,
            Happened::Said(Err(reason)) => {
                self.line = None;
                tracing::debug!(payment = %self.session.terms().payment, reason, "producer: lost the consumer");
                Ok(())
            }
            Happened::Connected(Greeted { stream, message, .. }) => {
                self.line = Some(Line::over(stream));
                self.hear(message).await
            }
            Happened::News(News::Block(block)) => {
                self.signer.nodes.saw(block.header.height);
                self.step(ProducerInput::ChainTime(block.header.time_ms)).await?;
                let terms = *self.session.terms();
                for change in changes_of(&block, terms.payment) {
                    self.changed(change).await?;
                }
                if terms.kind == PaymentKind::Single && settles_locks(&block, terms.consumer, terms.producer)
                {
                    self.look_at_chain();
                }
                Ok(())
            }
            Happened::News(News::Gap) => {
                self.look_at_chain();
                Ok(())
            }
            Happened::Looked(look) => self.looked(look?).await,
            Happened::Settled(Ok(report)) => {
                self.transactions.extend(report);
                self.look_at_chain();
                Ok(())
            }
            Happened::Settled(Err(error)) => {
                let terms = self.session.terms();
                let reason = format!("cannot settle {}: {error}", terms.payment);
                self.signer.nodes.warn(Warning::Trouble { reason });
                Ok(())
            }
            Happened::Input(input) => self.step(input).await,
            Happened::Metered => {
                let reading = self.meter.take_reading(Instant::now());
                self.step(ProducerInput::Metered(reading)).await
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), AgentError> {
        // A receipt is compared with what the meter shows now.
        self.step(ProducerInput::Metered(self.meter.read(Instant::now()))).await?;
        self.step(ProducerInput::Message(message)).await
    }

    async fn changed(&mut self, change: Change) -> Result<(), AgentError> {
        let terms = self.session.terms();
        let (all, own) = (terms.plan.count.get(), terms.producer);
        match change {
            // A claim of independent hashes may leave some out below its last.
            Change::SettledBelow(_) if terms.kind == PaymentKind::Hashes => {
                self.look_at_chain();
                Ok(())
            }
            Change::SettledBelow(below) => self.step(ProducerInput::Settled(below)).await,
            Change::Ended => self.step(ProducerInput::Settled(all)).await,
            Change::Cancelled => self.step(ProducerInput::Cancelled).await,
            Change::Posted(by) if by != own => self.step(ProducerInput::ForceClosed).await,
            Change::Posted(_) => Ok(()),
        }
    }

    /// Asks for what the news did not tell. Nothing else waits until a node answers: claims can go on where
    /// this cannot.
    fn look_at_chain(&mut self) {
        self.looking.ask(look(Arc::clone(&self.signer), *self.session.terms()));
    }

    async fn looked(&mut self, look: Look) -> Result<(), AgentError> {
        self.has_looked = true;
        let (time, count) = (ProducerInput::ChainTime(look.time), self.session.terms().plan.count.get());
        match look.found {
            Found::Locks(locks) => {
                self.step(time).await?;
                self.step(ProducerInput::Settled(self.session.settled_locks(&locks))).await
            }
            Found::Payment(None) => {
                self.step(ProducerInput::Gone).await?;
                self.step(time).await
            }
            Found::Payment(Some(OnChain::Installments(payment))) => {
                self.step(time).await?;
                self.step(ProducerInput::Settled(payment.unsettled().next().unwrap_or(count))).await
            }
            Found::Payment(Some(OnChain::Channel(channel))) => {
                self.step(time).await?;
                // The producer posts nothing itself: it closes.
                if channel.posted.is_some() {
                    self.step(ProducerInput::ForceClosed).await?;
                }
                Ok(())
            }
        }
    }

    async fn step(&mut self, input: ProducerInput) -> Result<(), AgentError> {
        let mut out = Vec::new();
        if let Err(unexpected) = self.session.step(clock::now(), input, &mut out) {
            tracing::debug!(payment = %self.session.terms().payment, %unexpected, "producer: ignoring an input");
        }
        self.carry_out(out).await?;
        let (terms, progress) = (self.session.terms(), self.session.progress());
        let is_last = progress.next() >= terms.plan.count.get() || clock::now() >= terms.plan.window.end;
        if progress.is_delivered() && is_last {
            self.unplugged.cancel();
        }
        Ok(())
    }

    /// Carries out a step's outputs in their order. Records that follow each other share one sync.
    async fn carry_out(&mut self, outputs: Vec<ProducerOutput>) -> Result<(), AgentError> {
        let mut records = Vec::new();
        let is_released =
            outputs.iter().any(|it| matches!(it, ProducerOutput::Persist(ProducerRecord::Released(_))));
        for output in outputs {
            if !matches!(output, ProducerOutput::Persist(_)) {
                self.journal.append_all(&std::mem::take(&mut records)).await?;
            }
            match output {
                ProducerOutput::Persist(record) => {
                    self.observe(&record);
                    records.push(record);
                }
                ProducerOutput::Send(message) => self.say(&message),
                ProducerOutput::Deliver(target) => self.meter.flow_to(target, Instant::now()),
                ProducerOutput::StopEnergy => {
                    self.meter.stop(Instant::now());
                    self.unplugged.cancel();
                }
                ProducerOutput::Settle(settlement) => {
                    self.settling.begin(&self.signer, self.session.terms(), settlement);
                }
                // `is_over` says the same.
                ProducerOutput::Finished(_) => {}
            }
        }
        self.journal.append_all(&records).await?;
        if is_released {
            self.guarding.hold(self.session.to_guard());
        }
        Ok(())
    }

    /// Says it if there is a connection. What matters is repeated on the next (P10).
    fn say(&mut self, message: &Message) {
        if let Some(line) = &mut self.line {
            line.say(message);
        }
    }

    fn observe(&mut self, record: &ProducerRecord) {
        let payment = self.session.terms().payment;
        let event = match record {
            ProducerRecord::Accepted(_) => {
                self.accepted = Some(clock::now());
                AgentEvent::Accepted { payment }
            }
            ProducerRecord::Released(release) => AgentEvent::Released { payment, index: release.index },
            ProducerRecord::Delivered((index, energy)) => {
                AgentEvent::Delivered { payment, index: *index, energy: *energy }
            }
            _ => return,
        };
        self.signer.nodes.observe(&event);
    }

    fn report(&self) -> SessionReport {
        let (terms, progress) = (self.session.terms(), self.session.progress());
        // The deposit of a channel takes no message (S3).
        let initial = u32::from(terms.kind == PaymentKind::Channel);
        let payment_messages = progress.released.saturating_sub(initial);
        let (outcome, transactions) = (self.session.outcome(), self.transactions.clone());
        SessionReport::now(terms, &outcome, self.accepted, payment_messages, transactions)
    }
}

/// What the chain held at a time.
pub(super) struct Look {
    time: Timestamp,
    found: Found,
}

enum Found {
    Locks(Vec<(TxRef, Lock)>),
    Payment(Option<OnChain>),
}

/// Asks the chain for what pays for a session. The time comes first: what is still there later was not
/// cancelled until then (S8).
async fn look(signer: Arc<Signer>, terms: Terms) -> Result<Look, AgentError> {
    let nodes = &signer.nodes;
    let status = nodes.need("ask for the chain's time", |rpc| async move { rpc.status().await }).await?;
    nodes.saw(status.height);
    let found = match terms.kind {
        PaymentKind::Single => Found::Locks(nodes.locks(terms.consumer, terms.producer).await?),
        kind => Found::Payment(nodes.payment(kind, terms.payment).await?),
    };
    Ok(Look { time: status.time, found })
}

/// The next message, if there is somebody to say one. Cancel safe.
async fn receive(line: &mut Option<Line>) -> Result<Message, String> {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}
