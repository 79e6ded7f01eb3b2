//! What authorities decide together about one participant (D2, D6).

use super::ledger::{ExecuteError, Ledger};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::governance::{Change, StandingChange};
use crate::primitives::TxRef;
use crate::state::account::{Account, Roles, Standing};
use crate::state::governance::Proposal;
use crate::state::key::StateKey;
use crate::state::read::{ReadError, StateRead};
use crate::state::value::StateValue;

/// Why an account cannot get this standing or this withdrawal account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum StandingReason {
    /// D2
    #[error("{account} has no account that a vote could be about")]
    NoAccount { account: PublicKey },
    /// D2
    #[error("{account} is revoked already")]
    AlreadyRevoked { account: PublicKey },
    /// D2
    #[error("{account} is the treasury, which fees go to: it cannot be revoked")]
    Treasury { account: PublicKey },
    /// D2
    #[error("{account} has exactly these roles already: {roles}")]
    SameRoles { account: PublicKey, roles: Roles },
    /// D2
    #[error("{account} has no withdrawal account: the proposal has to name one, or its money would be stuck")]
    NoWithdrawalAccount { account: PublicKey },
    /// A5, D2
    #[error("{account} can withdraw to {withdraw_to}, and that stays: leave it out")]
    WithdrawalAccountStays { account: PublicKey, withdraw_to: PublicKey },
    /// A5, D2
    #[error("{account} cannot be its own withdrawal account")]
    OwnWithdrawalAccount { account: PublicKey },
    /// A5, D2
    #[error("{withdraw_to} has no account, so nothing could be withdrawn to it")]
    NothingToWithdrawTo { withdraw_to: PublicKey },
    /// A5, D2
    #[error("{withdraw_to} has a withdrawal account itself, {next}: name one that has none")]
    WithdrawalAccountHasOne { withdraw_to: PublicKey, next: PublicKey },
}

impl Ledger<'_> {
    /// D2: the account as this change makes it, or why the change does not fit.
    pub(crate) fn with_standing(&self, change: StandingChange) -> Result<Account, ExecuteError> {
        let key = change.account();
        let Some(account) = self.state.account(&key)? else {
            return Err(StandingReason::NoAccount { account: key }.into());
        };
        match change {
            StandingChange::Revoke { withdraw_to, .. } => {
                if key == self.block.treasury {
                    return Err(StandingReason::Treasury { account: key }.into());
                }
                if account.standing.is_revoked() {
                    return Err(StandingReason::AlreadyRevoked { account: key }.into());
                }
                let withdraw_to = match (account.withdrawal_account(), withdraw_to) {
                    (Some(own), None) => own,
                    (None, Some(named)) => {
                        self.check_withdrawal_account(key, named)?;
                        named
                    }
                    (Some(withdraw_to), Some(_)) => {
                        return Err(
                            StandingReason::WithdrawalAccountStays { account: key, withdraw_to }.into()
                        );
                    }
                    (None, None) => return Err(StandingReason::NoWithdrawalAccount { account: key }.into()),
                };
                Ok(Account { standing: Standing::Revoked, withdraw_to: Some(withdraw_to), ..account })
            }
            StandingChange::SetRoles { roles, .. } => {
                let standing = Standing::Admitted(roles);
                if account.standing == standing {
                    return Err(StandingReason::SameRoles { account: key, roles }.into());
                }
                Ok(Account { standing, ..account })
            }
        }
    }

    /// A5, D2: whether `of` can be given this withdrawal account. It must not have one itself. So no
    /// sequence of namings makes a circle, and from every revoked account money gets on to one that is not
    /// revoked.
    pub(crate) fn check_withdrawal_account(
        &self,
        of: PublicKey,
        withdraw_to: PublicKey,
    ) -> Result<(), ExecuteError> {
        if of == withdraw_to {
            return Err(StandingReason::OwnWithdrawalAccount { account: of }.into());
        }
        let Some(account) = self.state.account(&withdraw_to)? else {
            return Err(StandingReason::NothingToWithdrawTo { withdraw_to }.into());
        };
        match account.withdrawal_account() {
            Some(next) => Err(StandingReason::WithdrawalAccountHasOne { withdraw_to, next }.into()),
            None => Ok(()),
        }
    }

    /// D6: writes a proposal with a new approval, or carries it out if it is about a participant and passes.
    pub(crate) fn put_approved(&mut self, name: TxRef, proposal: Proposal) -> Result<(), ReadError> {
        if let Change::Standing(change) = proposal.change
            && proposal.is_approved_by(&self.block.authorities.set)
        {
            self.state.remove(StateKey::Proposal(name));
            return self.change_standing(name, change);
        }
        self.state.put(StateKey::Proposal(name), StateValue::Proposal(proposal));
        Ok(())
    }

    /// D6: carries out a proposal that passed, or lets it fail if it no longer fits (D2).
    pub(crate) fn change_standing(
        &mut self,
        proposal: TxRef,
        standing: StandingChange,
    ) -> Result<(), ReadError> {
        let change = Change::Standing(standing);
        let after = match self.with_standing(standing) {
            Ok(after) => after,
            Err(ExecuteError::Rejected(_)) => {
                self.emit(Event::ProposalFailed { proposal, change });
                return Ok(());
            }
            Err(ExecuteError::Failed(error)) => return Err(error),
        };
        let account = standing.account();
        self.put_account(account, after);
        self.emit(Event::ProposalPassed { proposal, change });
        match (standing, after.withdraw_to) {
            (StandingChange::SetRoles { roles, .. }, _) => self.emit(Event::RolesSet { account, roles }),
            (StandingChange::Revoke { .. }, Some(withdraw_to)) => {
                self.emit(Event::Revoked { account, withdraw_to });
            }
            (StandingChange::Revoke { .. }, None) => {
                return Err(ReadError::Inconsistent {
                    key: StateKey::Account(account),
                    reason: "a withdrawal account of whom a vote revokes",
                });
            }
        }
        Ok(())
    }
}
