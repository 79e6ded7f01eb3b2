//! One honest node of the model: an engine, and a shell that answers it at once.

use std::collections::VecDeque;
use std::sync::Arc;

use evchain_protocol::codec::List;
use evchain_protocol::crypto::{Hash, KeyPair};
use evchain_protocol::primitives::{Span, Timestamp, View};

use super::world::{Blocks, LAST_VIEW};
use crate::authority_set::Committee;
use crate::block::BlockRef;
use crate::config::Config;
use crate::engine::{Engine, Fingerprint};
use crate::input::{Execution, Input, Moment, Now};
use crate::message::{self, Message};
use crate::output::{BuildRequest, Contents, Output};
use crate::wal::{LogRecord, Recovered};
use evchain_protocol::finality::{Certificate, Subject};

const CONFIG: Config =
    Config { hop_bound: Span::new(100), idle: Span::new(50), max_clock_drift: Span::new(500) };
/// When everything happens but a timeout, so that no timer runs out.
const EARLY: Now = Now { monotonic: Moment::new(1_000), wall: Timestamp::new(1_000_000) };
/// When timers run out.
const LATE: Now = Now { monotonic: Moment::new(1_000_000), wall: Timestamp::new(1_000_000) };

/// An honest node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    engine: Engine,
    log: Vec<LogRecord>,
    /// What it voted, in the order of voting.
    pub(super) votes: Vec<Subject>,
    /// The final blocks, oldest first.
    pub(super) committed: Vec<Hash>,
    tip: Option<(BlockRef, Arc<Certificate>)>,
}

/// What tells two nodes' states apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity {
    /// Everything that the engine holds, and what it voted and committed.
    Exact(Box<Fingerprint>, Vec<Subject>, Vec<Hash>),
    /// Its view, what it voted and committed, whether it stopped, and, while it may still lead a view,
    /// what it can build on.
    Reduced(View, Vec<Subject>, Vec<Hash>, bool, Vec<Subject>),
}

impl Node {
    /// A node that starts for the first time.
    pub(super) fn start(committee: &Committee, key: &KeyPair, blocks: &mut Blocks) -> Self {
        let engine =
            Engine::new(CONFIG, committee.clone(), Some(key.clone()), Recovered::fresh(committee.root()));
        let engine = engine.expect("an empty log starts an engine");
        let node = Self { engine, log: Vec::new(), votes: Vec::new(), committed: Vec::new(), tip: None };
        node.stepped(EARLY, Input::Start, blocks)
    }

    /// The node after a crash in which nothing that was sent is lost.
    pub(super) fn restart(mut self, committee: &Committee, key: &KeyPair, blocks: &mut Blocks) -> Self {
        let fresh = Recovered::fresh(committee.root());
        let recovered = match self.tip.clone() {
            None => Recovered { records: self.log.clone(), ..fresh },
            Some((tip, finalization)) => {
                Recovered { tip, finalization: Some(finalization), records: self.log.clone(), ..fresh }
            }
        };
        let engine = Engine::new(CONFIG, committee.clone(), Some(key.clone()), recovered);
        self.engine = engine.expect("the log starts an engine");
        self.stepped(EARLY, Input::Start, blocks)
    }

    /// The node after a message.
    pub(super) fn hear(self, message: Message, blocks: &mut Blocks) -> Self {
        let input = self.heard(message);
        self.stepped(EARLY, input, blocks)
    }

    /// The node after its timers have run out.
    pub(super) fn time_out(self, blocks: &mut Blocks) -> Self {
        self.stepped(LATE, Input::Tick, blocks)
    }

    /// What tells it apart. The order of votes does not.
    pub(super) fn exact_identity(&self) -> Identity {
        Identity::Exact(Box::new(self.engine.fingerprint()), self.sorted_votes(), self.committed.clone())
    }

    /// What tells it apart where only the future counts. A node in view v has left every view below by a
    /// certificate. Which of them it holds no longer matters, unless it leads later, or notarized another
    /// block than a quorum did: it has finalized what it may, and a proposal brings along the
    /// certificates that it needs.
    pub(super) fn reduced_identity(&self, leads_later: bool) -> Identity {
        let print = self.engine.fingerprint();
        let mut base = print.certificates;
        base.retain(|held| {
            leads_later || matches!(held, Subject::Notarize(_)) && !self.is_settled(held.view())
        });
        Identity::Reduced(print.view, self.sorted_votes(), self.committed.clone(), print.halted, base)
    }

    /// Whether it voted in a view all that it ever will: it gave the view up, or finalized a block.
    fn is_settled(&self, view: View) -> bool {
        let settles = |vote: &Subject| vote.view() == view && !matches!(vote, Subject::Notarize(_));
        self.votes.iter().any(settles)
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.engine.fingerprint()
    }

    fn sorted_votes(&self) -> Vec<Subject> {
        let mut votes = self.votes.clone();
        votes.sort_unstable();
        votes
    }

    /// One step, with everything that the engine asks of its shell.
    fn stepped(mut self, now: Now, input: Input, blocks: &mut Blocks) -> Self {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.engine.step(now, input, &mut outputs);
            for output in outputs {
                inputs.extend(self.carry_out(output, blocks));
            }
        }
        self
    }

    fn carry_out(&mut self, output: Output, blocks: &mut Blocks) -> Option<Input> {
        match output {
            Output::Persist(record) => self.log.push(record),
            Output::Broadcast(Message::Vote(vote)) => self.voted(vote.subject),
            Output::Broadcast(Message::Proposal(proposal)) => self.voted(proposal.vote.subject),
            Output::Execute(block) => {
                return Some(Input::Executed { block: block.hash(), outcome: Execution::Valid });
            }
            Output::Build(request) if request.view <= LAST_VIEW => {
                let block = request.finish(contents(&request));
                blocks.insert(block.clone());
                return Some(Input::Built { epoch: request.epoch, view: request.view, block: Some(block) });
            }
            Output::Send { to, message: Message::GetBlocks(request) } => {
                let block = blocks.by_hash(request.newest)?;
                let blocks = List::new(vec![block]).expect("one block fits");
                let message = Message::Blocks(message::Blocks { blocks });
                return Some(Input::Message { from: to, message });
            }
            Output::Commit { blocks, finalization, .. } => {
                self.committed.extend(blocks.iter().map(|block| block.hash()));
                self.tip = blocks.last().map(|block| (block.reference(), finalization));
            }
            // Certificates follow from votes; what is asked for comes when the adversary likes.
            Output::Broadcast(_)
            | Output::Send { .. }
            | Output::Build(_)
            | Output::CancelBuild { .. }
            | Output::ServeBlocks { .. }
            | Output::ServeFinalized { .. }
            | Output::ServeBoundary { .. }
            | Output::Evidence(_)
            | Output::Reject { .. }
            | Output::Halt(_) => {}
        }
        None
    }

    fn voted(&mut self, subject: Subject) {
        if !self.votes.contains(&subject) {
            self.votes.push(subject);
        }
    }

    fn heard(&self, message: Message) -> Input {
        let from = match &message {
            Message::Proposal(proposal) => proposal.block.header().proposer,
            _ => self.engine.leader().expect("every view has a leader"),
        };
        Input::Message { from, message }
    }
}

fn contents(request: &BuildRequest) -> Contents {
    Contents {
        time_ms: Timestamp::new(request.parent.time_ms.get() + 1),
        tx_root: Hash::ZERO,
        event_root: Hash::ZERO,
        state_root: Hash::ZERO,
        next_authority_root: Hash::ZERO,
        payload: crate::block::Payload::default(),
    }
}
