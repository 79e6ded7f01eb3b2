//! Goal: rules V and E3: evidence proves what it says, honest authorities are safe from it, it is
//! recorded once, and offenders leave. Method: votes and headers really signed by the authorities of
//! small chains; for each rule a report that breaks it; every pair of votes that an honest authority
//! can sign; justifications that are right and that are wrong in one place.

use std::sync::Arc;

use evchain_protocol::authority::AuthorityIndex;
use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::execute::MAX_OFFENCES;
use evchain_protocol::finality::{
    Certificate, ConflictingVotes, Electorate, Evidence, EvidenceError, Justification, JustificationError,
    MAX_SKIPS, OffenceKind, ParentProof, Signers, Subject, UnjustifiedVote, Vote,
};
use evchain_protocol::governance::{Change, ParamChange};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Epoch, Height, View};
use evchain_protocol::state::governance::Offence;
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::evidence::{EvidenceReason, ReportOffence};
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::{Action, RejectReason};

use crate::chain::*;
use crate::governance::{member, with_members};

const MEMBERS: u8 = 4;
const MOST_MEMBERS: u8 = 10;
const EPOCH_LENGTH: u64 = 30;

fn a_chain() -> Chain {
    Chain::of(&with_members(MEMBERS, Params { epoch_length: EPOCH_LENGTH, ..params() }))
}

fn block(number: u8) -> Hash {
    Hash::from_bytes([number; 32])
}

fn report(evidence: Evidence) -> Action {
    Action::ReportOffence(ReportOffence { evidence })
}

/// A pair as somebody may send it, be it evidence or not.
fn in_order(first: Vote, second: Vote) -> Evidence {
    Evidence::Votes(Box::new(ConflictingVotes { first, second }))
}

/// The authorities of an epoch, with their keys by index.
struct Voters {
    electorate: Electorate,
    keys: Vec<KeyPair>,
}

impl Voters {
    /// Of the chain's current epoch.
    fn of(chain: &Chain) -> Self {
        let electorate = chain.authorities().electorate(chain.id);
        let everybody: Vec<KeyPair> = (0..MOST_MEMBERS).map(member).chain([dave()]).collect();
        let secret =
            |key: &PublicKey| everybody.iter().find(|pair| pair.public_key() == *key).unwrap().clone();
        let keys = electorate.authorities.keys().iter().map(secret).collect();
        Self { electorate, keys }
    }

    fn vote_on(&self, chain: ChainId, signer: u8, subject: Subject) -> Vote {
        let key = &self.keys[usize::from(signer)];
        let signature = key.sign(subject.purpose(), chain, &subject.signed_bytes());
        Vote { subject, signer: AuthorityIndex::new(signer), signature }
    }

    fn vote(&self, signer: u8, subject: Subject) -> Vote {
        self.vote_on(self.electorate.chain, signer, subject)
    }

    fn key(&self, signer: u8) -> PublicKey {
        self.keys[usize::from(signer)].public_key()
    }

    fn notarize(&self, view: u64, number: u8) -> Subject {
        Subject::notarize(self.electorate.epoch, View::new(view), block(number))
    }

    fn nullify(&self, view: u64) -> Subject {
        Subject::nullify(self.electorate.epoch, View::new(view))
    }

    fn finalize(&self, view: u64, number: u8) -> Subject {
        Subject::finalize(self.electorate.epoch, View::new(view), block(number))
    }

    /// Evidence of two notarizes of this authority in a view.
    fn double(&self, signer: u8, view: u64) -> Evidence {
        let pair = [1, 2].map(|number| self.vote(signer, self.notarize(view, number)));
        Evidence::of_votes(pair[0], pair[1]).unwrap()
    }

    fn certificate(&self, subject: Subject) -> Arc<Certificate> {
        let signers = 0..u8::try_from(self.electorate.quorum()).unwrap();
        let signatures: Vec<_> = signers.clone().map(|signer| self.vote(signer, subject).signature).collect();
        Arc::new(Certificate {
            subject,
            signers: signers.map(AuthorityIndex::new).collect(),
            signatures: List::new(signatures).unwrap(),
        })
    }

