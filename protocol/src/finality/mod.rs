//! How a quorum of authorities makes a block final, as everybody can check it: votes, certificates
//! and justifications. When to vote and what to do with votes is the consensus crate's business.

mod certificate;
mod electorate;
mod evidence;
mod justification;
mod vote;

pub use certificate::{Certificate, CertificateError, Signers};
pub use electorate::Electorate;
pub use evidence::{ConflictingVotes, Evidence, EvidenceError, OffenceKind, UnjustifiedVote};
pub use justification::{
    Justification, JustificationError, JustificationItem, MAX_SKIPS, ParentProof, lowest_skip,
};
pub use vote::{BlockSubject, Subject, ViewSubject, Vote};
