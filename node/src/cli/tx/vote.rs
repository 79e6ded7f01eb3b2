//! How a proposal stands after an authority's proposal or approval.

use std::fmt;

use evchain_protocol::crypto::PublicKey;
use evchain_protocol::event::Event;
use evchain_protocol::governance::{Change, StandingChange};
use evchain_protocol::primitives::TxRef;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::propose::Propose;
use serde::Serialize;

use crate::rpc::{NodeApiClient, ProposalInfo, RpcClient, RpcError};

/// A proposal, and what has come of it so far.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Vote {
    /// What others approve.
    proposal: TxRef,
    #[serde(flatten)]
    outcome: Outcome,
}

/// What has come of a proposal.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    /// It is in effect.
    Passed,
    /// Enough have approved, but it does not fit any more.
    Failed,
    /// Others have to approve, or the epoch has to end.
    Open { approvals: usize, needed: usize, passes: bool },
    /// Others were faster than the question: it was decided, or is over.
    Closed,
}

impl Vote {
    /// How the proposal stands that a transaction with these events was about, if it was about one.
    pub(super) async fn after(events: &[Event], rpc: &RpcClient) -> Result<Option<Self>, RpcError> {
        let Some(proposal) = events.iter().find_map(|event| match event {
            Event::Proposed { proposal, .. } | Event::Approved { proposal, .. } => Some(*proposal),
            _ => None,
        }) else {
            return Ok(None);
        };
        let open = rpc.proposals().await?;
        Ok(Some(Self::of(proposal, events, open.iter().find(|open| open.name == proposal))))
    }

    fn of(proposal: TxRef, events: &[Event], open: Option<&ProposalInfo>) -> Self {
        let decided = events.iter().find_map(|event| match event {
            Event::ProposalPassed { .. } => Some(Outcome::Passed),
            Event::ProposalFailed { .. } => Some(Outcome::Failed),
            _ => None,
        });
        let outcome = decided.unwrap_or_else(|| match open {
            Some(ProposalInfo { proposal, needed, passes, .. }) => {
                Outcome::Open { approvals: proposal.approvals.len(), needed: *needed, passes: *passes }
            }
            None => Outcome::Closed,
        });
        Self { proposal, outcome }
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposal = self.proposal;
        match self.outcome {
            Outcome::Passed => write!(f, "proposal {proposal} has passed and is in effect"),
            Outcome::Failed => {
                write!(
                    f,
                    "proposal {proposal} has enough approvals, but does not fit any more: nothing changed"
                )
            }
            Outcome::Open { approvals, needed, passes: true } => write!(
                f,
                "proposal {proposal} has {approvals} of the {needed} approvals that it needs, and takes effect at \
                 the epoch's end"
            ),
            Outcome::Open { approvals, needed, passes: false } => write!(
                f,
                "proposal {proposal} has {approvals} of the {needed} approvals that it needs: others send \
                 `evchain tx approve {proposal}`"
            ),
            Outcome::Closed => write!(f, "proposal {proposal} is not open any more"),
        }
    }
}

/// Revokes an account, or approves what is open and would do just that. An account's own withdrawal account
/// stays and is not named (D2).
pub(super) async fn revoke(
    rpc: &RpcClient,
    account: PublicKey,
    withdraw_to: Option<PublicKey>,
) -> Result<Action, RpcError> {
    let own = rpc.account(account).await?.account.withdraw_to;
    let withdraw_to = withdraw_to.filter(|named| own != Some(*named));
    propose_or_approve(rpc, StandingChange::Revoke { account, withdraw_to }).await
}

/// An open proposal is approved only if it is the very same: one that sends the money elsewhere is another.
pub(super) async fn propose_or_approve(rpc: &RpcClient, change: StandingChange) -> Result<Action, RpcError> {
    let change = Change::Standing(change);
    let open = rpc.proposals().await?;
    Ok(match open.iter().find(|open| open.proposal.change == change) {
        Some(same) => Action::Approve(Approve { proposal: same.name }),
        None => Action::Propose(Propose { change }),
    })
}

#[cfg(test)]
mod tests {
    //! Goal: an operator is told which proposal to approve and how far it is. Method: each outcome's words.

    use evchain_protocol::codec::List;
    use evchain_protocol::crypto::KeyPair;
    use evchain_protocol::primitives::{Epoch, Height};
    use evchain_protocol::state::account::Roles;
    use evchain_protocol::state::governance::Proposal;

    use super::*;

    #[test]
    fn it_says_who_has_to_do_what() {
        let key = KeyPair::from_secret(&[7; 32]).public_key();
        let name = TxRef::new(Height::new(12), 0).unwrap();
        let change = Change::Standing(StandingChange::SetRoles { account: key, roles: Roles::ALL });
        let open = |needed, passes| {
            let approvals = List::new(vec![key]).unwrap();
            let proposal = Proposal { proposer: key, change, last_epoch: Epoch::ZERO, approvals };
            ProposalInfo { name, proposal, needed, passes }
        };
        let approved = Event::Approved { proposal: name, authority: key };
        let passed = Event::ProposalPassed { proposal: name, change };
        let failed = Event::ProposalFailed { proposal: name, change };
        let mut said = String::new();
        for (events, open) in [
            (vec![approved.clone()], Some(open(3, false))),
            (vec![approved.clone()], Some(open(1, true))),
            (vec![approved.clone(), passed], None),
            (vec![approved.clone(), failed], None),
            (vec![approved], None),
        ] {
            said.extend([Vote::of(name, &events, open.as_ref()).to_string(), "\n".to_owned()]);
        }
        assert_eq!(
            said,
            "proposal 12-0 has 1 of the 3 approvals that it needs: others send `evchain tx approve 12-0`\n\
             proposal 12-0 has 1 of the 1 approvals that it needs, and takes effect at the epoch's end\n\
             proposal 12-0 has passed and is in effect\n\
             proposal 12-0 has enough approvals, but does not fit any more: nothing changed\n\
             proposal 12-0 is not open any more\n"
        );
        let vote = Vote::of(name, &[], Some(&open(3, false)));
        assert_eq!(
            serde_json::to_value(vote).unwrap(),
            serde_json::json!({ "proposal": "12-0", "outcome": "open", "approvals": 1, "needed": 3, "passes": false })
        );
    }
}
