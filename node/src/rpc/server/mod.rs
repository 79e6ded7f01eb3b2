//! What a node answers, and to whom.

mod access;
mod budget;
mod calls;
pub mod fuzzing;
mod health;
mod hosts;
mod http;
mod listener;
mod methods;
mod metrics;
mod queries;
mod records;
mod rejection;
mod rpc_server;
mod subscriptions;
mod websocket;
mod wire;

pub use rpc_server::{MetricsAt, RpcConfig, RpcServer, ServeError};
