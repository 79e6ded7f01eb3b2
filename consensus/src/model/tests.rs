//! Goal: no schedule of three views breaks agreement or what two certificates exclude, whichever view's
//! leader is Byzantine; nor does one of two views with finalizations and a crash.
//! Method: every state of the model is visited. The model itself is held against one that leaves nothing
//! out, and has to find rules that are broken on purpose.

use std::collections::BTreeSet;

use evchain_protocol::finality::Subject;
use evchain_protocol::primitives::View;
use stateright::{Checker, Model};

use super::space::Space;
use super::world::{Depth, World};
use crate::mutations::Breakage;

/// The leader of this view is Byzantine. That of view 4 leads no view of the model.
fn space(byzantine_view: u64, last_view: u64, depth: Depth) -> Space {
    let world = World::new(View::new(byzantine_view), depth);
    Space { world, last_view, restarts: 0, broken: None }
}

/// Visits every state. Fails if a property fails, and if the states that make it worthwhile were missed.
fn holds(space: Space) {
    let checker = space.checker().spawn_bfs().join();
    let (engines, steps) = checker.model().world.tables.read().unwrap().sizes();
    println!(
        "{} states, depth {}; {engines} states of single nodes, {steps} steps of engines",
        checker.unique_state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn three_views_of_which_the_first_is_byzantine() {
    holds(space(1, 3, Depth::Reduced));
}

#[test]
fn three_views_of_which_the_second_is_byzantine() {
    holds(space(2, 3, Depth::Reduced));
}

#[test]
fn three_views_of_which_the_third_is_byzantine() {
    holds(space(3, 3, Depth::Reduced));
}

#[test]
fn three_views_with_a_byzantine_follower() {
    holds(space(4, 3, Depth::Reduced));
}

#[test]
fn two_views_with_finalizations_and_a_crash() {
    for byzantine_view in [1, 4] {
        holds(Space { restarts: 1, ..space(byzantine_view, 2, Depth::WithFinalizations) });
    }
}

/// Every combination of votes that the exact model reaches.
fn combinations_of_votes(space: &Space) -> BTreeSet<[Vec<Subject>; 3]> {
    let mut open = space.init_states();
    let mut seen: BTreeSet<_> = open.iter().copied().collect();
    while let Some(state) = open.pop() {
        let next = space.next_states(&state);
        open.extend(next.into_iter().filter(|state| seen.insert(*state)));
    }
    seen.iter().map(|state| space.votes(state)).collect()
}

/// What the model leaves out lets nobody vote more: whatever a combination of votes allows, one of the
/// reduced model allows too.
#[test]
fn reductions_lose_no_votes() {
    for byzantine_view in [3, 4] {
        let exact = combinations_of_votes(&space(byzantine_view, 2, Depth::Exact));
        let reduced = combinations_of_votes(&space(byzantine_view, 2, Depth::Reduced));
        assert!(exact.len() > 1_000, "only {} combinations", exact.len());
        for votes in exact.difference(&reduced) {
            let is_part_of = |other: &&[Vec<Subject>; 3]| {
                votes.iter().zip(other.iter()).all(|(some, all)| some.iter().all(|vote| all.contains(vote)))
            };
            assert!(reduced.iter().any(|other| is_part_of(&other)), "only the exact model reaches {votes:?}");
        }
    }
}

/// The model finds these rules broken, by these properties.
#[test]
fn broken_rules_are_found() {
    for (broken, byzantine_view, property) in [
        (Breakage::ForgetNullify, 4, "I3 not final and nullified"),
        (Breakage::SkipGapCheck, 2, "I1 final blocks are on one chain"),
        (Breakage::FinalizeOtherBlock, 1, "I5 no contradiction"),
    ] {
        let space = Space { broken: Some(broken), ..space(byzantine_view, 2, Depth::Reduced) };
        let checker = space.checker().spawn_bfs().join();
        let found = checker.discovery(property);
        assert!(found.is_some(), "{broken:?} was not found");
    }
}
