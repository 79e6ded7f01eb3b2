//! Goal: certificates, the signer and the timeouts follow their rules, and an engine is not moved by
//! messages that break theirs (scenarios 23, 24, 27).
//! Method: tables, and single engines that are stepped by hand.

mod common;

use std::sync::Arc;

use common::bench::{
    Bench, CONFIG, EPOCH, WALL, certified, committee, contents, halt, hash, rejections, signed, view, voted,
};
use evchain_consensus::authority_set::Committee;
use evchain_consensus::block::{Block, BlockRef, Payload};
use evchain_consensus::config::{Config, ConfigError};
use evchain_consensus::engine::Engine;
use evchain_consensus::epochs::Epochs;
use evchain_consensus::input::{Execution, Input, Moment, NextEpoch, Now};
use evchain_consensus::message::{
    Blocks, Certificates, Finalized, GetBlocks, GetFinalized, Message, Proposal,
};
use evchain_consensus::output::{BuildRequest, Contents, HaltReason, Output, Rejection};
use evchain_consensus::signer::{Refusal, Signer};
use evchain_consensus::wal::{LogRecord, Recovered, RecoveryError};
use evchain_protocol::authority::{AuthorityIndex, AuthoritySet};
use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{
    Certificate, CertificateError, Justification, MAX_SKIPS, ParentProof, Signers, Subject,
};
use evchain_protocol::primitives::{Epoch, Height, Span, Timestamp, View};

#[test]
fn certificates_are_valid_or_say_why_not() {
    let (committee, keys) = committee();
    let subject = Subject::notarize(EPOCH, view(3), hash(1));
    let good = certified(&committee, &keys[..3], subject);
    let check = |certificate: &Certificate| certificate.verify(committee.electorate(), |_| None);
    let with = |change: &dyn Fn(&mut Vec<Signature>)| {
        let mut signatures = good.signatures.to_vec();
        change(&mut signatures);
        Certificate { signatures: List::new(signatures).unwrap(), ..good.clone() }
    };
    let index = AuthorityIndex::new;
    let signers = |indices: &[u8]| indices.iter().copied().map(index).collect::<Signers>();

    assert_eq!(check(&good), Ok(()));
    let foreign = certified(&committee, &keys[..3], Subject::nullify(Epoch::new(1), view(3)));
    assert_eq!(check(&foreign), Err(CertificateError::WrongEpoch { found: Epoch::new(1), expected: EPOCH }));
    let root = certified(&committee, &keys[..3], Subject::nullify(EPOCH, View::ZERO));
    assert_eq!(check(&root), Err(CertificateError::ViewZero));
    let few = certified(&committee, &keys[..2], subject);
    assert_eq!(check(&few), Err(CertificateError::WrongSignerCount { found: 2, expected: 3 }));
    let many = certified(&committee, &keys, subject);
    assert_eq!(check(&many), Err(CertificateError::WrongSignerCount { found: 4, expected: 3 }));
    // A signer counted twice is one bit, so its second signature is one too many for the others.
    let twice = Certificate { signers: signers(&[0, 0, 1]), ..good.clone() };
    assert_eq!(check(&twice), Err(CertificateError::WrongSignerCount { found: 2, expected: 3 }));
    let repeated = with(&|signatures| signatures[1] = signatures[0]);
    assert_eq!(check(&repeated), Err(CertificateError::BadSignature(index(1))));
    let short = with(&|signatures| _ = signatures.pop());
    assert_eq!(check(&short), Err(CertificateError::WrongSignatureCount { signatures: 2, signers: 3 }));
    let swapped = with(&|signatures| signatures.swap(0, 1));
    assert_eq!(check(&swapped), Err(CertificateError::BadSignature(index(0))));
    let stranger = Certificate { signers: signers(&[0, 1, 4]), ..good.clone() };
    assert_eq!(check(&stranger), Err(CertificateError::UnknownSigner(index(4))));
    let other = Certificate { subject: Subject::finalize(EPOCH, view(3), hash(1)), ..good.clone() };
    assert_eq!(check(&other), Err(CertificateError::BadSignature(index(0))));
    let mut known = good.signatures.to_vec();
    known[2] = Signature::from_bytes([0; 64]);
    let known_elsewhere = |index: AuthorityIndex| known.get(usize::from(index.get())).copied();
    let forged = with(&|signatures| signatures[0] = Signature::from_bytes([1; 64]));
    assert_eq!(
        forged.verify(committee.electorate(), known_elsewhere),
        Err(CertificateError::BadSignature(index(0)))
    );
}