    /// The header of a block in `view` on block 9 of view `parent_view`, and what justifies it.
    fn justified(&self, parent_view: u64, view: u64) -> (Header, Justification) {
        let parent = match parent_view {
            0 => ParentProof::Root,
            _ => ParentProof::Certificate(self.certificate(self.notarize(parent_view, 9))),
        };
        let lowest = (parent_view + 1).max(view.saturating_sub(MAX_SKIPS as u64));
        let skips: Vec<_> = (lowest..view).map(|v| self.certificate(self.nullify(v))).collect();
        let just = Justification { parent, skips: List::new(skips).unwrap() };
        let header = Header {
            chain: self.electorate.chain,
            epoch: self.electorate.epoch,
            height: Height::new(if parent_view == 0 { 1 } else { 5 }),
            view: View::new(view),
            parent_hash: block(9),
            parent_view: View::new(parent_view),
            proposer: self.key(0),
            time_ms: at(1),
            tx_root: Hash::ZERO,
            event_root: Hash::ZERO,
            state_root: Hash::ZERO,
            just_root: just.root(),
            authority_root: Hash::ZERO,
            next_authority_root: Hash::ZERO,
        };
        (header, just)
    }

    /// Evidence by the item at this place, with a vote for the header in its own view.
    fn unjustified(&self, header: &Header, just: &Justification, index: usize) -> Evidence {
        let subject = Subject::notarize(header.epoch, header.view, header.hash());
        let (item, proof) = just.prove(index).unwrap();
        let vote = self.vote(1, subject);
        Evidence::Justification(Box::new(UnjustifiedVote { vote, header: header.clone(), item, proof }))
    }

    fn check(&self, evidence: &Evidence) -> Result<PublicKey, EvidenceError> {
        evidence.verify(&self.electorate, Height::new(1))
    }
}

#[test]
fn votes_that_exclude_each_other_prove_an_offence() {
    let chain = a_chain();
    let voters = Voters::of(&chain);
    let pairs = [
        (voters.notarize(3, 1), voters.notarize(3, 2), OffenceKind::DoubleNotarize),
        (voters.finalize(3, 1), voters.finalize(3, 2), OffenceKind::DoubleFinalize),
        (voters.nullify(3), voters.finalize(3, 1), OffenceKind::NullifyAndFinalize),
        (voters.notarize(3, 2), voters.finalize(3, 1), OffenceKind::NotarizeAndFinalize),
        (voters.notarize(3, 1), voters.finalize(3, 2), OffenceKind::NotarizeAndFinalize),
    ];
    for (one, other, kind) in pairs {
        let (one, other) = (voters.vote(2, one), voters.vote(2, other));
        let evidence = Evidence::of_votes(one, other).unwrap();
        assert_eq!(Evidence::of_votes(other, one), Ok(evidence.clone()), "one order");
        assert_eq!(evidence.kind(), Ok(kind));
        assert_eq!(voters.check(&evidence), Ok(voters.key(2)));
        // The other order is not accepted.
        let reversed = in_order(other, one);
        assert_eq!(voters.check(&reversed), Err(EvidenceError::NoConflict));
    }
}

#[test]
fn what_an_honest_authority_signs_is_no_evidence() {
    let chain = a_chain();
    let voters = Voters::of(&chain);
    let elsewhere = Subject::notarize(Epoch::new(1), View::new(3), block(2));
    let honest = [
        // It gave up waiting after its vote; F allows to finalize what it notarized.
        (voters.notarize(3, 1), voters.nullify(3)),
        (voters.notarize(3, 1), voters.finalize(3, 1)),
        // Repeated after a restart.
        (voters.notarize(3, 1), voters.notarize(3, 1)),
        (voters.nullify(3), voters.nullify(3)),
        (voters.finalize(3, 1), voters.finalize(3, 1)),
        // Other views: also the epoch's last block, proposed again after its view was skipped (E2).
        (voters.notarize(3, 1), voters.notarize(4, 2)),
        (voters.notarize(3, 1), voters.notarize(4, 1)),
        (voters.nullify(3), voters.finalize(4, 1)),
        (voters.finalize(3, 1), voters.finalize(4, 2)),
        // Another epoch has views of its own.
        (voters.notarize(3, 1), elsewhere),
    ];
    for (one, other) in honest {
        let (one, other) = (voters.vote(2, one), voters.vote(2, other));
        Evidence::of_votes(one, other).expect_err("an honest authority is accused");
        for (first, second) in [(one, other), (other, one)] {
            let evidence = in_order(first, second);
            voters.check(&evidence).expect_err("an honest authority is accused");
        }
    }
    // Two authorities contradict each other.
    let pair = [1, 2].map(|number| voters.vote(number, voters.notarize(3, number)));
    assert_eq!(Evidence::of_votes(pair[0], pair[1]), Err(EvidenceError::Unrelated));
}

