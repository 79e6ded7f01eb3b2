//! What a node answers, and to whom.

mod health;
mod listener;
mod methods;
mod metrics;
mod queries;
mod records;
mod rejection;
mod rpc_server;
mod subscriptions;

pub use rpc_server::{RpcConfig, RpcServer, ServeError};
