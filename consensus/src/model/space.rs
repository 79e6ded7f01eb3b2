//! The global states, what can happen in them, and what must hold.

use evchain_protocol::primitives::View;
use stateright::{Model, Property};

use super::world::{
    BlockId, Depth, Event, FINALIZES, LAST_VIEW, Lie, NOTARIZES, NodeId, SubjectId, Summary, Tables, World,
    block_of, notarize,
};
use crate::block::Block;
use crate::mutations::{Breakage, with_broken};
use evchain_protocol::finality::Subject;

/// A triple of node states. What was voted, and so which certificates and proposals exist, is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    nodes: [NodeId; 3],
    restarts_left: u8,
}

/// Something happens to one of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Action {
    node: usize,
    event: Event,
}

/// The model.
pub(super) struct Space {
    pub(super) world: World,
    pub(super) last_view: u64,
    /// How many crashes there are in all.
    pub(super) restarts: u8,
    /// A rule that the engines break.
    pub(super) broken: Option<Breakage>,
}

/// A global state with everything looked up.
struct Seen<'a> {
    nodes: [&'a Summary; 3],
    /// Subjects with the votes of two honest nodes or more: with the Byzantine one, a certificate.
    certified: u128,
    tables: &'a Tables,
}

impl Space {
    fn with_seen<R>(&self, state: &State, look: impl FnOnce(&Seen<'_>) -> R) -> R {
        let tables = self.world.tables.read().expect("no thread panicked");
        let nodes = state.nodes.map(|id| tables.summary(id));
        let [a, b, c] = [nodes[0].voted, nodes[1].voted, nodes[2].voted];
        look(&Seen { nodes, certified: a & b | a & c | b & c, tables: &tables })
    }

    /// The certificates that are worth delivering to a node.
    fn learnable(&self, seen: &Seen<'_>, place: usize, actions: &mut Vec<Action>) {
        let node = &seen.nodes[place];
        let mut unknown = seen.certified & !node.holds;
        while unknown != 0 {
            let id = u8::try_from(unknown.trailing_zeros()).expect("below 128");
            unknown &= unknown - 1;
            let subject = seen.tables.blocks.subject(id);
            let view = subject.view().get();
            let worth = match subject {
                Subject::Finalize(_) => self.world.depth == Depth::WithFinalizations,
                _ if self.world.depth == Depth::Exact => true,
                Subject::Nullify(_) => view == node.view,
                Subject::Notarize(_) => view == node.view || view < node.view && seen.may_finalize(node, id),
            };
            if worth && view > node.final_view {
                actions.push(Action { node: place, event: Event::Learn(id) });
            }
        }
    }

    /// The proposals that are worth delivering to a node.
    fn hearable(&self, seen: &Seen<'_>, place: usize, forged: &[(BlockId, Lie)], actions: &mut Vec<Action>) {
        let node = &seen.nodes[place];
        for (id, block) in seen.tables.blocks.all() {
            let view = block.header().view.get();
            let is_open = view <= self.last_view
                && node.proposals >> view & 1 == 0
                && if self.world.depth == Depth::Exact {
                    view >= node.view
                } else {
                    view == node.view && node.voted >> (view - 1) & 1 == 0
                };
            if is_open && self.exists(seen, id, block, forged) {
                actions.push(Action { node: place, event: Event::Propose(id) });
            }
        }
    }

    /// Whether a block was proposed, or can be by the Byzantine leader.
    fn exists(&self, seen: &Seen<'_>, id: BlockId, block: &Block, forged: &[(BlockId, Lie)]) -> bool {
        let leader = self.world.committee.leader(block.header().view);
        if leader != self.world.byzantine {
            let vote = 1 << notarize(id);
            let is_leader = |(index, _): &(&usize, _)| **index == usize::from(leader.get());
            return self
                .world
                .honest
                .iter()
                .zip(&seen.nodes)
                .find(is_leader)
                .is_some_and(|(_, node)| node.voted & vote != 0);
        }
        let Some((_, lie)) = forged.iter().find(|(other, _)| *other == id) else { return false };
        // Its two blocks on a parent are alike, so the first that gets a vote may be called the first.
        let is_second = *lie == Lie::Sound(1);
        let first_has_vote = || {
            let siblings = forged.iter().filter(|(_, lie)| *lie == Lie::Sound(0)).map(|(id, _)| *id);
            siblings
                .filter(|first| {
                    seen.tables.blocks.get(*first).header().parent_hash == block.header().parent_hash
                })
                .any(|first| {
                    let vote = 1_u128 << notarize(first);
                    seen.nodes.iter().any(|node| node.voted & vote != 0)
                })
        };
        self.world.depth == Depth::Exact || !is_second || first_has_vote()
    }

    /// The blocks that the Byzantine leader can prove, and some that it cannot.
    fn forged(&self, state: &State) -> Vec<(BlockId, Lie)> {
        let Some(view) = (1..=self.last_view)
            .find(|view| self.world.committee.leader(View::new(*view)) == self.world.byzantine)
        else {
            return Vec::new();
        };
        let parents: Vec<(Option<BlockId>, bool)> = self.with_seen(state, |seen| {
            let nullified = |skip: u64| seen.certified >> (skip - 1) & 1 == 1;
            let notarized = seen.tables.blocks.all().filter_map(|(id, block)| {
                let at = block.header().view.get();
                (at < view && seen.certified >> notarize(id) & 1 == 1).then_some((Some(id), at))
            });
            let parents = std::iter::once((None, 0)).chain(notarized);
            parents.map(|(id, parent_view)| (id, (parent_view + 1..view).all(nullified))).collect()
        });
        let view = View::new(view);
        let mut forged = Vec::new();
        for (parent, is_proven) in parents {
            let lies: &[Lie] = if is_proven { &[Lie::Sound(0), Lie::Sound(1)] } else { &[Lie::Gap] };
            forged.extend(lies.iter().map(|lie| (self.world.forge(view, parent, *lie), *lie)));
        }
        forged
    }
}

impl Space {
    /// What each honest node voted.
    pub(super) fn votes(&self, state: &State) -> [Vec<Subject>; 3] {
        self.with_seen(state, |seen| {
            seen.nodes.map(|node| {
                let bits = (0..128).filter(|bit| node.voted >> bit & 1 == 1);
                let mut subjects: Vec<Subject> = bits.map(|bit| seen.tables.blocks.subject(bit)).collect();
                subjects.sort_unstable();
                subjects
            })
        })
    }
}

impl Model for Space {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { nodes: self.world.start(), restarts_left: self.restarts }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let forged = self.forged(state);
        self.with_seen(state, |seen| {
            for (place, node) in seen.nodes.iter().enumerate() {
                if node.halted {
                    continue;
                }
                // A second nullify, or one in a view that is not modelled, would change nothing.
                if node.view <= self.last_view && node.voted & 1 << (node.view - 1) == 0 {
                    actions.push(Action { node: place, event: Event::TimeOut });
                }
                if state.restarts_left > 0 {
                    actions.push(Action { node: place, event: Event::Restart });
                }
                self.learnable(seen, place, actions);
                self.hearable(seen, place, &forged, actions);
            }
        });
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = *last;
        let from = last.nodes[action.node];
        next.nodes[action.node] =
            with_broken(self.broken, || self.world.step(action.node, from, action.event));
        if action.event == Event::Restart {
            next.restarts_left -= 1;
        }
        (next.nodes != last.nodes).then_some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        let tables = self.world.tables.read().expect("no thread panicked");
        match action.event {
            Event::Learn(id) => format!("node {} learns {:?}", action.node, tables.blocks.subject(id)),
            Event::Propose(id) => {
                let header = tables.blocks.get(id).header();
                format!(
                    "node {} hears block {id} of view {} on view {}",
                    action.node, header.view, header.parent_view
                )
            }
            event => format!("node {}: {event:?}", action.node),
        }
    }

