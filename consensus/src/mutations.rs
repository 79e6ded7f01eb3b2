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
    /// N5: views for which a justification has no room need no nullification.
    TrustUnlistedSkips,
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
    /// N1: a proposal counts whoever passes it on.
    TakeSecondHand,
    /// A2, N4: a certificate is believed if another one of the same subject was verified.
    DedupeBySubject,
    /// A2: a signature is believed if another one of its signer and subject was verified.
    CacheBySigner,
    /// R2: the last block of an epoch is committed without its ancestors.
    LeaveOutAncestors,
    /// E1: a leader builds above the epoch's last block.
    BuildAboveLast,
    /// E1: a block above the epoch's last one is notarized.
    NotarizeAboveLast,
    /// P4: an answer counts for whatever epoch a block was asked for.
    TakeBuiltOfAnyEpoch,
    /// E2: nobody proposes the last block again.
    NeverProposeAgain,
    /// E2: what comes with a block proposed again is not looked at.
    TrustEnvelopes,
    /// E3: the engine goes on after its last block.
    VoteAfterTheEnd,
    /// E3: the header does not matter for who comes next.
    BelieveAnySet,
    /// D8: the shell goes on to the next epoch before the last block of this one is written.
    BoundaryNotDurable,
    /// E4: nobody is told how its epoch ended.
    NeverServeBoundary,
    /// E5: the boundary is not pushed.
    NeverPushBoundary,
    /// E6: who seems to be ahead is not asked.
    NeverAskAhead,
    /// E7: messages of the next epoch are dropped.
    DropEarly,
    /// E7: all messages of the next epoch are kept.
    KeepAllEarly,
    /// E7: what nobody signs in an early proposal is not counted.
    CountNoEnvelopes,
    /// D7: an authority votes whatever its log may be missing.
    VoteAfterWipe,
    /// S6: an answer with the final chain goes on into the next epoch.
    ServeAcrossEpochs,
    /// S6: only the epoch's authorities are asked for the final chain.
    AskOnlyMembers,
    /// S8, E6: whoever tells first is asked, every time.
    AskFirstTeller,
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