#[test]
fn the_signer_refuses_what_contradicts_its_record() {
    let (committee, keys) = committee();
    let (notarize, nullify, finalize) = (
        |block| Subject::notarize(EPOCH, view(5), hash(block)),
        Subject::nullify(EPOCH, view(5)),
        |block| Subject::finalize(EPOCH, view(5), hash(block)),
    );
    let cases: [(&[Subject], Subject, Result<(), Refusal>); 11] = [
        (&[notarize(1)], notarize(1), Ok(())),
        (&[notarize(1)], notarize(2), Err(Refusal::DoubleNotarize(view(5)))),
        (&[nullify], notarize(1), Err(Refusal::NotarizeAfterNullify(view(5)))),
        (&[notarize(1)], nullify, Ok(())),
        (&[notarize(1), nullify], nullify, Ok(())),
        (&[finalize(1)], nullify, Err(Refusal::NullifyAfterFinalize(view(5)))),
        (&[notarize(1), nullify], finalize(1), Err(Refusal::FinalizeAfterNullify(view(5)))),
        (&[finalize(1)], finalize(2), Err(Refusal::DoubleFinalize(view(5)))),
        (&[notarize(1)], finalize(2), Err(Refusal::Mismatch(view(5)))),
        (&[finalize(1)], notarize(2), Err(Refusal::Mismatch(view(5)))),
        (&[notarize(1)], finalize(1), Ok(())),
    ];
    for (before, asked, expected) in cases {
        let mut signer = Signer::new(keys[0].clone(), &committee, View::ZERO).unwrap();
        let mut restored = Signer::new(keys[0].clone(), &committee, View::ZERO).unwrap();
        for subject in before {
            let vote = signer.vote(&committee, *subject).unwrap();
            restored.restore(vote).unwrap();
        }
        assert_eq!(signer.vote(&committee, asked).map(|_| ()), expected, "{before:?} then {asked:?}");
        assert_eq!(restored.vote(&committee, asked).map(|_| ()), expected, "restored {before:?}, {asked:?}");
    }
    let mut signer = Signer::new(keys[0].clone(), &committee, view(5)).unwrap();
    let refusal = Refusal::BelowFloor { view: view(5), floor: view(5) };
    assert_eq!(signer.vote(&committee, nullify), Err(refusal));
    let foreign = signed(&committee, &keys[1], Subject::nullify(EPOCH, view(6)));
    assert_eq!(signer.restore(foreign), Err(Refusal::Foreign(foreign.signer)));
}

#[test]
fn timeouts_back_off_up_to_sixteen_times() {
    let hop_bounds: Vec<u64> = (0..9).map(|failed| CONFIG.backed_off_hop_bound(failed).get()).collect();
    assert_eq!(hop_bounds, [100, 150, 225, 337, 505, 757, 1135, 1600, 1600]);
    assert_eq!(CONFIG.backed_off_hop_bound(u64::MAX), Span::new(1600));
    assert_eq!(CONFIG.leader_timeout(0), Span::new(200));
    assert_eq!(CONFIG.view_timeout(1), Span::new(600));
    assert_eq!(CONFIG.check(), Ok(()));
    let zero = Config { hop_bound: Span::ZERO, ..CONFIG };
    assert_eq!(zero.check(), Err(ConfigError::NoHopBound));
    let idle = Config { idle: Span::new(101), ..CONFIG };
    let error = ConfigError::IdleTooLong { idle: Span::new(101), hop_bound: Span::new(100) };
    assert_eq!(idle.check(), Err(error));
}

