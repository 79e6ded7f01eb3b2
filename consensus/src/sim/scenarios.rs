//! Directed scenarios that more than one test runs: once as they are, and with the rule broken that
//! they guard. Each takes a seed and says which invariant failed.

use std::cell::Cell;
use std::rc::Rc;

use evchain_protocol::finality::{MAX_SKIPS, Subject};
use evchain_protocol::primitives::{Span, View};

use super::byzantine::{Behaviour, BodySpoiler, Forker, SilentTeller};
use super::cluster::Cluster;
use super::network::Quality;
use super::properties::Violation;
use super::setup::Setup;
use crate::epochs::Epochs;
use crate::message::Message;

/// How long a node may take for the 600 blocks that it missed, one in four of whose requests goes to a liar.
const CATCH_UP_MS: u64 = 2_000;

/// How a scenario ended.
pub type Outcome = Result<(), Violation>;

/// Random faults of all kinds ([`super::random`]).
pub fn random_faults(seed: u64) -> Outcome {
    super::random::run(seed).violation.map_or(Ok(()), Err)
}

/// Up to f authorities behave like this, and one of the others goes down and comes back.
pub fn tolerates(seed: u64, authorities: usize, behaviour: &(impl Behaviour + Clone + 'static)) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, authorities));
    let f = cluster.committee().authorities().max_faulty();
    (0..f).for_each(|node| cluster.corrupt(node, behaviour.clone()));
    progresses(&mut cluster, 15, 20_000)?;
    // A node that comes back has only the others' word for what it missed.
    cluster.crash(authorities - 1);
    cluster.run_for(1_000);
    cluster.restart(authorities - 1);
    progresses(&mut cluster, 6, 20_000)
}

/// S8: one node is far behind, and an authority tells it of every finalization first and answers nothing:
/// while it tells all others too, and while it tells nobody else.
pub fn a_silent_teller_keeps_nobody_behind(seed: u64, tells_one_only: bool) -> Outcome {
    let tells_victim_only = Rc::new(Cell::new(false));
    let teller = SilentTeller::of(3, tells_victim_only.clone());
    catches_up(seed, teller, || tells_victim_only.set(tells_one_only))
}

/// C4, S5, S8: one node is far behind, and an authority sends it spoiled bodies all the time.
pub fn a_spoiler_keeps_nobody_behind(seed: u64) -> Outcome {
    catches_up(seed, BodySpoiler::default(), || ())
}

/// Node 0 of four behaves like this, and node 3 comes back after 600 blocks: it catches up in time.
fn catches_up(seed: u64, behaviour: impl Behaviour + 'static, when_back: impl Fn()) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    cluster.corrupt(0, behaviour);
    cluster.run_for(1_000);
    cluster.crash(3);
    let ahead = cluster.run_until(60_000, |cluster| cluster.best_height() >= 600);
    ensure(&cluster, ahead, "the others do not go on")?;
    when_back();
    cluster.restart(3);
    cluster.run_for(1);
    let caught_up = cluster.run_until(CATCH_UP_MS, |cluster| cluster.height(3) + 2 >= cluster.best_height());
    let (best, height) = (cluster.best_height(), cluster.height(3));
    ensure(&cluster, caught_up, &format!("node 3 is at height {height}, the others at {best}"))
}

/// Scenario 2: f are down after a long quiet time. Their views cost what a leader timeout costs.
pub fn dead_leaders_cost_little(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    progresses(&mut cluster, 40, 10_000)?;
    cluster.crash(usize::try_from(seed % 4).unwrap_or(0));
    progresses(&mut cluster, 8, 2_500)
}

/// Scenario 4: everybody goes down with an own nullify on disk and before any certificate. With only
/// a quorum left, each must count its own vote again.
pub fn all_crash_after_their_nullify(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    progresses(&mut cluster, 3, 5_000)?;
    let absent = usize::try_from(seed % 4).unwrap_or(0);
    cluster.crash(absent);
    let rest: Vec<usize> = (0..4).filter(|node| *node != absent).collect();
    cluster.network.set_filter(|_, _, _| false);
    let nullified = |cluster: &Cluster, node: usize| {
        let view = cluster.engine(node).map(Epochs::view);
        view.is_some_and(|view| cluster.disk(node).holds_nullify(view))
    };
    let all = |cluster: &Cluster| rest.iter().all(|node| nullified(cluster, *node));
    let reached = cluster.run_until(10_000, all);
    ensure(&cluster, reached, "not everybody gave up the view")?;
    for node in &rest {
        cluster.crash(*node);
    }
    cluster.network.heal();
    for node in &rest {
        cluster.restart(*node);
    }
    progresses(&mut cluster, 6, 5_000)
}

/// A node that gets proposals and bodies and nothing else follows the views by the justifications.
pub fn justifications_are_enough_to_follow(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    progresses(&mut cluster, 3, 5_000)?;
    let late = usize::try_from(seed % 4).unwrap_or(0);
    cluster.network.set_filter(move |_, to, message| {
        to != late || matches!(message, Message::Proposal(_) | Message::Blocks(_))
    });
    let view_of = |cluster: &Cluster, node| cluster.engine(node).map_or(View::ZERO, Epochs::view).get();
    let before = view_of(&cluster, late);
    cluster.run_for(1_000);
    let ahead = (0..4).map(|node| view_of(&cluster, node)).max().unwrap_or(0);
    let view = view_of(&cluster, late);
    let what = format!("a node with proposals only is in view {view}, the others in {ahead}");
    ensure(&cluster, view > before + 8 && view + 3 >= ahead, &what)?;
    cluster.network.heal();
    cluster.crash((late + 1) % 4);
    progresses(&mut cluster, 6, 5_000)
}

/// Scenario 13: a leader builds beside its parent, as if the views between were skipped, while what it
/// leaves out is notarized and cannot become final yet.
pub fn forks_before_anything_is_final(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    progresses(&mut cluster, 3, 5_000)?;
    cluster.corrupt(usize::try_from(seed % 4).unwrap_or(0), Forker::default());
    cluster.network.set_filter(|_, _, message| !matches!(subject(message), Some(Subject::Finalize(_))));
    cluster.run_for(400);
    cluster.network.heal();
    progresses(&mut cluster, 6, 10_000)
}

/// N5: more views are skipped than a justification has room for, and one node hears nothing of it, which is
/// needed then.
pub fn more_skips_than_fit(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    progresses(&mut cluster, 3, 5_000)?;
    let late = usize::try_from(seed % 4).unwrap_or(0);
    cluster.network.isolate(&[late], 4);
    skips_views(&mut cluster, (late + 1) % 4)?;
    cluster.network.heal();
    cluster.crash((late + 1) % 4);
    progresses(&mut cluster, 6, 10_000)
}

/// N5, scenario 13: the same, and a leader leaves out a block of a view so far back that no justification
/// reaches it.
pub fn forks_over_more_skips_than_fit(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Setup::new(seed, 4));
    progresses(&mut cluster, 3, 5_000)?;
    let forker = usize::try_from(seed % 4).unwrap_or(0);
    cluster.corrupt(forker, Forker::default());
    cluster.network.set_filter(|_, _, message| !matches!(subject(message), Some(Subject::Finalize(_))));
    cluster.run_for(100);
    skips_views(&mut cluster, (forker + 1) % 4)?;
    cluster.run_for(400);
    cluster.network.heal();
    progresses(&mut cluster, 6, 10_000)
}

