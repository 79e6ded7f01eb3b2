//! Goal: rules D and E: what authorities can decide, when it passes, and what holds from which block
//! on. Method: chains of short epochs with a few authorities; one proposal or approval for each way to
//! break a rule, then decisions and what the epoch's end makes of them, conflicts included.

use evchain_protocol::authority::MAX_AUTHORITIES;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::genesis::Genesis;
use evchain_protocol::governance::{Change, MAX_OPEN_PROPOSALS, ParamChange};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Epoch, Height, Span, TxRef};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::governance::Proposal;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::approve::{Approve, ApproveReason};
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::propose::{Propose, ProposeReason};
use evchain_protocol::transaction::{Action, RejectReason};

use crate::chain::*;

const EPOCH_LENGTH: u64 = 12;

/// The authority with this number, counted from 0.
pub(crate) fn member(number: u8) -> KeyPair {
    key(100 + number)
}

pub(crate) fn with_members(count: u8, params: Params) -> Genesis {
    let members = (0..count).map(|number| member(number).public_key()).collect();
    Genesis { authorities: List::new(members).unwrap(), ..genesis(params) }
}

fn short_epochs() -> Params {
    Params { epoch_length: EPOCH_LENGTH, proposal_epochs: 2, ..params() }
}

fn chain_of(count: u8) -> Chain {
    Chain::of(&with_members(count, short_epochs()))
}

fn propose(change: Change) -> Action {
    Action::Propose(Propose { change })
}

fn approve(proposal: TxRef) -> Action {
    Action::Approve(Approve { proposal })
}

fn add(key: &KeyPair) -> Change {
    Change::AddAuthority(key.public_key())
}

fn remove(key: &KeyPair) -> Change {
    Change::RemoveAuthority(key.public_key())
}

fn set_max_bids(max_bids: u32) -> Change {
    Change::SetParam(ParamChange::MaxBids(max_bids))
}

impl Chain {
    /// Proposes a change, and has the authorities after the first `count` approve it.
    fn decide(&mut self, change: Change, count: u8) -> TxRef {
        let proposal = self.act(self.next(), &member(0), propose(change));
        for number in 1..count {
            self.act(self.next(), &member(number), approve(proposal));
        }
        proposal
    }

    fn members(&self) -> Vec<PublicKey> {
        self.authorities().set.keys().to_vec()
    }

    fn open(&self, proposal: TxRef) -> Option<Proposal> {
        self.state.proposal(proposal).unwrap()
    }
}

fn sorted<const N: usize>(keys: [KeyPair; N]) -> Vec<PublicKey> {
    let mut keys = keys.map(|key| key.public_key()).to_vec();
    keys.sort_unstable();
    keys
}

#[test]
fn g7_authorities_alone_decide_and_it_is_free() {
    let mut chain = chain_of(2);
    let sender = alice().public_key();
    let reason = RejectReason::NotAuthority { sender };
    assert_eq!(chain.rejected(at(1), &alice(), propose(add(&dave()))), reason);
    assert_eq!(chain.rejected(at(1), &alice(), approve(TxRef::MIN)), reason);
    // Neither the lack of money nor a revocation stops an authority.
    chain.revoke(&[member(0), member(1)], member(0).public_key());
    let proposal = chain.act(at(3), &member(0), propose(add(&dave())));
    chain.act(at(4), &member(1), approve(proposal));
    chain.end_epoch();
    // A new authority has no account until it acts.
    assert!(chain.state.account(&dave().public_key()).unwrap().is_none());
    let admit =
        Action::Admit(Admit { participant: key(9).public_key(), roles: Roles::CONSUMER, withdraw_to: None });
    chain.act(chain.next(), &dave(), admit);
    assert_eq!(chain.balance(&treasury()), 0);
}

