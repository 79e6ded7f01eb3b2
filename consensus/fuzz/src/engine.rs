//! One authority's engine among three others that sign whatever is asked of them, and strangers that say anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use evchain_consensus::input::{Execution, Input};
use evchain_consensus::message::{MAX_MESSAGE_BYTES, Message, Proposal};
use evchain_consensus::output::Output;
use evchain_consensus::wal::LogRecord;
use evchain_protocol::codec;
use evchain_protocol::crypto::{Hash, KeyPair};
use evchain_protocol::finality::{Subject, Vote};
use evchain_protocol::primitives::View;

use crate::bench::{Bench, EPOCH, WALL, certified, hash, signed, view};

const MAX_STEPS: usize = 96;
/// Blocks that the first view's leader proposes, all but one against the rules.
const PROPOSALS: u64 = 3;

pub fn fuzz_engine(data: &[u8]) {
    let mut source = Unstructured::new(data);
    let bench = Bench::new();
    let proposals: Vec<Proposal> = (0..PROPOSALS).map(|later| bench.proposal(WALL.get() + later)).collect();
    let blocks = std::iter::once(hash(9)).chain(proposals.iter().map(|it| it.block.hash())).collect();
    let mut world = World { bench, proposals, blocks, votes: Votes::default() };
    for _ in 0..MAX_STEPS {
        if source.is_empty() {
            break;
        }
        match world.step(&mut source) {
            Ok(outputs) if outputs.iter().any(|output| matches!(output, Output::Halt(_))) => break,
            Ok(outputs) => world.check(&outputs),
            Err(_) => break,
        }
    }
}

struct World {
    bench: Bench,
    proposals: Vec<Proposal>,
    /// The root, and those that are proposed.
    blocks: Vec<Hash>,
    votes: Votes,
}

impl World {
    fn step(&mut self, source: &mut Unstructured) -> Result<Vec<Output>> {
        let message = match source.int_in_range(0..=9_u8)? {
            0 | 1 => {
                let subject = self.subject(source)?;
                let key = source.choose(&self.bench.keys)?.clone();
                Message::Vote(signed(&self.bench.committee, &key, subject))
            }
            2 | 3 => {
                let (subject, from) = (self.subject(source)?, source.int_in_range(0..=2_usize)?);
                let keys: &[KeyPair] = &self.bench.keys[from..];
                Message::Certificate(Arc::new(certified(&self.bench.committee, keys, subject)))
            }
            4 | 5 => Message::Proposal(source.choose(&self.proposals)?.clone()),
            6 => {
                let len = usize::from(source.arbitrary::<u16>()?).min(source.len());
                let bytes = source.bytes(len)?;
                match codec::decode::<Message>(bytes, MAX_MESSAGE_BYTES) {
                    Ok(message) => message,
                    Err(_) => return Ok(Vec::new()),
                }
            }
            7 => {
                let outcome = match source.int_in_range(0..=3_u8)? {
                    0 => Execution::WrongBody,
                    1 => Execution::Invalid("a rule".to_owned()),
                    _ => Execution::Valid,
                };
                let block = *source.choose(&self.blocks)?;
                return Ok(self.bench.step(Input::Executed { block, outcome }));
            }
            _ => {
                self.bench.now_ms += u64::from(source.arbitrary::<u16>()?);
                return Ok(self.bench.step(Input::Tick));
            }
        };
        let from = source.choose(&self.bench.keys)?.public_key();
        Ok(match message {
            proposal @ Message::Proposal(_) => self.bench.hear(proposal),
            message => self.bench.step(Input::Message { from, message }),
        })
    }

    fn subject(&self, source: &mut Unstructured) -> Result<Subject> {
        let at = view(self.bench.engine.view().get().saturating_sub(1) + source.int_in_range(0..=3_u64)?);
        let block = *source.choose(&self.blocks)?;
        Ok(match source.int_in_range(0..=2_u8)? {
            0 => Subject::notarize(EPOCH, at, block),
            1 => Subject::finalize(EPOCH, at, block),
            _ => Subject::nullify(EPOCH, at),
        })
    }

    fn check(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Persist(LogRecord::Vote(vote)) => self.votes.on_disk.push(*vote),
                Output::Broadcast(Message::Vote(vote)) => self.votes.said(*vote),
                _ => {}
            }
        }
    }
}

/// What the engine has said.
#[derive(Default)]
struct Votes {
    on_disk: Vec<Vote>,
    notarized: BTreeMap<View, Hash>,
    finalized: BTreeMap<View, Hash>,
    nullified: Vec<View>,
}

impl Votes {
    /// No vote excludes one before, and each is on disk first.
    fn said(&mut self, vote: Vote) {
        assert!(self.on_disk.contains(&vote), "{vote:?} is said before it is on disk");
        let at = vote.subject.view();
        match vote.subject {
            Subject::Notarize(it) => {
                let before = *self.notarized.entry(at).or_insert(it.block);
                assert_eq!(before, it.block, "two blocks in {at}");
            }
            Subject::Finalize(it) => {
                let before = *self.finalized.entry(at).or_insert(it.block);
                assert_eq!(before, it.block, "two blocks in {at}");
            }
            Subject::Nullify(_) => self.nullified.push(at),
        }
        let excludes = self.nullified.iter().any(|at| self.finalized.contains_key(at));
        assert!(!excludes, "finalized and nullified: {:?} {:?}", self.finalized, self.nullified);
    }
}