#[test]
fn a_vote_is_logged_before_it_is_sent() {
    let mut bench = Bench::new();
    let proposal = bench.proposal(WALL.get());
    let block = proposal.block.hash();
    assert!(voted(&bench.hear(Message::Proposal(proposal))).is_empty(), "not before its execution");
    let outputs = bench.step(Input::Executed { block, outcome: Execution::Valid });
    let kinds: Vec<&str> = outputs
        .iter()
        .map(|output| match output {
            Output::Persist(LogRecord::Block(_)) => "log block",
            Output::Persist(LogRecord::Vote(_)) => "log vote",
            Output::Broadcast(Message::Vote(_)) => "send vote",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["log block", "log vote", "send vote"]);
}

#[test]
fn a_proposal_from_the_future_waits_for_the_clock() {
    let mut bench = Bench::new();
    let proposal = bench.proposal(WALL.get() + 501);
    let block = proposal.block.hash();
    bench.hear(Message::Proposal(proposal));
    let outputs = bench.step(Input::Executed { block, outcome: Execution::Valid });
    assert!(voted(&outputs).is_empty());
    assert_eq!(bench.engine.next_deadline(), Some(Moment::new(1)));

    let mut bench = Bench::new();
    let proposal = bench.proposal(WALL.get() + 500);
    let block = proposal.block.hash();
    bench.hear(Message::Proposal(proposal));
    let outputs = bench.step(Input::Executed { block, outcome: Execution::Valid });
    assert_eq!(voted(&outputs), [Subject::notarize(EPOCH, view(1), block)]);
}

#[test]
fn an_invalid_proposal_ends_its_view() {
    let mut bench = Bench::new();
    let proposal = bench.proposal(WALL.get());
    let block = proposal.block.hash();
    bench.hear(Message::Proposal(proposal));
    let outcome = Execution::Invalid("wrong root".to_owned());
    let outputs = bench.step(Input::Executed { block, outcome });
    assert_eq!(voted(&outputs), [Subject::nullify(EPOCH, view(1))]);
    assert_eq!(halt(&outputs), None);
}

/// Scenario 27: execution is not deterministic, so what a quorum found valid is not valid here.
#[test]
fn an_invalid_block_with_a_quorum_stops_the_engine() {
    for notarized_first in [true, false] {
        let mut bench = Bench::new();
        let proposal = bench.proposal(WALL.get());
        let block = proposal.block.hash();
        let notarization =
            certified(&bench.committee, &bench.keys[..3], Subject::notarize(EPOCH, view(1), block));
        let notarization = Message::Certificate(Arc::new(notarization));
        bench.hear(Message::Proposal(proposal));
        let executed = Input::Executed { block, outcome: Execution::Invalid("wrong root".to_owned()) };
        let outputs = if notarized_first {
            bench.hear(notarization);
            bench.step(executed)
        } else {
            bench.step(executed);
            bench.hear(notarization)
        };
        let expected = HaltReason::CertifiedBlockInvalid {
            block,
            height: Height::new(1),
            reason: "wrong root".to_owned(),
        };
        assert_eq!(halt(&outputs), Some(expected));
        assert_eq!(bench.engine.next_deadline(), None);
        assert!(bench.step(Input::Tick).is_empty(), "it does nothing any more");
    }
}

/// Blocks on each other from the epoch's root on, the first given or made too, in the views of their heights.
fn chain(committee: &Committee, first: Option<Arc<Block>>, length: u64) -> Vec<Arc<Block>> {
    let mut blocks: Vec<Arc<Block>> = first.into_iter().collect();
    for height in blocks.len() as u64 + 1..=length {
        let parent_hash = blocks.last().map_or(committee.root().hash, |parent| parent.hash());
        let just = Justification { parent: ParentProof::Root, skips: List::default() };
        let header = Header {
            chain: committee.chain(),
            epoch: EPOCH,
            height: Height::new(height),
            view: view(height),
            parent_hash,
            parent_view: view(height - 1),
            proposer: committee.leader_key(view(height)).unwrap(),
            time_ms: Timestamp::new(WALL.get() + height),
            tx_root: hash(1),
            event_root: hash(1),
            state_root: hash(1),
            just_root: just.root(),
            authority_root: committee.authority_root(),
            next_authority_root: hash(1),
        };
        blocks.push(Arc::new(Block::new(header, just, Payload::default()).unwrap()));
    }
    blocks
}

/// Scenario 27, C3: a quorum vouches for a block by finalizing it or one that builds on it, and nobody tells
/// of its own notarization.
#[test]
fn an_invalid_block_below_a_final_one_stops_the_engine() {
    for length in [1, 2, 3] {
        for by_hash in [true, false] {
            let mut bench = Bench::new();
            let proposal = bench.proposal(WALL.get());
            let block = proposal.block.hash();
            let blocks = chain(&bench.committee, Some(proposal.block.clone()), length);
            bench.hear(Message::Proposal(proposal));
            bench.step(Input::Executed { block, outcome: Execution::Invalid("wrong root".to_owned()) });
            let last = blocks.last().unwrap().hash();
            let subject = Subject::finalize(EPOCH, view(length), last);
            let finalization = Arc::new(certified(&bench.committee, &bench.keys[..3], subject));
            let mut outputs = bench.hear(Message::Certificate(finalization.clone()));
            if halt(&outputs).is_none() {
                let asked = outputs.clone();
                let all = if by_hash { Vec::new() } else { blocks.clone() };
                let answer = Finalized { blocks: List::new(all).unwrap(), finalization };
                outputs.extend(bench.answer(&asked, Message::Finalized(answer)));
                if by_hash {
                    let newest_first = blocks.iter().rev().cloned();
                    let asked = outputs.clone();
                    outputs.extend(bench.answer(&asked, Message::Blocks(Blocks::gather(newest_first))));
                }
            }
            let reason = "wrong root".to_owned();
            let expected = HaltReason::CertifiedBlockInvalid { block, height: Height::new(1), reason };
            assert_eq!(halt(&outputs), Some(expected), "{length} blocks, by hash: {by_hash}");
        }
    }
}

/// E1: a quorum's votes for a block above the epoch's last one stop the engine before it commits anything.
#[test]
fn a_final_block_above_the_last_stops_the_engine() {
    for kind in [Subject::notarize, Subject::finalize] {
        let (committee, keys) = committee();
        let committee = committee.ending_at(Height::new(2));
        let mut bench = Bench::of(0, Recovered::fresh(committee.root()), keys, committee);
        let blocks = chain(&bench.committee, None, 3);
        let last = blocks[2].hash();
        let certificate = certified(&bench.committee, &bench.keys[..3], kind(EPOCH, view(3), last));
        let mut outputs = bench.hear(Message::Certificate(Arc::new(certificate)));
        let finalization =
            certified(&bench.committee, &bench.keys[..3], Subject::finalize(EPOCH, view(3), last));
        let answer = Finalized { blocks: List::new(blocks).unwrap(), finalization: Arc::new(finalization) };
        outputs.extend(bench.hear(Message::Certificate(answer.finalization.clone())));
        if halt(&outputs).is_none() {
            let asked = outputs.clone();
            outputs.extend(bench.answer(&asked, Message::Finalized(answer)));
        }
        assert_eq!(halt(&outputs), Some(HaltReason::BeyondEpoch { block: last, height: Height::new(3) }));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Commit { .. })));
    }
}

