//! Goal: who sends forgeries, copies, spoiled bodies and empty claims costs little, is named once for each
//! message, and keeps nobody behind (rules A2, W4, S5 to S8, E6).
//! Method: single engines that are stepped by hand, and hear more bad messages than a network would bring.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::bench::{
    Bench, CONFIG, EPOCH, WALL, certified, committee, contents, hash, rejections, signed, view, voted,
};
use evchain_consensus::block::{Block, Payload};
use evchain_consensus::epochs::Epochs;
use evchain_consensus::input::{Execution, Input, Moment, Now};
use evchain_consensus::message::{Certificates, Finalized, Message, Status};
use evchain_consensus::output::{BuildRequest, Output, Rejection};
use evchain_consensus::wal::Recovered;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{KeyPair, PublicKey, Signature};
use evchain_protocol::finality::{Certificate, Justification, ParentProof, Signers, Subject, Vote};
use evchain_protocol::primitives::{Epoch, Height, View};

/// W4: messages of one peer that may be bad before nothing of it is verified.
const MAX_BAD_MESSAGES: usize = 16;

/// The first signature is right, the others are none.
fn forged(bench: &Bench, subject: Subject) -> Arc<Certificate> {
    let good = certified(&bench.committee, &bench.keys[..3], subject);
    let mut signatures = vec![Signature::from_bytes([7; 64]); good.signatures.len()];
    signatures[0] = good.signatures.to_vec()[0];
    Arc::new(Certificate { signatures: List::new(signatures).unwrap(), ..good })
}

fn good(bench: &Bench, subject: Subject) -> Arc<Certificate> {
    Arc::new(certified(&bench.committee, &bench.keys[..3], subject))
}

fn batch(certificates: Vec<Arc<Certificate>>) -> Message {
    Message::Certificates(Certificates { certificates: List::new(certificates).unwrap() })
}

/// A chain on the epoch's root, each block with its finalization.
fn final_chain(bench: &Bench, length: u64) -> Vec<(Arc<Block>, Arc<Certificate>)> {
    let mut parent = bench.committee.root();
    let mut proof = ParentProof::Root;
    let mut chain = Vec::new();
    for number in 1..=length {
        let request = BuildRequest {
            chain: bench.committee.chain(),
            epoch: EPOCH,
            view: view(number),
            height: Height::new(number),
            parent,
            just: Justification { parent: proof, skips: List::default() },
            proposer: bench.committee.leader_key(view(number)).unwrap(),
            authority_root: bench.committee.authority_root(),
            idle: CONFIG.idle,
        };
        let block = request.finish(contents(WALL.get() + number));
        parent = block.reference();
        let finalization = good(bench, Subject::finalize(EPOCH, view(number), block.hash()));
        proof = ParentProof::Certificate(finalization.clone());
        chain.push((block, finalization));
    }
    chain
}

fn answer_with(blocks: Vec<Arc<Block>>, finalization: &Arc<Certificate>) -> Message {
    let finalization = finalization.clone();
    Message::Finalized(Finalized { blocks: List::new(blocks).unwrap(), finalization })
}

fn spoiled(block: &Arc<Block>) -> Arc<Block> {
    let payload = Payload::new(vec![6; 9]).unwrap();
    Arc::new(Block::new(block.header().clone(), block.just().clone(), payload).unwrap())
}

/// Who is asked for the final chain.
fn asked(outputs: &[Output]) -> Vec<PublicKey> {
    let to = |output: &Output| match output {
        Output::Send { to, message: Message::GetFinalized(_) } => Some(*to),
        _ => None,
    };
    outputs.iter().filter_map(to).collect()
}

fn executes(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Execute(_))).count()
}

/// The keys of the other authorities; the bench's own is the last.
fn others(bench: &Bench) -> [PublicKey; 3] {
    [0, 1, 2].map(|key: usize| bench.keys[key].public_key())
}

