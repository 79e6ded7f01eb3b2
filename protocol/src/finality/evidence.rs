//! What an authority signed and no honest one signs, for everybody to check (`consensus/docs/protocol.md`,
//! Evidence; rules V of `docs/ledger.md`).

use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::electorate::Electorate;
use super::justification::{Justification, JustificationItem, lowest_skip, proves_parent};
use super::vote::{Subject, Vote};
use crate::authority::AuthorityIndex;
use crate::block::Header;
use crate::codec::{Decode, Encode, encode};
use crate::crypto::PublicKey;
use crate::merkle::{InclusionError, InclusionProof};
use crate::primitives::{Epoch, Height, View};
use crate::tagged_enum;

/// What an authority did. At most one of a kind counts in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffenceKind {
    /// Votes to notarize two blocks in a view.
    DoubleNotarize,
    /// Votes to finalize two blocks in a view.
    DoubleFinalize,
    /// Votes to nullify a view and to finalize a block in it.
    NullifyAndFinalize,
    /// Votes to notarize one block and to finalize another in a view.
    NotarizeAndFinalize,
    /// A vote to notarize a block whose header commits to a justification that does not justify it.
    BadJustification,
}

tagged_enum!(OffenceKind {
    0 => DoubleNotarize,
    1 => DoubleFinalize,
    2 => NullifyAndFinalize,
    3 => NotarizeAndFinalize,
    4 => BadJustification,
});

impl OffenceKind {
    /// The first in the order of kinds.
    pub const FIRST: Self = Self::DoubleNotarize;
    /// The last in the order of kinds.
    pub const LAST: Self = Self::BadJustification;

    /// The byte that stands for it.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DoubleNotarize => "double_notarize",
            Self::DoubleFinalize => "double_finalize",
            Self::NullifyAndFinalize => "nullify_and_finalize",
            Self::NotarizeAndFinalize => "notarize_and_finalize",
            Self::BadJustification => "bad_justification",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        (Self::FIRST.tag()..=Self::LAST.tag()).filter_map(Self::from_tag).find(|kind| kind.name() == name)
    }

    /// The kind with this byte.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::DoubleNotarize),
            1 => Some(Self::DoubleFinalize),
            2 => Some(Self::NullifyAndFinalize),
            3 => Some(Self::NotarizeAndFinalize),
            4 => Some(Self::BadJustification),
            _ => None,
        }
    }
}

/// Signed messages that together prove an offence. They need nothing but the epoch's authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Two votes that exclude each other.
    Votes(Box<ConflictingVotes>),
    /// A vote for a block that should not have been voted for.
    Justification(Box<UnjustifiedVote>),
}
tagged_enum!(Evidence { 0 => Votes(Box<ConflictingVotes>), 1 => Justification(Box<UnjustifiedVote>) });

/// Two votes of one authority in one view that exclude each other. The order of their subjects is
/// ascending, so that each pair has one encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ConflictingVotes {
    /// The one with the lower subject.
    pub first: Vote,
    /// The other one.
    pub second: Vote,
}

/// A vote to notarize a block in its own view, and an item of the block's justification.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct UnjustifiedVote {
    /// The vote.
    pub vote: Vote,
    /// The block's header.
    pub header: Header,
    /// What is wrong with the justification, or any item where it has too few or too many.
    pub item: JustificationItem,
    /// The proof that the header's `just_root` covers the item.
    pub proof: InclusionProof,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The votes are of two authorities, views or epochs.
    #[error("the votes are not of one authority in one view")]
    Unrelated,
    /// An honest authority may sign both, or the pair is in the wrong order.
    #[error("the votes do not exclude each other, or are in the wrong order")]
    NoConflict,
    /// The vote is not to notarize this block in its own view.
    #[error("the vote is not to notarize this block in its own view")]
    OtherBlock,
    /// Of another epoch than the authorities it is checked against.
    #[error("evidence of epoch {found}, checked against epoch {expected}")]
    WrongEpoch {
        /// The evidence's.
        found: Epoch,
        /// The authorities'.
        expected: Epoch,
    },
    /// An index outside the set.
    #[error("authority {0} is not in the set")]
    UnknownSigner(AuthorityIndex),
    /// Not the signer's signature of the subject on this chain.
    #[error("a signature is not valid")]
    BadSignature,
    /// The header does not commit to the item.
    #[error("the item is not in the header's justification: {0}")]
    NotCommitted(#[from] InclusionError),
    /// As far as the item shows, the block is justified.
    #[error("nothing is wrong with this item of the justification")]
    Justified,
}

impl Evidence {
    /// The evidence that two votes make, in any order.
    ///
    /// # Errors
    /// [`EvidenceError::Unrelated`] and [`EvidenceError::NoConflict`].
    pub fn of_votes(one: Vote, other: Vote) -> Result<Self, EvidenceError> {
        let (first, second) = if one.subject <= other.subject { (one, other) } else { (other, one) };
        let evidence = Self::Votes(Box::new(ConflictingVotes { first, second }));
        evidence.kind()?;
        Ok(evidence)
    }

    /// The evidence that a vote makes for a block whose justification does not justify it, as far as
    /// one of its items shows. Whether the signature of the vote is valid is not looked at.
    pub fn of_justification(
        vote: Vote,
        header: &Header,
        just: &Justification,
        electorate: &Electorate,
        first_height: Height,
    ) -> Option<Self> {
        let place = ItemPlace { header, electorate, first_height, count: just.len() };
        let wrong = just.items().zip(0..).find(|(item, index)| !place.is_justified(item, *index));
        let (item, proof) = just.prove(usize::try_from(wrong?.1).ok()?)?;
        let unjustified = UnjustifiedVote { vote, header: header.clone(), item, proof };
        let evidence = Self::Justification(Box::new(unjustified));
        evidence.kind().is_ok().then_some(evidence)
    }