#[test]
fn d1_d2_a_proposal_makes_sense_when_it_is_made() {
    let mut chain = chain_of(2);
    let reject = |chain: &Chain, change| chain.rejected(at(100), &member(0), propose(change));
    let param = |change| propose(Change::SetParam(change));

    let weak = PublicKey::from_bytes([0; 32]);
    assert_eq!(reject(&chain, Change::AddAuthority(weak)), ProposeReason::UnusableKey { key: weak }.into());
    let key_of = member(1).public_key();
    assert_eq!(reject(&chain, add(&member(1))), ProposeReason::AlreadyAuthority { key: key_of }.into());
    let stranger = dave().public_key();
    assert_eq!(reject(&chain, remove(&dave())), ProposeReason::NotAuthority { key: stranger }.into());
    let same = RejectReason::from(ProposeReason::SameValue { name: "max_bids" });
    assert_eq!(reject(&chain, set_max_bids(params().max_bids)), same);
    for (change, name) in [
        (ParamChange::MaxBids(0), "max_bids"),
        (ParamChange::HopBound(Span::new(499)), "idle_interval"),
        (ParamChange::EpochLength(1), "epoch_length"),
        (ParamChange::ProposalEpochs(0), "proposal_epochs"),
    ] {
        let reason = chain.rejected(at(100), &member(0), param(change));
        assert!(
            matches!(&reason, RejectReason::Propose(ProposeReason::BadParam(bad)) if bad.name == name),
            "{reason}"
        );
    }
    chain.decide(remove(&member(1)), 2);
    chain.end_epoch();
    let last = member(0).public_key();
    assert_eq!(reject(&chain, remove(&member(0))), ProposeReason::LastAuthority { key: last }.into());
}

#[test]
fn d2_a_full_set_takes_no_more() {
    let count = u8::try_from(MAX_AUTHORITIES).unwrap();
    let chain = Chain::of(&with_members(count, short_epochs()));
    let reason = chain.rejected(at(1), &member(0), propose(add(&dave())));
    assert_eq!(reason, ProposeReason::TooManyAuthorities.into());
}

#[test]
fn d3_proposals_are_open_once_and_few() {
    let mut chain = chain_of(3);
    let open = chain.act(at(1), &member(0), propose(add(&dave())));
    let reason = RejectReason::from(ProposeReason::AlreadyOpen { open });
    assert_eq!(chain.rejected(at(2), &member(1), propose(add(&dave()))), reason);
    for number in 1..MAX_OPEN_PROPOSALS {
        let max_bids = u32::try_from(number).unwrap();
        chain.act(at(10 + number as u64), &member(0), propose(set_max_bids(max_bids + 2)));
    }
    let sender = member(0).public_key();
    assert_eq!(
        chain.rejected(at(20), &member(0), propose(set_max_bids(99))),
        ProposeReason::TooManyOpen { sender }.into()
    );
    chain.act(at(20), &member(1), propose(set_max_bids(99)));
    let keys: Vec<TxRef> = chain.state.iter().filter_map(|(key, _)| proposal_name(key)).collect();
    assert_eq!(keys.len(), MAX_OPEN_PROPOSALS + 1);
}

fn proposal_name(key: &evchain_protocol::state::key::StateKey) -> Option<TxRef> {
    if let evchain_protocol::state::key::StateKey::Proposal(name) = key { Some(*name) } else { None }
}

#[test]
fn d4_an_authority_approves_once() {
    let mut chain = chain_of(3);
    let missing = TxRef::new(Height::new(1), 0).unwrap();
    assert_eq!(
        chain.rejected(at(1), &member(1), approve(missing)),
        ApproveReason::NoProposal { proposal: missing }.into()
    );
    let proposal = chain.act(at(1), &member(0), propose(add(&dave())));
    for number in [0, 1] {
        if number == 1 {
            chain.act(at(2), &member(1), approve(proposal));
        }
        let sender = member(number).public_key();
        assert_eq!(
            chain.rejected(at(3), &member(number), approve(proposal)),
            ApproveReason::AlreadyApproved { proposal, sender }.into()
        );
    }
    let approvals = chain.open(proposal).unwrap().approvals;
    assert_eq!(approvals.to_vec(), [member(0).public_key(), member(1).public_key()]);
}

#[test]
fn d5_more_than_two_thirds_decide() {
    for (authorities, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7), (10, 7)] {
        for approvals in [needed - 1, needed] {
            if approvals == 0 {
                continue;
            }
            let mut chain = chain_of(authorities);
            let proposal = chain.decide(add(&dave()), approvals);
            let before = chain.members();
            let events = chain.end_epoch();
            let passed = Event::ProposalPassed { proposal, change: add(&dave()) };
            let joined = Event::AuthorityJoined { authority: dave().public_key() };
            let what = format!("{approvals} of {authorities}");
            assert_eq!(events.contains(&passed), approvals == needed, "{what}");
            assert_eq!(events.contains(&joined), approvals == needed, "{what}");
            assert_eq!(chain.members() == before, approvals < needed, "{what}");
            assert_eq!(chain.open(proposal).is_none(), approvals == needed, "{what}");
        }
    }
}