/// W4: nothing in a message is looked at after its first forgery, and its sender is named once for it.
#[test]
fn a_batch_ends_at_its_first_forgery() {
    let mut bench = Bench::new();
    let mut certificates: Vec<_> =
        (0..255).map(|number| forged(&bench, Subject::nullify(EPOCH, view(1_000 + number)))).collect();
    certificates.push(good(&bench, Subject::nullify(EPOCH, view(5))));
    let before = bench.engine.footprint();
    let outputs = bench.hear(batch(certificates.clone()));
    assert_eq!(rejections(&outputs).len(), 1, "once for a message");
    assert_eq!(bench.engine.footprint(), before, "what came after it has no effect");

    certificates.reverse();
    let outputs = bench.hear(batch(certificates));
    assert_eq!(rejections(&outputs).len(), 1);
    assert_eq!(bench.engine.view(), view(6), "what came before it has");

    let finalization = Some(forged(&bench, Subject::finalize(EPOCH, view(9), hash(1))));
    let status = Status { epoch: EPOCH, view: view(99), height: Height::ZERO, finalization };
    let outputs = bench.hear(Message::Status(status));
    assert_eq!(rejections(&outputs).len(), 1);
    let answers = outputs.iter().any(|output| matches!(output, Output::Send { .. }));
    assert!(!answers, "a status with a forgery is not answered");
}

/// W4: a certificate below the tip is looked at vote by vote, up to the first bad one.
#[test]
fn a_forgery_below_the_tip_is_told_once() {
    let mut bench = Bench::new();
    let chain = final_chain(&bench, 3);
    let outputs = bench.hear(Message::Certificate(chain[2].1.clone()));
    bench.answer(&outputs, answer_with(chain.iter().map(|(block, _)| block.clone()).collect(), &chain[2].1));
    for (block, _) in &chain {
        bench.step(Input::Executed { block: block.hash(), outcome: Execution::Valid });
    }
    assert_eq!(bench.engine.tip().height, Height::new(3));
    // Seen below the tip: votes of the three others to nullify view 1.
    for key in [0, 1, 2] {
        let vote = signed(&bench.committee, &bench.keys[key], Subject::nullify(EPOCH, view(1)));
        bench.step(Input::Message { from: bench.keys[key].public_key(), message: Message::Vote(vote) });
    }
    let mut forgery = Certificate::clone(&good(&bench, Subject::finalize(EPOCH, view(1), hash(1))));
    forgery.signatures = List::new(vec![Signature::from_bytes([7; 64]); 3]).unwrap();
    let outputs = bench.hear(Message::Certificate(Arc::new(forgery)));
    assert_eq!(rejections(&outputs), [Rejection::BadVote(view(1))]);
}

/// W4: after a few bad messages nothing more of their sender is verified, be it votes or certificates;
/// that of others is.
#[test]
fn bad_signatures_cost_their_sender_its_word() {
    for with_votes in [true, false] {
        let mut bench = Bench::new();
        let [liar, honest, _] = others(&bench);
        let mut rejected = 0;
        for number in 0..500_u64 {
            let message = if with_votes {
                let vote =
                    signed(&bench.committee, &bench.keys[0], Subject::nullify(EPOCH, view(1 + number % 16)));
                Message::Vote(Vote { signature: Signature::from_bytes([9; 64]), ..vote })
            } else {
                Message::Certificate(forged(&bench, Subject::nullify(EPOCH, view(100 + number))))
            };
            rejected += rejections(&bench.step(Input::Message { from: liar, message })).len();
        }
        assert_eq!(rejected, MAX_BAD_MESSAGES, "with votes: {with_votes}");
        let nullify = Subject::nullify(EPOCH, view(1));
        let real = Message::Certificate(good(&bench, nullify));
        bench.step(Input::Message { from: liar, message: real.clone() });
        assert_eq!(bench.engine.view(), view(1), "its word does not count");
        bench.step(Input::Message { from: honest, message: real });
        assert_eq!(bench.engine.view(), view(2), "another's does");
    }
}

/// B1: votes come from authorities only, so that strangers cannot have any verified.
#[test]
fn strangers_have_no_votes_verified() {
    let mut bench = Bench::new();
    let stranger = KeyPair::from_secret(&[77; 32]).public_key();
    let before = bench.engine.footprint();
    let mut vote = signed(&bench.committee, &bench.keys[0], Subject::nullify(EPOCH, view(1)));
    for _ in 0..2 {
        let outputs = bench.step(Input::Message { from: stranger, message: Message::Vote(vote) });
        assert!(outputs.is_empty(), "{outputs:?}");
        assert_eq!(bench.engine.footprint(), before);
        vote.signature = Signature::from_bytes([9; 64]);
    }
}

