//! Takes up a sale that was interrupted, from its journal.

use std::path::{Path, PathBuf};

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::session::{ProducerOutput, ProducerPolicy, ProducerRecord, ProducerSession};

use crate::agents::consumer::JOURNAL_PREFIX;
use crate::agents::error::AgentError;
use crate::agents::journal::{self, Journal};
use crate::clock;

/// A sale to go on with.
pub(super) struct Interrupted {
    pub(super) session: ProducerSession,
    pub(super) journal: Journal<ProducerRecord>,
    /// What is to be done first.
    pub(super) out: Vec<ProducerOutput>,
}

/// The journals of sales that something is left to do for. A vehicle that buys and sells keeps both
/// kinds in one folder.
pub(super) fn unfinished_sales(folder: &Path) -> Result<Vec<PathBuf>, AgentError> {
    let mut paths = journal::unfinished(folder)?;
    paths.retain(|path| !journal::name_of(path).starts_with(JOURNAL_PREFIX));
    Ok(paths)
}

/// The sale that a journal holds. None if it had not begun: it is as if the consumer had not come yet.
///
/// # Errors
/// [`AgentError::OtherKey`], and where the journal cannot be used.
pub(super) fn recover(
    path: &Path,
    key: &KeyPair,
    policy: ProducerPolicy,
) -> Result<Option<Interrupted>, AgentError> {
    let (journal, records) = Journal::<ProducerRecord>::open(path)?;
    let Some(first) = records.first() else {
        journal.discard()?;
        return Ok(None);
    };
    // Its claims would be refused, and the journal say that they are on their way.
    if let ProducerRecord::Accepted(accepted) = first
        && accepted.terms.producer != key.public_key()
    {
        return Err(AgentError::OtherKey { path: path.to_owned(), owner: accepted.terms.producer });
    }
    let mut out = Vec::new();
    let session = ProducerSession::recover(key.clone(), policy, &records, clock::now(), &mut out)
        .map_err(|source| AgentError::Damaged { path: path.to_owned(), source })?;
    Ok(Some(Interrupted { session, journal, out }))
}