/// E4: between the end of an epoch and the next the engine does nothing but to have what is final served.
#[test]
fn what_is_final_is_served_after_the_end() {
    let (committee, keys) = committee();
    let committee = committee.ending_at(Height::new(1));
    let mut bench = Bench::of(0, Recovered::fresh(committee.root()), keys, committee);
    let blocks = chain(&bench.committee, None, 1);
    let block = blocks[0].hash();
    let subject = Subject::finalize(EPOCH, view(1), block);
    let finalization = Arc::new(certified(&bench.committee, &bench.keys[..3], subject));
    let asked = bench.hear(Message::Certificate(finalization.clone()));
    let answer = Finalized { blocks: List::new(blocks).unwrap(), finalization };
    bench.answer(&asked, Message::Finalized(answer));
    bench.step(Input::Executed { block, outcome: Execution::Valid });
    assert!(bench.engine.has_ended());
    let above = GetFinalized { above: Height::ZERO };
    assert!(matches!(bench.hear(Message::GetFinalized(above))[..], [Output::ServeFinalized { .. }]));
    let newest = GetBlocks { newest: block, above: Height::ZERO };
    assert!(matches!(bench.hear(Message::GetBlocks(newest))[..], [Output::ServeBlocks { .. }]));
    let vote = signed(&bench.committee, &bench.keys[1], Subject::nullify(EPOCH, view(2)));
    assert!(bench.hear(Message::Vote(vote)).is_empty());
    bench.now_ms = 10_000;
    assert!(bench.step(Input::Tick).is_empty() && bench.engine.next_deadline().is_none());
}

/// Whether the engine asks for the final chain.
fn asks_for_the_final_chain(outputs: &[Output]) -> bool {
    let is_request =
        |output: &Output| matches!(output, Output::Send { message: Message::GetFinalized(_), .. });
    outputs.iter().any(is_request)
}