/// A2: what is not the certificate held says nothing new, whatever it is made of: it is neither relayed nor
/// held against its sender, who may hold it rightly.
#[test]
fn copies_of_a_held_certificate_have_no_effect() {
    let mut bench = Bench::new();
    let subject = Subject::finalize(EPOCH, view(5), hash(1));
    let held = good(&bench, subject);
    let outputs = bench.hear(Message::Certificate(held.clone()));
    let relays = |outputs: &[Output]| {
        outputs.iter().any(|output| matches!(output, Output::Broadcast(Message::Certificate(_))))
    };
    assert!(relays(&outputs), "what is new and valid is relayed");
    let other_quorum = certified(&bench.committee, &bench.keys[1..], subject);
    let garbage = |n: u8| Certificate {
        signatures: List::new(vec![Signature::from_bytes([n; 64]); 3]).unwrap(),
        ..(*held).clone()
    };
    let none = Certificate { signers: Signers::default(), signatures: List::default(), ..(*held).clone() };
    let copies = (0..100).map(garbage).chain([none, other_quorum, (*held).clone()]);
    for copy in copies {
        let outputs = bench.hear(Message::Certificate(Arc::new(copy)));
        assert!(!relays(&outputs) && rejections(&outputs).is_empty(), "{outputs:?}");
    }
    // Who does not hold it yet is told what it is.
    let outputs = Bench::new().hear(Message::Certificate(Arc::new(garbage(1))));
    assert!(!relays(&outputs));
    assert_eq!(rejections(&outputs).len(), 1);
}

/// S8: who tells each new finalization first, and answers nothing, is asked no more often than the others.
#[test]
fn the_first_teller_is_asked_in_its_turn() {
    let mut bench = Bench::new();
    let [liar, ..] = others(&bench);
    let mut count = BTreeMap::new();
    let mut number = 100;
    for ms in (0..60_000_u64).step_by(10) {
        bench.now_ms = ms;
        let mut outputs = bench.step(Input::Tick);
        if ms % 150 == 0 {
            number += 1;
            let told = good(&bench, Subject::finalize(EPOCH, view(number), hash(3)));
            for from in others(&bench) {
                outputs
                    .extend(bench.step(Input::Message { from, message: Message::Certificate(told.clone()) }));
            }
        }
        for to in asked(&outputs) {
            *count.entry(to).or_insert(0_usize) += 1;
        }
    }
    let all: usize = count.values().sum();
    assert!(all >= 250, "{all} requests in a minute");
    assert_eq!(count.len(), 3, "everybody is asked");
    assert!(count[&liar] <= all / 3 + 1, "{} of {all} requests to the liar", count[&liar]);
}

/// S8: an authority that tells of finalizations is connected, so it need not wait until all others were asked,
/// which may not be: it is asked in each interval, also if it has nothing to give at times.
#[test]
fn who_tells_does_not_wait_for_all_others() {
    const ROUNDS: u64 = 30;
    let mut bench = Bench::new();
    let [teller, ..] = others(&bench);
    let mut asked_it = 0;
    for round in 0..ROUNDS {
        bench.now_ms = round * 200;
        let told = good(&bench, Subject::finalize(EPOCH, view(100 + round), hash(3)));
        let mut next =
            asked(&bench.step(Input::Message { from: teller, message: Message::Certificate(told) }));
        while let Some(from) = next.pop() {
            asked_it += u64::from(from == teller);
            next.extend(asked(&bench.step(Input::Unanswered { from })));
        }
    }
    assert!(asked_it >= ROUNDS - 1, "{asked_it} times in {ROUNDS} intervals");
}

