//! Admit: an authority lets somebody take part (A4 to A6).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Amount;
use crate::state::account::{Account, Roles, Standing};
use crate::state::governance::Admissions;
use crate::state::key::StateKey;
use crate::state::read::StateRead;
use crate::state::value::StateValue;

/// Gives a participant roles besides those that it has.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Admit {
    /// Whom.
    pub participant: PublicKey,
    /// All its roles from now on.
    pub roles: Roles,
    /// Where its balance can go if a vote ever revokes it. Only the admission that makes its account says so.
    pub withdraw_to: Option<PublicKey>,
}

/// Why an admission breaks a rule.
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
    #[error("{participant} was revoked by a vote, and only a vote gives it roles again")]
    Revoked { participant: PublicKey },
    /// A4
    #[error("{participant} is admitted with these roles already: {roles}")]
    SameRoles { participant: PublicKey, roles: Roles },
    /// A4
    #[error("{participant} would lose a role: it has {has}, and only a vote takes one away")]
    TakesRoles { participant: PublicKey, has: Roles },
    /// A5
    #[error(
        "{participant} has an account already, and only the admission that makes one names a withdrawal account"
    )]
    NotFirst { participant: PublicKey },
    /// A6
    #[error("{authority} has admitted {made} in this epoch, which is the most that one authority can")]
    TooMany { authority: PublicKey, made: u32 },
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
        let Self { participant, roles, withdraw_to } = *self;
        let standing = Standing::Admitted(roles);
        let before = ledger.state.account(&participant)?;
        // A4
        let has = match before.map(|account| account.standing) {
            None => Roles::NONE,
            Some(Standing::Sponsored(_)) => Roles::CONSUMER,
            Some(Standing::Admitted(has)) if has == roles => {
                return Err(ParticipantReason::SameRoles { participant, roles }.into());
            }
            Some(Standing::Admitted(has)) => has,
            Some(Standing::Revoked) => return Err(ParticipantReason::Revoked { participant }.into()),
        };
        if !roles.contains(has) {
            return Err(ParticipantReason::TakesRoles { participant, has }.into());
        }
        let account = match (before, withdraw_to) {
            // A5
            (Some(_), Some(_)) => return Err(ParticipantReason::NotFirst { participant }.into()),
            (Some(account), None) => Account { standing, ..account },
            (None, Some(named)) => {
                ledger.check_withdrawal_account(participant, named)?;
                Account { withdraw_to, ..Account::new(Amount::ZERO, standing) }
            }
            (None, None) => Account::new(Amount::ZERO, standing),
        };
        // A6
        count_admission(sender.key, ledger)?;
        ledger.put_account(participant, account);
        ledger.emit(Event::Admitted { account: participant, roles, withdraw_to, authority: sender.key });
        Ok(())
    }
}

/// A6: one more of this authority in this epoch.
fn count_admission(authority: PublicKey, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
    let Admissions(made) = ledger.state.admissions(&authority)?.unwrap_or_default();
    if made >= ledger.block.params.max_admissions {
        return Err(ParticipantReason::TooMany { authority, made }.into());
    }
    let made = Admissions(made.saturating_add(1));
    ledger.state.put(StateKey::Admissions(authority), StateValue::Admissions(made));
    Ok(())
}
