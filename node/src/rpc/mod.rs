//! The node's interface for programs: JSON-RPC 2.0 over HTTP and WebSocket. `docs/rpc.md` describes
//! it for people who write clients.

mod api;
mod authority_types;
mod client;
mod error;
mod health_types;
mod record;
mod server;
mod state_name;
mod types;

pub use api::{EventsApiClient, EventsApiServer, NodeApiClient, NodeApiServer};
pub use authority_types::{AuthoritiesInfo, EpochStepInfo, OffenceInfo, ProposalInfo};
pub use client::{
    Endpoint, EndpointError, Follow, Followed, ProofError, RpcClient, WalkError, walk_from, walk_to,
};
pub use error::{CallError, RpcError, Unreachable};
pub use health_types::{Health, Problem, ProblemKind, Role};
pub use record::{RecordInfo, ScoredRecord};
pub use server::fuzzing;
pub use server::{MetricsAt, RpcConfig, RpcServer, ServeError};
pub use state_name::{ParseStateNameError, StateName};
pub use types::*;
