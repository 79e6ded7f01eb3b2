use tokio_util::sync::CancellationToken;

use super::config::{ChargeOrder, ConsumerConfig};
use crate::agents::{AgentError, ChargeReport, Observer};
use crate::rpc::RpcClient;
use crate::wallet::Wallet;

/// Charges once: asks with a fresh key of the wallet, which its main key pays for, chooses, pays,
/// and takes back what is left. When `stop` is cancelled the session is ended and settled.
/// Dropping the future is like a crash: [`resume`] goes on.
///
/// # Errors
/// [`AgentError`] where the agent cannot go on. That nobody served is no error but in the report.
pub async fn run(
    config: &ConsumerConfig,
    order: &ChargeOrder,
    rpc: RpcClient,
    wallet: &Wallet,
    observer: Observer,
    stop: CancellationToken,
) -> Result<ChargeReport, AgentError> {
    let _ = (config, order, rpc, wallet, observer, stop);
    Err(AgentError::Settings("the consumer's agent is being built".to_owned()))
}

/// Goes on with every charge that was interrupted: with those that have locked their price to the
/// end, of others the money is taken back.
///
/// # Errors
/// As [`run`], at the first that fails.
pub async fn resume(
    config: &ConsumerConfig,
    rpc: RpcClient,
    wallet: &Wallet,
    observer: Observer,
    stop: CancellationToken,
) -> Result<Vec<ChargeReport>, AgentError> {
    let _ = (config, rpc, wallet, observer, stop);
    Err(AgentError::Settings("the consumer's agent is being built".to_owned()))
}
