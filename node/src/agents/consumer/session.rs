//! Drives the consumer's machine: carries out its outputs in order, and feeds it what happens.

use std::sync::Arc;
use std::time::Duration;

use evchain_protocol::primitives::{Energy, Timestamp};
use evchain_protocol::session::{
    ConsumerInput, ConsumerOutput, ConsumerRecord, ConsumerSession, Message, Outcome, PaymentKind,
    Settlement, StopReason, Terms,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::link::{Link, LinkEvent};
use super::record::{ChargeRecord, Landed, Step};
use crate::agents::chain::asking::Asking;
use crate::agents::chain::blocks::{Change, News, NewsReader, changes_of};
use crate::agents::chain::nodes::Signer;
use crate::agents::chain::settle::{Settled, Settlements};
use crate::agents::error::AgentError;
use crate::agents::event::{AgentEvent, Warning};
use crate::agents::journal::Journal;
use crate::agents::meter::Meter;
use crate::agents::report::TransactionReport;
use crate::agents::timing::{sleep_until, until};
use crate::clock;
use crate::rpc::NodeApiClient;

/// How long a session that is over waits for the answers of its own transactions.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// How often the meter is read while energy flows, besides when it is full.
const METER_INTERVAL: Duration = Duration::from_millis(250);

/// One session under way.
pub(super) struct Driver<'a> {
    pub(super) session: ConsumerSession,
    pub(super) signer: Arc<Signer>,
    pub(super) journal: &'a mut Journal<ChargeRecord>,
    pub(super) link: Link,
    pub(super) news: NewsReader,
    pub(super) meter: Meter,
    pub(super) stop: CancellationToken,
    is_open: bool,
    is_cancelling: bool,
    chain_time: Timestamp,
    settling: Settlements,
    /// What is asked of the chain, as news were missed.
    looking: Asking<Look>,
    /// Whether the first look was answered. Until then nothing is paid: the own valve waits for the chain's time.
    has_looked: bool,
    result: Driven,
}

/// What came of a session.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) outcome: Outcome,
    pub(super) accepted: Option<Timestamp>,
    pub(super) payment_messages: u32,
    pub(super) transactions: Vec<TransactionReport>,
    pub(super) warnings: Vec<Warning>,
}

