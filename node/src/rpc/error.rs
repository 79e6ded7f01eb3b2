use std::fmt;

use evchain_protocol::crypto::Hash;
use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::types::error::{
    INVALID_PARAMS_CODE, INVALID_REQUEST_CODE, METHOD_NOT_FOUND_CODE, PARSE_ERROR_CODE,
};
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use serde::{Deserialize, Serialize};

/// Why a node did not do what a call asked for. The codes are in [`CallError::code`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call itself makes no sense; it never will.
    #[error("{0}")]
    InvalidInput(String),
    /// The transaction breaks a rule of the ledger.
    #[error("{message}")]
    Rejected {
        /// Which rule, for programs, such as `transfer.balance_too_low`.
        reason: String,
        /// Why, for people.
        message: String,
    },
    /// There is no such thing, or no longer.
    #[error("{0}")]
    NotFound(String),
    /// The transaction was accepted and was not final in time. It may still become final.
    #[error(
        "transaction {transaction} was accepted and is not final after {waited_ms} ms; it may still become final: ask for it again, and send no other in its place"
    )]
    TimedOut {
        /// The transaction's id.
        transaction: Hash,
        /// How long the call waited.
        waited_ms: u64,
    },
    /// The transaction was accepted, and the node has no room for one more call that waits for it. It may
    /// still become final. Its code and name are those of [`CallError::Busy`].
    #[error(
        "transaction {transaction} was accepted and may still become final, but too many calls wait already: ask for it again in a moment, and send no other in its place"
    )]
    Unwatched {
        /// The transaction's id.
        transaction: Hash,
    },
    /// The node cannot take it now; later or elsewhere it may be taken.
    #[error("{0}")]
    Busy(String),
    /// The node failed.
    #[error("the node failed: {0}")]
    Failed(String),
}

/// What stands in an error's `data`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct ErrorData {
    /// The name of the error's code.
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
}

const INVALID_INPUT: i32 = -32_010;
const REJECTED: i32 = -32_011;
const NOT_FOUND: i32 = -32_012;
const TIMED_OUT: i32 = -32_013;
const BUSY: i32 = -32_014;
const FAILED: i32 = -32_015;

impl CallError {
    /// The error's code in JSON-RPC.
    pub const fn code(&self) -> i32 {
        match self {
            Self::InvalidInput(_) => INVALID_INPUT,
            Self::Rejected { .. } => REJECTED,
            Self::NotFound(_) => NOT_FOUND,
            Self::TimedOut { .. } => TIMED_OUT,
            Self::Unwatched { .. } | Self::Busy(_) => BUSY,
            Self::Failed(_) => FAILED,
        }
    }

    /// The code's name, which stands in the error's data.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "invalid_input",
            Self::Rejected { .. } => "rejected",
            Self::NotFound(_) => "not_found",
            Self::TimedOut { .. } => "timed_out",
            Self::Unwatched { .. } | Self::Busy(_) => "busy",
            Self::Failed(_) => "failed",
        }
    }

    /// The error that a node sent. JSON-RPC's own codes for bad calls count as invalid input.
    fn from_object(object: &ErrorObjectOwned) -> Option<Self> {
        let data: ErrorData =
            object.data().and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
        let message = object.message().to_owned();
        Some(match object.code() {
            INVALID_INPUT | INVALID_PARAMS_CODE => {
                // jsonrpsee says what is wrong with parameters in the data.
                let detail = object.data().and_then(|data| serde_json::from_str::<String>(data.get()).ok());
                Self::InvalidInput(detail.map_or(message.clone(), |detail| format!("{message}: {detail}")))
            }
            INVALID_REQUEST_CODE | METHOD_NOT_FOUND_CODE | PARSE_ERROR_CODE => Self::InvalidInput(message),
            REJECTED => Self::Rejected { reason: data.reason.unwrap_or_default(), message },
            NOT_FOUND => Self::NotFound(message),
            TIMED_OUT => Self::TimedOut {
                transaction: data.transaction.unwrap_or_default(),
                waited_ms: data.waited_ms.unwrap_or_default(),
            },
            BUSY => match data.transaction {
                Some(transaction) => Self::Unwatched { transaction },
                None => Self::Busy(message),
            },
            FAILED => Self::Failed(message.trim_start_matches("the node failed: ").to_owned()),
            _ => return None,
        })
    }
}

impl From<CallError> for ErrorObjectOwned {
    fn from(error: CallError) -> Self {
        let mut data = ErrorData { error: error.name().to_owned(), ..ErrorData::default() };
        match &error {
            CallError::Rejected { reason, .. } => data.reason = Some(reason.clone()),
            CallError::TimedOut { transaction, waited_ms } => {
                data.transaction = Some(*transaction);
                data.waited_ms = Some(*waited_ms);
            }
            CallError::Unwatched { transaction } => data.transaction = Some(*transaction),
            _ => {}
        }
        ErrorObject::owned(error.code(), error.to_string(), Some(data))
    }
}

/// Why a client has no answer that it can use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RpcError {
    /// A node answered with an error.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No node answered.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A node answered with something that is no answer: other software, or another version.
    #[error("the answer cannot be read: {0}. Is an evchain node of this version running there?")]
    Unreadable(String),
}

impl From<ClientError> for RpcError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Call(object) => match CallError::from_object(&object) {
                Some(error) => Self::Call(error),
                None => Self::Unreadable(format!("{} (code {})", object.message(), object.code())),
            },
            ClientError::Transport(source) => match source.downcast::<Unreachable>() {
                Ok(unreachable) => Self::Unreachable(*unreachable),
                Err(other) => Self::Unreadable(other.to_string()),
            },
            other => Self::Unreadable(other.to_string()),
        }
    }
}

/// Every node that was tried, and why it gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// URLs and reasons, in the order in which they were tried.
    pub tried: Vec<(String, String)>,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no node answers:")?;
        for (index, (url, reason)) in self.tried.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator} {url} ({reason})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unreachable {}