#[test]
fn e1_e2_epochs_follow_each_other() {
    let mut chain = chain_of(2);
    let first = chain.authorities();
    assert_eq!((first.epoch, first.first_height, first.last_height), epoch_at(0, 1, EPOCH_LENGTH));
    for height in 1..EPOCH_LENGTH {
        assert_eq!(chain.pass(chain.next()), [], "height {height}");
        assert_eq!(chain.tip.next_authority_root, chain.tip.authority_root);
    }
    // The last block: another root, though the authorities stay the same.
    let events = chain.pass(chain.next());
    let (epoch, first_height, last) = epoch_at(1, EPOCH_LENGTH + 1, 2 * EPOCH_LENGTH);
    assert_eq!(events, [Event::EpochStarted { epoch, first: first_height, last }]);
    let second = chain.authorities();
    assert_eq!((second.epoch, second.first_height, second.last_height), (epoch, first_height, last));
    assert_eq!(second.set, first.set);
    assert_eq!(chain.state.former_authorities().unwrap(), Some(first.clone()));
    assert_eq!(chain.tip.authority_root, first.set.root(Epoch::ZERO));
    assert_eq!(chain.tip.next_authority_root, first.set.root(epoch));
    assert_ne!(chain.tip.next_authority_root, chain.tip.authority_root);
    chain.pass(chain.next());
    assert_eq!(chain.tip.epoch, epoch);
    assert_eq!(chain.tip.authority_root, second.root());
}

fn epoch_at(epoch: u64, first: u64, last: u64) -> (Epoch, Height, Height) {
    (Epoch::new(epoch), Height::new(first), Height::new(last))
}

#[test]
fn e1_a_changed_length_holds_from_the_next_epoch_on() {
    let mut chain = chain_of(1);
    chain.decide(Change::SetParam(ParamChange::EpochLength(3)), 1);
    assert_eq!(chain.authorities().last_height, Height::new(EPOCH_LENGTH));
    chain.end_epoch();
    assert_eq!(chain.tip.height, Height::new(EPOCH_LENGTH));
    assert_eq!(chain.authorities().last_height, Height::new(EPOCH_LENGTH + 3));
    chain.end_epoch();
    assert_eq!(chain.tip.height, Height::new(EPOCH_LENGTH + 3));
}

#[test]
fn e4_changes_hold_from_the_next_epoch_on() {
    let mut chain = chain_of(4);
    chain.decide(add(&dave()), 4);
    chain.decide(remove(&member(3)), 3);
    chain.act(chain.next(), &member(3), propose(set_max_bids(7)));
    let admit = Admit { participant: key(9).public_key(), roles: Roles::CONSUMER, withdraw_to: None };
    chain.act(chain.next(), &member(3), Action::Admit(admit));
    assert_eq!(chain.members(), sorted([member(0), member(1), member(2), member(3)]));

    let events = chain.end_epoch();
    assert_eq!(chain.members(), sorted([member(0), member(1), member(2), dave()]));
    assert!(events.contains(&Event::AuthorityLeft { authority: member(3).public_key() }));
    let sender = member(3).public_key();
    assert_eq!(
        chain.rejected(chain.next(), &member(3), propose(set_max_bids(8))),
        RejectReason::NotAuthority { sender }
    );
    // E6: what the one that left had proposed left with it.
    assert!(events.iter().any(|event| matches!(event, Event::ProposalExpired { .. })));
    chain.act(chain.next(), &dave(), propose(set_max_bids(7)));
}

#[test]
fn e4_parameters_change_for_the_next_block() {
    let mut chain = chain_of(1);
    for change in [
        ParamChange::FeeFlat(money(5)),
        ParamChange::MaxSkew(Span::new(250)),
        ParamChange::EvidenceRemoves(false),
        ParamChange::EpochLength(40),
    ] {
        chain.decide(Change::SetParam(change), 1);
    }
    assert_eq!(chain.state.params().unwrap().unwrap(), short_epochs());
    chain.end_epoch();
    let expected = Params {
        fee_flat: money(5),
        max_skew: Span::new(250),
        evidence_removes: false,
        epoch_length: 40,
        ..short_epochs()
    };
    assert_eq!(chain.state.params().unwrap().unwrap(), expected);
}

