//! The papers' tables, measured: sessions of every kind of payment on a real testnet.

mod agents;
mod book;
mod checks;
mod measure;
mod order;
mod render;
mod report;
mod run;
mod steps;
mod stopped;
#[cfg(test)]
mod tests;

pub use order::TablesPlan;
pub use report::{
    EarningRow, PaymentRow, PhaseRow, SessionRow, SessionTime, StoppedRow, TablesReport, VolumeFigures,
};
pub use run::{TablesError, run};
