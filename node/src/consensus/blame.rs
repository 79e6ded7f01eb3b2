use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evchain_consensus::output::Rejection;
use evchain_protocol::crypto::PublicKey;
use tracing::warn;

use crate::network::NetworkHandle;

/// How long nothing more is taken of a peer that was found out: until what it sent before its connections
/// ended has passed through the queues. Shorter than any refusal, so that it is over before the peer is back.
const SETTLING: Duration = Duration::from_secs(10);

/// What no honest node sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Bytes that are no message.
    #[error("what is no message")]
    NotAMessage,
    /// A request that is no question.
    #[error("a request that asks nothing")]
    NotAQuestion,
    /// A question on a consensus stream.
    #[error("a question that is no request")]
    QuestionInFrame,
    /// An answer on a consensus stream.
    #[error("an answer to no question")]
    UnaskedAnswer,
    /// An answer to another question.
    #[error("an answer to another question")]
    WrongAnswer,
    /// What the engine rejects.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Fault {
    /// The label in the metrics.
    const fn label(&self) -> &'static str {
        match self {
            Self::NotAMessage => "not_a_message",
            Self::NotAQuestion => "not_a_question",
            Self::QuestionInFrame => "question_in_frame",
            Self::UnaskedAnswer => "unasked_answer",
            Self::WrongAnswer => "wrong_answer",
            Self::Rejected(Rejection::BadVote(_)) => "bad_vote",
            Self::Rejected(Rejection::BadCertificate { .. }) => "bad_certificate",
            Self::Rejected(Rejection::UnsignedProposal(_)) => "unsigned_proposal",
            Self::Rejected(Rejection::UnsoundProposal(_)) => "unsound_proposal",
            Self::Rejected(Rejection::BadBlocks) => "bad_blocks",
        }
    }
}

/// Acts on what peers were found to have sent: each is counted, and its sender is disconnected and refused for
/// a while. No honest node is, since it sends on only what it has verified.
pub(super) struct Blame {
    network: NetworkHandle,
    settling_until: BTreeMap<PublicKey, Instant>,
}

impl Blame {
    pub(super) const fn new(network: NetworkHandle) -> Self {
        Self { network, settling_until: BTreeMap::new() }
    }

    pub(super) fn found(&mut self, from: PublicKey, fault: &Fault) {
        // One frame may hold many faults.
        if self.is_refused(&from) {
            return;
        }
        let next = "this node ends its connections and refuses it for a while";
        warn!(%from, %fault, next, "consensus: a peer sent what no honest node sends");
        let now = Instant::now();
        self.settling_until.retain(|_, until| *until > now);
        self.settling_until.insert(from, now + SETTLING);
        // Where the network's queue is full the peer stays, and is found out again.
        let _ = self.network.ban(from, fault.label());
    }

    /// Whether a peer's message is to be dropped, which is counted.
    pub(super) fn is_refused(&self, from: &PublicKey) -> bool {
        let is_refused = self.settling_until.get(from).is_some_and(|until| Instant::now() < *until);
        if is_refused {
            self.network.count_drop("of_blamed");
        }
        is_refused
    }
}
