//! What the authorities were seen to sign, so that whoever contradicts itself is found out (W1 to W5).

use std::collections::{BTreeMap, BTreeSet};

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::crypto::Hash;
use evchain_protocol::execute::MAX_OFFENCES;
use evchain_protocol::finality::{Certificate, Evidence, OffenceKind, Subject, UnjustifiedVote, Vote};
use evchain_protocol::primitives::View;

use crate::view::Kind;

/// The views of which votes are remembered: the highest of which any were seen.
pub(crate) const VIEWS_WATCHED: usize = 64;

/// One epoch's votes by view and signer, and what they proved.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Watch {
    views: BTreeMap<View, Seen>,
    told: BTreeMap<AuthorityIndex, BTreeSet<(View, OffenceKind)>>,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Seen {
    /// The first of each signer and kind.
    votes: BTreeMap<(AuthorityIndex, Kind), SeenVote>,
    /// A leader's vote for a block that its justification does not justify.
    unjustified: Option<(Hash, UnjustifiedVote)>,
}

/// A vote that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeenVote {
    pub(crate) vote: Vote,
    /// Its signature is valid. The others came from their signer itself.
    pub(crate) verified: bool,
}

impl Watch {
    /// W1: remembers a vote, the first of its signer and kind, and the verified one of two equal ones.
    pub(crate) fn remember(&mut self, vote: Vote, verified: bool) {
        let seen = self.seen_in(vote.subject.view());
        let first = seen.votes.entry(key_of(&vote)).or_insert(SeenVote { vote, verified });
        if verified && !first.verified && first.vote.subject == vote.subject {
            *first = SeenVote { vote, verified };
        }
        self.drop_lowest();
    }

    /// Forgets what turned out not to be signed by whom it names.
    pub(crate) fn forget(&mut self, vote: &Vote) {
        if let Some(seen) = self.views.get_mut(&vote.subject.view()) {
            seen.votes.remove(&key_of(vote));
        }
    }

    /// The votes of the same signer and view that this one excludes, each with what both would prove.
    pub(crate) fn contradicted_by(&self, vote: &Vote) -> Vec<(SeenVote, Evidence)> {
        let Some(seen) = self.views.get(&vote.subject.view()) else { return Vec::new() };
        let of_signer = (vote.signer, Kind::Notarize)..=(vote.signer, Kind::Finalize);
        let pairs = seen
            .votes
            .range(of_signer)
            .filter(|(_, held)| held.vote.subject != vote.subject)
            .filter_map(|(_, held)| Some((*held, Evidence::of_votes(held.vote, *vote).ok()?)));
        pairs.collect()
    }

    /// W3: from now on, votes to notarize this block are offences. Gives those that were seen.
    pub(crate) fn add_unjustified(&mut self, block: Hash, unjustified: UnjustifiedVote) -> Vec<Vote> {
        let view = unjustified.vote.subject.view();
        let seen = self.seen_in(view);
        let subject = unjustified.vote.subject;
        seen.unjustified = Some((block, unjustified));
        let same = seen.votes.values().filter(|seen| seen.verified && seen.vote.subject == subject);
        let votes = same.map(|seen| seen.vote).collect();
        self.drop_lowest();
        votes
    }

    /// W3: what a vote for an unjustified block proves.
    pub(crate) fn unjustified(&self, vote: &Vote) -> Option<Evidence> {
        let Subject::Notarize(subject) = vote.subject else { return None };
        let (block, first) = self.views.get(&subject.view)?.unjustified.as_ref()?;
        let evidence = UnjustifiedVote { vote: *vote, ..first.clone() };
        (*block == subject.block).then(|| Evidence::Justification(Box::new(evidence)))
    }

    /// W4: whether evidence is one of the first [`MAX_OFFENCES`] pieces against its signer, and news.
    pub(crate) fn tell(&mut self, evidence: &Evidence) -> bool {
        let Ok(kind) = evidence.kind() else { return false };
        !self.is_enough(evidence.signer())
            && self.told.entry(evidence.signer()).or_default().insert((evidence.view(), kind))
    }

    /// Whether just this was told before.
    pub(crate) fn is_told(&self, evidence: &Evidence) -> bool {
        let told = self.told.get(&evidence.signer());
        evidence.kind().is_ok_and(|kind| told.is_some_and(|told| told.contains(&(evidence.view(), kind))))
    }

    /// Whether as much is told of an authority as the chain records.
    pub(crate) fn is_enough(&self, signer: AuthorityIndex) -> bool {
        self.told.get(&signer).is_some_and(|told| told.len() >= MAX_OFFENCES)
    }

    /// The number of votes remembered.
    pub(crate) fn vote_count(&self) -> usize {
        self.views.values().map(|seen| seen.votes.len()).fold(0, usize::saturating_add)
    }

    fn seen_in(&mut self, view: View) -> &mut Seen {
        self.views.entry(view).or_default()
    }

    fn drop_lowest(&mut self) {
        if self.views.len() > VIEWS_WATCHED {
            self.views.pop_first();
        }
    }
}

/// The votes that a certificate is made of.
pub(crate) fn votes_of(certificate: &Certificate) -> impl Iterator<Item = Vote> {
    let subject = certificate.subject;
    let signed = certificate.signers.iter().zip(certificate.signatures.iter());
    signed.map(move |(signer, signature)| Vote { subject, signer, signature: *signature })
}

const fn key_of(vote: &Vote) -> (AuthorityIndex, Kind) {
    (vote.signer, Kind::of(&vote.subject))
}