enum Happened {
    Link(LinkEvent),
    News(News),
    Looked(Result<Look, AgentError>),
    Settled(Settled),
    Input(ConsumerInput),
    Metered,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        session: ConsumerSession,
        signer: Arc<Signer>,
        journal: &'a mut Journal<ChargeRecord>,
        link: Link,
        news: NewsReader,
        meter: Meter,
        stop: CancellationToken,
    ) -> Self {
        let result = Driven {
            outcome: session.outcome(),
            accepted: None,
            payment_messages: 0,
            transactions: Vec::new(),
            warnings: Vec::new(),
        };
        Self {
            session,
            signer,
            journal,
            link,
            news,
            meter,
            stop,
            is_open: false,
            is_cancelling: false,
            chain_time: Timestamp::ZERO,
            settling: Settlements::default(),
            looking: Asking::default(),
            has_looked: false,
            result,
        }
    }

    /// Runs the session to its end. `first` are the outputs that came with it.
    pub(super) async fn run(mut self, first: Vec<ConsumerOutput>) -> Result<Driven, AgentError> {
        self.carry_out(first).await?;
        self.look_at_chain();
        let mut told_stop = false;
        while !self.session.is_over() {
            let now = Instant::now();
            let deadline = self.session.deadline().map(|at| now + until(at));
            let reading = self.meter.full_at().map(|full| full.min(now + METER_INTERVAL));
            let happened = tokio::select! {
                event = self.link.next(), if self.has_looked => Happened::Link(event),
                // What comes after missed news says little without them (S8).
                news = self.news.next(), if self.looking.is_idle() => Happened::News(news),
                Some(look) = self.looking.answer() => Happened::Looked(look),
                Some(settled) = self.settling.next() => Happened::Settled(settled),
                () = sleep_until(deadline) => Happened::Input(ConsumerInput::Timeout),
                () = sleep_until(reading) => Happened::Metered,
                () = self.stop.cancelled(), if !told_stop => {
                    told_stop = true;
                    Happened::Input(ConsumerInput::Stop(StopReason::Requested))
                }
            };
            self.take(happened).await?;
        }
        self.link.close().await;
        // What the news told may be known before the transaction's own answer came. That it is known tells
        // no more than what it cost, so a node that does not answer is not waited for.
        let end = Instant::now() + LAST_ANSWERS;
        while let Ok(Some(settled)) = timeout_at(end, self.settling.next()).await {
            note_settled(self.journal, &mut self.result, settled.unwrap_or_default()).await?;
        }
        Ok(self.result)
    }

    async fn take(&mut self, happened: Happened) -> Result<(), AgentError> {
        match happened {
            Happened::Link(LinkEvent::Connected) => self.step(ConsumerInput::Connected).await,
            Happened::Link(LinkEvent::Said(message)) => {
                // What the producer says is compared with what the meter shows now.
                self.step(ConsumerInput::Metered(self.meter.read(Instant::now()))).await?;
                self.observe_message(&message);
                self.step(ConsumerInput::Message(message)).await
            }
            Happened::Link(LinkEvent::Lost(reason)) => {
                let peer = self.session.terms().producer;
                self.warn(Warning::PeerUnreachable { peer, reason });
                Ok(())
            }
            Happened::News(News::Block(block)) => {
                self.signer.nodes.saw(block.header.height);
                self.chain_time = self.chain_time.max(block.header.time_ms);
                self.flow();
                self.step(ConsumerInput::ChainTime(block.header.time_ms)).await?;
                for change in changes_of(&block, self.session.terms().payment) {
                    self.changed(change).await?;
                }
                Ok(())
            }
            Happened::News(News::Gap) => {
                self.look_at_chain();
                Ok(())
            }
            Happened::Looked(look) => self.looked(look?).await,
            Happened::Settled(Ok(sent)) => {
                note_settled(self.journal, &mut self.result, sent).await?;
                self.look_at_chain();
                Ok(())
            }
            Happened::Settled(Err(error)) => {
                // A deadline settles in the end what this side could not.
                self.warn(Warning::Trouble { reason: format!("cannot settle: {error}") });
                Ok(())
            }
            Happened::Input(input) => self.step(input).await,
            Happened::Metered => {
                let reading = self.meter.take_reading(Instant::now());
                self.step(ConsumerInput::Metered(reading)).await
            }
        }
    }

    async fn changed(&mut self, change: Change) -> Result<(), AgentError> {
        let terms = self.session.terms();
        match change {
            Change::Cancelled => self.step(ConsumerInput::Cancelled).await,
            Change::Ended if terms.kind == PaymentKind::Channel => self.step(ConsumerInput::PaidOut).await,
            Change::Posted(by) if by != terms.consumer => self.step(ConsumerInput::ForceClosed).await,
            // Installments are the producer's to collect, or return by themselves.
            Change::Ended | Change::Posted(_) | Change::SettledBelow(_) => Ok(()),
        }
    }

    /// Asks for what the news did not tell. Nothing else waits until a node answers.
    fn look_at_chain(&mut self) {
        self.looking.ask(look(Arc::clone(&self.signer), *self.session.terms()));
    }

    async fn looked(&mut self, Look { time, is_held }: Look) -> Result<(), AgentError> {
        let terms = *self.session.terms();
        self.has_looked = true;
        self.chain_time = self.chain_time.max(time);
        self.flow();
        self.step(ConsumerInput::ChainTime(time)).await?;
        if is_held {
            return Ok(());
        }
        match terms.kind {
            PaymentKind::Channel => self.step(ConsumerInput::PaidOut).await,
            // All claimed, all returned, or taken back: for a session that waits for its cancel it is the latter.
            PaymentKind::Hashes | PaymentKind::Chain if self.is_cancelling => {
                self.step(ConsumerInput::Cancelled).await
            }
            PaymentKind::Hashes | PaymentKind::Chain | PaymentKind::Single => Ok(()),
        }
    }

    async fn step(&mut self, input: ConsumerInput) -> Result<(), AgentError> {
        let mut out = Vec::new();
        if let Err(unexpected) = self.session.step(clock::now(), input, &mut out) {
            tracing::debug!(payment = %self.session.terms().payment, %unexpected, "consumer: ignoring an input");
        }
        self.carry_out(out).await
    }

    /// Carries out a step's outputs in their order. Records that follow each other share one sync.
    async fn carry_out(&mut self, outputs: Vec<ConsumerOutput>) -> Result<(), AgentError> {
        let mut records = Vec::new();
        for output in outputs {
            if !matches!(output, ConsumerOutput::Persist(_)) {
                self.journal.append_all(&std::mem::take(&mut records)).await?;
            }
            match output {
                ConsumerOutput::Persist(record) => {
                    self.observe_record(&record);
                    records.push(ChargeRecord::Session(record));
                }
                ConsumerOutput::Send(message) => {
                    if matches!(message, Message::Release(_)) {
                        self.result.payment_messages += 1;
                    }
                    self.link.say(&message);
                }
                ConsumerOutput::OpenValve => self.is_open = true,
                ConsumerOutput::CloseValve => {
                    self.is_open = false;
                    self.meter.stop(Instant::now());
                }
                ConsumerOutput::Settle(settlement) => self.settle(settlement),
                ConsumerOutput::Finished(outcome) => self.result.outcome = outcome,
            }
        }
        self.journal.append_all(&records).await?;
        self.flow();
        Ok(())
    }

    /// Lets the simulated energy come: what is paid, and not before the producer can let it go (S8).
    fn flow(&mut self) {
        if self.is_open && self.chain_time >= self.session.terms().cancel_by {
            self.meter.flow_to(self.session.progress().energy, Instant::now());
        }
    }

    fn settle(&mut self, settlement: Settlement) {
        self.is_cancelling |= settlement == Settlement::Cancel;
        let terms = self.session.terms();
        self.settling.begin(&self.signer, terms, settlement);
    }

    fn observe_message(&mut self, message: &Message) {
        if let Message::Reject(reason) = message {
            let payment = self.session.terms().payment;
            self.signer.nodes.observe(&AgentEvent::Refused { payment, reason: *reason });
        }
    }

    fn observe_record(&mut self, record: &ConsumerRecord) {
        let payment = self.session.terms().payment;
        match record {
            ConsumerRecord::Accepted(_) => {
                self.result.accepted = Some(clock::now());
                self.signer.nodes.observe(&AgentEvent::Accepted { payment });
            }
            ConsumerRecord::Released(index) => {
                self.signer.nodes.observe(&AgentEvent::Released { payment, index: *index });
            }
            ConsumerRecord::Delivered(delivered) => {
                let (index, energy): (u32, Energy) = (delivered.index, delivered.energy);
                self.signer.nodes.observe(&AgentEvent::Delivered { payment, index, energy });
            }
            _ => {}
        }
    }

    fn warn(&mut self, warning: Warning) {
        self.signer.nodes.warn(warning.clone());
        if self.result.warnings.len() < MAX_WARNINGS {
            self.result.warnings.push(warning);
        }
    }
}

/// What the chain held at a time.
struct Look {
    time: Timestamp,
    /// Whether there was money for the session then or later.
    is_held: bool,
}

async fn look(signer: Arc<Signer>, terms: Terms) -> Result<Look, AgentError> {
    let nodes = &signer.nodes;
    let status = nodes.need("ask for the chain's time", |rpc| async move { rpc.status().await }).await?;
    Ok(Look { time: status.time, is_held: nodes.is_held(&terms).await? })
}

/// Notes a settlement's transactions. For the fees, after a crash: they are no part of what the producer got.
async fn note_settled(
    journal: &mut Journal<ChargeRecord>,
    result: &mut Driven,
    sent: Vec<TransactionReport>,
) -> Result<(), AgentError> {
    let landed = |sent: &TransactionReport| {
        let TransactionReport { place, fee, .. } = *sent;
        ChargeRecord::Final(Landed { step: Step::Settle(place), place, fee })
    };
    journal.append_all(&sent.iter().map(landed).collect::<Vec<_>>()).await?;
    result.transactions.extend(sent);
    Ok(())
}

/// The most warnings that a report keeps of one session.
const MAX_WARNINGS: usize = 100;