/// Skips a few more views than a justification has room for.
fn skips_views(cluster: &mut Cluster, node: usize) -> Outcome {
    let view = |cluster: &Cluster| cluster.engine(node).map_or(0, |engine| engine.view().get());
    let goal = view(cluster) + MAX_SKIPS as u64 + 20;
    cluster.stop_building(true);
    let reached = cluster.run_until(1_000_000, |cluster| view(cluster) >= goal);
    cluster.stop_building(false);
    ensure(cluster, reached, "the views do not go on")
}

/// Scenario 28: timeouts far below the network's delay; backing off makes them long enough.
pub fn short_timeouts_back_off(seed: u64) -> Outcome {
    let mut setup = Setup::new(seed, 4);
    setup.config.hop_bound = Span::new(5);
    setup.config.idle = Span::new(2);
    setup.max_build_ms = 2;
    setup.quality = Quality { min_delay_ms: 20, max_delay_ms: 60, ..Quality::GOOD };
    progresses(&mut Cluster::new(setup), 10, 8_000)
}

/// I13: within this time every honest node that is up commits `blocks` more than anybody has now.
pub fn progresses(cluster: &mut Cluster, blocks: u64, within_ms: u64) -> Outcome {
    let goal = cluster.best_height() + blocks;
    let reached = cluster.run_until(within_ms, |cluster| cluster.lowest_height() >= goal);
    let (best, lowest) = (cluster.best_height(), cluster.lowest_height());
    let what = format!("height {best} (lowest {lowest}) after {within_ms} ms, not {goal}");
    ensure(cluster, reached, &what)
}

/// What a vote, certificate or proposal says; nothing for other messages.
pub fn subject(message: &Message) -> Option<Subject> {
    match message {
        Message::Proposal(proposal) => Some(proposal.vote.subject),
        Message::Vote(vote) => Some(vote.subject),
        Message::Certificate(certificate) => Some(certificate.subject),
        _ => None,
    }
}

/// No invariant is broken, and what the scenario expects holds too.
pub(super) fn ensure(cluster: &Cluster, holds: bool, what: &str) -> Outcome {
    match cluster.violation() {
        Some(violation) => Err(violation.clone()),
        None if holds => Ok(()),
        None => Err(Violation { invariant: "I13", what: what.to_owned() }),
    }
}