/// S8: if a peer has nothing to give, as one that commits a moment later, another one is asked at once, and
/// the one after that when an answer has had its time.
#[test]
fn who_has_no_final_chain_is_passed_over() {
    let mut bench = Bench::new();
    let blocks = chain(&bench.committee, None, 1);
    let subject = Subject::finalize(EPOCH, view(1), blocks[0].hash());
    let finalization = Arc::new(certified(&bench.committee, &bench.keys[..3], subject));
    let asked = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Send { to, message: Message::GetFinalized(_) } => Some(*to),
            _ => None,
        })
    };
    let teller = bench.keys[0].public_key();
    let first = asked(&bench.hear(Message::Certificate(finalization))).unwrap();
    assert_eq!(first, teller, "who tells of a finalization is asked first");
    let stranger = PublicKey::from_bytes([0; 32]);
    assert_eq!(asked(&bench.step(Input::Unanswered { from: stranger })), None, "nobody asked it");
    let second = asked(&bench.step(Input::Unanswered { from: first })).unwrap();
    assert_ne!(second, first);
    assert_eq!(asked(&bench.step(Input::Unanswered { from: second })), None, "not round and round");
    bench.now_ms = 200;
    let third = asked(&bench.step(Input::Tick)).unwrap();
    assert!(asked(&bench.step(Input::Unanswered { from: third })).is_some(), "once in each interval");
}

/// S7: whoever answers with a finalization and no blocks makes the others fetch them by hash, but not for
/// ever: neither if nobody has them, nor if there are more than can be held.
#[test]
fn blocks_by_hash_are_given_up() {
    let mut bench = Bench::new();
    let blocks = chain(&bench.committee, None, 9_000);
    let subject = Subject::finalize(EPOCH, view(9_000), blocks[8_999].hash());
    let finalization = Arc::new(certified(&bench.committee, &bench.keys[..3], subject));
    let empty =
        || Message::Finalized(Finalized { blocks: List::default(), finalization: finalization.clone() });
    let outputs = bench.hear(Message::Certificate(finalization.clone()));
    assert!(!asks_for_the_final_chain(&bench.answer(&outputs, empty())));
    let mut asked = None;
    for _ in 0..6 {
        bench.now_ms += 200;
        asked = asked.or(Some(bench.step(Input::Tick)).filter(|outputs| asks_for_the_final_chain(outputs)));
    }
    let asked = asked.expect("nobody answered by hash");

    let mut outputs = bench.answer(&asked, empty());
    let mut newest = blocks.len();
    while newest > 0 && !asks_for_the_final_chain(&outputs) {
        let some = Blocks::gather(blocks[..newest].iter().rev().cloned());
        newest -= some.blocks.len();
        outputs = bench.answer(&outputs, Message::Blocks(some));
    }
    assert!(asks_for_the_final_chain(&outputs), "all that it can hold is far above the tip");
    // Then an honest answer is of use.
    let subject = Subject::finalize(EPOCH, view(100), blocks[99].hash());
    let finalization = Arc::new(certified(&bench.committee, &bench.keys[..3], subject));
    let answer = Finalized { blocks: List::new(blocks[..100].to_vec()).unwrap(), finalization };
    bench.answer(&outputs, Message::Finalized(answer));
    for block in &blocks[..100] {
        bench.step(Input::Executed { block: block.hash(), outcome: Execution::Valid });
    }
    assert_eq!(bench.engine.tip().height, Height::new(100));
}

/// N1: who passes a proposal on may have spoiled what its leader did not sign, so it counts only if the
/// leader itself sends it.
#[test]
fn a_proposal_counts_from_its_leader_only() {
    let mut bench = Bench::new();
    let proposal = bench.proposal(WALL.get());
    let (block, leader) = (proposal.block.hash(), proposal.block.header().proposer);
    let other = bench.keys.iter().map(KeyPair::public_key).find(|key| *key != leader).unwrap();
    let header = proposal.block.header().clone();
    let payload = Payload::new(vec![1]).unwrap();
    let spoiled = Arc::new(Block::new(header, proposal.block.just().clone(), payload).unwrap());
    let message = Message::Proposal(Proposal { block: spoiled, ..proposal.clone() });
    let outputs = bench.step(Input::Message { from: other, message });
    assert!(outputs.is_empty(), "it is not even executed: {outputs:?}");
    bench.hear(Message::Proposal(proposal));
    let outputs = bench.step(Input::Executed { block, outcome: Execution::Valid });
    assert_eq!(voted(&outputs), [Subject::notarize(EPOCH, view(1), block)]);
}

