//! What happened in a run, in words: the last lines of it, for whoever has to understand a failure.

use std::collections::VecDeque;

use crate::message::Message;

/// Older lines are forgotten.
const MAX_LINES: usize = 60;

/// The last lines of a run. Silent unless it is asked to listen, since words cost more than the run.
#[derive(Debug, Default)]
pub struct Story {
    listens: bool,
    lines: VecDeque<String>,
}

impl Story {
    /// From now on, remember.
    pub const fn listen(&mut self) {
        self.listens = true;
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Takes a line, or the same line again: a message to everybody is one line.
    pub(super) fn note(&mut self, now_ms: u64, node: usize, what: impl FnOnce() -> Option<String>) {
        if !self.listens {
            return;
        }
        let Some(what) = what() else { return };
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{now_ms:>7} ms  node {node}: {what}"));
    }
}

/// A message in words; nothing for those that only ask or answer.
pub(super) fn words(message: &Message) -> Option<String> {
    match message {
        Message::Proposal(proposal) => {
            let header = proposal.block.header();
            let (hash, height) = (proposal.block.hash(), header.height);
            Some(format!(
                "proposes {hash} in view {} at height {height} on view {}",
                header.view, header.parent_view
            ))
        }
        Message::Vote(vote) => Some(format!("votes {:?}", vote.subject)),
        Message::Certificate(certificate) => Some(format!("relays {:?}", certificate.subject)),
        Message::GetFinalized(request) => Some(format!("asks for what is final above {}", request.above)),
        Message::Finalized(answer) => Some(format!(
            "answers with {} blocks up to {:?}",
            answer.blocks.len(),
            answer.finalization.subject
        )),
        _ => None,
    }
}
