//! Goal: whatever an engine sends fits into a message, in sets of every size and however many views were
//! skipped; and the chain goes on then.
//! Method: one engine that leads, stepped by hand with the others' certificates and the largest payloads.
//! Nothing is signed, which changes no length.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use evchain_protocol::authority::{AuthorityIndex, AuthoritySet, MAX_AUTHORITIES};
use evchain_protocol::codec::{List, decode, encode};
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{Certificate, MAX_SKIPS, Subject};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

use super::{
    ANSWER_BYTES, Blocks, Certificates, Finalized, GetBlocks, GetCertificates, MAX_BLOCK_BYTES,
    MAX_CERTIFICATE_BYTES, MAX_MESSAGE_BYTES, Message,
};
use crate::authority_set::Committee;
use crate::block::{Block, BlockRef, MAX_PAYLOAD_BYTES, Payload};
use crate::config::Config;
use crate::engine::Engine;
use crate::input::{Execution, Input, Moment, Now};
use crate::mutations::{Breakage, with_broken};
use crate::output::{BuildRequest, Contents, Output};
use crate::wal::Recovered;

const CONFIG: Config =
    Config { hop_bound: Span::new(100), idle: Span::new(50), max_clock_drift: Span::new(500) };
const EPOCH: Epoch = Epoch::ZERO;

struct Leader {
    engine: Engine,
    committee: Committee,
    key: PublicKey,
    now_ms: u64,
    sent: Vec<Message>,
}

impl Leader {
    /// A member of a set of this size, in an epoch of one block.
    fn new(authorities: usize) -> Self {
        let secrets = (1..).map(|number: u16| {
            let [low, high] = number.to_le_bytes();
            let mut secret = [7; 32];
            (secret[0], secret[1]) = (low, high);
            KeyPair::from_secret(&secret)
        });
        let keys: Vec<KeyPair> = secrets.take(authorities).collect();
        let set = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).unwrap();
        let hash = Hash::from_bytes([9; 32]);
        let root = BlockRef { hash, height: Height::ZERO, view: View::ZERO, time_ms: Timestamp::new(1) };
        let committee = Committee::new(ChainId(hash), EPOCH, set, root).ending_at(Height::new(1));
        let recovered = Recovered::fresh(committee.root());
        let engine = Engine::new(CONFIG, committee.clone(), Some(keys[0].clone()), recovered).unwrap();
        let mut leader = Self { engine, committee, key: keys[0].public_key(), now_ms: 0, sent: Vec::new() };
        leader.step(Input::Start);
        leader
    }

    /// One step. Gives what the engine asks the shell for, with everything executed.
    fn step(&mut self, input: Input) -> Option<BuildRequest> {
        let (mut inputs, mut request) = (vec![input], None);
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            let now = Now { monotonic: Moment::new(self.now_ms), wall: Timestamp::new(1_000) };
            self.engine.step(now, input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Build(asked) => request = Some(asked),
                    Output::Execute(block) => {
                        inputs.push(Input::Executed { block: block.hash(), outcome: Execution::Valid });
                    }
                    Output::Broadcast(message) | Output::Send { message, .. } => self.sent.push(message),
                    _ => {}
                }
            }
        }
        request
    }

    fn hear(&mut self, message: Message) -> Option<BuildRequest> {
        self.step(Input::Message { from: self.key, message })
    }

    fn learn(&mut self, subject: Subject) -> Option<BuildRequest> {
        self.hear(Message::Certificate(self.certificate(subject)))
    }

    /// A certificate with the signers whose indices are highest.
    fn certificate(&self, subject: Subject) -> Arc<Certificate> {
        let (n, quorum) = (self.committee.len(), self.committee.authorities().quorum());
        let signers =
            (n - quorum..n).map(|index| AuthorityIndex::new(u8::try_from(index).unwrap())).collect();
        let signatures = List::new(vec![Signature::from_bytes([0; Signature::LEN]); quorum]).unwrap();
        Arc::new(Certificate { subject, signers, signatures })
    }

    /// Skips this many views, and then those up to the next one that this node leads.
    fn skip(&mut self, views: usize) -> Option<BuildRequest> {
        let until = self.engine.view().get() + views as u64;
        loop {
            let view = self.engine.view();
            let request = self.learn(Subject::nullify(EPOCH, view));
            if view.get() >= until && self.engine.leader() == Some(self.key) {
                return request;
            }
        }
    }

    /// Proposes the largest block that there can be.
    fn propose(&mut self, request: &BuildRequest) -> Arc<Block> {
        let hash = Hash::from_bytes([1; 32]);
        let contents = Contents {
            time_ms: Timestamp::new(1_000),
            tx_root: hash,
            event_root: hash,
            state_root: hash,
            next_authority_root: hash,
            payload: Payload::new(vec![5; MAX_PAYLOAD_BYTES]).unwrap(),
        };
        let block = request.finish(contents);
        let built = Some(block.clone());
        self.step(Input::Built { epoch: request.epoch, view: request.view, block: built });
        block
    }
}

