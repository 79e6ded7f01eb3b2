//! Propose: an authority asks the others for a change (D1 to D3).

use serde::{Deserialize, Serialize};

use crate::authority::MAX_AUTHORITIES;
use crate::codec::{Decode, Encode, List};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::governance::{Change, MAX_OPEN_PROPOSALS};
use crate::params::BadParam;
use crate::primitives::{Epoch, TxRef};
use crate::state::governance::Proposal;

/// Proposes a change, and approves it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Propose {
    /// What is to change.
    pub change: Change,
}

/// Why a proposal breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum ProposeReason {
    /// D1
    #[error("{key} is not a usable Ed25519 key: it could never vote")]
    UnusableKey { key: PublicKey },
    /// D2
    #[error("{key} is an authority already")]
    AlreadyAuthority { key: PublicKey },
    /// D2
    #[error("there are {MAX_AUTHORITIES} authorities, which is the most that there can be")]
    TooManyAuthorities,
    /// D2
    #[error("{key} is not an authority, so it cannot be removed")]
    NotAuthority { key: PublicKey },
    /// D2
    #[error("{key} is the only authority, and a chain needs one")]
    LastAuthority { key: PublicKey },
    /// D2
    #[error("parameter {name} has this value already")]
    SameValue { name: &'static str },
    /// D2
    #[error(transparent)]
    BadParam(#[from] BadParam),
    /// D3
    #[error("proposal {open} is open and asks for the same: approve it")]
    AlreadyOpen { open: TxRef },
    /// D3
    #[error("{MAX_OPEN_PROPOSALS} proposals of {sender} are open, which is the most that can be")]
    TooManyOpen { sender: PublicKey },
}

impl Propose {
    pub(super) fn check(&self) -> Result<(), ProposeReason> {
        // D1
        match self.change {
            Change::AddAuthority(key) if !key.is_valid() => Err(ProposeReason::UnusableKey { key }),
            _ => Ok(()),
        }
    }

    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let Self { change } = *self;
        let Sender { key: proposer, name } = sender;
        // D2
        check_fits(change, ledger)?;
        // D3
        let mut own = 0_usize;
        for (open, proposal) in ledger.open_proposals()? {
            if proposal.change == change {
                return Err(ProposeReason::AlreadyOpen { open }.into());
            }
            own = own.saturating_add(usize::from(proposal.proposer == proposer));
        }
        if own >= MAX_OPEN_PROPOSALS {
            return Err(ProposeReason::TooManyOpen { sender: proposer }.into());
        }
        let open_for = Epoch::new(ledger.block.params.proposal_epochs);
        let last_epoch = ledger.block.authorities.epoch.saturating_add(open_for);
        let approvals = List::new(vec![proposer]).unwrap_or_default();
        let proposal = Proposal { proposer, change, last_epoch, approvals };
        ledger.emit(Event::Proposed { proposal: name, authority: proposer, change });
        // D6: a single authority is more than two thirds.
        Ok(ledger.put_approved(name, proposal)?)
    }
}

/// D2: the change makes sense for the current authorities, parameters and participants.
fn check_fits(change: Change, ledger: &Ledger<'_>) -> Result<(), ExecuteError> {
    let authorities = &ledger.block.authorities.set;
    match change {
        Change::AddAuthority(key) => {
            if authorities.index_of(&key).is_some() {
                return Err(ProposeReason::AlreadyAuthority { key }.into());
            }
            if authorities.len() >= MAX_AUTHORITIES {
                return Err(ProposeReason::TooManyAuthorities.into());
            }
        }
        Change::RemoveAuthority(key) => {
            if authorities.index_of(&key).is_none() {
                return Err(ProposeReason::NotAuthority { key }.into());
            }
            if authorities.len() <= 1 {
                return Err(ProposeReason::LastAuthority { key }.into());
            }
        }
        Change::SetParam(change) => {
            let mut params = ledger.block.params.clone();
            change.apply_to(&mut params);
            if params == ledger.block.params {
                return Err(ProposeReason::SameValue { name: change.name() }.into());
            }
            params.validate().map_err(ProposeReason::from)?;
        }
        Change::Standing(change) => {
            ledger.with_standing(change)?;
        }
    }
    Ok(())
}
