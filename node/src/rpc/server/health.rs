//! How the node is, and what is wrong with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::primitives::Span;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::hosts::Hosts;
use crate::chain::FinalBlock;
use crate::clock;
use crate::node::NodeHandle;
use crate::rpc::health_types::{Health, Problem, ProblemKind, Role};

/// A tip of this age is too old on any chain; on slow chains more is normal.
const MIN_STALE: Span = Span::new(10_000);
/// The tip is too old after as many leaders in a row could have failed.
const STALE_TIMEOUTS: u64 = 8;
/// So many empty blocks in a row while transactions wait are no accident: at least two rounds of the
/// leaders of a small chain.
const EMPTY_BLOCKS: u32 = 10;
/// Blocks may be dated as far ahead of this machine's clock as clocks usually differ.
const MAX_AHEAD: Span = Span::new(2_000);
/// Gossip that fails for a moment is everyday life.
const GOSSIP_PATIENCE: Span = Span::new(5_000);

/// Watches the node's health.
#[derive(Clone)]
pub(super) struct HealthWatch {
    node: NodeHandle,
    hosts: Arc<Hosts>,
    /// Empty blocks in a row that were final while transactions waited.
    empty_blocks: Arc<AtomicU32>,
}

/// What the problems follow from.
#[derive(Debug, Clone)]
struct Facts {
    tip_age: Span,
    /// What age of the tip is too old.
    stale: Span,
    /// How far the tip is dated ahead of this machine's clock.
    ahead: Span,
    peers: usize,
    /// Those of them that are authorities.
    linked: usize,
    authorities: usize,
    quorum: usize,
    is_authority: bool,
    votes: bool,
    /// Transactions that could stand in the next block.
    ready: usize,
    empty_blocks: u32,
    is_pool_full: bool,
    /// For how long nothing could be passed on to any peer.
    gossip_fails: Span,
    is_rpc_full: bool,
}

impl HealthWatch {
    pub(super) fn new(node: NodeHandle, hosts: Arc<Hosts>) -> Self {
        Self { node, hosts, empty_blocks: Arc::default() }
    }

    /// Keeps what has to be seen over time up to date until it is told to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut finals = self.node.chain.reader().subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                block = finals.recv() => match block {
                    Ok(block) => self.saw(&block),
                    // What was missed is as if nothing waited.
                    Err(RecvError::Lagged(_)) => self.empty_blocks.store(0, Ordering::Relaxed),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn saw(&self, block: &FinalBlock) {
        if block.transactions.is_empty() && self.ready() > 0 {
            self.empty_blocks.fetch_add(1, Ordering::Relaxed);
        } else {
            self.empty_blocks.store(0, Ordering::Relaxed);
        }
    }

    /// How the node is.
    pub(super) fn now(&self) -> Health {
        let facts = self.facts();
        let problems = facts.problems();
        let consensus = self.node.consensus.status();
        Health {
            healthy: !problems.iter().any(|problem| problem.serious),
            height: self.node.chain.reader().tip().height,
            tip_age_ms: facts.tip_age,
            peers: facts.peers,
            syncing: facts.is_stale(),
            epoch: consensus.epoch,
            role: if consensus.votes { Role::Validator } else { Role::Observer },
            problems,
        }
    }

    fn facts(&self) -> Facts {
        let reader = self.node.chain.reader();
        let (tip, now) = (reader.tip(), clock::now());
        let network = self.node.network.status();
        let consensus = self.node.consensus.status();
        let set = reader.authorities().map(|authorities| authorities.set).ok();
        let own = self.node.network.local_key();
        Facts {
            tip_age: now.since(tip.time_ms),
            stale: stale_after(&self.node),
            ahead: tip.time_ms.since(now),
            peers: network.connected_peers,
            linked: network.authority_links,
            authorities: consensus.authorities,
            quorum: set.as_ref().map_or(0, AuthoritySet::quorum),
            is_authority: set.is_some_and(|set| set.index_of(&own).is_some()),
            votes: consensus.votes,
            ready: self.ready(),
            empty_blocks: self.empty_blocks.load(Ordering::Relaxed),
            is_pool_full: self.node.mempool.status().is_full,
            gossip_fails: network.gossip_failing_since.map_or(Span::ZERO, passed),
            is_rpc_full: self.hosts.is_full(),
        }
    }

    /// Transactions that could stand in the next block.
    fn ready(&self) -> usize {
        self.node.mempool.status().ready
    }
}

