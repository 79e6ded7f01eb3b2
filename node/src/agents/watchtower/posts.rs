//! Brings states to the chain, and asks it for channels.

use std::sync::Arc;

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::primitives::{Nonce, TxRef};
use evchain_protocol::session::{OnChain, PaymentKind};
use evchain_protocol::state::channel::{Channel, CoSignedState};
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::{Action, Transaction};
use futures::StreamExt;

use super::batch::{Came, bring_all};
use crate::agents::chain::nodes::{Brought, MAX_SIGNINGS, Nodes, nonces_taken};
use crate::agents::error::AgentError;
use crate::agents::report::Phase;
use crate::rpc::RpcError;

/// Posts under way at the same time. A node keeps 64 transactions of one sender, and some of an earlier batch
/// may still wait there.
pub(super) const BATCH: usize = 32;
/// Questions under way at the same time.
const QUESTIONS: usize = 8;

/// What came of a post.
pub(super) struct Posted {
    /// Whether it took a transaction.
    pub(super) sent: bool,
    /// The channel after it.
    pub(super) found: Option<Channel>,
}

/// What came of each post of a batch.
pub(super) type Outcomes = Vec<(TxRef, Result<Posted, AgentError>)>;

/// Brings states of different channels to the chain, as far as it shows none that is as new. The only sender
/// with this key; another delays it.
pub(super) async fn post_all(nodes: &Nodes, key: &Arc<KeyPair>, states: Vec<CoSignedState>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut waiting = states;
    for _ in 0..MAX_SIGNINGS {
        let needed = needed(nodes, waiting, &mut outcomes).await;
        if needed.is_empty() {
            return outcomes;
        }
        let nonce = match nodes.account(key.public_key()).await {
            // The final one, not the one after what waits at a node: that may wait for a gap to be filled.
            // Without account the ledger rejects whatever comes, and says what to do.
            Ok(account) => account.map_or(Nonce::ZERO, |account| account.nonce),
            Err(error) => {
                let failed = || AgentError::Rpc(RpcError::Unreadable(error.to_string()));
                outcomes.extend(needed.iter().map(|state| (state.state.channel, Err(failed()))));
                return outcomes;
            }
        };
        waiting = post_from(nodes, key, needed, nonce, &mut outcomes).await;
    }
    for state in waiting {
        outcomes.push((state.state.channel, Err(nonces_taken(&action(state)))));
    }
    outcomes
}

/// Posts with these nonces, and gives the states whose nonces were used by others.
async fn post_from(
    nodes: &Nodes,
    key: &Arc<KeyPair>,
    states: Vec<CoSignedState>,
    first: Nonce,
    outcomes: &mut Outcomes,
) -> Vec<CoSignedState> {
    let came = bring_all(states.len(), first, |index, nonce| {
        let transaction = Transaction { sender: key.public_key(), nonce, action: action(states[index]) };
        let (signed, nodes) = (transaction.sign(key, nodes.chain()), nodes.clone());
        async move {
            match nodes.bring(Phase::Settlement, &signed).await {
                Ok(Brought::Final(..)) => Came::Final(()),
                Ok(Brought::Stale) => Came::Stale,
                Err(error) => Came::Failed(error),
            }
        }
    })
    .await;
    let mut stale = Vec::new();
    for (state, came) in states.into_iter().zip(came) {
        let name = state.state.channel;
        let outcome = match came {
            Came::Stale => {
                stale.push(state);
                continue;
            }
            Came::Final(()) => channel(nodes, name).await.map(|found| Posted { sent: true, found }),
            // The channel may have ended, or somebody else may have posted as much.
            Came::Failed(error) => match channel(nodes, name).await {
                Ok(found) if !is_needed(&state, found.as_ref()) => Ok(Posted { sent: false, found }),
                _ => Err(error),
            },
        };
        outcomes.push((name, outcome));
    }
    stale
}

/// The states that the chain does not show, nor newer ones. The others have come to something.
async fn needed(nodes: &Nodes, states: Vec<CoSignedState>, outcomes: &mut Outcomes) -> Vec<CoSignedState> {
    let asked = states.into_iter().map(|state| async move {
        let found = channel(nodes, state.state.channel).await;
        (state, found)
    });
    let mut asked = futures::stream::iter(asked).buffered(QUESTIONS);
    let mut needed = Vec::new();
    while let Some((state, found)) = asked.next().await {
        match found {
            Ok(found) if is_needed(&state, found.as_ref()) => needed.push(state),
            Ok(found) => outcomes.push((state.state.channel, Ok(Posted { sent: false, found }))),
            Err(error) => outcomes.push((state.state.channel, Err(error))),
        }
    }
    needed
}

fn is_needed(state: &CoSignedState, found: Option<&Channel>) -> bool {
    found.is_some_and(|channel| channel.posted.is_none_or(|posted| posted.released < state.state.released))
}

const fn action(state: CoSignedState) -> Action {
    Action::PostState(PostState { state })
}

/// What the final chain has of a channel that was on it. None ends a guard, so it is asked for twice: a node
/// that catches up may have missed it at first, and be up to date when asked how far it is.
pub(super) async fn channel(nodes: &Nodes, name: TxRef) -> Result<Option<Channel>, AgentError> {
    match look_up(nodes, name).await? {
        Some(channel) => Ok(Some(channel)),
        None => look_up(nodes, name).await,
    }
}

/// What the final chain has under any name.
pub(super) async fn look_up(nodes: &Nodes, name: TxRef) -> Result<Option<Channel>, AgentError> {
    Ok(match nodes.payment(PaymentKind::Channel, name).await? {
        Some(OnChain::Channel(channel)) => Some(channel),
        _ => None,
    })
}
