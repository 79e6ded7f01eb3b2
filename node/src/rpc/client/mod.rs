//! How other programs use a node, or several.

mod endpoint;
mod follow;
mod proof;
mod rpc_client;

pub use endpoint::{Endpoint, EndpointError};
pub use follow::{Follow, Followed};
pub use proof::{ProofError, WalkError, walk_from, walk_to};
pub use rpc_client::RpcClient;
