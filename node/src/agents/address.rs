//! Where others reach an agent.

use super::error::AgentError;
use crate::network::{Multiaddr, SessionEndpoint};

/// What others are told: `advertise`, or else an address of the endpoint that listens at `listen`, one
/// that others than this machine can reach if there is one.
pub(super) async fn reachable(
    listen: &Multiaddr,
    advertise: Option<&Multiaddr>,
    endpoint: &SessionEndpoint,
) -> Result<Multiaddr, AgentError> {
    if let Some(address) = advertise {
        return Ok(address.clone());
    }
    let addresses = endpoint.listen_addresses().await?;
    let outside = addresses.iter().find(|address| !is_loopback(address));
    let none = || AgentError::Settings(format!("{listen} gives no address to listen on"));
    outside.or(addresses.first()).cloned().ok_or_else(none)
}

fn is_loopback(address: &Multiaddr) -> bool {
    let text = address.to_string();
    text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
}
