//! Twins (Bano et al., 2020): one authority's key runs twice, on two engines that know nothing of each
//! other, and every schedule of partitions is tried for four views, whichever of them the key leads.
//!
//! A schedule gives each of four phases a partition of the five nodes into two parts. Messages go through
//! within a part and are lost between parts, and timers run out when nothing else happens. Phase k lasts
//! until every node has left view k, or can do no more; nobody goes beyond view k + 1, since its leader
//! gets its block in the next phase only. Then the network heals, and all have to agree and to go on.
//!
//! Leaders follow from the rotation, in which each of the four authorities has one of the four views. So
//! the schedules of leaders differ only in which view the key that runs twice has.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used)]

mod replica;
mod tests;

use std::collections::VecDeque;

use evchain_protocol::authority::AuthoritySet;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair};
use evchain_protocol::primitives::{Epoch, Height, Timestamp, View};

use crate::authority_set::Committee;
use crate::block::BlockRef;
use crate::message::Message;
use replica::{Replica, Stimulus};

/// The phases of a schedule.
const PHASES: u64 = 4;

/// The four authorities, and the second instance of the one with two.
const NODES: usize = 5;

/// The second instance.
const TWIN: usize = 4;

/// More messages than this in a phase mean that they will never end.
const MAX_MESSAGES: usize = 20_000;

/// For each node its part.
type Partition = [u8; NODES];

/// Five nodes, two of them with one key.
#[derive(Clone)]
struct Twins {
    /// The authority that runs twice.
    twinned: usize,
    replicas: Vec<Replica>,
}

/// A message on its way: from which node, to which.
type Traffic = VecDeque<(usize, usize, Message)>;

impl Twins {
    /// The nodes at their start; the leader of this view runs twice.
    fn new(twinned_view: u64) -> Self {
        let mut keys: Vec<KeyPair> = (1..=4).map(|byte| KeyPair::from_secret(&[byte; 32])).collect();
        keys.sort_by_key(KeyPair::public_key);
        let set = AuthoritySet::new(keys.iter().map(KeyPair::public_key).collect()).expect("four keys");
        let root = BlockRef {
            hash: Hash::from_bytes([9; 32]),
            height: Height::ZERO,
            view: View::ZERO,
            time_ms: Timestamp::new(1),
        };
        let committee = Committee::new(ChainId(Hash::from_bytes([8; 32])), Epoch::ZERO, set, root);
        let twinned = usize::from(committee.leader(View::new(twinned_view)).get());
        keys.push(keys[twinned].clone());
        let replicas = keys.iter().enumerate().map(|(node, key)| Replica::start(&committee, key, node));
        Self { replicas: replicas.collect(), twinned }
    }

    /// Runs a phase, with at most this many rounds of timeouts.
    fn run_phase(&mut self, phase: u64, partition: Partition, rounds: u64) {
        let mut traffic = Traffic::new();
        for node in 0..NODES {
            self.build(node, phase, partition, &mut traffic);
        }
        for round in 0..=rounds {
            for _ in 0..MAX_MESSAGES {
                let Some((from, to, message)) = traffic.pop_front() else { break };
                self.apply(to, Stimulus::Hear(self.replicas[from].key(), message), partition, &mut traffic);
                self.build(to, phase, partition, &mut traffic);
            }
            assert!(traffic.is_empty(), "messages without end");
            let behind = |node: &usize| self.replicas[*node].view() <= phase;
            let behind: Vec<usize> = (0..NODES).filter(behind).collect();
            if behind.is_empty() || round == rounds {
                break;
            }
            for node in behind {
                self.apply(node, Stimulus::TimeOut { phase, round }, partition, &mut traffic);
                self.build(node, phase, partition, &mut traffic);
            }
        }
    }

    /// Lets a leader have its block, once its view is on.
    fn build(&mut self, node: usize, phase: u64, partition: Partition, traffic: &mut Traffic) {
        if self.replicas[node].building().is_some_and(|view| view <= phase) {
            self.apply(node, Stimulus::Build, partition, traffic);
        }
    }

    fn apply(&mut self, node: usize, stimulus: Stimulus, partition: Partition, traffic: &mut Traffic) {
        for (target, message) in self.replicas[node].step(stimulus) {
            for other in (0..NODES).filter(|other| partition[*other] == partition[node] && *other != node) {
                if target.is_none_or(|target| target == self.replicas[other].key()) {
                    traffic.push_back((node, other, message.clone()));
                }
            }
        }
    }

    /// The nodes whose key runs once.
    fn honest(&self) -> impl Iterator<Item = &Replica> {
        (0..TWIN).filter(|node| *node != self.twinned).map(|node| &self.replicas[node])
    }

    /// What the honest nodes committed is on one chain, and none of them stopped.
    fn check(&self) -> Result<(), String> {
        for one in self.honest() {
            if one.halted() {
                return Err("an honest node stopped".to_owned());
            }
            for other in self.honest() {
                if !one.committed().zip(other.committed()).all(|(one, other)| one == other) {
                    return Err("two blocks are final at one height".to_owned());
                }
            }
        }
        Ok(())
    }

    fn lowest_height(&self) -> usize {
        self.honest().map(|node| node.committed().count()).min().unwrap_or(0)
    }

    fn highest_height(&self) -> usize {
        self.honest().map(|node| node.committed().count()).max().unwrap_or(0)
    }
}
