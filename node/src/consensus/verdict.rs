//! What becomes of a finalization that came by gossip.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use evchain_consensus::message::Message;
use evchain_consensus::output::Output;
use evchain_protocol::finality::Certificate;

use crate::network::Verdict;

/// The verdict that follows from what the engine wants done after it heard this certificate.
///
/// The engine has just what is new, and what it verified, broadcast
/// (`consensus/docs/protocol.md`, A2), so nothing else is forwarded: neither copies of what is held,
/// which nobody verifies, nor what is kept for a later epoch. Otherwise the next node would blame this
/// one for what it passed on (W4).
pub(super) fn on_finalization(certificate: &Arc<Certificate>, outputs: &[Output]) -> Verdict {
    let is_bad = outputs.iter().any(|output| matches!(output, Output::Reject { .. }));
    let is_relayed = outputs.iter().any(
        |output| matches!(output, Output::Broadcast(Message::Certificate(relayed)) if relayed == certificate),
    );
    match (is_bad, is_relayed) {
        (true, _) => Verdict::Reject,
        (false, true) => Verdict::Accept,
        (false, false) => Verdict::Ignore,
    }
}