/// S8: strangers get every other turn at most, however many there are and however often they tell.
#[test]
fn strangers_get_every_other_turn() {
    let mut bench = Bench::new();
    let strangers: Vec<_> = (100..=200).map(|byte| KeyPair::from_secret(&[byte; 32]).public_key()).collect();
    let told = Message::Certificate(good(&bench, Subject::finalize(EPOCH, view(50), hash(3))));
    let authorities = others(&bench);
    let mut turns = Vec::new();
    for round in 0..60 {
        bench.now_ms = round * 200;
        let mut outputs = Vec::new();
        for from in &strangers {
            outputs.extend(bench.step(Input::Message { from: *from, message: told.clone() }));
        }
        turns.extend(asked(&outputs));
    }
    assert!(turns.len() >= 59);
    let of_authority = |authority: &PublicKey| turns.iter().filter(|to| *to == authority).count();
    assert!(authorities.iter().all(|authority| of_authority(authority) >= turns.len() / 6), "{turns:?}");
    let in_a_row = turns.windows(2).any(|two| two.iter().all(|to| !authorities.contains(to)));
    assert!(!in_a_row, "never two strangers one after the other");
}

/// S8: the final chain is taken from whom was asked only.
#[test]
fn unasked_answers_have_no_effect() {
    let mut bench = Bench::new();
    let chain = final_chain(&bench, 5);
    let blocks: Vec<_> = chain.iter().map(|(block, _)| block.clone()).collect();
    let best = &chain[4].1;
    let [liar, honest, _] = others(&bench);
    let outputs = bench.step(Input::Message { from: honest, message: Message::Certificate(best.clone()) });
    assert_eq!(asked(&outputs), [honest]);
    let before = bench.engine.footprint();
    for message in [
        answer_with(vec![spoiled(&blocks[0])], &chain[0].1),
        answer_with(Vec::new(), best),
        answer_with(vec![blocks[1].clone(), blocks[0].clone()], best),
        answer_with(blocks.clone(), best),
    ] {
        assert!(bench.step(Input::Message { from: liar, message }).is_empty());
        assert_eq!(bench.engine.footprint(), before);
    }
    let outputs = bench.step(Input::Message { from: honest, message: answer_with(blocks.clone(), best) });
    assert_eq!(executes(&outputs), 1);
    let again = bench.step(Input::Message { from: honest, message: answer_with(blocks, best) });
    assert!(again.is_empty(), "a request has one answer");
}

/// C4, S8: a spoiled body that came first makes no honest answer useless: the other body takes its place
/// at once, and who sent the spoiled one is not asked again.
#[test]
fn a_spoiled_body_is_replaced() {
    let mut bench = Bench::new();
    let chain = final_chain(&bench, 5);
    let blocks: Vec<_> = chain.iter().map(|(block, _)| block.clone()).collect();
    let best = &chain[4].1;
    let [liar, ..] = others(&bench);
    let outputs = bench.step(Input::Message { from: liar, message: Message::Certificate(best.clone()) });
    assert_eq!(asked(&outputs), [liar]);
    bench.now_ms = 200;
    let outputs = bench.step(Input::Tick);
    let honest = asked(&outputs)[0];
    assert_ne!(honest, liar);
    let late = answer_with(vec![spoiled(&blocks[0])], &chain[0].1);
    assert_eq!(executes(&bench.step(Input::Message { from: liar, message: late })), 1);
    let outputs = bench.step(Input::Message { from: honest, message: answer_with(blocks.clone(), best) });
    assert_eq!(executes(&outputs), 0, "it waits for what is being executed");
    let wrong = Input::Executed { block: blocks[0].hash(), outcome: Execution::WrongBody };
    let outputs = bench.step(wrong);
    assert_eq!((executes(&outputs), rejections(&outputs)), (1, vec![Rejection::BadBlocks]));
    assert_eq!(asked(&outputs), [], "there is nothing to ask for");
    for block in &blocks {
        bench.step(Input::Executed { block: block.hash(), outcome: Execution::Valid });
    }
    assert_eq!(bench.engine.tip().height, Height::new(5));

    let far = good(&bench, Subject::finalize(EPOCH, view(90), hash(3)));
    let mut outputs = bench.step(Input::Message { from: liar, message: Message::Certificate(far) });
    let mut turns = asked(&outputs);
    for _ in 0..6 {
        bench.now_ms += 200;
        outputs = bench.step(Input::Tick);
        turns.extend(asked(&outputs));
    }
    assert!(turns.len() >= 6 && !turns.contains(&liar), "{turns:?}");
}

