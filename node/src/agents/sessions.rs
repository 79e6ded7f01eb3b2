//! What the journals of a state folder say about its sessions, for people.

use std::io::ErrorKind;
use std::path::Path;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Amount, Energy, TxRef, Window};
use evchain_protocol::session::{ConsumerRecord, EndReason, PaymentKind, ProducerRecord, Progress, Terms};
use serde::Serialize;

use super::consumer::{ChargeRecord, JOURNAL_PREFIX, Step};
use super::error::AgentError;
use super::journal::{self, Peeked};

/// A session as its journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionEntry {
    /// The journal's name, which names the session to commands.
    pub name: String,
    /// Whether it buys or sells.
    pub side: Side,
    /// Whether something is left to do.
    pub state: EntryState,
    /// How far it came.
    pub stage: String,
    /// The fresh key that asked.
    pub consumer: Option<PublicKey>,
    /// Who delivers, once that is chosen.
    pub producer: Option<PublicKey>,
    /// The request, once it is on the chain.
    pub request: Option<TxRef>,
    /// The payment, or the first of single locks.
    pub payment: Option<TxRef>,
    /// How it is paid.
    pub paid_by: Option<PaymentKind>,
    /// T.
    pub window: Option<Window>,
    /// b.
    pub price: Option<Amount>,
    /// N.
    pub installments: Option<u32>,
    /// Installments released.
    pub released: u32,
    /// What they are worth.
    pub amount: Amount,
    /// Installments delivered.
    pub delivered: u32,
    /// The own meter at the last of them.
    pub energy: Energy,
    /// Whether both signed a receipt.
    pub receipt: bool,
}

/// Which side of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A consumer's.
    Buys,
    /// A producer's.
    Sells,
}

/// Whether something is left to do for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// An agent is at it.
    Running,
    /// It was interrupted.
    Interrupted,
    /// Nothing is left to do.
    Over,
    /// Its journal cannot be read.
    Damaged,
}

