//! Withdraw: a revoked account's money to the one place where it may go (A7).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Amount;
use crate::state::key::StateKey;
use crate::state::read::ReadError;

/// Sends all that a revoked account has to its withdrawal account. It costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Withdraw {
    /// The withdrawal account. The owner signs where its money goes, whatever a node tells it.
    pub to: PublicKey,
}

/// Why a withdrawal breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum WithdrawReason {
    /// A7
    #[error("{sender} is not revoked: a transfer sends its money anywhere")]
    NotRevoked { sender: PublicKey },
    /// A7
    #[error("{sender} can withdraw to {withdraw_to} only")]
    ElsewhereTo { sender: PublicKey, withdraw_to: PublicKey },
    /// A7
    #[error("{sender} has no money to withdraw")]
    NothingLeft { sender: PublicKey },
}

impl Withdraw {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (from, to) = (sender.key, self.to);
        let account = ledger.existing_account(&from)?;
        // A7
        if !account.standing.is_revoked() {
            return Err(WithdrawReason::NotRevoked { sender: from }.into());
        }
        let withdraw_to = account.withdraw_to.ok_or(ReadError::Inconsistent {
            key: StateKey::Account(from),
            reason: "a withdrawal account of whom a vote revoked",
        })?;
        if to != withdraw_to {
            return Err(WithdrawReason::ElsewhereTo { sender: from, withdraw_to }.into());
        }
        let amount = account.balance;
        if amount == Amount::ZERO {
            return Err(WithdrawReason::NothingLeft { sender: from }.into());
        }
        ledger.debit(&from, amount)?;
        ledger.credit(&to, amount)?;
        ledger.emit(Event::Withdrawn { from, to, amount });
        Ok(())
    }
}