#[test]
fn e5_what_does_not_fit_any_more_fails_alone() {
    let mut chain = chain_of(2);
    let (one, other) = (remove(&member(0)), remove(&member(1)));
    let passed = chain.decide(one, 2);
    let failed = chain.decide(other, 2);
    let longest = Change::SetParam(ParamChange::MaxChallenge(Span::new(100_000)));
    let shortest = Change::SetParam(ParamChange::MinChallenge(Span::new(200_000)));
    let (longest_name, shortest_name) = (chain.decide(longest, 2), chain.decide(shortest, 2));
    let events = chain.end_epoch();
    assert_eq!(
        events[..4],
        [
            Event::ProposalPassed { proposal: passed, change: one },
            Event::ProposalFailed { proposal: failed, change: other },
            Event::ProposalPassed { proposal: longest_name, change: longest },
            Event::ProposalFailed { proposal: shortest_name, change: shortest },
        ]
    );
    assert_eq!(chain.members(), sorted([member(1)]));
    assert_eq!(chain.state.params().unwrap().unwrap().max_challenge, Span::new(100_000));
    for name in [passed, failed, longest_name, shortest_name] {
        assert_eq!(chain.open(name), None);
    }
}

#[test]
fn e5_of_two_values_for_a_parameter_the_later_proposal_holds() {
    let mut chain = chain_of(1);
    chain.decide(set_max_bids(7), 1);
    chain.decide(set_max_bids(8), 1);
    chain.end_epoch();
    assert_eq!(chain.state.params().unwrap().unwrap().max_bids, 8);
}

#[test]
fn e5_the_set_never_grows_above_its_limit() {
    let count = u8::try_from(MAX_AUTHORITIES).unwrap() - 1;
    let params = Params { epoch_length: 300, ..short_epochs() };
    let mut chain = Chain::of(&with_members(count, params));
    let needed = count / 3 * 2 + 1;
    let (one, other) = (add(&dave()), add(&key(9)));
    chain.decide(one, needed);
    let failed = chain.decide(other, needed);
    let events = chain.end_epoch();
    assert!(events.contains(&Event::ProposalFailed { proposal: failed, change: other }));
    assert_eq!(chain.members().len(), MAX_AUTHORITIES);
}

#[test]
fn e6_undecided_proposals_end_with_their_last_epoch() {
    let mut chain = chain_of(3);
    let proposal = chain.decide(add(&dave()), 2);
    assert_eq!(chain.open(proposal).unwrap().last_epoch, Epoch::new(2));
    let expired = Event::ProposalExpired { proposal, change: add(&dave()) };
    for _ in 0..2 {
        assert!(!chain.end_epoch().contains(&expired));
        assert!(chain.open(proposal).is_some());
    }
    assert!(chain.end_epoch().contains(&expired));
    assert_eq!(chain.open(proposal), None);
    // In its last epoch it can still pass.
    let proposal = chain.decide(add(&dave()), 2);
    chain.end_epoch();
    chain.end_epoch();
    chain.act(chain.next(), &member(2), approve(proposal));
    assert!(chain.end_epoch().contains(&Event::ProposalPassed { proposal, change: add(&dave()) }));
}

#[test]
fn e6_approvals_of_who_left_do_not_count() {
    let mut chain = chain_of(4);
    let proposal = chain.decide(add(&dave()), 2);
    chain.decide(remove(&member(1)), 3);
    chain.end_epoch();
    assert_eq!(chain.open(proposal).unwrap().approvals.to_vec(), [member(0).public_key()]);
    // Three are left, and all three have to approve.
    chain.act(chain.next(), &member(2), approve(proposal));
    chain.end_epoch();
    assert_eq!(chain.members().len(), 3);
    chain.act(chain.next(), &member(3), approve(proposal));
    chain.end_epoch();
    assert_eq!(chain.members().len(), 4);
}

#[test]
fn every_parameter_but_the_trees_depth_can_change() {
    let json = serde_json::to_value(Params::default()).unwrap();
    let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut changeable = ParamChange::NAMES.to_vec();
    changeable.push("state_tree_depth");
    changeable.sort_unstable();
    assert_eq!(names, changeable);
    for name in ParamChange::NAMES {
        let change = serde_json::json!({ "name": name, "value": json[name] });
        let change: ParamChange = serde_json::from_value(change).unwrap();
        assert_eq!(change.name(), *name);
        let mut params = Params::default();
        change.apply_to(&mut params);
        assert_eq!(params, Params::default(), "{name} sets itself");
    }
}