fn passed(since: Instant) -> Span {
    Span::new(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Whether the tip is too old for a chain that makes progress.
pub(super) fn is_syncing(node: &NodeHandle) -> bool {
    clock::now().since(node.chain.reader().tip().time_ms) > stale_after(node)
}

/// The age at which a tip is too old. A node that cannot read its state is not healthy whatever its tip is.
fn stale_after(node: &NodeHandle) -> Span {
    node.chain.reader().params().map_or(Span::ZERO, |params| {
        let patience = Span::new(params.hop_bound.get().saturating_mul(2 * STALE_TIMEOUTS));
        MIN_STALE.max(patience.saturating_add(params.idle_interval))
    })
}

impl Facts {
    fn is_stale(&self) -> bool {
        self.tip_age > self.stale
    }

    /// Whether nobody else is needed.
    const fn is_alone(&self) -> bool {
        self.authorities == 1 && self.votes
    }

    /// Whether this is a validator that is connected to enough others.
    const fn has_quorum(&self) -> bool {
        self.votes && self.linked.saturating_add(1) >= self.quorum
    }

    /// What is wrong, the serious problems first.
    fn problems(&self) -> Vec<Problem> {
        let holding = ProblemKind::ALL.into_iter().filter(|name| self.holds(*name));
        holding
            .map(|name| Problem { name, serious: name.is_serious(), message: self.message(name) })
            .collect()
    }

    fn holds(&self, problem: ProblemKind) -> bool {
        match problem {
            ProblemKind::NoPeers => self.peers == 0 && !self.is_alone(),
            ProblemKind::Behind => self.is_stale() && !self.has_quorum(),
            ProblemKind::NoFinality => self.is_stale() && self.has_quorum(),
            ProblemKind::EmptyBlocks => self.empty_blocks >= EMPTY_BLOCKS && self.ready > 0,
            ProblemKind::GossipFails => self.gossip_fails > GOSSIP_PATIENCE,
            ProblemKind::FewPeers => self.peers > 0 && self.votes && !self.has_quorum(),
            ProblemKind::NotVoting => self.is_authority && !self.votes && !self.is_stale(),
            ProblemKind::PoolFull => self.is_pool_full,
            ProblemKind::RpcFull => self.is_rpc_full,
            ProblemKind::ClockBehind => self.ahead > MAX_AHEAD,
        }
    }

    fn message(&self, problem: ProblemKind) -> String {
        let seconds = |span: Span| span.get() / 1_000;
        match problem {
            ProblemKind::NoPeers => {
                "no peer is connected: check --peer, --listen and the firewall".to_owned()
            }
            ProblemKind::Behind => format!(
                "the newest final block here is {} s old: the node is catching up, or no peer has a newer one",
                seconds(self.tip_age)
            ),
            ProblemKind::NoFinality => format!(
                "no block has become final here for {} s, although enough authorities are connected",
                seconds(self.tip_age)
            ),
            ProblemKind::EmptyBlocks => format!(
                "{} blocks in a row were empty while {} transactions wait",
                self.empty_blocks, self.ready
            ),
            ProblemKind::GossipFails => {
                format!("nothing could be passed on to any peer for {} s", seconds(self.gossip_fails))
            }
            ProblemKind::FewPeers => format!(
                "{} other authorities are connected, and {} are needed for a quorum",
                self.linked,
                self.quorum.saturating_sub(1)
            ),
            ProblemKind::NotVoting => {
                "the key is an authority's and signs nothing in this epoch: --observe, or the log says why"
                    .to_owned()
            }
            ProblemKind::PoolFull => "the mempool is full".to_owned(),
            ProblemKind::RpcFull => {
                "as many clients are connected as may be: see [rpc_limits] max_connections".to_owned()
            }
            ProblemKind::ClockBehind => format!(
                "the newest final block is dated {} s ahead of this machine's clock: check its time",
                seconds(self.ahead)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: each problem is named when it is there, and a healthy node names none. Method: facts by hand.

    use super::*;

    /// A validator of four that is well.
    fn well() -> Facts {
        Facts {
            tip_age: Span::new(500),
            stale: MIN_STALE,
            ahead: Span::ZERO,
            peers: 3,
            linked: 3,
            authorities: 4,
            quorum: 3,
            is_authority: true,
            votes: true,
            ready: 100,
            empty_blocks: 0,
            is_pool_full: false,
            gossip_fails: Span::ZERO,
            is_rpc_full: false,
        }
    }

    fn names(change: impl FnOnce(&mut Facts)) -> Vec<ProblemKind> {
        let mut facts = well();
        change(&mut facts);
        facts.problems().iter().map(|problem| problem.name).collect()
    }

    #[test]
    fn each_problem_is_named() {
        use ProblemKind as Kind;
        assert_eq!(names(|_| ()), []);
        assert_eq!(names(|it| (it.peers, it.linked) = (0, 0)), [Kind::NoPeers]);
        assert_eq!(names(|it| it.tip_age = Span::new(10_001)), [Kind::NoFinality]);
        assert_eq!(
            names(|it| (it.tip_age, it.votes, it.is_authority) = (Span::new(10_001), false, false)),
            [Kind::Behind]
        );
        assert_eq!(names(|it| it.linked = 1), [Kind::FewPeers]);
        assert_eq!(names(|it| it.linked = 2), []);
        assert_eq!(names(|it| it.empty_blocks = EMPTY_BLOCKS), [Kind::EmptyBlocks]);
        assert_eq!(names(|it| (it.empty_blocks, it.ready) = (EMPTY_BLOCKS, 0)), []);
        assert_eq!(names(|it| it.gossip_fails = Span::new(5_001)), [Kind::GossipFails]);
        assert_eq!(names(|it| it.votes = false), [Kind::NotVoting]);
        assert_eq!(names(|it| it.is_pool_full = true), [Kind::PoolFull]);
        assert_eq!(names(|it| it.is_rpc_full = true), [Kind::RpcFull]);
        assert_eq!(names(|it| it.ahead = Span::new(2_001)), [Kind::ClockBehind]);
        let alone = |it: &mut Facts| (it.peers, it.linked, it.authorities, it.quorum) = (0, 0, 1, 1);
        assert_eq!(names(alone), []);
    }

    #[test]
    fn serious_problems_come_first() {
        let problems = names(|it| {
            (it.peers, it.linked, it.is_rpc_full, it.empty_blocks) = (0, 0, true, EMPTY_BLOCKS);
            it.tip_age = Span::new(60_000);
        });
        assert!(problems.is_sorted_by_key(|name| !name.is_serious()), "{problems:?}");
        assert_eq!(problems.first(), Some(&ProblemKind::NoPeers));
        assert!(ProblemKind::ALL.is_sorted_by_key(|name| !name.is_serious()));
    }
}
