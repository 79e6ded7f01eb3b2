//! What a watchtower needs to answer for this side.

use crate::state::channel::CoSignedState;

use super::machine::ProducerSession;

impl ProducerSession {
    /// The channel's newest state that the consumer signed, with the own signature too (W1). None
    /// while there is none, and when the channel has paid out.
    pub fn to_guard(&self) -> Option<CoSignedState> {
        let newest = self.newest_state?;
        let producer = newest.state.sign(&self.key, self.terms.chain).signature;
        Some(CoSignedState { state: newest.state, consumer: newest.signature, producer })
    }
}
