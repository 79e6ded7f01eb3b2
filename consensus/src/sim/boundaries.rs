//! Directed scenarios around the end of an epoch. Like those of [`super::scenarios`], each takes a seed
//! and says which invariant failed.

use std::cell::Cell;
use std::rc::Rc;

use evchain_protocol::authority::MAX_AUTHORITIES;
use evchain_protocol::finality::Subject;
use evchain_protocol::primitives::{Height, View};

use super::byzantine::{Behaviour, BeyondEpoch, BogusJustification, EarlyFlooder, WrongEpoch};
use super::cluster::Cluster;
use super::network::Quality;
use super::properties::Violation;
use super::scenarios::{Outcome, ensure, progresses};
use super::setup::{Schedule, Setup};
use crate::epochs::Epochs;
use crate::message::Message;
use crate::output::HaltReason;

/// A cluster with these sets of nodes as the authorities of its epochs.
pub fn changing(seed: u64, length: u64, sets: &[&[usize]]) -> Cluster {
    Cluster::new(setup(seed, length, sets))
}

fn setup(seed: u64, length: u64, sets: &[&[usize]]) -> Setup {
    let authorities = sets.first().map_or(0, |set| set.len());
    let nodes = sets.iter().flat_map(|set| set.iter()).max().map_or(0, |last| last + 1);
    let sets = sets.iter().map(|set| set.to_vec()).collect();
    let observers = nodes.max(authorities + 1) - authorities;
    Setup { observers, schedule: Some(Schedule { length, sets }), ..Setup::new(seed, authorities) }
}

/// The epoch in which a node is, if it is up.
pub fn epoch(cluster: &Cluster, node: usize) -> Option<u64> {
    cluster.engine(node).map(|engine| engine.epoch().get())
}

/// Until every node that is up is in this epoch.
pub fn reaches_epoch(cluster: &mut Cluster, goal: u64, within_ms: u64) -> Outcome {
    let lowest = |cluster: &Cluster| (0..cluster.len()).filter_map(|node| epoch(cluster, node)).min();
    let reached = cluster.run_until(within_ms, |cluster| lowest(cluster) >= Some(goal));
    let what = format!("epoch {:?} after {within_ms} ms, not {goal}", lowest(cluster));
    ensure(cluster, reached, &what)
}

/// A boundary costs no timeout: no view is given up in twelve epochs of two blocks, in which the votes of
/// all three authorities are needed.
pub fn a_boundary_costs_no_timeout(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 2, &[&[0, 1, 2]]);
    cluster.network.quality = Quality { min_delay_ms: 1, max_delay_ms: 25, ..Quality::GOOD };
    reaches_epoch(&mut cluster, 12, 5_000)?;
    let given_up = cluster.properties().nullified_views();
    ensure(&cluster, given_up == 0, &format!("{given_up} views were given up"))
}

/// Scenario 19: a joiner that has to walk over many boundaries, while the chain goes on.
pub fn a_joiner_across_epochs(seed: u64) -> Outcome {
    let sets: [&[usize]; 4] = [&[0, 1, 2, 3], &[1, 2, 3, 5], &[2, 3, 5, 6], &[3, 4, 5, 6]];
    let mut cluster = changing(seed, 6, &sets);
    cluster.run_for(1);
    cluster.crash(4);
    let ahead = cluster.run_until(10_000, |cluster| cluster.best_height() >= 20);
    ensure(&cluster, ahead, "the others do not go on")?;
    cluster.restart(4);
    progresses(&mut cluster, 12, 5_000)
}

/// E6, S8: nobody of the first epoch is there any more, so that the way to the present has to be asked
/// of those who are. Some of their answers are lost.
pub fn the_first_authorities_are_gone(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[4, 5, 6, 7], &[8, 9, 10, 11]]);
    cluster.run_for(1);
    cluster.crash(11);
    let ahead = cluster.run_until(30_000, |cluster| cluster.best_height() >= 23);
    ensure(&cluster, ahead, "the others do not go on")?;
    (0..8).for_each(|node| cluster.crash(node));
    let mut answers = 0;
    cluster.network.set_filter(move |_, to, message| {
        let is_answer = to == 11 && matches!(message, Message::Finalized(_));
        answers += u64::from(is_answer);
        !is_answer || answers > 1 + seed % 3
    });
    cluster.restart(11);
    progresses(&mut cluster, 12, 10_000)
}

/// E4: a node that was down at a boundary, of which nobody speaks any more.
pub fn who_was_down_at_the_end_asks(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3]]);
    progresses(&mut cluster, 2, 5_000)?;
    let absent = usize::try_from(seed % 4).unwrap_or(0);
    cluster.crash(absent);
    let ahead = cluster.run_until(10_000, |cluster| cluster.best_height() >= 12);
    ensure(&cluster, ahead, "the others do not go on")?;
    cluster.restart(absent);
    progresses(&mut cluster, 8, 5_000)
}

