//! Approve: an authority agrees to another's proposal (D4).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode, List};
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::TxRef;
use crate::state::key::StateKey;
use crate::state::read::{ReadError, StateRead};

/// Approves a proposal. There is no way back: a proposal that should not pass needs others not to
/// approve it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Approve {
    /// Which.
    pub proposal: TxRef,
}

/// Why an approval breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum ApproveReason {
    /// D4
    #[error("there is no open proposal {proposal}")]
    NoProposal { proposal: TxRef },
    /// D4
    #[error("{sender} has approved proposal {proposal} already")]
    AlreadyApproved { proposal: TxRef, sender: PublicKey },
}

impl Approve {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let (name, authority) = (self.proposal, sender.key);
        // D4
        let Some(mut proposal) = ledger.state.proposal(name)? else {
            return Err(ApproveReason::NoProposal { proposal: name }.into());
        };
        if proposal.approvals.contains(&authority) {
            return Err(ApproveReason::AlreadyApproved { proposal: name, sender: authority }.into());
        }
        let mut approvals = proposal.approvals.into_vec();
        approvals.push(authority);
        // E6 keeps the list free of others than the epoch's authorities.
        proposal.approvals = List::new(approvals).map_err(|_| ReadError::Inconsistent {
            key: StateKey::Proposal(name),
            reason: "approvals of the epoch's authorities only",
        })?;
        ledger.emit(Event::Approved { proposal: name, authority });
        Ok(ledger.put_approved(name, proposal)?)
    }
}
