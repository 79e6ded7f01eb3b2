//! What a scenario came to: figures from the chain and from the agents, checks, and their rendering.

mod audit;
mod chain;
mod figures;
mod latency;
mod machine;
mod render;
mod table;
#[cfg(test)]
mod tests;

pub use audit::{Audit, AuditError, ValidatorAudit};
pub use chain::{ChainFigures, KindFigures};
pub(crate) use figures::payment_name;
pub use figures::{
    DirectionCount, Evidence, PaymentFigures, PriceFigures, Report, ScenarioFigures, SessionFigures,
    SessionRow,
};
pub use latency::{LatencyFigures, Samples};
pub use machine::Machine;
pub use table::Table;
