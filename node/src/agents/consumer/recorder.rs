//! Collects what a report tells, and tells the observer at once.

use evchain_protocol::primitives::Amount;

use crate::agents::chain::nodes::Nodes;
use crate::agents::event::{AgentEvent, Warning};
use crate::agents::report::{Phase, PhaseReport, TransactionReport};
use crate::clock;

/// The most entries of each list in a report. A charge has a few dozen.
const MAX_ENTRIES: usize = 1_000;

pub(super) struct Recorder {
    nodes: Nodes,
    phases: Vec<PhaseReport>,
    transactions: Vec<TransactionReport>,
    warnings: Vec<Warning>,
    fees: Amount,
}

impl Recorder {
    pub(super) fn new(nodes: Nodes) -> Self {
        Self { nodes, phases: Vec::new(), transactions: Vec::new(), warnings: Vec::new(), fees: Amount::ZERO }
    }

    /// A phase begins, which ends the one before.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.finish();
        let now = clock::now();
        if self.phases.len() < MAX_ENTRIES {
            self.phases.push(PhaseReport { phase, begun: now, ended: now });
        }
        self.nodes.observe(&AgentEvent::PhaseBegun { phase });
    }

    /// The last phase ends.
    pub(super) fn finish(&mut self) {
        if let Some(last) = self.phases.last_mut() {
            last.ended = clock::now();
        }
    }

    pub(super) fn sent(&mut self, report: TransactionReport) {
        self.paid_fee(report.fee);
        if self.transactions.len() < MAX_ENTRIES {
            self.transactions.push(report);
        }
    }

    /// A fee that was paid, also for what an earlier process sent.
    pub(super) fn paid_fee(&mut self, fee: Amount) {
        self.fees = self.fees.saturating_add(fee);
    }

    /// All fees that were paid.
    pub(super) const fn fees(&self) -> Amount {
        self.fees
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        self.nodes.warn(warning.clone());
        if self.warnings.len() < MAX_ENTRIES {
            self.warnings.push(warning);
        }
    }

    /// Keeps warnings that the observer knows of.
    pub(super) fn keep(&mut self, warnings: Vec<Warning>) {
        let room = MAX_ENTRIES.saturating_sub(self.warnings.len());
        self.warnings.extend(warnings.into_iter().take(room));
    }

    /// Everything, in order.
    pub(super) fn into_parts(mut self) -> (Vec<PhaseReport>, Vec<TransactionReport>, Vec<Warning>) {
        self.finish();
        (self.phases, self.transactions, self.warnings)
    }
}
