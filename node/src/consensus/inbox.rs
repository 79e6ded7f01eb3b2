//! What waits for the engine: a queue for each kind, so that a flood of one delays no other.

use evchain_consensus::input::Input;
use evchain_consensus::message::Message;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Epoch, Height, View};
use tokio::sync::{mpsc, watch};

use super::asking::Answered;
use super::question::Question;
use crate::network::{FrameShare, GossipId, SyncResponder};

/// Inputs of the node's own tasks, which answer the engine.
const OWN: usize = 1_024;
/// Messages of authorities. Few, since their frames wait in the network, which counts their bytes.
const HEARD: usize = 64;
/// Finalizations from gossip; above, they are not looked at.
const FINALIZATIONS: usize = 256;
/// Questions that only the engine can answer; above, the asker is told that this node is busy.
const QUESTIONS: usize = 32;

/// Something for the engine.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // taken from one queue at a time, and kept in none
pub(super) enum Inbound {
    Own(Input),
    Heard(Heard),
    Finalization(GossipedFinalization),
    Asked(Asked),
    /// What became of an own question.
    Answered(Answered),
    /// The chain has written everything up to a finalized block.
    Written(Written),
}

/// A message from an authority's stream.
#[derive(Debug)]
pub(super) struct Heard {
    /// The authority.
    pub(super) from: PublicKey,
    pub(super) message: Message,
    /// Kept as long as the message.
    pub(super) _share: FrameShare,
}

/// A finalization from gossip.
#[derive(Debug)]
pub struct GossipedFinalization {
    /// Who passed it on.
    pub from: PublicKey,
    /// The encoded certificate.
    pub bytes: Vec<u8>,
    /// For the verdict.
    pub id: GossipId,
}

/// A peer's question to the engine.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) from: PublicKey,
    pub(super) question: Question,
    pub(super) responder: SyncResponder,
}

/// A block that was finalized here is in the store, with all before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// The finalization's epoch and view.
    pub(super) place: (Epoch, View),
    /// The block is the last of that epoch.
    pub(super) ends_epoch: bool,
}

/// Where the engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// The current epoch.
    pub epoch: Epoch,
    /// The number of its authorities.
    pub authorities: usize,
    /// The current view.
    pub view: View,
    /// The last committed height, as the engine knows it.
    pub height: Height,
    /// The leader of the current view.
    pub leader: Option<PublicKey>,
    /// Whether this node signs votes in this epoch.
    pub votes: bool,
}

/// Hands inputs to the event loop.
#[derive(Debug, Clone)]
pub struct ConsensusHandle {
    own: mpsc::Sender<Input>,
    heard: mpsc::Sender<Heard>,
    finalizations: mpsc::Sender<GossipedFinalization>,
    asked: mpsc::Sender<Asked>,
    status: watch::Receiver<ConsensusStatus>,
}

impl ConsensusHandle {
    /// Where the engine stands.
    pub fn status(&self) -> ConsensusStatus {
        *self.status.borrow()
    }

    /// Hands over a finalization from gossip, unless too many wait: then it is dropped without a verdict, so
    /// not forwarded from here. The next one says more.
    pub fn offer(&self, finalization: GossipedFinalization) -> bool {
        self.finalizations.try_send(finalization).is_ok()
    }

    /// Hands over the engine's answer from one of the node's tasks; waits while the queue is full. Lost once the
    /// loop has ended, which ends the node.
    pub async fn deliver(&self, input: Input) {
        let _ = self.own.send(input).await;
    }

    /// Hands over an authority's message; waits while the queue is full, which holds the authorities back.
    pub(super) async fn hear(&self, heard: Heard) {
        let _ = self.heard.send(heard).await;
    }

    /// Hands over a peer's question, unless too many wait.
    pub(super) fn ask(&self, asked: Asked) -> bool {
        self.asked.try_send(asked).is_ok()
    }
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox {
    own: mpsc::Receiver<Input>,
    heard: mpsc::Receiver<Heard>,
    finalizations: mpsc::Receiver<GossipedFinalization>,
    asked: mpsc::Receiver<Asked>,
}

impl Inbox {
    pub(super) fn new(status: watch::Receiver<ConsensusStatus>) -> (ConsensusHandle, Self) {
        let (own, own_inbox) = mpsc::channel(OWN);
        let (heard, heard_inbox) = mpsc::channel(HEARD);
        let (finalizations, finalizations_inbox) = mpsc::channel(FINALIZATIONS);
        let (asked, asked_inbox) = mpsc::channel(QUESTIONS);
        let inbox = Self {
            own: own_inbox,
            heard: heard_inbox,
            finalizations: finalizations_inbox,
            asked: asked_inbox,
        };
        (ConsensusHandle { own, heard, finalizations, asked, status }, inbox)
    }

    /// The next input: the node's own first, then the authorities', then anybody's. Cancel safe.
    pub(super) async fn recv(&mut self) -> Option<Inbound> {
        tokio::select! {
            biased;
            Some(input) = self.own.recv() => Some(Inbound::Own(input)),
            Some(heard) = self.heard.recv() => Some(Inbound::Heard(heard)),
            Some(finalization) = self.finalizations.recv() => Some(Inbound::Finalization(finalization)),
            Some(asked) = self.asked.recv() => Some(Inbound::Asked(asked)),
            else => None,
        }
    }

    /// The same, if something waits.
    pub(super) fn try_recv(&mut self) -> Option<Inbound> {
        let own = self.own.try_recv().map(Inbound::Own);
        let heard = own.or_else(|_| self.heard.try_recv().map(Inbound::Heard));
        let finalization = heard.or_else(|_| self.finalizations.try_recv().map(Inbound::Finalization));
        finalization.or_else(|_| self.asked.try_recv().map(Inbound::Asked)).ok()
    }
}
