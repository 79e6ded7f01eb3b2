use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::hostile::AttackFigures;
use crate::report::Audit;

/// What is done to validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// One, two or all are killed at random moments and start again, many times.
    Restarts,
    /// One stands still for a while (SIGSTOP) and goes on.
    Stop,
    /// The disk of one is full until somebody makes room.
    DiskFull,
    /// The folder of one cannot be written when it starts.
    ReadOnly,
    /// The clock of one is 10 s ahead.
    Clock,
    /// One loses its database and keeps its key.
    Wipe,
    /// One runs twice, with the same key.
    Twin,
    /// One signs what no honest validator signs, and is removed.
    Byzantine,
    /// The network splits: one apart, two halves, one that is not heard.
    Partition,
    /// Every link delays by 100 ms and loses 5% of the packets.
    Loss,
    /// Four authorities become five, seven, and four again, while vehicles charge.
    Authorities,
    /// Strangers, participants and an authority do their worst, while honest clients pay.
    Hostile,
    /// Producers and consumers are killed between any two records of their journals.
    Agents,
}

/// What became of a fault.
#[derive(Debug, Clone, Serialize)]
pub struct FaultReport {
    /// What was done.
    pub kind: FaultKind,
    /// What was seen, a line each.
    pub notes: Vec<String>,
    /// Processes that were started again.
    pub restarts: u64,
    /// Blocks at the end.
    pub blocks: u64,
    /// Payments that were signed and sent.
    pub payments_sent: u64,
    /// Those that are final.
    pub payments_final: u64,
    /// How long it took, with the validators' start.
    pub duration_s: u64,
    /// What each attack came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<AttackFigures>,
    /// What each validator holds at the end.
    pub audit: Option<Audit>,
    /// The promises that did not hold.
    pub failures: Vec<String>,
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        writeln!(
            f,
            "restarts {}, blocks {}, payments sent {}, final {}, in {} s",
            self.restarts, self.blocks, self.payments_sent, self.payments_final, self.duration_s
        )?;
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        if self.failures.is_empty() {
            writeln!(f, "one history, money conserved, all validators agree, progress in time")?;
        }
        Ok(())
    }
}