#[test]
fn v5_signatures_are_of_the_signer_for_this_chain() {
    let chain = a_chain();
    let voters = Voters::of(&chain);
    let (one, other) = (voters.notarize(3, 1), voters.notarize(3, 2));
    let elsewhere = ChainId(Hash::ZERO);
    for place in [0, 1] {
        let mut pair = [voters.vote(2, one), voters.vote(2, other)];
        pair[place].signature = voters.vote(1, pair[place].subject).signature;
        let by_another = Evidence::of_votes(pair[0], pair[1]).unwrap();
        assert_eq!(voters.check(&by_another), Err(EvidenceError::BadSignature));
        pair[place].signature = voters.vote_on(elsewhere, 2, pair[place].subject).signature;
        let evidence = Evidence::of_votes(pair[0], pair[1]).unwrap();
        let invalid = EvidenceReason::Invalid(EvidenceError::BadSignature);
        assert_eq!(chain.rejected(at(1), &alice(), report(evidence)), invalid.into());
    }
}

#[test]
fn a_justified_block_is_no_evidence() {
    let chain = a_chain();
    let voters = Voters::of(&chain);
    for (parent_view, view) in [(0, 1), (0, 4), (3, 4), (3, 7)] {
        let (header, just) = voters.justified(parent_view, view);
        just.check_shape(&header, Epoch::ZERO, block(9)).unwrap();
        for index in 0..=just.skips.len() {
            let evidence = voters.unjustified(&header, &just, index);
            assert_eq!(
                voters.check(&evidence),
                Err(EvidenceError::Justified),
                "{parent_view} {view} {index}"
            );
        }
        assert!(just.prove(just.skips.len() + 1).is_none());
    }
}

/// Where more views are skipped than a justification has room for, it lists the last ones, all that fit.
#[test]
fn a_justification_lists_the_last_skips() {
    let chain = a_chain();
    let voters = Voters::of(&chain);
    let most = MAX_SKIPS as u64;
    for (view, lowest) in [(3 + most, 4), (4 + most, 4), (5 + most, 5), (20 + most, 20)] {
        let (mut header, mut just) = voters.justified(3, view);
        just.check_shape(&header, Epoch::ZERO, block(9)).unwrap();
        assert_eq!(just.skips[0].subject, voters.nullify(lowest));
        for index in [0, 1, just.skips.len()] {
            let evidence = voters.unjustified(&header, &just, index);
            assert_eq!(voters.check(&evidence), Err(EvidenceError::Justified), "{view} {index}");
        }
        // One fewer, from either end, is one too few.
        just.skips = List::new(just.skips[1..].to_vec()).unwrap();
        header.just_root = just.root();
        let refused = JustificationError::WrongSkips { parent: View::new(3), view: View::new(view) };
        assert_eq!(just.check_shape(&header, Epoch::ZERO, block(9)), Err(refused));
        assert_eq!(voters.check(&voters.unjustified(&header, &just, 0)), Ok(voters.key(1)), "{view}");
    }
    // The first views in the place of the last ones.
    let (mut header, _) = voters.justified(3, 5 + most);
    let (_, just) = voters.justified(3, 4 + most);
    header.just_root = just.root();
    assert!(just.check_shape(&header, Epoch::ZERO, block(9)).is_err());
    assert_eq!(voters.check(&voters.unjustified(&header, &just, 1)), Ok(voters.key(1)));
}