    // A method of a type with a lifetime is not general enough to stand for the closure.
    #[allow(clippy::redundant_closure_for_method_calls)]
    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 commits agree", |model, state| {
                model.with_seen(state, |seen| seen.commits_agree())
            }),
            Property::always("I1 final blocks are on one chain", |model, state| {
                model.with_seen(state, |seen| seen.final_blocks_agree())
            }),
            Property::always("I2 one block of a view", |model, state| {
                model.with_seen(state, |seen| seen.one_block_a_view())
            }),
            Property::always("I3 not final and nullified", |model, state| {
                model.with_seen(state, |seen| !seen.final_blocks().any(|(_, view)| seen.is_nullified(view)))
            }),
            Property::always("I5 no contradiction", |model, state| {
                model.with_seen(state, |seen| seen.nodes.iter().all(|node| seen.is_consistent(node)))
            }),
            Property::always("nobody halts", |model, state| {
                model.with_seen(state, |seen| seen.nodes.iter().all(|node| !node.halted))
            }),
            // What the model has to reach, or it proves nothing.
            Property::sometimes("the last view is final", |model, state| {
                model.with_seen(state, |seen| seen.final_blocks().any(|(_, view)| view == model.last_view))
            }),
            Property::sometimes("a view is notarized and nullified", |model, state| {
                model.with_seen(state, |seen| seen.notarized().any(|(_, view)| seen.is_nullified(view)))
            }),
            Property::sometimes("final on a skipped view", |model, state| {
                model.with_seen(state, |seen| {
                    seen.final_blocks()
                        .any(|(id, view)| seen.tables.blocks.get(id).header().parent_view.get() + 1 < view)
                })
            }),
        ]
    }
}

