//! Goal: whoever signs what no honest authority signs is found out, wherever the votes appear, and
//! nobody else ever is; looking for it costs little (rules W, scenario 29).
//! Method: engines stepped by hand, shown each pair of votes in each way in which votes travel; and
//! simulated clusters, in which evidence against an honest node breaks I12, with each Byzantine
//! behaviour that signs what contradicts itself.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::bench::{Bench, EPOCH, WALL, certified, contents, halt, hash, rejections, signed, view};
use common::{passes, progresses, seeds};
use evchain_consensus::block::Block;
use evchain_consensus::input::{Execution, Input};
use evchain_consensus::message::{Certificates, Message, Proposal};
use evchain_consensus::output::{BuildRequest, HaltReason, Output};
use evchain_consensus::sim::byzantine::{
    BadBody, Behaviour, BogusJustification, DeliversToOne, Equivocator, Flooder, Forker, SignsEverything,
    Slanderer, TwoFaced, Withholder, WrongEpoch,
};
use evchain_consensus::sim::cluster::Cluster;
use evchain_consensus::sim::scenarios;
use evchain_consensus::sim::setup::Setup;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{KeyPair, Signature};
use evchain_protocol::execute::MAX_OFFENCES;
use evchain_protocol::finality::{Certificate, Evidence, OffenceKind, Subject, Vote};
use evchain_protocol::primitives::Height;

/// Who is caught in these tests. 2 leads view 1, and the bench's own key is 3, which leads view 2.
const OFFENDER: usize = 1;

fn evidence(outputs: &[Output]) -> Vec<Evidence> {
    let found = outputs.iter().filter_map(|output| match output {
        Output::Evidence(evidence) => Some(evidence.clone()),
        _ => None,
    });
    found.collect()
}

fn notarize(number: u64, block: u8) -> Subject {
    Subject::notarize(EPOCH, view(number), hash(block))
}

fn finalize(number: u64, block: u8) -> Subject {
    Subject::finalize(EPOCH, view(number), hash(block))
}

fn nullify(number: u64) -> Subject {
    Subject::nullify(EPOCH, view(number))
}

impl Bench {
    fn vote(&self, key: usize, subject: Subject) -> Vote {
        signed(&self.committee, &self.keys[key], subject)
    }

    /// Hears a message from this authority, and gives the evidence that this makes.
    fn gathers(&mut self, from: usize, message: Message) -> Vec<Evidence> {
        let from = self.keys[from].public_key();
        evidence(&self.step(Input::Message { from, message }))
    }

    /// A certificate of all but the bench's own key.
    fn quorum(&self, subject: Subject) -> Arc<Certificate> {
        Arc::new(certified(&self.committee, &self.keys[..3], subject))
    }

    fn quorum_without_offender(&self, subject: Subject) -> Arc<Certificate> {
        let keys = [0, 2, 3].map(|key: usize| self.keys[key].clone());
        Arc::new(certified(&self.committee, &keys, subject))
    }

    /// Everything that is told holds up on the chain.
    fn verified(&self, found: &[Evidence]) -> Vec<OffenceKind> {
        for evidence in found {
            let offender = evidence.verify(self.committee.electorate(), Height::new(1)).unwrap();
            assert_eq!(offender, self.keys[OFFENDER].public_key());
        }
        found.iter().map(|evidence| evidence.kind().unwrap()).collect()
    }

    /// The proposal of view 1 is final here. Gives what the bench is to build in view 2.
    fn finalizes_view_1(&mut self) -> BuildRequest {
        let proposal = self.proposal(WALL.get());
        let block = proposal.block.hash();
        self.hear(Message::Proposal(proposal));
        self.step(Input::Executed { block, outcome: Execution::Valid });
        let finalization = self.quorum_without_offender(Subject::finalize(EPOCH, view(1), block));
        let outputs = self.hear(Message::Certificate(finalization));
        assert_eq!(self.engine.tip().hash, block);
        let build = outputs.into_iter().find_map(|output| match output {
            Output::Build(request) => Some(request),
            _ => None,
        });
        build.unwrap()
    }
}