/// Each way to spoil a justification, and the item that shows it.
#[test]
fn each_fault_of_a_justification_is_evidence() {
    type Spoil = fn(&Voters, &mut Header, &mut Justification);
    fn parent(just: &mut Justification) -> &mut Certificate {
        match &mut just.parent {
            ParentProof::Certificate(certificate) => Arc::make_mut(certificate),
            ParentProof::Root => panic!("a certificate"),
        }
    }
    fn set_skips(just: &mut Justification, change: impl FnOnce(&mut Vec<Arc<Certificate>>)) {
        let mut skips = just.skips.to_vec();
        change(&mut skips);
        just.skips = List::new(skips).unwrap();
    }
    // On the parent of view 3, in view 6.
    let faults: [(&str, usize, Spoil); 12] = [
        ("a skip is missing", 0, |_, _, just| set_skips(just, |skips| drop(skips.pop()))),
        ("no skips", 0, |_, _, just| set_skips(just, Vec::clear)),
        ("a skip too many", 2, |v, _, just| {
            set_skips(just, |skips| skips.push(v.certificate(v.nullify(6))));
        }),
        ("the wrong view is skipped", 2, |v, _, just| {
            set_skips(just, |skips| skips[1] = v.certificate(v.nullify(4)));
        }),
        ("a skip that is a notarization", 1, |v, _, just| {
            set_skips(just, |skips| skips[0] = v.certificate(v.notarize(4, 1)));
        }),
        ("a skip of another epoch", 1, |v, _, just| {
            set_skips(just, |skips| {
                skips[0] = v.certificate(Subject::nullify(Epoch::new(1), View::new(4)));
            });
        }),
        ("a forged skip", 1, |_, _, just| {
            set_skips(just, |skips| Arc::make_mut(&mut skips[0]).signatures.reverse());
        }),
        ("a parent without a quorum", 0, |_, _, just| parent(just).signers = Signers::default()),
        ("a forged parent", 0, |_, _, just| parent(just).signatures.reverse()),
        ("another parent", 0, |v, _, just| {
            just.parent = ParentProof::Certificate(v.certificate(v.notarize(3, 8)));
        }),
        ("a root that is not the parent", 0, |_, _, just| just.parent = ParentProof::Root),
        ("a parent above", 0, |_, header, _| header.parent_view = View::new(6)),
    ];
    let chain = a_chain();
    let voters = Voters::of(&chain);
    for (what, index, spoil) in faults {
        let (mut header, mut just) = voters.justified(3, 6);
        spoil(&voters, &mut header, &mut just);
        header.just_root = just.root();
        assert_eq!(voters.check(&voters.unjustified(&header, &just, index)), Ok(voters.key(1)), "{what}");
    }
    // The epoch's root, but not at its first height.
    let (mut header, just) = voters.justified(0, 1);
    header.height = Height::new(2);
    assert_eq!(voters.check(&voters.unjustified(&header, &just, 0)), Ok(voters.key(1)));
}

#[test]
fn v1_an_unjustified_vote_is_for_the_block_in_its_own_view() {
    let chain = a_chain();
    let voters = Voters::of(&chain);
    let (mut header, mut just) = voters.justified(3, 6);
    just.skips = List::default();
    header.just_root = just.root();
    let Evidence::Justification(good) = voters.unjustified(&header, &just, 0) else { unreachable!() };
    let wrong = |change: &dyn Fn(&mut UnjustifiedVote)| {
        let mut changed = good.clone();
        change(&mut changed);
        voters.check(&Evidence::Justification(changed)).unwrap_err()
    };
    let again = |view, hash| voters.vote(1, Subject::notarize(Epoch::ZERO, View::new(view), hash));
    // The epoch's last block again (E2): its justification in that view is another one.
    assert_eq!(wrong(&|e| e.vote = again(7, e.header.hash())), EvidenceError::OtherBlock);
    assert_eq!(wrong(&|e| e.vote = again(6, block(1))), EvidenceError::OtherBlock);
    assert_eq!(wrong(&|e| e.header.time_ms = at(2)), EvidenceError::OtherBlock);
    let finalize = |hash| voters.vote(1, Subject::finalize(Epoch::ZERO, View::new(6), hash));
    assert_eq!(wrong(&|e| e.vote = finalize(e.header.hash())), EvidenceError::OtherBlock);
    assert_eq!(
        wrong(&|e| e.vote.signature = voters.vote(2, e.vote.subject).signature),
        EvidenceError::BadSignature
    );
    let foreign = voters.justified(3, 5).1.prove(1).unwrap();
    assert!(matches!(wrong(&|e| e.item = foreign.0.clone()), EvidenceError::NotCommitted(_)));
    assert!(matches!(wrong(&|e| e.proof = foreign.1.clone()), EvidenceError::NotCommitted(_)));
    let EvidenceReason::Invalid(error) = EvidenceReason::from(EvidenceError::OtherBlock) else {
        unreachable!()
    };
    assert_eq!(error, EvidenceError::OtherBlock);
    let mut moved = good.clone();
    moved.vote = again(7, moved.header.hash());
    let reason = chain.rejected(at(1), &alice(), report(Evidence::Justification(moved)));
    assert_eq!(reason, EvidenceReason::Invalid(EvidenceError::OtherBlock).into());
}