/// The sessions whose journals lie in this state folder, in the order of their names.
///
/// # Errors
/// [`AgentError::Journal`], with the file's name. A journal that is damaged is an entry that says so.
pub fn list(state_dir: &Path) -> Result<Vec<SessionEntry>, AgentError> {
    let mut entries = Vec::new();
    for path in journal::all(&state_dir.join("sessions"))? {
        match read(&path) {
            Ok(entry) => entries.push(entry),
            Err(error @ AgentError::Damaged { .. }) => {
                let (name, side) = name_and_side(&path);
                let mut entry = Reader::new(name, side, EntryState::Damaged).finish();
                entry.stage = error.to_string();
                entries.push(entry);
            }
            // An agent has just closed it, and the next list has it under its new name.
            Err(AgentError::Journal { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

fn name_and_side(path: &Path) -> (String, Side) {
    let name = journal::name_of(path);
    let side = if name.starts_with(JOURNAL_PREFIX) { Side::Buys } else { Side::Sells };
    (name, side)
}

fn read(path: &Path) -> Result<SessionEntry, AgentError> {
    let (name, side) = name_and_side(path);
    if side == Side::Buys {
        let Peeked { records, state } = journal::peek::<ChargeRecord>(path)?;
        let mut reader = Reader::new(name, side, state);
        for record in &records {
            reader.take_charge(record);
        }
        Ok(reader.finish())
    } else {
        let Peeked { records, state } = journal::peek::<ProducerRecord>(path)?;
        let mut reader = Reader::new(name, side, state);
        for record in &records {
            reader.take_sale(record);
        }
        Ok(reader.finish())
    }
}

/// Folds records into an entry.
struct Reader {
    entry: SessionEntry,
    terms: Option<Terms>,
    progress: Progress,
}

impl SessionEntry {
    fn set_stage(&mut self, stage: &str) {
        stage.clone_into(&mut self.stage);
    }
}

impl Reader {
    fn new(name: String, side: Side, state: EntryState) -> Self {
        let entry = SessionEntry {
            name,
            side,
            state,
            stage: "begun".to_owned(),
            consumer: None,
            producer: None,
            request: None,
            payment: None,
            paid_by: None,
            window: None,
            price: None,
            installments: None,
            released: 0,
            amount: Amount::ZERO,
            delivered: 0,
            energy: Energy::ZERO,
            receipt: false,
        };
        Self { entry, terms: None, progress: Progress::default() }
    }

    fn take_charge(&mut self, record: &ChargeRecord) {
        match record {
            ChargeRecord::Started(started) => self.entry.consumer = Some(started.consumer),
            ChargeRecord::Sending(sending) => self.entry.stage = format!("sends {}", sending.step.name()),
            ChargeRecord::Final(landed) => {
                self.entry.stage = format!("{} is final", landed.step.name());
                match landed.step {
                    Step::Request => self.entry.request = Some(landed.place),
                    Step::Pay => self.entry.payment = Some(landed.place),
                    _ => {}
                }
            }
            ChargeRecord::Decided(decision) => {
                self.entry.producer = Some(decision.opening.producer);
                self.entry.price = Some(decision.opening.price);
                self.entry.paid_by = Some(decision.kind);
                self.entry.installments = Some(decision.installments);
            }
            ChargeRecord::Session(record) => match record {
                ConsumerRecord::Begun(beginning) => self.begin(&beginning.terms, Progress::default()),
                ConsumerRecord::Accepted(_) => {
                    self.entry.set_stage("charging");
                    self.progress = self.terms.map(|terms| terms.start()).unwrap_or_default();
                }
                ConsumerRecord::Released(index) => self.release(*index),
                ConsumerRecord::Delivered(delivered) => self.deliver(delivered.index, delivered.energy),
                ConsumerRecord::Ended(reason) => self.entry.stage = shown(reason),
                ConsumerRecord::Receipted(_) => self.entry.receipt = true,
                ConsumerRecord::Settled => self.entry.set_stage("settled"),
            },
        }
    }

    fn take_sale(&mut self, record: &ProducerRecord) {
        match record {
            ProducerRecord::Accepted(acceptance) => {
                self.begin(&acceptance.terms, acceptance.terms.start());
                self.entry.set_stage("charging");
            }
            ProducerRecord::Released(release) => self.release(release.index),
            ProducerRecord::Delivered((index, energy)) => self.deliver(*index, *energy),
            ProducerRecord::Ended(reason) => self.entry.stage = shown(reason),
            ProducerRecord::Receipted(_) => self.entry.receipt = true,
            ProducerRecord::Binding => {}
            ProducerRecord::Settled(below) => self.entry.stage = format!("{below} installments are settled"),
        }
    }

    fn begin(&mut self, terms: &Terms, progress: Progress) {
        self.terms = Some(*terms);
        self.progress = progress;
        let entry = &mut self.entry;
        entry.set_stage("opening");
        (entry.consumer, entry.producer) = (Some(terms.consumer), Some(terms.producer));
        (entry.request, entry.payment) = (Some(terms.request), Some(terms.payment));
        (entry.paid_by, entry.window) = (Some(terms.kind), Some(terms.plan.window));
        (entry.price, entry.installments) = (Some(terms.plan.price), Some(terms.plan.count.get()));
    }

    fn release(&mut self, index: u32) {
        if let Some(terms) = &self.terms {
            self.progress.release(terms, index);
        }
    }

    fn deliver(&mut self, index: u32, energy: Energy) {
        self.entry.delivered = index.saturating_add(1);
        self.entry.energy = energy;
    }

    fn finish(self) -> SessionEntry {
        let Progress { released, amount, .. } = self.progress;
        SessionEntry { released, amount, ..self.entry }
    }
}

/// Why a session ended, in words.
fn shown(reason: &EndReason) -> String {
    match reason {
        EndReason::Completed => "completed".to_owned(),
        EndReason::ConsumerStopped(reason) => format!("ended by the consumer: {reason}"),
        EndReason::ProducerStopped(reason) => format!("ended by the producer: {reason}"),
        EndReason::Rejected(reason) => format!("not served: {reason}"),
        EndReason::ClosedOnChain => "the payment was closed on the chain".to_owned(),
    }
}
