//! Admit and revoke: who may take part, as the authorities say (A4, A5).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Amount;
use crate::state::account::Roles;
use crate::state::account::{Account, Standing};
use crate::state::read::StateRead;

/// Gives a participant these roles in place of those that it had.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Admit {
    /// Whom.
    pub participant: PublicKey,
    /// Its roles from now on.
    pub roles: Roles,
}

/// Shuts a participant out. It can still settle what is open, and keeps its money.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Revoke {
    /// Whom.
    pub participant: PublicKey,
}

/// Why an authority's decision about a participant breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum ParticipantReason {
    /// A4
    #[error("a participant is admitted with at least one role")]
    NoRoles,
    /// A4
    #[error("{participant} is not a usable Ed25519 key: it could never sign")]
    UnusableKey { participant: PublicKey },
    /// A4
    #[error("{participant} is admitted with these roles already: {roles}")]
    SameRoles { participant: PublicKey, roles: Roles },
    /// A5
    #[error("{participant} has no account that could be revoked")]
    NoAccount { participant: PublicKey },
    /// A5
    #[error("{participant} is revoked already")]
    AlreadyRevoked { participant: PublicKey },
}

impl Admit {
    pub(super) fn check(&self) -> Result<(), ParticipantReason> {
        // A4
        if self.roles.is_empty() {
            return Err(ParticipantReason::NoRoles);
        }
        if !self.participant.is_valid() {
            return Err(ParticipantReason::UnusableKey { participant: self.participant });
        }
        Ok(())
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { participant, roles } = *self;
        let admitted = Standing::Admitted(roles);
        let account = ledger.state.account(&participant)?;
        let mut account = account.unwrap_or(Account::new(Amount::ZERO, Standing::Revoked));
        // A4
        if account.standing == admitted {
            return Err(ParticipantReason::SameRoles { participant, roles }.into());
        }
        account.standing = admitted;
        ledger.put_account(participant, account);
        ledger.emit(Event::Admitted { account: participant, roles, authority: sender.key });
        Ok(())
    }
}

impl Revoke {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { participant } = *self;
        // A5
        let Some(mut account) = ledger.state.account(&participant)? else {
            return Err(ParticipantReason::NoAccount { participant }.into());
        };
        if account.standing.is_revoked() {
            return Err(ParticipantReason::AlreadyRevoked { participant }.into());
        }
        account.standing = Standing::Revoked;
        ledger.put_account(participant, account);
        ledger.emit(Event::Revoked { account: participant, authority: sender.key });
        Ok(())
    }
}
