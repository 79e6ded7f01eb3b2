//! Many transactions of one key at the same time.
//!
//! They have consecutive nonces and are sent together, so that one block can take them all. One that a rule
//! speaks against leaves its nonce unused, and those after it could never be final: the last of them that is
//! under way is then signed anew with that nonce. What was sent of it before is invalid once the new one is final.

use std::collections::BTreeMap;

use evchain_protocol::primitives::Nonce;
use tokio::task::{AbortHandle, JoinSet};

/// What became of a transaction with a nonce.
#[derive(Debug)]
pub(super) enum Came<T, E> {
    /// It is final.
    Final(T),
    /// Something else has used the nonce.
    Stale,
    /// It cannot be brought to the chain, and its nonce is unused.
    Failed(E),
}

/// Brings so many transactions to the chain, the first with this nonce, and gives what became of each, in their
/// order. `bring` signs the transaction of an index with a nonce and says what became of that.
pub(super) async fn bring_all<T, E, B, F>(count: usize, first: Nonce, bring: B) -> Vec<Came<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
    B: Fn(usize, Nonce) -> F,
    F: Future<Output = Came<T, E>> + Send + 'static,
{
    let mut came: Vec<Option<Came<T, E>>> = std::iter::repeat_with(|| None).take(count).collect();
    let mut tasks = JoinSet::new();
    let start = |tasks: &mut JoinSet<_>, index: usize, nonce: Nonce| {
        let brought = bring(index, nonce);
        let task = tasks.spawn(async move { (index, nonce, brought.await) });
        (index, task)
    };
    let mut under_way: BTreeMap<Nonce, (usize, AbortHandle)> = BTreeMap::new();
    for index in 0..count {
        let nonce = first.saturating_add(Nonce::new(index as u64));
        under_way.insert(nonce, start(&mut tasks, index, nonce));
    }
    while let Some(ended) = tasks.join_next().await {
        // Aborted, or over at the moment when it was: the index has another nonce now.
        let Ok((index, nonce, outcome)) = ended else { continue };
        if under_way.get(&nonce).is_none_or(|(of, _)| *of != index) {
            continue;
        }
        under_way.remove(&nonce);
        if matches!(outcome, Came::Failed(_))
            && let Some(last) = under_way.last_entry().filter(|last| *last.key() > nonce)
        {
            let (moved, task) = last.remove();
            task.abort();
            under_way.insert(nonce, start(&mut tasks, moved, nonce));
        }
        came[index] = Some(outcome);
    }
    // A task that was lost counts as one that has to be tried again.
    came.into_iter().map(|came| came.unwrap_or(Came::Stale)).collect()
}

#[cfg(test)]
mod tests;