/// W1, W2: each pair, in both orders: two votes, a vote and a certificate, two certificates.
#[test]
fn contradicting_votes_are_found_wherever_they_appear() {
    let pairs = [
        (notarize(1, 1), notarize(1, 2), Some(OffenceKind::DoubleNotarize)),
        (finalize(1, 1), finalize(1, 2), Some(OffenceKind::DoubleFinalize)),
        (nullify(1), finalize(1, 1), Some(OffenceKind::NullifyAndFinalize)),
        (notarize(1, 1), finalize(1, 2), Some(OffenceKind::NotarizeAndFinalize)),
        (notarize(1, 1), finalize(1, 1), None),
        (notarize(1, 1), nullify(1), None),
        (notarize(1, 1), notarize(1, 1), None),
        (notarize(1, 1), notarize(2, 2), None),
    ];
    for (one, other, kind) in pairs {
        for (first, second) in [(one, other), (other, one)] {
            let expected = Vec::from_iter(kind);
            let mut bench = Bench::new();
            let (first_vote, second_vote) = (bench.vote(OFFENDER, first), bench.vote(OFFENDER, second));
            assert!(bench.gathers(OFFENDER, Message::Vote(first_vote)).is_empty());
            let found = bench.gathers(OFFENDER, Message::Vote(second_vote));
            assert_eq!(bench.verified(&found), expected, "{first:?}, {second:?}");
            let again = bench.gathers(OFFENDER, Message::Vote(second_vote));
            assert!(again.is_empty(), "it is told once");

            let mut bench = Bench::new();
            let certificate = bench.quorum(first);
            assert!(bench.gathers(0, Message::Certificate(certificate)).is_empty());
            let found = bench.gathers(OFFENDER, Message::Vote(second_vote));
            assert_eq!(bench.verified(&found), expected, "a certificate of {first:?}, then {second:?}");

            let mut bench = Bench::new();
            assert!(bench.gathers(OFFENDER, Message::Vote(first_vote)).is_empty());
            let certificate = bench.quorum(second);
            let found = bench.gathers(0, Message::Certificate(certificate));
            assert_eq!(bench.verified(&found), expected, "{first:?}, then a certificate of {second:?}");
        }
    }
}

/// W5: certificates that exclude each other name at least f + 1, before the engine stops.
#[test]
fn conflicting_certificates_name_their_signers() {
    let pairs =
        [(notarize(1, 1), notarize(1, 2)), (finalize(1, 1), finalize(1, 2)), (nullify(1), finalize(1, 1))];
    for (one, other) in pairs {
        let mut bench = Bench::new();
        let first = Arc::new(certified(&bench.committee, &bench.keys[1..], one));
        let second = bench.quorum(other);
        bench.hear(Message::Certificate(first));
        let outputs = bench.hear(Message::Certificate(second));
        let named: BTreeSet<_> = evidence(&outputs).iter().map(Evidence::signer).collect();
        assert_eq!(named.len(), 2, "the two who signed both");
        assert_eq!(halt(&outputs), Some(HaltReason::ConflictingCertificates(view(1))));
        assert!(matches!(outputs.last(), Some(Output::Halt(_))), "evidence comes before the end");
    }
}

/// W1: the second vote comes when the view is final, or when the place of the first was taken already.
#[test]
fn late_votes_still_count() {
    let mut bench = Bench::new();
    bench.finalizes_view_1();
    let (first, second) = (bench.vote(OFFENDER, notarize(1, 1)), bench.vote(OFFENDER, notarize(1, 2)));
    assert!(bench.gathers(OFFENDER, Message::Vote(first)).is_empty());
    let found = bench.gathers(OFFENDER, Message::Vote(second));
    assert_eq!(bench.verified(&found), [OffenceKind::DoubleNotarize]);
    let late = bench.vote(OFFENDER, finalize(1, 3));
    let found = bench.gathers(OFFENDER, Message::Vote(late));
    assert_eq!(bench.verified(&found), [OffenceKind::NotarizeAndFinalize]);

    let mut bench = Bench::new();
    let certificate = bench.quorum_without_offender(nullify(1));
    bench.hear(Message::Certificate(certificate));
    let (first, second) = (bench.vote(OFFENDER, nullify(1)), bench.vote(OFFENDER, finalize(1, 2)));
    assert!(bench.gathers(OFFENDER, Message::Vote(first)).is_empty());
    let found = bench.gathers(OFFENDER, Message::Vote(second));
    assert_eq!(bench.verified(&found), [OffenceKind::NullifyAndFinalize]);
}

