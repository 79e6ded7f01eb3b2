//! A channel's state that both sides signed, posted by anybody (C12; P21 IV-C).

use serde::{Deserialize, Serialize};

use super::channel::{ChannelReason, check_range, live_channel, post, refuse_if_not_newer};
use crate::codec::{Decode, Encode};
use crate::execute::{ExecuteError, Ledger, Sender};
use crate::state::channel::{CoSignedState, NotSignedBy, PostedState};

/// Starts a channel's end, or answers a forced close, for somebody who is not there to do it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct PostState {
    /// The state, which names the channel.
    pub state: CoSignedState,
}

impl PostState {
    pub(super) fn apply(&self, sender: Sender, ledger: &mut Ledger<'_>) -> Result<(), ExecuteError> {
        let state = self.state.state;
        let name = state.channel;
        let channel = live_channel(name, ledger)?;
        check_range(state, &channel)?;
        // Before signatures, which take far longer: anybody can send what others have outdone.
        let until = match channel.posted {
            Some(posted) => {
                refuse_if_not_newer(state.released, posted)?;
                posted.until
            }
            None => ledger.block.time.saturating_after(channel.challenge),
        };
        self.state
            .verify(&channel, ledger.block.chain)
            .map_err(|NotSignedBy(signer)| ChannelReason::NotCoSigned { signer })?;
        post(name, channel, PostedState { released: state.released, until, by: sender.key }, ledger);
        Ok(())
    }
}
