//! One node of a Twins run: an engine, and a shell that answers it at once.

use std::collections::VecDeque;
use std::sync::Arc;

use evchain_protocol::crypto::{Hash, KeyPair, PublicKey, Purpose};
use evchain_protocol::finality::Certificate;
use evchain_protocol::primitives::{Span, Timestamp};

use crate::authority_set::Committee;
use crate::block::{Block, Payload};
use crate::config::Config;
use crate::engine::Engine;
use crate::input::{Execution, Input, Moment, Now};
use crate::message::{Blocks, Finalized, Message};
use crate::output::{BuildRequest, Contents, Output};
use crate::wal::Recovered;

const CONFIG: Config =
    Config { hop_bound: Span::new(10), idle: Span::new(5), max_clock_drift: Span::new(500) };
/// From one round of timeouts to the next, in ms: more than any timeout of that configuration.
const ROUND_MS: u64 = 10_000;
const PHASE_MS: u64 = 100 * ROUND_MS;

/// An instance of an authority.
#[derive(Clone)]
pub(super) struct Replica {
    engine: Engine,
    key: PublicKey,
    node: usize,
    now_ms: u64,
    halted: bool,
    chain: Vec<(Arc<Block>, Option<Arc<Certificate>>)>,
    building: Option<Box<BuildRequest>>,
}

/// What happens to a replica.
pub(super) enum Stimulus {
    /// It gets a message.
    Hear(PublicKey, Message),
    /// It gets the block that it asked for.
    Build,
    /// All its timers run out.
    TimeOut { phase: u64, round: u64 },
}

/// What leaves, to one authority or to everybody.
type Sent = Vec<(Option<PublicKey>, Message)>;

impl Replica {
    pub(super) fn start(committee: &Committee, key: &KeyPair, node: usize) -> Self {
        let recovered = Recovered::fresh(committee.root());
        let engine = Engine::new(CONFIG, committee.clone(), Some(key.clone()), recovered);
        let engine = engine.expect("an empty log starts an engine");
        let key = key.public_key();
        let mut replica =
            Self { engine, key, node, now_ms: 0, halted: false, chain: Vec::new(), building: None };
        // What is sent now is lost, since the first phase has not begun: a status, which comes again.
        replica.feed(Input::Start);
        replica
    }

    /// One step, with what leaves.
    pub(super) fn step(&mut self, stimulus: Stimulus) -> Sent {
        match stimulus {
            Stimulus::Hear(from, message) => self.feed(Input::Message { from, message }),
            Stimulus::TimeOut { phase, round } => {
                self.now_ms = phase * PHASE_MS + (round + 1) * ROUND_MS;
                self.feed(Input::Tick)
            }
            Stimulus::Build => {
                let Some(request) = self.building.take() else { return Vec::new() };
                let block = request.finish(self.contents(&request));
                self.feed(Input::Built { epoch: request.epoch, view: request.view, block: Some(block) })
            }
        }
    }

    pub(super) const fn key(&self) -> PublicKey {
        self.key
    }

    pub(super) fn view(&self) -> u64 {
        self.engine.view().get()
    }

    /// The view of the block that it waits for, as leader.
    pub(super) fn building(&self) -> Option<u64> {
        self.building.as_ref().map(|request| request.view.get())
    }

    pub(super) fn committed(&self) -> impl Iterator<Item = Hash> {
        self.chain.iter().map(|(block, _)| block.hash())
    }

    pub(super) const fn halted(&self) -> bool {
        self.halted
    }

    fn feed(&mut self, input: Input) -> Sent {
        let now = Now { monotonic: Moment::new(self.now_ms), wall: Timestamp::new(1_000_000) };
        let mut sent = Sent::new();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.engine.step(now, input, &mut outputs);
            for output in outputs {
                inputs.extend(self.carry_out(output, &mut sent));
            }
        }
        sent
    }

    fn carry_out(&mut self, output: Output, sent: &mut Sent) -> Option<Input> {
        match output {
            Output::Send { to, message } => sent.push((Some(to), message)),
            Output::Broadcast(message) => sent.push((None, message)),
            Output::Build(request) => self.building = Some(Box::new(request)),
            Output::CancelBuild { .. } => self.building = None,
            Output::Execute(block) => {
                return Some(Input::Executed { block: block.hash(), outcome: Execution::Valid });
            }
            Output::Commit { blocks, finalization, .. } => {
                let count = blocks.len();
                let with_finalization = blocks
                    .into_iter()
                    .enumerate()
                    .map(|(place, block)| (block, (place + 1 == count).then(|| finalization.clone())));
                self.chain.extend(with_finalization);
            }
            Output::ServeBlocks { to, request } => {
                let place = self.chain.iter().position(|(block, _)| block.hash() == request.newest)?;
                let newest_first = self.chain[..=place].iter().rev().map(|(block, _)| block.clone());
                let wanted = newest_first.take_while(|block| block.header().height > request.above);
                sent.push((Some(to), Message::Blocks(Blocks::gather(wanted))));
            }
            Output::ServeFinalized { to, request } => {
                let above = usize::try_from(request.above.get()).ok()?;
                let answer = Finalized::gather(self.chain.iter().skip(above).cloned())?;
                sent.push((Some(to), Message::Finalized(answer)));
            }
            Output::Halt(_) => self.halted = true,
            Output::Persist(_)
            | Output::Evidence(_)
            | Output::Reject { .. }
            | Output::ServeBoundary { .. } => {}
        }
        None
    }

    /// The two instances of an authority make different blocks.
    fn contents(&self, request: &BuildRequest) -> Contents {
        let payload = Payload::new(vec![u8::try_from(self.node).unwrap_or(0)]).unwrap_or_default();
        Contents {
            time_ms: Timestamp::new(request.parent.time_ms.get() + 1),
            tx_root: Hash::of(Purpose::MerkleRoot, payload.as_bytes()),
            event_root: Hash::ZERO,
            state_root: Hash::ZERO,
            next_authority_root: Hash::ZERO,
            payload,
        }
    }
}
