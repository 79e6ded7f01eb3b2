//! What a command's exit code says. `docs/cli.md` lists them for people who write scripts.

use crate::rpc::{CallError, RpcError};
use crate::wallet::SendError;

/// Done.
pub const OK: u8 = 0;
/// A failure of ours or the system's, or no node could be reached.
pub const FAILED: u8 = 1;
/// The command makes no sense.
pub const USAGE: u8 = 2;
/// The ledger rejected the transaction.
pub const REJECTED: u8 = 3;
/// There is no such thing.
pub const NOT_FOUND: u8 = 4;
/// The transaction was not final in time, or it is not known what became of it; it may still become final.
pub const TIMED_OUT: u8 = 5;

/// An argument that parses and makes no sense beside the others or the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The exit code for an error, by the first cause that says what it was.
pub fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(FAILED)
}

fn code_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<UsageError>() {
        return Some(USAGE);
    }
    let rpc = match cause.downcast_ref::<SendError>() {
        // Whatever the reason: who sends another one may pay twice.
        Some(SendError::Undecided { .. }) => return Some(TIMED_OUT),
        Some(error) => error.rpc(),
        None => cause.downcast_ref::<RpcError>()?,
    };
    Some(match rpc {
        RpcError::Call(CallError::InvalidInput(_)) => USAGE,
        RpcError::Call(CallError::Rejected { .. }) => REJECTED,
        RpcError::Call(CallError::NotFound(_)) => NOT_FOUND,
        RpcError::Call(CallError::TimedOut { .. } | CallError::Unwatched { .. }) => TIMED_OUT,
        RpcError::Call(CallError::Busy(_) | CallError::Failed(_))
        | RpcError::Unreachable(_)
        | RpcError::Unreadable(_) => FAILED,
    })
}

/// An error as a person reads it: what happened, why, and what can be done.
pub fn message_of(error: &anyhow::Error) -> String {
    // Errors of this project show their sources themselves, so a cause that repeats is left out.
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
    }
    if code_of(error) == REJECTED {
        message = format!("rejected by the ledger: {message}");
    }
    let undecided = error.chain().find_map(|cause| cause.downcast_ref::<SendError>()?.undecided());
    if let Some(id) = undecided {
        return format!(
            "it is not known whether the transaction becomes final: {message}\n  It was signed and may have reached a node: `evchain query wait {id}` tells. Do not repeat this command\n  before that: a second transaction would be carried out as well."
        );
    }
    let unreachable = error.chain().any(|cause| {
        matches!(cause.downcast_ref::<RpcError>(), Some(RpcError::Unreachable(_)))
            || matches!(cause.downcast_ref::<SendError>().map(SendError::rpc), Some(RpcError::Unreachable(_)))
    });
    if unreachable {
        message.push_str(
            "\n  Is a node running there? `evchain start --help` tells how to start one; --rpc URL names another.",
        );
    }
    message
}
