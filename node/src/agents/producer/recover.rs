//! Takes up a sale that was interrupted, from its journal.

use std::path::{Path, PathBuf};

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::session::{
    Message, ProducerInput, ProducerOutput, ProducerPolicy, ProducerRecord, ProducerSession, Resume,
    StopReason,
};

use crate::agents::consumer::JOURNAL_PREFIX;
use crate::agents::error::AgentError;
use crate::agents::journal::{self, Journal, Peeked};
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

/// What a consumer hears that asks for a session which is over (P18): the receipt, if there is one and it is the
/// consumer's, or that it has ended.
pub(super) fn last_word(
    folder: &Path,
    consumer: PublicKey,
    resume: Resume,
    key: &KeyPair,
    policy: ProducerPolicy,
) -> Message {
    // Single locks have one session for each consumer's key (O8).
    let names = [resume.payment.to_string(), consumer.to_string()];
    let said = names.iter().find_map(|name| {
        let Peeked { records, .. } = journal::peek::<ProducerRecord>(&journal::closed(folder, name)).ok()?;
        let Some(ProducerRecord::Accepted(accepted)) = records.first() else { return None };
        if (accepted.terms.payment, accepted.terms.consumer) != (resume.payment, consumer) {
            return None;
        }
        // Nothing is left to do for it: of its outputs only the answer is carried out.
        let (now, mut out) = (clock::now(), Vec::new());
        let mut session = ProducerSession::recover(key.clone(), policy, &records, now, &mut out).ok()?;
        out.clear();
        session.step(now, ProducerInput::Message(Message::Resume(resume)), &mut out).ok()?;
        out.into_iter().find_map(|output| match output {
            ProducerOutput::Send(message @ Message::Receipt(_)) => Some(message),
            _ => None,
        })
    });
    said.unwrap_or(Message::Stop(StopReason::Ended))
}