#[test]
fn an_offence_is_recorded_with_its_report() {
    let mut chain = a_chain();
    let voters = Voters::of(&chain);
    let evidence = voters.double(2, 3);
    let name = chain.act(at(1), &alice(), report(evidence));
    let (authority, view) = (voters.key(2), View::new(3));
    let offence = OffenceKind::DoubleNotarize;
    let key = StateKey::Offence(Epoch::ZERO, authority, view, offence);
    let reporter = alice().public_key();
    assert_eq!(chain.state.offence(key).unwrap(), Some(Offence { evidence: name, reporter }));
    let recorded = Event::OffenceRecorded { authority, epoch: Epoch::ZERO, view, offence, reporter };
    assert!(chain.events.iter().any(|record| record.event == recorded));
    // An unjustified vote is recorded, too.
    let (mut header, mut just) = voters.justified(3, 6);
    just.skips = List::default();
    header.just_root = just.root();
    chain.act(at(2), &alice(), report(voters.unjustified(&header, &just, 0)));
    let key = StateKey::Offence(Epoch::ZERO, voters.key(1), View::new(6), OffenceKind::BadJustification);
    assert!(chain.state.offence(key).unwrap().is_some());
}

#[test]
fn everybody_reports_and_authorities_for_nothing() {
    let mut chain = a_chain();
    let voters = Voters::of(&chain);
    // G7 in place of G2 and G5: authorities have no money here.
    let most = [member(0), member(1), member(2)];
    chain.revoke(&most, member(1).public_key());
    chain.act(at(5), &member(1), report(voters.double(2, 3)));
    assert_eq!(chain.balance(&treasury()), 0);
    chain.act(at(6), &alice(), report(voters.double(2, 4)));
    assert_eq!(chain.balance(&treasury()), 2);
    let sender = dave().public_key();
    assert_eq!(
        chain.rejected(at(7), &dave(), report(voters.double(1, 3))),
        RejectReason::NoAccount { sender }
    );
    chain.revoke(&most, alice().public_key());
    let sender = alice().public_key();
    assert_eq!(
        chain.rejected(at(20), &alice(), report(voters.double(1, 3))),
        RejectReason::Revoked { sender }
    );
}

#[test]
fn v2_evidence_counts_in_its_epoch_and_the_next() {
    let mut chain = a_chain();
    let first = Voters::of(&chain);
    let future = in_order(
        first.vote(3, Subject::notarize(Epoch::new(1), View::new(1), block(1))),
        first.vote(3, Subject::notarize(Epoch::new(1), View::new(1), block(2))),
    );
    let (epoch, current) = (Epoch::new(1), Epoch::ZERO);
    assert_eq!(
        chain.rejected(at(1), &alice(), report(future.clone())),
        EvidenceReason::OtherEpoch { epoch, current }.into()
    );
    chain.end_epoch();
    chain.act(chain.next(), &alice(), report(first.double(3, 1)));
    chain.act(chain.next(), &alice(), report(future));
    chain.end_epoch();
    let (epoch, current) = (Epoch::ZERO, Epoch::new(2));
    assert_eq!(
        chain.rejected(chain.next(), &alice(), report(first.double(3, 2))),
        EvidenceReason::OtherEpoch { epoch, current }.into()
    );
}

