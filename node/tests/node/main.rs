//! Goal: the node does what its users see: nodes, agents, RPC and the command line.
//! Method: one program for all of it, since each further one links the whole node again.

mod agents_bidding;
mod agents_margins;
mod agents_records;
mod agents_recovery;
mod agents_sessions;
mod agents_strangers;
mod agents_support;
mod agents_watch;
mod cli_chain;
mod cli_offline;
mod cluster;
mod common;
mod epochs;
mod evidence;
mod floods;
mod hostile_peers;
mod rpc_calls;
mod rpc_hostile;
mod served;
mod trust;
mod voting;