/// W5: a finalization of another block in a view that is final here.
#[test]
fn a_second_history_below_the_tip_stops_the_engine() {
    let mut bench = Bench::new();
    let block = bench.finalizes_view_1().finish(contents(WALL.get() + 1));
    let finalization = bench.quorum(Subject::finalize(EPOCH, view(2), block.hash()));
    bench.step(Input::Built { epoch: EPOCH, view: view(2), block: Some(block) });
    bench.hear(Message::Certificate(finalization));
    assert_eq!(bench.engine.tip().view, view(2));
    let certificates = List::new(vec![bench.quorum(finalize(1, 7))]).unwrap();
    let outputs = bench.hear(Message::Certificates(Certificates { certificates }));
    let named: BTreeSet<_> = evidence(&outputs).iter().map(Evidence::signer).collect();
    assert_eq!(named.len(), 2, "the two who signed both");
    assert_eq!(halt(&outputs), Some(HaltReason::ConflictingCertificates(view(1))));
}

/// W4: no more of an authority and epoch than the chain records.
#[test]
fn a_few_pieces_of_an_authority_are_enough() {
    let mut bench = Bench::new();
    let mut told = 0;
    for number in 1..=10 {
        for block in 1..=5 {
            let vote = bench.vote(OFFENDER, notarize(number, block));
            told += bench.gathers(OFFENDER, Message::Vote(vote)).len();
        }
    }
    assert_eq!(told, MAX_OFFENCES);
    for block in 1..=2 {
        let vote = bench.vote(0, notarize(1, block));
        told += bench.gathers(0, Message::Vote(vote)).len();
    }
    assert_eq!(told, MAX_OFFENCES + 1, "another's offence is another matter");
}

/// W4: votes that seem to contradict others and are not signed cost their sender its word, and nobody
/// else's: a few of them are verified, and the rest not.
#[test]
fn floods_of_forged_contradictions_cost_little() {
    const VERIFIED: usize = 16;
    let mut bench = Bench::new();
    let vote = bench.vote(OFFENDER, notarize(1, 1));
    bench.gathers(OFFENDER, Message::Vote(vote));
    let mut rejected = 0;
    for block in 2..200 {
        let signature = Signature::from_bytes([block; 64]);
        let forged = Vote { signature, ..bench.vote(OFFENDER, notarize(1, block)) };
        let outputs = bench.hear(Message::Vote(forged));
        assert!(evidence(&outputs).is_empty());
        rejected += rejections(&outputs).len();
    }
    assert_eq!(rejected, VERIFIED);
    let before = bench.engine.footprint();
    let stranger = KeyPair::from_secret(&[77; 32]).public_key();
    let real = Message::Vote(bench.vote(OFFENDER, notarize(1, 2)));
    let from_stranger = bench.step(Input::Message { from: stranger, message: real.clone() });
    assert!(from_stranger.is_empty(), "only authorities are listened to");
    assert_eq!(bench.engine.footprint(), before);
    let found = bench.gathers(OFFENDER, real);
    assert_eq!(bench.verified(&found), [OffenceKind::DoubleNotarize]);
}

/// W1: an engine remembers the votes of so many views and no more.
#[test]
fn what_is_remembered_is_bounded() {
    let mut bench = Bench::new();
    for number in 1..=500 {
        let certificate = bench.quorum(nullify(number));
        bench.hear(Message::Certificate(certificate));
    }
    // Own votes, and three of each of the last 64 nullifications.
    let watched = bench.engine.footprint().watched;
    assert!((64 * 3..=64 * 4).contains(&watched), "{watched}");
    let early = bench.vote(OFFENDER, finalize(1, 1));
    assert!(bench.gathers(OFFENDER, Message::Vote(early)).is_empty());
    let late = bench.vote(OFFENDER, finalize(490, 1));
    let found = bench.gathers(OFFENDER, Message::Vote(late));
    assert_eq!(bench.verified(&found), [OffenceKind::NullifyAndFinalize]);
}

