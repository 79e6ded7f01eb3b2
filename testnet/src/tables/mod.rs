//! The papers' tables, measured: sessions of every kind of payment on a real testnet.

mod report;
mod run;
mod steps;
#[cfg(test)]
mod tests;

pub use report::{PaymentRow, PhaseRow, SessionTime, TablesReport, VolumeFigures};
pub use run::{TablesError, run};