/// The set of its own epoch judges evidence, also when the offender has left.
#[test]
fn v3_the_epochs_own_authorities_are_asked() {
    let mut chain = a_chain();
    let first = Voters::of(&chain);
    let gone = usize::from(MEMBERS) - 1;
    let leaver = first.keys[gone].clone();
    let stayers: Vec<KeyPair> = first.keys[..gone].to_vec();
    let change = Change::RemoveAuthority(leaver.public_key());
    let proposal = chain.act(chain.next(), &stayers[0], Action::Propose(Propose { change }));
    for stayer in &stayers[1..] {
        chain.act(chain.next(), stayer, Action::Approve(Approve { proposal }));
    }
    chain.end_epoch();
    let gone = u8::try_from(gone).unwrap();
    let (epoch, signer) = (Epoch::new(1), AuthorityIndex::new(gone));
    let pair = [1, 2].map(|number| first.vote(gone, Subject::notarize(epoch, View::new(1), block(number))));
    let unknown = Evidence::of_votes(pair[0], pair[1]).unwrap();
    assert_eq!(
        chain.rejected(chain.next(), &alice(), report(unknown)),
        EvidenceReason::UnknownSigner { epoch, signer }.into()
    );
    chain.act(chain.next(), &alice(), report(first.double(gone, 1)));
    let key = StateKey::Offence(Epoch::ZERO, leaver.public_key(), View::new(1), OffenceKind::DoubleNotarize);
    assert!(chain.state.offence(key).unwrap().is_some());
}

#[test]
fn v4_an_offence_is_recorded_once_and_three_are_enough() {
    let mut chain = a_chain();
    let voters = Voters::of(&chain);
    let authority = voters.key(2);
    let known = chain.act(at(1), &alice(), report(voters.double(2, 3)));
    // Other blocks in the same view are the same offence.
    let pair = [5, 6].map(|number| voters.vote(2, voters.notarize(3, number)));
    let again = Evidence::of_votes(pair[0], pair[1]).unwrap();
    let reason = RejectReason::from(EvidenceReason::Known { authority, known });
    assert_eq!(chain.rejected(at(2), &bob(), report(again)), reason);
    // Another kind in the same view is another one.
    let pair = [voters.notarize(3, 1), voters.finalize(3, 2)].map(|subject| voters.vote(2, subject));
    chain.act(at(3), &alice(), report(Evidence::of_votes(pair[0], pair[1]).unwrap()));
    for view in 4..=MAX_OFFENCES as u64 + 1 {
        chain.act(at(view), &alice(), report(voters.double(2, view)));
    }
    let epoch = Epoch::ZERO;
    assert_eq!(
        chain.rejected(at(100), &alice(), report(voters.double(2, 50))),
        EvidenceReason::EnoughKnown { authority, epoch }.into()
    );
    chain.act(at(100), &alice(), report(voters.double(1, 50)));
}

#[test]
fn e3_offenders_leave_at_the_epochs_end() {
    let mut chain = a_chain();
    let voters = Voters::of(&chain);
    chain.act(at(1), &alice(), report(voters.double(2, 3)));
    assert_eq!(chain.authorities().set.len(), 4);
    let events = chain.end_epoch();
    assert!(events.contains(&Event::AuthorityLeft { authority: voters.key(2) }));
    assert!(chain.authorities().set.index_of(&voters.key(2)).is_none());
    assert_eq!(chain.authorities().set.len(), 3);
}

/// Who was taken back in is not removed again for what is on record from before.
#[test]
fn e3_an_offence_has_its_effect_once() {
    let mut chain = a_chain();
    let voters = Voters::of(&chain);
    let set_removal = |chain: &mut Chain, removes| {
        let change = Change::SetParam(ParamChange::EvidenceRemoves(removes));
        let proposal = chain.act(chain.next(), &voters.keys[0], Action::Propose(Propose { change }));
        for voter in &voters.keys[1..] {
            chain.act(chain.next(), voter, Action::Approve(Approve { proposal }));
        }
    };
    set_removal(&mut chain, false);
    chain.end_epoch();
    let evidence = Voters::of(&chain).double(2, 3);
    chain.act(chain.next(), &alice(), report(evidence));
    set_removal(&mut chain, true);
    // Without removal the offence is recorded, and that is all.
    chain.end_epoch();
    assert_eq!(chain.authorities().set.len(), 4);
    assert_eq!(chain.state.range(StateKey::offences(), 9).unwrap().len(), 1);
    // It was recorded in an epoch that is over.
    chain.end_epoch();
    assert_eq!(chain.authorities().set.len(), 4);
    // E7
    assert_eq!(chain.state.range(StateKey::offences(), 9).unwrap(), []);
}