/// W3: a leader's vote for a block without what justifies it, and everybody's who voted for it, before
/// or after.
#[test]
fn votes_for_an_unjustified_block_are_found() {
    let mut bench = Bench::new();
    let leader = usize::from(bench.committee.leader(view(1)).get());
    let good = bench.proposal(WALL.get());
    // It claims to follow view 0 in view 1, and skips view 1.
    let skip = bench.quorum(nullify(1));
    let mut just = good.block.just().clone();
    just.skips = List::new(vec![skip]).unwrap();
    let mut header = good.block.header().clone();
    header.just_root = just.root();
    let block = Arc::new(Block::new(header, just, good.block.payload().clone()).unwrap());
    let subject = Subject::notarize(EPOCH, view(1), block.hash());
    let others: Vec<usize> = (0..4).filter(|key| *key != leader).collect();
    let (before, after) = (bench.vote(others[0], subject), bench.vote(others[1], subject));
    assert!(bench.gathers(others[0], Message::Vote(before)).is_empty());
    let vote = bench.vote(leader, subject);
    let mut found = bench.gathers(leader, Message::Proposal(Proposal { block, again: None, vote }));
    found.extend(bench.gathers(others[1], Message::Vote(after)));
    let first_height = Height::new(1);
    let named: BTreeSet<_> = found
        .iter()
        .map(|evidence| {
            assert_eq!(evidence.kind(), Ok(OffenceKind::BadJustification));
            evidence.verify(bench.committee.electorate(), first_height).unwrap()
        })
        .collect();
    let expected = [leader, others[0], others[1]].map(|key| bench.keys[key].public_key());
    assert_eq!(named, BTreeSet::from(expected));
}

/// Runs f nodes with a behaviour and gives the nodes that the honest ones have evidence against.
fn offenders(seed: u64, behaviour: &(impl Behaviour + Clone + 'static)) -> BTreeSet<usize> {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    cluster.corrupt(0, behaviour.clone());
    progresses(&mut cluster, seed, 30, 60_000);
    cluster.properties().offenders()
}

/// Whoever signs what contradicts itself is named, and with I12 nobody else.
#[test]
fn byzantine_signers_are_named() {
    let culprit = BTreeSet::from([0]);
    for seed in seeds(5) {
        assert_eq!(offenders(seed, &Equivocator), culprit, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &SignsEverything::default()), culprit, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &BogusJustification), culprit, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &Forker::default()), culprit, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &Flooder::default()), culprit, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &WrongEpoch), culprit, "EVCHAIN_SEED={seed}");
    }
}

/// Who misbehaves in other ways signs nothing that could be held against it.
#[test]
fn what_is_not_signed_is_no_evidence() {
    let nobody = BTreeSet::new();
    for seed in seeds(3) {
        assert_eq!(offenders(seed, &Withholder), nobody, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &DeliversToOne), nobody, "EVCHAIN_SEED={seed}");
        assert_eq!(offenders(seed, &BadBody), nobody, "EVCHAIN_SEED={seed}");
    }
}

/// W2: votes and certificates forged in others' names harm nobody.
#[test]
fn slander_names_nobody() {
    for authorities in [4, 7] {
        passes(5, |seed| scenarios::tolerates(seed, authorities, &Slanderer::default()));
    }
    for seed in seeds(5) {
        assert_eq!(offenders(seed, &Slanderer::default()), BTreeSet::new(), "EVCHAIN_SEED={seed}");
    }
}

/// Scenario 29: with more than f faulty, two histories become final; once the halves meet, the evidence
/// that the honest nodes gather names f + 1 and no honest one.
#[test]
fn more_than_f_faulty_break_safety_and_are_named() {
    for seed in seeds(8) {
        let mut cluster = Cluster::new(Setup::new(seed, 4));
        cluster.allow_more_than_f();
        cluster.corrupt(0, TwoFaced::between([vec![2], vec![3]]));
        cluster.corrupt(1, TwoFaced::between([vec![2], vec![3]]));
        cluster.network.set_filter(|from, to, _| !matches!((from, to), (2, 3) | (3, 2)));
        let broken = |cluster: &Cluster| cluster.tolerated().iter().any(|one| one.invariant == "I1");
        assert!(cluster.run_until(20_000, broken), "EVCHAIN_SEED={seed}: safety did not break");
        cluster.network.heal();
        cluster.run_for(5_000);
        common::sound(&cluster, seed);
        let named = cluster.properties().offenders();
        assert_eq!(named, BTreeSet::from([0, 1]), "EVCHAIN_SEED={seed}: f + 1 = 2");
        assert!(cluster.halted(2).is_some() || cluster.halted(3).is_some(), "EVCHAIN_SEED={seed}");
    }
}