/// S8: who gives one block at a time is not asked next; who gave all that it could is.
#[test]
fn who_gives_little_is_not_preferred() {
    for is_full in [true, false] {
        let mut bench = Bench::new();
        let chain = final_chain(&bench, 4);
        let [first, ..] = others(&bench);
        let outputs =
            bench.step(Input::Message { from: first, message: Message::Certificate(chain[3].1.clone()) });
        assert_eq!(asked(&outputs), [first]);
        let count = if is_full { 4 } else { 1 };
        let blocks: Vec<_> = chain[..count].iter().map(|(block, _)| block.clone()).collect();
        bench.answer(&outputs, answer_with(blocks, &chain[count - 1].1));
        let mut outputs = Vec::new();
        for (block, _) in &chain[..count] {
            outputs = bench.step(Input::Executed { block: block.hash(), outcome: Execution::Valid });
        }
        if is_full {
            let next = good(&bench, Subject::finalize(EPOCH, view(9), hash(3)));
            outputs = bench.step(Input::Message {
                from: bench.keys[1].public_key(),
                message: Message::Certificate(next),
            });
        }
        let next = asked(&outputs);
        assert_eq!(next == [first], is_full, "{next:?}");
    }
}

/// W3, W4: an authority that proposes what nothing justifies is named for that too.
#[test]
fn a_leader_is_named_for_an_unsound_proposal() {
    let mut bench = Bench::new();
    let mut proposal = bench.proposal(WALL.get());
    let mut header = proposal.block.header().clone();
    header.parent_hash = hash(7);
    let block = Arc::new(Block::new(header, proposal.block.just().clone(), Payload::default()).unwrap());
    proposal.vote =
        signed(&bench.committee, &bench.leader(), Subject::notarize(EPOCH, view(1), block.hash()));
    proposal.block = block;
    let outputs = bench.hear(Message::Proposal(proposal));
    assert_eq!(rejections(&outputs), [Rejection::UnsoundProposal(view(1))]);
    assert_eq!(voted(&outputs), [Subject::nullify(EPOCH, view(1))]);
}

/// E6: a stranger that claims to be ahead all the time gets every other turn at most, and an authority the
/// first one that comes after its claim.
#[test]
fn claims_to_be_ahead_are_heard_by_turns() {
    let (committee, keys) = committee();
    let own = (usize::from(committee.leader(view(1)).get()) + 1) % 4;
    let recovered = Recovered::fresh(committee.root());
    let mut epochs = Epochs::new(CONFIG, committee, Some(keys[own].clone()), recovered).unwrap();
    let stranger = KeyPair::from_secret(&[77; 32]).public_key();
    let honest = keys[(own + 1) % 4].public_key();
    let mut turns = Vec::new();
    let mut out = Vec::new();
    for ms in 0..60_000_u64 {
        let now = Now { monotonic: Moment::new(ms), wall: WALL };
        if ms == 0 {
            epochs.step(now, Input::Start, &mut out);
        }
        let subject = Subject::finalize(Epoch::new(5), View::new(ms + 1), hash(3));
        let claim = Certificate { subject, signers: Signers::default(), signatures: List::default() };
        let claim = Message::Certificate(Arc::new(claim));
        epochs.step(now, Input::Message { from: stranger, message: claim.clone() }, &mut out);
        if ms % 50 == 17 {
            epochs.step(now, Input::Message { from: honest, message: claim }, &mut out);
        }
        turns.extend(out.drain(..).filter_map(|output| match output {
            Output::Send { to, message: Message::GetCertificates(_) } => Some(to),
            _ => None,
        }));
    }
    let to_honest = turns.iter().filter(|to| **to == honest).count();
    assert!(turns.len() >= 290, "{} requests", turns.len());
    assert_eq!(turns[1], honest);
    assert!(to_honest >= turns.len() / 2 - 1, "{to_honest} of {} requests", turns.len());
}
