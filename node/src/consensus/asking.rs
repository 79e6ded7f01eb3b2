use evchain_consensus::message::Message;
use evchain_protocol::codec;
use evchain_protocol::crypto::PublicKey;
use tokio::task::JoinSet;
use tracing::debug;

use super::blame::Fault;
use super::question::Question;
use crate::network::NetworkHandle;

/// Own questions under way. More than the network lets wait, so that it alone decides who is asked.
const MAX_QUESTIONS: usize = 64;

/// The engine's questions to peers. They end with the loop.
pub(super) struct Asking {
    network: NetworkHandle,
    questions: JoinSet<Answered>,
}

/// What became of a question.
#[derive(Debug)]
pub(super) struct Answered {
    /// The peer that was asked.
    pub(super) peer: PublicKey,
    pub(super) question: Question,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// An answer to this very question.
    Answer(Message),
    /// What no honest node answers.
    Fault(Fault),
    /// None came: the peer has none, is busy, or cannot be reached; or this node asks too much already.
    Nothing,
}

impl Asking {
    pub(super) fn new(network: NetworkHandle) -> Self {
        Self { network, questions: JoinSet::new() }
    }

    /// Asks a peer. Where too many questions are under way it is not asked; the engine asks again.
    pub(super) fn ask(&mut self, peer: PublicKey, question: Question) {
        if self.questions.len() >= MAX_QUESTIONS {
            self.network.count_drop("own_question");
            return;
        }
        let network = self.network.clone();
        self.questions.spawn(async move {
            let outcome = match network.request(peer, codec::encode(&question.into_message())).await {
                Ok(bytes) => question.decode_answer(&bytes).map_or_else(Outcome::Fault, Outcome::Answer),
                Err(error) => {
                    debug!(%peer, %error, "consensus: no answer");
                    Outcome::Nothing
                }
            };
            Answered { peer, question, outcome }
        });
    }

    /// The next question that has come to an end; waits for ever where none is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Answered {
        loop {
            match self.questions.join_next().await {
                Some(Ok(answered)) => return answered,
                // A task that failed: the engine asks again.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
