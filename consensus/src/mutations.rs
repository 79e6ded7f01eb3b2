//! Rules that this crate's own tests break on purpose, to see that a scenario notices.
//!
//! [`broken`] is `false` at compile time in every build but that of the unit tests; there is no feature
//! and no parameter that changes this.

#[cfg(test)]
mod tests;

/// A rule that can be broken. The comments cite `docs/protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breakage {
    /// D1 to D4: messages leave before what they rely on is synced.
    SendBeforePersist,
    /// N3: views between a proposal and its parent need no nullification.
    SkipGapCheck,
    /// F1, G3: a view that was nullified can still be finalized.
    ForgetNullify,
    /// N4: the certificates of a justification are not processed.
    IgnoreJustification,
    /// S1: own votes do not enter the own pool again.
    ForgetOwnVotes,
    /// q = n - f - 1.
    QuorumOffByOne,
    /// D6: a restarting node does not look at the votes in its log.
    ForgetVotesAtRestart,
    /// R2: final blocks are committed newest first.
    CommitBackwards,
    /// T4: timeouts do not grow.
    NeverBackOff,
    /// T4: a finalization does not reset timeouts.
    BackOffForever,
    /// A2, N4: signatures of certificates are not verified.
    TrustCertificates,
    /// F1, G5: another block than the notarized one can be finalized.
    FinalizeOtherBlock,
    /// D3: bodies of blocks are not logged.
    ForgetBodies,
    /// U1: the leader timeout does nothing.
    WaitForLeader,
    /// Nothing is signed and no signature verified: for runs in which nobody forges any.
    NoSignatures,
    /// B1: votes are taken for any view.
    TakeFarVotes,
    /// W2: signatures that contradict each other are not verified.
    AccuseUnverified,
}

/// Whether a rule is broken.
#[cfg(not(test))]
pub(crate) const fn broken(_rule: Breakage) -> bool {
    false
}

#[cfg(test)]
pub(crate) use under_test::{broken, with_broken};

#[cfg(test)]
mod under_test {
    use std::cell::Cell;

    use super::Breakage;

    thread_local! {
        static BROKEN: Cell<Option<Breakage>> = const { Cell::new(None) };
    }

    pub(crate) fn broken(rule: Breakage) -> bool {
        BROKEN.get() == Some(rule)
    }

    /// Runs something on this thread with a rule broken.
    pub(crate) fn with_broken<R>(rule: Option<Breakage>, run: impl FnOnce() -> R) -> R {
        let before = BROKEN.replace(rule);
        let result = run();
        BROKEN.set(before);
        result
    }
}
