//! What a simulated cluster is made of.

use evchain_protocol::primitives::Span;

use super::network::Quality;
use crate::config::Config;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Everything random follows from it.
    pub seed: u64,
    /// n.
    pub authorities: usize,
    /// Nodes that are not among the first epoch's authorities.
    pub observers: usize,
    /// How the authorities change; they stay for ever without it.
    pub schedule: Option<Schedule>,
    /// The engines' parameters.
    pub config: Config,
    /// The network.
    pub quality: Quality,
    /// How long the execution of a block takes at most, in ms.
    pub max_execution_ms: u64,
    /// How long a leader waits for transactions at most, in ms; at most the idle interval.
    pub max_build_ms: u64,
}

impl Setup {
    /// A cluster of this size in a good network, with D = 50 ms.
    pub const fn new(seed: u64, authorities: usize) -> Self {
        Self {
            seed,
            authorities,
            observers: 0,
            schedule: None,
            config: Config { hop_bound: Span::new(50), idle: Span::new(40), max_clock_drift: Span::new(500) },
            quality: Quality::GOOD,
            max_execution_ms: 3,
            max_build_ms: 5,
        }
    }
}

/// How a chain's authorities change.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The blocks of an epoch.
    pub length: u64,
    /// The nodes that are the authorities of each epoch, of the last one for ever. The first are
    /// `0..authorities`.
    pub sets: Vec<Vec<usize>>,
}