#[test]
fn certificates_that_exclude_each_other_stop_the_engine() {
    let (notarize, nullify, finalize) = (
        |block| Subject::notarize(EPOCH, view(1), hash(block)),
        Subject::nullify(EPOCH, view(1)),
        |block| Subject::finalize(EPOCH, view(1), hash(block)),
    );
    let cases = [
        ([notarize(1), notarize(2)], true),
        ([finalize(1), finalize(2)], true),
        ([finalize(1), notarize(2)], true),
        ([notarize(1), finalize(2)], true),
        ([nullify, finalize(1)], true),
        ([finalize(1), nullify], true),
        ([notarize(1), nullify], false),
        ([notarize(1), finalize(1)], false),
    ];
    for (subjects, conflict) in cases {
        let mut bench = Bench::new();
        let mut halted = None;
        for subject in subjects {
            let certificate = Arc::new(certified(&bench.committee, &bench.keys[..3], subject));
            halted = halt(&bench.hear(Message::Certificate(certificate)));
        }
        let expected = conflict.then_some(HaltReason::ConflictingCertificates(view(1)));
        assert_eq!(halted, expected, "{subjects:?}");
    }
}

/// Scenario 23: messages of another epoch, of far views, forged ones and floods change nothing and are
/// not kept.
#[test]
fn messages_out_of_bounds_are_not_kept() {
    let mut bench = Bench::new();
    let before = bench.engine.footprint();
    let (committee, keys) = (bench.committee.clone(), bench.keys.clone());
    let vote = |subject| Message::Vote(signed(&committee, &keys[0], subject));
    let mut forged = signed(&committee, &keys[0], Subject::nullify(EPOCH, view(1)));
    forged.subject = Subject::nullify(EPOCH, view(2));
    let mut stranger = forged;
    stranger.signer = AuthorityIndex::new(200);
    let wrong_epoch = certified(&committee, &keys[..3], Subject::nullify(Epoch::new(7), view(1)));
    let cases = [
        (vote(Subject::nullify(Epoch::new(1), view(1))), None),
        (vote(Subject::nullify(EPOCH, View::ZERO)), None),
        (vote(Subject::nullify(EPOCH, view(18))), None),
        (vote(Subject::nullify(EPOCH, View::MAX)), None),
        (Message::Vote(forged), Some(Rejection::BadVote(view(2)))),
        (Message::Vote(stranger), Some(Rejection::BadVote(view(2)))),
        (Message::Certificate(Arc::new(wrong_epoch)), None),
    ];
    for (message, rejection) in cases {
        let outputs = bench.hear(message.clone());
        assert_eq!(rejections(&outputs), Vec::from_iter(rejection), "{message:?}");
        assert_eq!(bench.engine.footprint(), before, "{message:?}");
    }
    for block in 0..200 {
        bench.hear(vote(Subject::notarize(EPOCH, view(17), hash(block))));
    }
    assert_eq!(bench.engine.footprint().votes, before.votes + 1, "one for each signer, view and kind");
    let few = certified(&committee, &keys[..2], Subject::nullify(EPOCH, view(1)));
    let error = CertificateError::WrongSignerCount { found: 2, expected: 3 };
    let outputs = bench.hear(Message::Certificate(Arc::new(few)));
    assert_eq!(rejections(&outputs), [Rejection::BadCertificate { view: view(1), error }]);
}

#[test]
fn a_proposal_of_anybody_but_the_leader_is_rejected() {
    let mut bench = Bench::new();
    let mut proposal = bench.proposal(WALL.get());
    let leader = proposal.block.header().proposer;
    let impostor = bench.keys.iter().find(|key| key.public_key() != leader).unwrap().clone();
    proposal.vote = signed(&bench.committee, &impostor, proposal.vote.subject);
    let outputs = bench.hear(Message::Proposal(proposal));
    assert_eq!(rejections(&outputs), [Rejection::UnsignedProposal(view(1))]);
}

/// A view without a proposal is given up after 2D, one with a proposal after 4D.
#[test]
fn views_are_given_up_in_time() {
    let mut bench = Bench::new();
    assert_eq!(bench.engine.next_deadline(), Some(Moment::new(200)));
    bench.now_ms = 199;
    assert!(voted(&bench.step(Input::Tick)).is_empty());
    bench.now_ms = 200;
    assert_eq!(voted(&bench.step(Input::Tick))[0], Subject::nullify(EPOCH, view(1)));

    let mut bench = Bench::new();
    let proposal = bench.proposal(WALL.get());
    bench.hear(Message::Proposal(proposal));
    bench.now_ms = 399;
    assert!(voted(&bench.step(Input::Tick)).is_empty());
    bench.now_ms = 400;
    assert_eq!(voted(&bench.step(Input::Tick))[0], Subject::nullify(EPOCH, view(1)));
}

