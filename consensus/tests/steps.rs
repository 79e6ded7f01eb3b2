//! Goal: the two scenarios in which everything hangs on what one node does next, step by step (scenarios
//! 4 and 7).
//! Method: tables; single engines that are stepped by hand, and whose shell answers at once.

mod common;

use std::sync::Arc;

use common::bench::{Bench, EPOCH, WALL, certified, committee, contents, signed, view, voted};
use evchain_consensus::block::Block;
use evchain_consensus::input::{Execution, Input};
use evchain_consensus::message::{Blocks, Message, Proposal};
use evchain_consensus::output::{BuildRequest, Output};
use evchain_consensus::wal::{LogRecord, Recovered};
use evchain_protocol::codec::List;
use evchain_protocol::finality::{Certificate, Subject};

/// The engine of this authority, which has just started.
fn bench_of(own: usize) -> Bench {
    let (committee, keys) = committee();
    Bench::of(own, Recovered::fresh(committee.root()), keys, committee)
}

/// Steps, executes what is to be executed and fetches `body` if it is asked for, until nothing is left.
fn settle(bench: &mut Bench, outputs: Vec<Output>, body: &Arc<Block>) -> Vec<Output> {
    let mut all = Vec::new();
    let mut left = outputs;
    while !left.is_empty() {
        let mut next = Vec::new();
        for output in &left {
            next.extend(match output {
                Output::Execute(block) => {
                    bench.step(Input::Executed { block: block.hash(), outcome: Execution::Valid })
                }
                Output::Send { to, message: Message::GetBlocks(_) } => {
                    let blocks = List::new(vec![body.clone()]).unwrap();
                    bench.step(Input::Message { from: *to, message: Message::Blocks(Blocks { blocks }) })
                }
                _ => Vec::new(),
            });
        }
        all.append(&mut left);
        left = next;
    }
    all
}

/// Scenario 4: everybody went down with an own nullify on disk. Each says it again and counts it, so that
/// the votes of a quorum are enough.
#[test]
fn an_own_nullify_from_the_log_counts() {
    let (committee, keys) = committee();
    let nullify = Subject::nullify(EPOCH, view(1));
    // The others whose vote is heard, and the view after that.
    let table: [(&[usize], u64); 4] = [(&[], 1), (&[1], 1), (&[1, 2], 2), (&[1, 2, 3], 2)];
    for (heard, expected) in table {
        let records = vec![LogRecord::Vote(signed(&committee, &keys[0], nullify))];
        let recovered = Recovered { records, ..Recovered::fresh(committee.root()) };
        let mut bench = Bench::of(0, recovered, keys.clone(), committee.clone());
        assert_eq!(bench.engine.view(), view(1));
        for other in heard {
            bench.hear(Message::Vote(signed(&committee, &keys[*other], nullify)));
        }
        assert_eq!(bench.engine.view(), view(expected), "with the votes of {heard:?}");
        bench.now_ms = 200;
        let repeats = voted(&bench.step(Input::Tick)).contains(&nullify);
        assert_eq!(repeats, expected == 1, "with the votes of {heard:?}");
    }
}

/// What a node holds of view 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Notarization,
    Nullification,
}

/// View 1: its proposal, and the two certificates, of which some hold the one and some the other.
struct Split {
    proposal: Proposal,
    notarization: Certificate,
    nullification: Certificate,
}

impl Split {
    fn new() -> Self {
        let (committee, keys) = committee();
        let proposal = bench_of(0).proposal(WALL.get());
        let notarize = Subject::notarize(EPOCH, view(1), proposal.block.hash());
        Self {
            notarization: certified(&committee, &keys[..3], notarize),
            nullification: certified(&committee, &keys[1..], Subject::nullify(EPOCH, view(1))),
            proposal,
        }
    }

    /// Tells a node what it is to hold, and gives all that follows.
    fn tell(&self, bench: &mut Bench, holds: Holds) -> Vec<Output> {
        let certificate = match holds {
            Holds::Notarization => {
                let outputs = bench.hear(Message::Proposal(self.proposal.clone()));
                settle(bench, outputs, &self.proposal.block);
                &self.notarization
            }
            Holds::Nullification => &self.nullification,
        };
        let outputs = bench.hear(Message::Certificate(Arc::new(certificate.clone())));
        settle(bench, outputs, &self.proposal.block)
    }
}

fn build_request(outputs: &[Output]) -> BuildRequest {
    let request = outputs.iter().find_map(|output| match output {
        Output::Build(request) => Some(request.clone()),
        _ => None,
    });
    request.expect("the leader asks for a block")
}

/// Scenario 7: whatever of view 1 the leader of view 2 holds, it builds on that, and whoever holds the other
/// certificate votes for its block, since the proposal brings along what it takes.
#[test]
fn a_proposal_brings_what_the_voter_lacks() {
    use Holds::{Notarization, Nullification};
    // The leader, the voter; the parent's view and the number of views skipped.
    let table = [
        (Notarization, Notarization, 1, 0),
        (Notarization, Nullification, 1, 0),
        (Nullification, Notarization, 0, 1),
        (Nullification, Nullification, 0, 1),
    ];
    let split = Split::new();
    let (committee, _) = committee();
    let leader_of = |number| usize::from(committee.leader(view(number)).get());
    let others = (0..4).filter(|node| *node != leader_of(1) && *node != leader_of(2));
    for ((leader_holds, voter_holds, parent_view, skips), own) in
        table.iter().flat_map(|row| others.clone().map(move |own| (*row, own)))
    {
        let (mut leader, mut voter) = (bench_of(leader_of(2)), bench_of(own));
        let request = build_request(&split.tell(&mut leader, leader_holds));
        assert_eq!(request.parent.view, view(parent_view), "the leader holds the {leader_holds:?}");
        assert_eq!(request.just.skips.len(), skips, "the leader holds the {leader_holds:?}");
        split.tell(&mut voter, voter_holds);
        let block = request.finish(contents(WALL.get() + 1));
        let outputs = leader.step(Input::Built { epoch: EPOCH, view: view(2), block: Some(block.clone()) });
        let proposal = outputs.into_iter().find_map(|output| match output {
            Output::Broadcast(message @ Message::Proposal(_)) => Some(message),
            _ => None,
        });
        let outputs = voter.hear(proposal.expect("the leader proposes"));
        let outputs = settle(&mut voter, outputs, &split.proposal.block);
        let notarize = Subject::notarize(EPOCH, view(2), block.hash());
        assert!(
            voted(&outputs).contains(&notarize),
            "the leader holds the {leader_holds:?}, voter {own} the {voter_holds:?}: {:?}",
            voted(&outputs)
        );
    }
}