impl Seen<'_> {
    /// F1: whether a node that learns this notarization would vote to finalize.
    fn may_finalize(&self, node: &Summary, id: SubjectId) -> bool {
        let view = self.tables.blocks.subject(id).view().get();
        let of_view = |kind: u128| self.blocks_in(node.voted, kind).filter(move |(_, at)| *at == view);
        let notarized_other = of_view(NOTARIZES).any(|(block, _)| notarize(block) != id);
        node.voted >> (view - 1) & 1 == 0 && of_view(FINALIZES).next().is_none() && !notarized_other
    }

    fn is_nullified(&self, view: u64) -> bool {
        view <= LAST_VIEW.get() && self.certified >> (view - 1) & 1 == 1
    }

    fn notarized(&self) -> impl Iterator<Item = (BlockId, u64)> {
        self.blocks_in(self.certified, NOTARIZES)
    }

    fn final_blocks(&self) -> impl Iterator<Item = (BlockId, u64)> {
        self.blocks_in(self.certified, FINALIZES)
    }

    /// The blocks with a vote of this kind among these subjects, with their views.
    fn blocks_in(&self, subjects: u128, kind: u128) -> impl Iterator<Item = (BlockId, u64)> {
        let mut left = subjects & kind;
        std::iter::from_fn(move || {
            let bit = u8::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
            left &= left - 1;
            let id = block_of(bit);
            Some((id, self.tables.blocks.get(id).header().view.get()))
        })
    }

    fn commits_agree(&self) -> bool {
        let agree = |one: &Summary, other: &Summary| {
            one.committed.iter().zip(&other.committed).all(|(one, other)| one == other)
        };
        self.nodes.iter().all(|one| self.nodes.iter().all(|other| agree(one, other)))
    }

    fn final_blocks_agree(&self) -> bool {
        self.final_blocks()
            .all(|(one, _)| self.final_blocks().all(|(other, _)| self.tables.blocks.on_one_chain(one, other)))
    }

    /// No two notarizations, no two finalizations, no finalization of another block than notarized.
    fn one_block_a_view(&self) -> bool {
        let with_votes = || self.notarized().chain(self.final_blocks());
        with_votes().all(|(one, view)| with_votes().all(|(other, at)| view != at || one == other))
    }

    fn is_consistent(&self, node: &Summary) -> bool {
        let unique = |kind: u128| {
            let mut views: Vec<u64> = self.blocks_in(node.voted, kind).map(|(_, view)| view).collect();
            let count = views.len();
            views.sort_unstable();
            views.dedup();
            views.len() == count
        };
        let finalized = || self.blocks_in(node.voted, FINALIZES);
        unique(NOTARIZES)
            && unique(FINALIZES)
            && finalized().all(|(_, view)| node.voted >> (view - 1) & 1 == 0)
            && finalized().all(|(id, view)| {
                self.blocks_in(node.voted, NOTARIZES).all(|(other, at)| at != view || other == id)
            })
    }
}
