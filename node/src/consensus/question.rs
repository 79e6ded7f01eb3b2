use evchain_consensus::message::{GetBlocks, GetCertificates, GetFinalized, MAX_MESSAGE_BYTES, Message};
use evchain_protocol::codec;

use super::blame::Fault;

/// What one node asks another. Questions and their answers go by request and response only: that has limits on
/// what is asked and on what is answered, works for observers, and shows who was asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// For the final chain.
    Finalized(GetFinalized),
    /// For a block and its ancestors.
    Blocks(GetBlocks),
    /// For certificates, or for the end of an epoch.
    Certificates(GetCertificates),
}

impl Question {
    /// The question in a message, if it is one.
    pub(super) const fn of(message: &Message) -> Option<Self> {
        match message {
            Message::GetFinalized(request) => Some(Self::Finalized(*request)),
            Message::GetBlocks(request) => Some(Self::Blocks(*request)),
            Message::GetCertificates(request) => Some(Self::Certificates(*request)),
            _ => None,
        }
    }

    /// The question in a peer's request.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let message = codec::decode(bytes, bytes.len()).map_err(|_| Fault::NotAMessage)?;
        Self::of(&message).ok_or(Fault::NotAQuestion)
    }

    pub(super) const fn into_message(self) -> Message {
        match self {
            Self::Finalized(request) => Message::GetFinalized(request),
            Self::Blocks(request) => Message::GetBlocks(request),
            Self::Certificates(request) => Message::GetCertificates(request),
        }
    }

    /// Whether an honest node may answer with this. The end of an epoch is one certificate (E4).
    pub(super) const fn is_answered_by(&self, message: &Message) -> bool {
        match self {
            Self::Finalized(_) => matches!(message, Message::Finalized(_)),
            Self::Blocks(_) => matches!(message, Message::Blocks(_)),
            Self::Certificates(_) => matches!(message, Message::Certificates(_) | Message::Certificate(_)),
        }
    }

    /// The message in a peer's response.
    pub(super) fn decode_answer(&self, bytes: &[u8]) -> Result<Message, Fault> {
        let message = codec::decode(bytes, MAX_MESSAGE_BYTES).map_err(|_| Fault::NotAMessage)?;
        if self.is_answered_by(&message) { Ok(message) } else { Err(Fault::WrongAnswer) }
    }
}

/// The message in a frame of an authority's stream, if honest nodes send such messages there: questions go by
/// request, and answers to them only to whom asked.
pub(super) fn decode_frame(bytes: &[u8]) -> Result<Message, Fault> {
    let message = codec::decode(bytes, MAX_MESSAGE_BYTES).map_err(|_| Fault::NotAMessage)?;
    match message {
        Message::Proposal(_)
        | Message::Vote(_)
        | Message::Certificate(_)
        | Message::Certificates(_)
        | Message::Status(_) => Ok(message),
        Message::GetFinalized(_) | Message::GetBlocks(_) | Message::GetCertificates(_) => {
            Err(Fault::QuestionInFrame)
        }
        Message::Finalized(_) | Message::Blocks(_) => Err(Fault::UnaskedAnswer),
    }
}