    /// What it is evidence of, if its signatures are valid and its item is wrong (V1).
    ///
    /// # Errors
    /// The variants of [`EvidenceError`] up to `OtherBlock`.
    pub fn kind(&self) -> Result<OffenceKind, EvidenceError> {
        match self {
            Self::Votes(votes) => votes.kind(),
            Self::Justification(unjustified) => {
                let Header { epoch, view, .. } = unjustified.header;
                if unjustified.vote.subject != Subject::notarize(epoch, view, unjustified.header.hash()) {
                    return Err(EvidenceError::OtherBlock);
                }
                Ok(OffenceKind::BadJustification)
            }
        }
    }

    /// The epoch in which it happened.
    pub const fn epoch(&self) -> Epoch {
        self.vote().subject.epoch()
    }

    /// The view in which it happened.
    pub const fn view(&self) -> View {
        self.vote().subject.view()
    }

    /// Whose it is, if it proves anything.
    pub const fn signer(&self) -> AuthorityIndex {
        self.vote().signer
    }

    /// Checks it in full, against the authorities of an epoch whose first block has this height. Gives
    /// the offender.
    ///
    /// A first block that claims an epoch's root as its parent and names another block is not found
    /// out: whoever checks may not know the root's hash.
    ///
    /// # Errors
    /// See [`EvidenceError`]; the checks run in the order of its variants.
    pub fn verify(&self, electorate: &Electorate, first_height: Height) -> Result<PublicKey, EvidenceError> {
        self.kind()?;
        let (found, expected) = (self.epoch(), electorate.epoch);
        if found != expected {
            return Err(EvidenceError::WrongEpoch { found, expected });
        }
        let offender = electorate.key(self.signer()).ok_or(EvidenceError::UnknownSigner(self.signer()))?;
        let check = |vote: &Vote| {
            let verified = vote.subject.verify(electorate.chain, &offender, &vote.signature);
            verified.map_err(|_| EvidenceError::BadSignature)
        };
        match self {
            Self::Votes(votes) => {
                check(&votes.first)?;
                check(&votes.second)?;
            }
            Self::Justification(unjustified) => {
                check(&unjustified.vote)?;
                unjustified.proof.verify(unjustified.header.just_root, &encode(&unjustified.item))?;
                let UnjustifiedVote { header, item, proof, .. } = unjustified.as_ref();
                let place = ItemPlace { header, electorate, first_height, count: u64::from(proof.len()) };
                if place.is_justified(item, u64::from(proof.index())) {
                    return Err(EvidenceError::Justified);
                }
            }
        }
        Ok(offender)
    }

    const fn vote(&self) -> &Vote {
        match self {
            Self::Votes(votes) => &votes.first,
            Self::Justification(unjustified) => &unjustified.vote,
        }
    }
}

impl ConflictingVotes {
    fn kind(&self) -> Result<OffenceKind, EvidenceError> {
        let Self { first, second } = self;
        let place = |vote: &Vote| (vote.subject.epoch(), vote.subject.view(), vote.signer);
        if place(first) != place(second) {
            return Err(EvidenceError::Unrelated);
        }
        match (first.subject, second.subject) {
            (Subject::Notarize(one), Subject::Notarize(other)) if one.block < other.block => {
                Ok(OffenceKind::DoubleNotarize)
            }
            (Subject::Finalize(one), Subject::Finalize(other)) if one.block < other.block => {
                Ok(OffenceKind::DoubleFinalize)
            }
            (Subject::Nullify(_), Subject::Finalize(_)) => Ok(OffenceKind::NullifyAndFinalize),
            (Subject::Notarize(one), Subject::Finalize(other)) if one.block != other.block => {
                Ok(OffenceKind::NotarizeAndFinalize)
            }
            _ => Err(EvidenceError::NoConflict),
        }
    }
}

/// Where an item of a justification stands.
struct ItemPlace<'a> {
    header: &'a Header,
    electorate: &'a Electorate,
    first_height: Height,
    /// How many items the justification has.
    count: u64,
}

impl ItemPlace<'_> {
    /// Whether an honest authority may have voted, as far as this item shows. It is the item's part of
    /// what a voter checks (N3 and N4 of the consensus).
    fn is_justified(&self, item: &JustificationItem, index: u64) -> bool {
        let Self { header, electorate, first_height, count } = *self;
        let (parent, epoch) = (header.parent_view, electorate.epoch);
        // The parent's proof, and one skip for each view between that is listed.
        let lowest = lowest_skip(parent, header.view);
        let Ok(skips) = header.view.checked_sub(lowest) else { return false };
        if parent >= header.view || count != skips.get().saturating_add(1) {
            return false;
        }
        let is_valid = |certificate: &Certificate| certificate.verify(electorate, |_| None).is_ok();
        match item {
            JustificationItem::Root => index == 0 && parent == View::ZERO && header.height == first_height,
            JustificationItem::Parent(certificate) => {
                index == 0 && proves_parent(&certificate.subject, header, epoch) && is_valid(certificate)
            }
            JustificationItem::Skip(certificate) => {
                let skipped = lowest.saturating_add(View::new(index.saturating_sub(1)));
                index > 0 && certificate.subject == Subject::nullify(epoch, skipped) && is_valid(certificate)
            }
        }
    }
}