/// Only this node hears votes to finalize the last block of epoch 0, and what it has stays with it.
pub fn only_one_sees_the_end(cluster: &mut Cluster, one: usize, length: u64) {
    let last = Height::new(length);
    let mut last_blocks = Vec::new();
    cluster.network.set_filter(move |from, to, message| {
        if let Message::Proposal(proposal) = message
            && proposal.block.header().height == last
        {
            last_blocks.push(proposal.block.hash());
        }
        let is_end = |subject: &Subject| {
            matches!(subject, Subject::Finalize(subject) if last_blocks.contains(&subject.block))
        };
        match message {
            Message::Vote(vote) => !is_end(&vote.subject) || to == one,
            Message::Certificate(certificate) => !is_end(&certificate.subject),
            _ => from != one,
        }
    });
}

/// Scenario 20: exactly one honest node has seen the epoch's last finalization; another is down from
/// then on, so that the others cannot do without it.
pub fn the_end_was_seen_by_one(seed: u64, restarts: bool) -> Outcome {
    let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[0, 1, 2, 3, 4]]);
    let one = usize::try_from(seed % 4).unwrap_or(0);
    only_one_sees_the_end(&mut cluster, one, 5);
    let saw = cluster.run_until(10_000, |cluster| epoch(cluster, one) == Some(1));
    let alone = (0..4).filter(|node| *node != one).all(|node| epoch(&cluster, node) == Some(0));
    ensure(&cluster, saw && alone, "not exactly one saw the end")?;
    cluster.crash((one + 1) % 4);
    if restarts {
        cluster.crash(one);
        cluster.restart(one);
    }
    cluster.network.heal();
    progresses(&mut cluster, 8, 5_000)
}

/// E5: the only one who saw the end can be heard and not be asked, and has no vote any more.
pub fn the_end_is_pushed(seed: u64) -> Outcome {
    let one = usize::try_from(seed % 4).unwrap_or(0);
    let (down, left, right) = ((one + 1) % 4, (one + 2) % 4, (one + 3) % 4);
    let mut cluster = changing(seed, 5, &[&[0, 1, 2, 3], &[left, right, 4, 5]]);
    only_one_sees_the_end(&mut cluster, one, 5);
    let saw = cluster.run_until(10_000, |cluster| epoch(cluster, one) == Some(1));
    ensure(&cluster, saw, "nobody saw the end")?;
    cluster.crash(down);
    cluster.network.heal();
    (0..6).filter(|node| *node != one).for_each(|node| cluster.network.cut(node, one));
    let goes_on =
        cluster.run_until(5_000, |cluster| [left, right, 4, 5].iter().all(|node| cluster.height(*node) >= 8));
    ensure(&cluster, goes_on, "the end was not pushed")
}

/// Scenario 21: the epoch's last block is notarized at one node and its view nullified at the others;
/// that node, and no other, gets its proposals through, and proposes the same block again.
pub fn the_last_block_is_proposed_again(seed: u64, holder_leads: bool) -> Outcome {
    let mut cluster = changing(seed, 6, &[&[0, 1, 2, 3], &[0, 1, 2, 3]]);
    let view = View::new(6);
    let leader = |view: u64| usize::from(cluster.committee().leader(View::new(view)).get());
    let (proposer, next) = (leader(6), leader(7));
    let holder = if holder_leads { next } else { proposer };
    let unaware = (0..4).find(|node| *node != proposer && *node != holder);
    let split = Rc::new(Cell::new(false));
    let is_split = split.clone();
    cluster.network.set_filter(move |from, to, message| match message {
        Message::Proposal(proposal) => match proposal.vote.subject.view() {
            at if at == view => Some(to) != unaware,
            at => at < view || (from == holder && is_split.get()),
        },
        Message::Vote(vote) if vote.subject.view() == view => match vote.subject {
            Subject::Notarize(_) => to == holder,
            Subject::Nullify(_) => to != holder,
            Subject::Finalize(_) => false,
        },
        Message::Certificate(certificate) if certificate.subject.view() == view => {
            to != holder && matches!(certificate.subject, Subject::Nullify(_))
        }
        Message::Status(_) | Message::Certificates(_) => false,
        _ => true,
    });
    split.set(cluster.run_until(5_000, |cluster| {
        cluster.properties().is_notarized(view) && cluster.properties().is_nullified(view)
    }));
    ensure(&cluster, split.get(), "the split was not reached")?;
    let ended = cluster.run_until(20_000, |cluster| epoch(cluster, holder) >= Some(1));
    ensure(&cluster, ended, "the epoch does not end")?;
    cluster.network.heal();
    progresses(&mut cluster, 8, 5_000)?;
    let last = cluster.properties().committed_at(Height::new(6)).unwrap_or_default();
    let views = cluster.properties().notarized_in(last);
    let again = views.len() > 1 && views.first() == Some(&view);
    ensure(&cluster, again, &format!("the last block was notarized in {views:?}"))
}

