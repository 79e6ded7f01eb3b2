//! What the consensus found out about faulty authorities, on its way onto the chain.

mod book;
mod metrics;
mod reporter;

pub use book::EvidenceBook;
pub use metrics::EvidenceMetrics;
pub use reporter::Reporter;
