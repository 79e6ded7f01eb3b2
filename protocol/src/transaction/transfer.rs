//! Transfer: money from one account to another (A1 to A3).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Amount;
use crate::state::account::{Account, Standing};
use crate::state::read::StateRead;

/// Pays another key. A key without account becomes a consumer that the sender sponsors.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Transfer {
    /// Who is paid.
    pub to: PublicKey,
    /// How much.
    pub amount: Amount,
}

/// Why a transfer breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum TransferReason {
    /// A1
    #[error("a transfer needs an amount above zero")]
    ZeroAmount,
    /// A1
    #[error("{sender} cannot pay itself")]
    ToSelf { sender: PublicKey },
    /// A2
    #[error("{to} is not a usable Ed25519 key: what it received would be lost")]
    UnusableKey { to: PublicKey },
    /// A2
    #[error("{to} has no account, and only an admitted sender can sponsor it")]
    CannotSponsor { to: PublicKey },
    /// A3
    #[error("{to} is revoked and cannot be paid")]
    RecipientRevoked { to: PublicKey },
}

impl Transfer {
    pub(super) fn check(&self, sender: &PublicKey) -> Result<(), TransferReason> {
        // A1
        if self.amount == Amount::ZERO {
            return Err(TransferReason::ZeroAmount);
        }
        if self.to == *sender {
            return Err(TransferReason::ToSelf { sender: *sender });
        }
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { to, amount } = *self;
        let recipient = ledger.state.account(&to)?;
        // A2
        if recipient.is_none() {
            if !to.is_valid() {
                return Err(TransferReason::UnusableKey { to }.into());
            }
            let standing = ledger.existing_account(&sender.key)?.standing;
            if !matches!(standing, Standing::Admitted(_)) {
                return Err(TransferReason::CannotSponsor { to }.into());
            }
            ledger.put_account(to, Account::new(Amount::ZERO, Standing::Sponsored(sender.key)));
            ledger.emit(Event::Sponsored { account: to, sponsor: sender.key });
        }
        // A3
        if recipient.is_some_and(|account| account.standing.is_revoked()) {
            return Err(TransferReason::RecipientRevoked { to }.into());
        }
        ledger.debit(&sender.key, amount)?;
        ledger.credit(&to, amount)?;
        ledger.emit(Event::Transferred { from: sender.key, to, amount });
        Ok(())
    }
}
