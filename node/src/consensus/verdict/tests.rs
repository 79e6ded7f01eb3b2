//! Goal: gossip forwards a finalization if it is new and verified, and never what another honest node would
//! reject. Method: an engine of four authorities hears each kind of certificate, as the event loop has it.

use std::sync::Arc;

use evchain_consensus::authority_set::Committee;
use evchain_consensus::block::BlockRef;
use evchain_consensus::config::Config;
use evchain_consensus::epochs::Epochs;
use evchain_consensus::input::{Input, Moment, Now};
use evchain_consensus::message::Message;
use evchain_consensus::wal::Recovered;
use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{Certificate, Signers, Subject};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

use super::on_finalization;
use crate::network::Verdict;

struct Node {
    engine: Epochs,
    keys: Vec<KeyPair>,
    committee: Committee,
}

impl Node {
    /// An observer of a chain of four authorities.
    fn new() -> Self {
        let mut keys: Vec<KeyPair> = (1..=4).map(|byte| KeyPair::from_secret(&[byte; 32])).collect();
        keys.sort_by_key(KeyPair::public_key);
        let set = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).unwrap();
        let hash = Hash::from_bytes([9; 32]);
        let root = BlockRef { hash, height: Height::ZERO, view: View::ZERO, time_ms: Timestamp::new(1) };
        let committee = Committee::new(ChainId(Hash::from_bytes([8; 32])), Epoch::ZERO, set, root);
        let config =
            Config { hop_bound: Span::new(100), idle: Span::new(50), max_clock_drift: Span::new(500) };
        let engine =
            Epochs::new(config, committee.clone(), None, Recovered::fresh(committee.root())).unwrap();
        let mut node = Self { engine, keys, committee };
        node.step(Input::Start);
        node
    }

    fn step(&mut self, input: Input) -> Vec<evchain_consensus::output::Output> {
        let mut outputs = Vec::new();
        let now = Now { monotonic: Moment::new(0), wall: Timestamp::new(1) };
        self.engine.step(now, input, &mut outputs);
        outputs
    }

    fn finalization(&self, epoch: u64, view: u64, signers: std::ops::Range<usize>) -> Certificate {
        let subject = Subject::finalize(Epoch::new(epoch), View::new(view), Hash::from_bytes([3; 32]));
        let keys = &self.keys[signers];
        let sign =
            |key: &KeyPair| key.sign(subject.purpose(), self.committee.chain(), &subject.signed_bytes());
        Certificate {
            subject,
            signers: keys.iter().map(|key| self.committee.index_of(&key.public_key()).unwrap()).collect(),
            signatures: List::new(keys.iter().map(sign).collect()).unwrap(),
        }
    }

    fn judges(&mut self, from: PublicKey, certificate: Certificate) -> Verdict {
        let certificate = Arc::new(certificate);
        let outputs = self.step(Input::Message { from, message: Message::Certificate(certificate.clone()) });
        on_finalization(&certificate, &outputs)
    }
}

#[test]
fn only_what_is_new_and_verified_is_forwarded() {
    let mut node = Node::new();
    let observer = KeyPair::from_secret(&[77; 32]).public_key();
    let authority = node.keys[0].public_key();
    for from in [observer, authority] {
        let view = node.engine.engine().best_final_view().get() + 5;
        let held = node.finalization(0, view, 0..3);
        let garbage = |byte| {
            let signatures = List::new(vec![Signature::from_bytes([byte; 64]); 3]).unwrap();
            Certificate { signatures, ..held.clone() }
        };
        assert_eq!(node.judges(from, garbage(1)), Verdict::Reject, "before the right one is held");
        assert_eq!(node.judges(from, held.clone()), Verdict::Accept);
        assert_eq!(node.judges(from, held.clone()), Verdict::Ignore, "a second time");
        assert_eq!(node.judges(from, node.finalization(0, view, 1..4)), Verdict::Ignore, "another quorum");
        for byte in 0..100 {
            assert_eq!(node.judges(from, garbage(byte)), Verdict::Ignore, "a forged copy");
        }
        let unsigned = Certificate { signers: Signers::default(), signatures: List::default(), ..held };
        assert_eq!(node.judges(from, unsigned), Verdict::Ignore, "a copy without signatures");
        assert_eq!(node.judges(from, node.finalization(0, view - 1, 0..3)), Verdict::Ignore, "old news");
        assert_eq!(node.judges(from, node.finalization(1, 1, 0..3)), Verdict::Ignore, "of the next epoch");
    }
}
