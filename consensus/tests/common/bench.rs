//! One engine of four authorities that is stepped by hand, and what the others sign.

use evchain_consensus::authority_set::Committee;
use evchain_consensus::block::{BlockRef, Payload};
use evchain_consensus::config::Config;
use evchain_consensus::engine::Engine;
use evchain_consensus::input::{Input, Moment, Now};
use evchain_consensus::message::{Message, Proposal};
use evchain_consensus::output::{Contents, HaltReason, Output, Rejection};
use evchain_consensus::wal::Recovered;
use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::finality::{Certificate, Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

pub const EPOCH: Epoch = Epoch::ZERO;
pub const CONFIG: Config =
    Config { hop_bound: Span::new(100), idle: Span::new(50), max_clock_drift: Span::new(500) };
pub const WALL: Timestamp = Timestamp::new(1_700_000_000_000);

pub fn view(number: u64) -> View {
    View::new(number)
}

pub fn hash(byte: u8) -> Hash {
    Hash::from_bytes([byte; 32])
}

/// Four authorities, in the committee's order.
pub fn committee() -> (Committee, Vec<KeyPair>) {
    let mut keys: Vec<KeyPair> = (1..=4).map(|byte| KeyPair::from_secret(&[byte; 32])).collect();
    keys.sort_by_key(KeyPair::public_key);
    let set = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).unwrap();
    let root = BlockRef { hash: hash(9), height: Height::ZERO, view: View::ZERO, time_ms: Timestamp::new(1) };
    (Committee::new(ChainId(hash(8)), EPOCH, set, root), keys)
}

pub fn signed(committee: &Committee, key: &KeyPair, subject: Subject) -> Vote {
    let signature = key.sign(subject.purpose(), committee.chain(), &subject.signed_bytes());
    Vote { subject, signer: committee.index_of(&key.public_key()).unwrap(), signature }
}

pub fn certified(committee: &Committee, keys: &[KeyPair], subject: Subject) -> Certificate {
    let votes: Vec<Vote> = keys.iter().map(|key| signed(committee, key, subject)).collect();
    Certificate {
        subject,
        signers: votes.iter().map(|vote| vote.signer).collect(),
        signatures: List::new(votes.iter().map(|vote| vote.signature).collect()).unwrap(),
    }
}

/// An engine that is stepped by hand.
pub struct Bench {
    pub engine: Engine,
    pub committee: Committee,
    pub keys: Vec<KeyPair>,
    pub now_ms: u64,
}

impl Bench {
    /// The engine of an authority that does not lead view 1.
    pub fn new() -> Self {
        let (committee, keys) = committee();
        let own = (usize::from(committee.leader(view(1)).get()) + 1) % 4;
        Self::of(own, Recovered::fresh(committee.root()), keys, committee)
    }

    pub fn of(own: usize, recovered: Recovered, keys: Vec<KeyPair>, committee: Committee) -> Self {
        let engine = Engine::new(CONFIG, committee.clone(), Some(keys[own].clone()), recovered).unwrap();
        let mut bench = Self { engine, committee, keys, now_ms: 0 };
        bench.step(Input::Start);
        bench
    }

    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let now = Now { monotonic: Moment::new(self.now_ms), wall: WALL };
        self.engine.step(now, input, &mut outputs);
        outputs
    }

    /// Hears a proposal from its leader, and other messages from the first authority.
    pub fn hear(&mut self, message: Message) -> Vec<Output> {
        let from = match &message {
            Message::Proposal(proposal) => self.keys[usize::from(proposal.vote.signer.get())].public_key(),
            _ => self.keys[0].public_key(),
        };
        self.step(Input::Message { from, message })
    }

    /// Hears an answer from whom it asked last in these outputs.
    pub fn answer(&mut self, asked: &[Output], message: Message) -> Vec<Output> {
        let request = |output: &Output| match output {
            Output::Send { to, message: Message::GetFinalized(_) | Message::GetBlocks(_) } => Some(*to),
            _ => None,
        };
        let from = asked.iter().rev().find_map(request).expect("somebody is asked");
        self.step(Input::Message { from, message })
    }

    pub fn leader(&self) -> KeyPair {
        self.keys[usize::from(self.committee.leader(self.engine.view()).get())].clone()
    }

    /// The current view's leader proposes on the epoch's root at this time.
    pub fn proposal(&self, time_ms: u64) -> Proposal {
        let mut outputs = Vec::new();
        let recovered = Recovered::fresh(self.committee.root());
        let mut leader = Engine::new(CONFIG, self.committee.clone(), Some(self.leader()), recovered).unwrap();
        leader.step(Now { monotonic: Moment::new(0), wall: WALL }, Input::Start, &mut outputs);
        let build = outputs.into_iter().find_map(|output| match output {
            Output::Build(request) => Some(request),
            _ => None,
        });
        let block = build.unwrap().finish(contents(time_ms));
        let vote = signed(
            &self.committee,
            &self.leader(),
            Subject::notarize(EPOCH, block.header().view, block.hash()),
        );
        Proposal { block, again: None, vote }
    }
}

pub fn contents(time_ms: u64) -> Contents {
    Contents {
        time_ms: Timestamp::new(time_ms),
        tx_root: hash(1),
        event_root: hash(1),
        state_root: hash(1),
        next_authority_root: hash(1),
        payload: Payload::default(),
    }
}

pub fn voted(outputs: &[Output]) -> Vec<Subject> {
    let vote = |output: &Output| match output {
        Output::Broadcast(Message::Vote(vote)) => Some(vote.subject),
        _ => None,
    };
    outputs.iter().filter_map(vote).collect()
}

pub fn rejections(outputs: &[Output]) -> Vec<Rejection> {
    let rejection = |output: &Output| match output {
        Output::Reject { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    outputs.iter().filter_map(rejection).collect()
}

pub fn halt(outputs: &[Output]) -> Option<HaltReason> {
    outputs.iter().find_map(|output| match output {
        Output::Halt(reason) => Some(reason.clone()),
        _ => None,
    })
}