/// Scenario 24: what a log says is taken up, and a damaged or foreign log stops the start.
#[test]
fn starts_from_its_log_or_not_at_all() {
    let (committee, keys) = committee();
    let vote = |key: usize, subject| LogRecord::Vote(signed(&committee, &keys[key], subject));
    let certificate = |subject| LogRecord::Certificate(Arc::new(certified(&committee, &keys[..3], subject)));
    let start = |records, may_vote| {
        let recovered = Recovered { records, may_vote, ..Recovered::fresh(committee.root()) };
        Engine::new(CONFIG, committee.clone(), Some(keys[0].clone()), recovered)
    };
    let notarize = |block| Subject::notarize(EPOCH, view(4), hash(block));
    let nullify = Subject::nullify(EPOCH, view(4));
    let view_after = |records| start(records, true).unwrap().view();
    assert_eq!(view_after(vec![]), view(1));
    assert_eq!(view_after(vec![vote(0, nullify)]), view(4));
    assert_eq!(view_after(vec![certificate(notarize(1))]), view(4));
    assert_eq!(view_after(vec![certificate(nullify)]), view(5));
    assert_eq!(view_after(vec![certificate(Subject::finalize(EPOCH, view(4), hash(1)))]), view(5));
    let error = |records| start(records, true).err();
    let contradiction = vec![vote(0, notarize(1)), vote(0, notarize(2))];
    assert_eq!(error(contradiction), Some(RecoveryError::ContradictoryVotes(view(4))));
    assert_eq!(error(vec![vote(1, nullify)]), Some(RecoveryError::ForeignVote(view(4))));
    let conflict = vec![certificate(notarize(1)), certificate(notarize(2))];
    assert_eq!(error(conflict), Some(RecoveryError::ContradictoryCertificates(view(4))));
    let mut forged = certified(&committee, &keys[..3], nullify);
    forged.subject = Subject::nullify(EPOCH, view(5));
    let bad = vec![LogRecord::Certificate(Arc::new(forged))];
    assert_eq!(error(bad), Some(RecoveryError::BadCertificate(view(5))));
    assert!(start(vec![], true).unwrap().is_voting());
    assert!(!start(vec![], false).unwrap().is_voting());
    let tip = BlockRef { hash: hash(3), view: view(3), ..committee.root() };
    let recovered = Recovered { tip, ..Recovered::fresh(committee.root()) };
    let result = Engine::new(CONFIG, committee.clone(), None, recovered);
    assert_eq!(result.err(), Some(RecoveryError::TipNotFinal(view(3))));
}

#[test]
fn a_leader_that_cannot_propose_gives_its_view_up() {
    let (committee, keys) = committee();
    let own = usize::from(committee.leader(view(1)).get());
    let mut bench = Bench::of(own, Recovered::fresh(committee.root()), keys, committee);
    let outputs = bench.step(Input::Built { epoch: EPOCH, view: view(1), block: None });
    assert_eq!(voted(&outputs), [Subject::nullify(EPOCH, view(1))]);
}

/// What the shell builds is proposed only if it is what was asked for.
#[test]
fn a_block_that_was_not_asked_for_is_not_proposed() {
    let (committee, keys) = committee();
    let own = usize::from(committee.leader(view(1)).get());
    let bench = Bench::of(own, Recovered::fresh(committee.root()), keys, committee);
    let good = bench.proposal(WALL.get()).block;
    let request = BuildRequest {
        chain: ChainId(hash(7)),
        epoch: EPOCH,
        view: view(1),
        height: Height::new(1),
        parent: bench.committee.root(),
        just: good.just().clone(),
        proposer: PublicKey::from_bytes([0; 32]),
        authority_root: hash(0),
        idle: Span::ZERO,
    };
    let mut bench = bench;
    let foreign = request.finish(contents(WALL.get()));
    let outputs = bench.step(Input::Built { epoch: EPOCH, view: view(1), block: Some(foreign) });
    assert!(outputs.is_empty());
    let outputs = bench.step(Input::Built { epoch: EPOCH, view: view(1), block: Some(good.clone()) });
    let proposed = outputs.iter().any(
        |output| matches!(output, Output::Broadcast(Message::Proposal(proposal)) if proposal.block == good),
    );
    assert!(proposed);
}

