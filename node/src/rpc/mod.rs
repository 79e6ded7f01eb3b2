//! The node's interface for programs: JSON-RPC 2.0 over HTTP and WebSocket. `docs/rpc.md` describes
//! it for people who write clients.

mod api;
mod authority_types;
mod client;
mod endpoint;
mod error;
mod follow;
mod health;
mod listener;
mod methods;
mod metrics;
mod proof;
mod queries;
mod record;
mod rejection;
mod server;
mod state_name;
mod subscriptions;
mod types;

pub use api::{EventsApiClient, EventsApiServer, NodeApiClient, NodeApiServer};
pub use authority_types::{AuthoritiesInfo, EpochStepInfo, OffenceInfo, ProposalInfo};
pub use client::RpcClient;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{CallError, RpcError, Unreachable};
pub use follow::{Follow, Followed};
pub use proof::{ProofError, WalkError, walk_to};
pub use record::{RecordInfo, ScoredRecord};
pub use server::{RpcConfig, RpcServer, ServeError};
pub use state_name::{ParseStateNameError, StateName};
pub use types::*;
