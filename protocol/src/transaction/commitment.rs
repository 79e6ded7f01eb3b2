//! Commitment: a consumer decides for a bid without saying for which (B9; P18 3.3).

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::crypto::Hash;
use crate::crypto::PublicKey;
use crate::event::Event;
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::primitives::Timestamp;
use crate::primitives::TxRef;
use crate::state::key::StateKey;
use crate::state::value::StateValue;

/// Ends the bidding for the sender's newest request with a hidden decision. No other can be decided any more
/// (B1), so that the request needs no name here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Commit {
    /// c, see [`Opening`](crate::commitment::Opening).
    pub commitment: Hash,
}

/// Why a commitment breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages name the fields
pub enum CommitmentReason {
    /// B9
    #[error("no request of {sender} is open")]
    NoRequest { sender: PublicKey },
    /// B9
    #[error("request {request} has no bid to decide for")]
    NoBids { request: TxRef },
    /// B9
    #[error("request {request} has a commitment already")]
    AlreadyCommitted { request: TxRef },
    /// B9
    #[error("the window started at {start}, and the block's time is {now}")]
    TooLate { start: Timestamp, now: Timestamp },
}

impl Commit {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let now = ledger.block.time;
        // B9
        let Some((name, mut request)) = ledger.newest_request(&sender.key)? else {
            return Err(CommitmentReason::NoRequest { sender: sender.key }.into());
        };
        if request.bids == 0 {
            return Err(CommitmentReason::NoBids { request: name }.into());
        }
        if request.commitment.is_some() {
            return Err(CommitmentReason::AlreadyCommitted { request: name }.into());
        }
        let start = request.window.start;
        if now >= start {
            return Err(CommitmentReason::TooLate { start, now }.into());
        }
        request.commitment = Some(self.commitment);
        ledger.state.put(StateKey::Request(name), StateValue::Request(request));
        ledger.emit(Event::Committed { request: name, commitment: self.commitment });
        Ok(())
    }
}
