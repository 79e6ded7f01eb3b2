//! Messages of the next epoch that came before this node got there (`docs/protocol.md`, E7). Without them it
//! would miss the first view of each epoch that others enter a moment earlier.

use std::collections::BTreeMap;

use evchain_protocol::crypto::PublicKey;

use crate::message::Message;
use crate::mutations::{Breakage, broken};

/// The most peers of whom messages are kept.
const MAX_PEERS: usize = 128;

/// The most messages kept of one peer: a proposal, some votes and some certificates.
const MAX_PER_PEER: usize = 8;

/// The most bytes kept, about.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The first messages of each peer.
#[derive(Debug, Default)]
pub(crate) struct EarlyMessages {
    by_peer: BTreeMap<PublicKey, Vec<Message>>,
    bytes: usize,
}

impl EarlyMessages {
    pub(crate) fn len(&self) -> usize {
        self.by_peer.values().map(Vec::len).fold(0, usize::saturating_add)
    }

    /// Keeps a message, if there is room and it can be of use.
    pub(crate) fn keep(&mut self, from: PublicKey, message: Message) {
        let size = match &message {
            Message::Proposal(proposal) => proposal.block.size_hint(),
            Message::Vote(_) | Message::Certificate(_) => 0,
            _ => return,
        };
        if broken(Breakage::DropEarly) {
            return;
        }
        let keeps_all = broken(Breakage::KeepAllEarly);
        let bytes = self.bytes.saturating_add(size);
        if bytes > MAX_BYTES || (self.by_peer.len() >= MAX_PEERS && !self.by_peer.contains_key(&from)) {
            return;
        }
        let kept = self.by_peer.entry(from).or_default();
        if kept.len() < MAX_PER_PEER || keeps_all {
            self.bytes = bytes;
            kept.push(message);
        }
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (PublicKey, Message)> + use<> {
        let by_peer = std::mem::take(self).by_peer;
        by_peer.into_iter().flat_map(|(from, messages)| messages.into_iter().map(move |m| (from, m)))
    }
}