/// P4, E3: what the shell answers late, of an epoch that is over, has no effect in the next one.
#[test]
fn answers_of_another_epoch_have_no_effect() {
    let (committee, keys) = alone();
    let authorities = committee.authorities().clone();
    let recovered = Recovered::fresh(committee.root());
    let mut epochs = Epochs::new(CONFIG, committee, Some(keys), recovered).unwrap();
    let mut step = |input| {
        let mut outputs = Vec::new();
        epochs.step(Now { monotonic: Moment::new(1), wall: WALL }, input, &mut outputs);
        outputs
    };
    let next = |epoch: u64| {
        Input::NextEpoch(NextEpoch {
            epoch: Epoch::new(epoch),
            authorities: authorities.clone(),
            last_height: Height::new(epoch + 1),
            config: CONFIG,
            may_vote: true,
        })
    };
    let failed = |epoch: u64| Input::Built { epoch: Epoch::new(epoch), view: view(1), block: None };

    let mut outputs = step(Input::Start);
    for epoch in 0..3 {
        let request = build_request(&outputs);
        assert_eq!((request.epoch, request.view), (Epoch::new(epoch), view(1)));
        if let Some(before) = epoch.checked_sub(1) {
            assert!(step(failed(before)).is_empty(), "epoch {before} in epoch {epoch}");
        }
        let next_authority_root = authorities.root(Epoch::new(epoch + 1));
        let contents = Contents { next_authority_root, ..contents(WALL.get() + epoch) };
        let block = Some(request.finish(contents));
        let ended = step(Input::Built { epoch: request.epoch, view: request.view, block });
        assert!(ended.iter().any(|output| matches!(output, Output::Commit { ends_epoch: true, .. })));
        assert!(step(next(epoch)).is_empty(), "the epoch that has ended begins no other");
        outputs = step(next(epoch + 1));
    }
    assert!(!voted(&step(failed(3))).is_empty(), "an answer of this epoch counts");
}

/// A single authority, whose epoch ends with its first block.
fn alone() -> (Committee, KeyPair) {
    let key = KeyPair::from_secret(&[1; 32]);
    let (four, _) = committee();
    let set = AuthoritySet::new(vec![key.public_key()]).unwrap();
    (Committee::new(four.chain(), EPOCH, set, four.root()).ending_at(Height::new(1)), key)
}

fn build_request(outputs: &[Output]) -> BuildRequest {
    let request = outputs.iter().find_map(|output| match output {
        Output::Build(request) => Some(request.clone()),
        _ => None,
    });
    request.expect("a block is asked for")
}

/// N5: a justification has room for the last skips only. Who votes holds the others itself, or asks for
/// them, and for what is still missing as soon as some have come.
#[test]
fn a_voter_asks_for_skips_that_are_in_no_justification() {
    let (committee, keys) = committee();
    let last = view(MAX_SKIPS as u64 + 5);
    let skip = |number| Arc::new(certified(&committee, &keys[..3], Subject::nullify(EPOCH, view(number))));
    let skips: Vec<Arc<Certificate>> = (1..last.get()).map(skip).collect();
    let bench_of = |own| Bench::of(own, Recovered::fresh(committee.root()), keys.clone(), committee.clone());
    let leads = usize::from(committee.leader(last).get());
    let (mut leader, mut voter) = (bench_of(leads), bench_of((leads + 1) % 4));

    let heard = skips.iter().map(|skip| leader.hear(Message::Certificate(skip.clone()))).last();
    let request = build_request(&heard.unwrap());
    assert_eq!(request.just.skips.to_vec(), skips[4..]);
    let block = request.finish(contents(WALL.get()));
    leader.step(Input::Built { epoch: EPOCH, view: last, block: Some(block.clone()) });
    let vote = signed(&committee, &keys[leads], Subject::notarize(EPOCH, last, block.hash()));

    voter.hear(Message::Certificate(skips[skips.len() - 1].clone()));
    assert_eq!(voter.engine.view(), last);
    let asked = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Send { message: Message::GetCertificates(request), .. } => Some((request.lo, request.hi)),
            _ => None,
        })
    };
    let outputs = voter.hear(Message::Proposal(Proposal { block: block.clone(), again: None, vote }));
    assert_eq!((asked(&outputs), voted(&outputs)), (Some((view(1), view(4))), vec![]));
    assert_eq!(asked(&voter.step(Input::Tick)), None, "not before the answer had its time");
    let answer = |skips: &[Arc<Certificate>]| Message::Certificates(Certificates::gather(skips.to_vec()));
    let outputs = voter.hear(answer(&skips[2..4]));
    assert_eq!((asked(&outputs), voted(&outputs)), (Some((view(1), view(2))), vec![]));
    voter.hear(answer(&skips[..2]));
    let outputs = voter.step(Input::Executed { block: block.hash(), outcome: Execution::Valid });
    assert_eq!(voted(&outputs), [vote.subject]);
}