/// E2: while nothing can be finalized, every view notarizes the same last block, and none above it; then
/// all are final at once.
pub fn the_last_block_is_proposed_until_it_is_final(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 3, &[&[0, 1, 2, 3], &[1, 2, 3, 4]]);
    nothing_is_final(&mut cluster);
    cluster.run_for(2_000);
    ensure(&cluster, cluster.best_height() == 0, "something is final")?;
    cluster.network.heal();
    progresses(&mut cluster, 8, 5_000)?;
    let last = cluster.properties().committed_at(Height::new(3)).unwrap_or_default();
    let views = cluster.properties().notarized_in(last);
    ensure(&cluster, views.len() > 5, &format!("the last block was notarized in {views:?}"))
}

fn nothing_is_final(cluster: &mut Cluster) {
    cluster.network.set_filter(|_, _, message| match message {
        Message::Vote(vote) => !matches!(vote.subject, Subject::Finalize(_)),
        _ => true,
    });
}

/// E1: a leader goes on above the epoch's last block, while that cannot be final and it gets its turn.
pub fn goes_beyond_the_epoch(seed: u64) -> Outcome {
    misbehaves_at_the_end(seed, BeyondEpoch)
}

/// E2, scenario 13: a leader proposes the last block again with a justification that is none.
pub fn bogus_envelopes(seed: u64) -> Outcome {
    misbehaves_at_the_end(seed, BogusJustification)
}

fn misbehaves_at_the_end(seed: u64, behaviour: impl Behaviour + 'static) -> Outcome {
    let mut cluster = changing(seed, 3, &[&[0, 1, 2, 3], &[1, 2, 3, 4]]);
    cluster.corrupt(0, behaviour);
    nothing_is_final(&mut cluster);
    cluster.run_for(2_000);
    cluster.network.heal();
    progresses(&mut cluster, 8, 5_000)
}

/// E3: the shell of one node takes long to answer what comes after the last block.
pub fn a_slow_handover(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 4, &[&[0, 1, 2, 3], &[0, 1, 2, 3, 4]]);
    cluster.slow_execution(0, 150);
    reaches_epoch(&mut cluster, 2, 30_000)?;
    progresses(&mut cluster, 8, 30_000)
}

/// D7, scenario 24: an authority that voted and lost its disk is alone, and could only vote otherwise.
pub fn a_wiped_disk_and_no_company(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    nothing_is_final(&mut cluster);
    cluster.run_for(500);
    cluster.crash(0);
    cluster.wipe(0);
    cluster.network.isolate(&[0], 4);
    cluster.restart(0);
    cluster.run_for(1_000);
    cluster.network.heal();
    progresses(&mut cluster, 6, 10_000)
}

/// E3: the state of one node names other authorities than the header of the last block: it stops, and
/// believes neither.
pub fn a_state_that_names_others(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 4, &[&[0, 1, 2, 3], &[1, 2, 3, 4]]);
    cluster.mislead(2);
    cluster.run_for(10_000);
    match (cluster.violation(), cluster.halted(2)) {
        (Some(violation), Some(HaltReason::WrongNextEpoch(_))) if violation.invariant == "halt" => Ok(()),
        (Some(violation), _) => Err(violation.clone()),
        (None, _) => Err(Violation { invariant: "E3", what: "node 2 believes its state".to_owned() }),
    }
}

/// Scenario 23, E7: a flood of messages of the next epoch for as long as an epoch lasts.
pub fn floods_of_early_messages(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 400, &[&[0, 1, 2, 3]]);
    cluster.corrupt(0, WrongEpoch);
    progresses(&mut cluster, 250, 30_000)
}

/// Scenario 23, E7: a member fills the room for messages of the next epoch with the largest there are.
pub fn floods_of_early_bytes(seed: u64) -> Outcome {
    let mut cluster = changing(seed, 20, &[&[0, 1, 2, 3]]);
    cluster.corrupt(0, EarlyFlooder::with_signatures(MAX_AUTHORITIES));
    reaches_epoch(&mut cluster, 1, 10_000)?;
    progresses(&mut cluster, 8, 5_000)
}

/// Whether a node signs votes in its epoch.
pub fn votes(cluster: &Cluster, node: usize) -> bool {
    cluster.engine(node).is_some_and(Epochs::is_voting)
}