/// More than f offenders are more than the protocol can bear, so a vote has to judge: evidence made with
/// stolen keys would otherwise leave the chain to whoever kept its own key out of it.
#[test]
fn e3_at_most_f_leave_those_reported_first() {
    for (members, offenders) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (7, 2), (7, 5), (10, 9)] {
        let genesis = with_members(members, Params { epoch_length: EPOCH_LENGTH, ..params() });
        let mut chain = Chain::of(&genesis);
        let voters = Voters::of(&chain);
        let f = chain.authorities().set.max_faulty();
        // From the highest index down, so that the order of keys is not that of reports; further offences
        // of the last one do not bring it forward.
        let order: Vec<u8> = (0..offenders).map(|number| members - 1 - number).collect();
        for signer in &order {
            chain.act(chain.next(), &alice(), report(voters.double(*signer, 9)));
        }
        for view in [1, 2] {
            chain.act(chain.next(), &alice(), report(voters.double(order[order.len() - 1], view)));
        }
        let events = chain.end_epoch();
        let left: Vec<PublicKey> = events
            .iter()
            .filter_map(|event| match event {
                Event::AuthorityLeft { authority } => Some(*authority),
                _ => None,
            })
            .collect();
        let mut expected: Vec<PublicKey> = order.iter().take(f).map(|signer| voters.key(*signer)).collect();
        expected.sort_unstable();
        let what = format!("{offenders} of {members}");
        assert_eq!(left, expected, "{what}");
        assert_eq!(chain.authorities().set.len(), usize::from(members) - expected.len(), "{what}");
        // Who stays has its record still, and is not removed for it later.
        for signer in &order {
            let known = StateKey::offences_of(Epoch::ZERO, voters.key(*signer));
            assert!(!chain.state.range(known, 9).unwrap().is_empty(), "{what}: {signer}");
        }
        chain.end_epoch();
        assert_eq!(chain.authorities().set.len(), usize::from(members) - expected.len(), "{what}");
    }
}

#[test]
fn e3_who_has_left_takes_no_place_among_the_f() {
    let mut chain = a_chain();
    let first = Voters::of(&chain);
    let gone = MEMBERS - 1;
    let change = Change::RemoveAuthority(first.key(gone));
    let proposal = chain.act(chain.next(), &first.keys[0], Action::Propose(Propose { change }));
    for stayer in &first.keys[1..usize::from(gone)] {
        chain.act(chain.next(), stayer, Action::Approve(Approve { proposal }));
    }
    let add = Change::AddAuthority(dave().public_key());
    let proposal = chain.act(chain.next(), &first.keys[0], Action::Propose(Propose { change: add }));
    for stayer in &first.keys[1..usize::from(gone)] {
        chain.act(chain.next(), stayer, Action::Approve(Approve { proposal }));
    }
    chain.end_epoch();
    assert_eq!(chain.authorities().set.max_faulty(), 1);
    chain.act(chain.next(), &alice(), report(first.double(gone, 1)));
    chain.act(chain.next(), &alice(), report(first.double(0, 1)));
    let events = chain.end_epoch();
    assert!(events.contains(&Event::AuthorityLeft { authority: first.key(0) }));
}

#[test]
fn e3_somebody_stays() {
    let mut chain = a_chain();
    let voters = Voters::of(&chain);
    for signer in 0..MEMBERS {
        chain.act(chain.next(), &alice(), report(voters.double(signer, 3)));
    }
    let events = chain.end_epoch();
    assert!(!events.iter().any(|event| matches!(event, Event::AuthorityLeft { .. })));
    assert_eq!(chain.authorities().set.len(), 4);
}
