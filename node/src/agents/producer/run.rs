use evchain_protocol::crypto::KeyPair;
use tokio_util::sync::CancellationToken;

use super::config::{ProducerConfig, ProducerReport};
use crate::agents::{AgentError, Observer};
use crate::rpc::RpcClient;

/// Sells energy until `stop` is cancelled. Sessions that run then are stopped and settled as far as
/// they are in a few seconds; what is left goes on with the next start. Dropping the future is like a crash: nothing is lost either.
///
/// # Errors
/// [`AgentError`] where the agent cannot start, or its journals cannot be written.
pub async fn run(
    config: ProducerConfig,
    rpc: RpcClient,
    key: KeyPair,
    observer: Observer,
    stop: CancellationToken,
) -> Result<ProducerReport, AgentError> {
    let _ = (config, rpc, key, observer, stop);
    Err(AgentError::Settings("the producer's agent is being built".to_owned()))
}