/// The largest of these messages, in bytes. Each can be read by others.
fn largest(messages: &[Message]) -> usize {
    let lengths = messages.iter().map(|message| {
        let bytes = encode(message);
        assert_eq!(&decode::<Message>(&bytes, MAX_MESSAGE_BYTES).unwrap(), message);
        bytes.len()
    });
    lengths.max().unwrap_or(0)
}

/// All that a leader sends when every list is full: its proposal after more skipped views than a
/// justification has room for, the same block again after as many (E2), and its answers.
fn sends_at_most(authorities: usize) -> usize {
    let mut leader = Leader::new(authorities);
    let request = leader.skip(MAX_SKIPS + 3).expect("progress is not lost however many views were skipped");
    assert_eq!(request.just.skips.len(), MAX_SKIPS);
    let below = View::new(request.view.get() - 1);
    assert_eq!(request.just.skips.last().unwrap().subject, Subject::nullify(EPOCH, below));
    let block = leader.propose(&request);
    leader.learn(Subject::notarize(EPOCH, request.view, block.hash()));
    leader.skip(MAX_SKIPS + 3);
    leader.now_ms += CONFIG.idle.get();
    leader.step(Input::Tick);
    let again = leader.sent.iter().filter_map(|message| match message {
        Message::Proposal(proposal) => proposal.again.as_ref(),
        _ => None,
    });
    assert_eq!(again.map(|just| just.skips.len()).collect::<Vec<_>>(), [MAX_SKIPS]);
    leader.hear(Message::GetBlocks(GetBlocks { newest: block.hash(), above: Height::ZERO }));
    let all = GetCertificates { epoch: EPOCH, lo: View::ZERO, hi: View::MAX };
    leader.hear(Message::GetCertificates(all));
    let count = leader.sent.len();
    assert!(matches!(leader.sent[count - 2..], [Message::Blocks(_), Message::Certificates(_)]));

    // What the shell gathers from its store: a block that leaves the answer all but full, and the largest.
    let others = block.size_hint() - MAX_PAYLOAD_BYTES;
    let payload = Payload::new(vec![5; ANSWER_BYTES.saturating_sub(others + 1)]).unwrap();
    let almost = Arc::new(Block::new(block.header().clone(), block.just().clone(), payload).unwrap());
    let many = || [almost.clone(), block.clone(), block.clone()].into_iter();
    let finalization = leader.certificate(Subject::finalize(EPOCH, request.view, block.hash()));
    let stretch = many().map(|block| (block, Some(finalization.clone())));
    leader.sent.extend([
        Message::Blocks(Blocks::gather(many())),
        Message::Finalized(Finalized::gather(stretch).unwrap()),
        Message::Certificates(Certificates::gather(std::iter::repeat_n(finalization.clone(), 10_000))),
    ]);
    assert!(block.size_hint() <= MAX_BLOCK_BYTES && encode(&*finalization).len() <= MAX_CERTIFICATE_BYTES);
    largest(&leader.sent)
}

#[test]
fn every_message_fits() {
    for authorities in [4, 16, MAX_AUTHORITIES] {
        let bytes = with_broken(Some(Breakage::NoSignatures), || sends_at_most(authorities));
        println!("n = {authorities}: the largest message has {bytes} of {MAX_MESSAGE_BYTES} bytes");
        assert!(bytes > 2 * MAX_PAYLOAD_BYTES, "answers are as full as can be");
    }
}
