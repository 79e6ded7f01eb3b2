//! Strangers, participants and an authority that do their worst, while honest clients pay.

mod attack;
mod authority;
mod field;
mod figures;
mod honest;
mod peer;
mod peers;
mod run;
mod sockets;
#[cfg(test)]
mod tests;
mod transactions;
mod watch;
mod websockets;

pub use attack::Attack;
pub use figures::AttackFigures;
pub(super) use run::hostile;
