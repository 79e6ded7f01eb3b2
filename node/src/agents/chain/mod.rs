//! The chain as agents see it: what its nodes answer, how fast it is, and what is brought to it.

pub(in crate::agents) mod asking;
pub(in crate::agents) mod availability;
pub(in crate::agents) mod blocks;
pub(in crate::agents) mod finality;
pub(in crate::agents) mod nodes;
pub(in crate::agents) mod settle;
#[cfg(test)]
pub(in crate::agents) mod stub;
