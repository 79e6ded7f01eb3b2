//! Goal: rules A4 to A7 and D6: a vote alone takes from a participant, no coalition of two thirds or fewer
//! freezes anybody, a revoked account always gets its balance out, and what an authority does for nothing is
//! little. Method: one proposal or admission for each way to break a rule; then coalitions that send all that
//! they can think of, after which everybody else must still be able to act.

use evchain_protocol::crypto::{KeyPair, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::execute::{MAX_OFFENCES, StandingReason};
use evchain_protocol::governance::{Change, MAX_OPEN_PROPOSALS, ParamChange, StandingChange};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Nonce, Span, Timestamp, TxRef};
use evchain_protocol::state::account::{Roles, Standing};
use evchain_protocol::state::governance::Admissions;
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::claim::{Claim, ClaimLock};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::participant::{Admit, ParticipantReason};
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::withdraw::{Withdraw, WithdrawReason};
use evchain_protocol::transaction::{Action, RejectReason};

use crate::chain::*;
use crate::governance::{member, with_members};
use crate::random::Random;

fn short_epochs() -> Params {
    Params { epoch_length: 12, proposal_epochs: 2, ..params() }
}

fn chain_of(count: u8) -> Chain {
    Chain::of(&with_members(count, short_epochs()))
}

fn propose(change: StandingChange) -> Action {
    Action::Propose(Propose { change: Change::Standing(change) })
}

fn revoke(account: PublicKey, withdraw_to: Option<PublicKey>) -> Action {
    propose(StandingChange::Revoke { account, withdraw_to })
}

fn set_roles(account: PublicKey, roles: Roles) -> Action {
    propose(StandingChange::SetRoles { account, roles })
}

fn approve(proposal: TxRef) -> Action {
    Action::Approve(Approve { proposal })
}

fn admit(participant: PublicKey, roles: Roles, withdraw_to: Option<PublicKey>) -> Action {
    Action::Admit(Admit { participant, roles, withdraw_to })
}

fn pay(to: PublicKey, units: u64) -> Action {
    Action::Transfer(Transfer { to, amount: money(units) })
}

fn withdraw(to: &KeyPair) -> Action {
    Action::Withdraw(Withdraw { to: to.public_key() })
}

/// Has a chain's only authority revoke somebody.
fn revoke_alone(chain: &mut Chain, account: &KeyPair, withdraw_to: Option<&KeyPair>) {
    let action = revoke(account.public_key(), withdraw_to.map(KeyPair::public_key));
    chain.act(chain.next(), &authority(), action);
    assert_eq!(chain.account(account).standing, Standing::Revoked);
}

#[test]
fn d6_a_revocation_takes_effect_with_the_approval_that_passes_it() {
    for (authorities, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7), (10, 7)] {
        let mut chain = chain_of(authorities);
        let (account, place) = (bob().public_key(), carol().public_key());
        let change = StandingChange::Revoke { account, withdraw_to: Some(place) };
        let mut proposal = TxRef::MIN;
        for number in 0..needed {
            assert!(!chain.account(&bob()).standing.is_revoked(), "{number} of {authorities} are not enough");
            if number == 0 {
                proposal = chain.act(chain.next(), &member(0), propose(change));
            } else {
                chain.act(chain.next(), &member(number), approve(proposal));
            }
        }
        let events: Vec<Event> = chain.events.iter().map(|record| record.event.clone()).collect();
        assert_eq!(
            events[1..],
            [
                Event::ProposalPassed { proposal, change: Change::Standing(change) },
                Event::Revoked { account, withdraw_to: place },
            ],
            "{needed} of {authorities}"
        );
        assert_eq!(chain.state.proposal(proposal).unwrap(), None);
        let bobs = chain.account(&bob());
        assert_eq!((bobs.standing, bobs.withdraw_to), (Standing::Revoked, Some(place)));
    }
}

/// The set may shrink below what the approvals are two thirds of, and then no approval is left to come.
#[test]
fn d6_what_passes_as_authorities_leave_takes_effect_at_the_epochs_end() {
    let mut chain = chain_of(6);
    let account = bob().public_key();
    let proposal = chain.act(chain.next(), &member(0), revoke(account, Some(carol().public_key())));
    for number in 1..4 {
        chain.act(chain.next(), &member(number), approve(proposal));
    }
    let change = Change::RemoveAuthority(member(5).public_key());
    let removal = chain.act(chain.next(), &member(0), Action::Propose(Propose { change }));
    for number in 1..5 {
        chain.act(chain.next(), &member(number), approve(removal));
    }
    chain.end_epoch();
    assert!(!chain.account(&bob()).standing.is_revoked(), "four of the six that the epoch had");
    chain.end_epoch();
    assert!(chain.account(&bob()).standing.is_revoked(), "four of five");
}

#[test]
fn d2_a_revocation_leaves_a_place_for_the_money() {
    let mut chain = chain_of(2);
    let rejected = |chain: &Chain, action| chain.rejected(chain.next(), &member(0), action);
    let [alice_key, bob_key, dave_key] = [alice(), bob(), dave()].map(|key| key.public_key());
    let treasury_key = treasury().public_key();

    let missing = StandingReason::NoAccount { account: dave_key };
    assert_eq!(rejected(&chain, revoke(dave_key, Some(bob_key))), missing.clone().into());
    assert_eq!(rejected(&chain, set_roles(dave_key, Roles::ALL)), missing.into());
    assert_eq!(
        rejected(&chain, revoke(treasury_key, Some(bob_key))),
        StandingReason::Treasury { account: treasury_key }.into()
    );
    assert_eq!(
        rejected(&chain, revoke(bob_key, None)),
        StandingReason::NoWithdrawalAccount { account: bob_key }.into()
    );
    assert_eq!(
        rejected(&chain, revoke(bob_key, Some(bob_key))),
        StandingReason::OwnWithdrawalAccount { account: bob_key }.into()
    );
    assert_eq!(
        rejected(&chain, revoke(bob_key, Some(dave_key))),
        StandingReason::NothingToWithdrawTo { withdraw_to: dave_key }.into()
    );
    // Dave is sponsored: it has a place, Alice, and is no place for others.
    chain.act(chain.next(), &alice(), pay(dave_key, 500));
    assert_eq!(
        rejected(&chain, revoke(bob_key, Some(dave_key))),
        StandingReason::WithdrawalAccountHasOne { withdraw_to: dave_key, next: alice_key }.into()
    );
    assert_eq!(
        rejected(&chain, revoke(dave_key, Some(bob_key))),
        StandingReason::WithdrawalAccountStays { account: dave_key, withdraw_to: alice_key }.into()
    );
    let roles = Roles::PRODUCER;
    assert_eq!(
        rejected(&chain, set_roles(bob_key, roles)),
        StandingReason::SameRoles { account: bob_key, roles }.into()
    );
    chain.revoke(&[member(0), member(1)], dave_key);
    assert_eq!(
        rejected(&chain, revoke(dave_key, None)),
        StandingReason::AlreadyRevoked { account: dave_key }.into()
    );
}

/// Two votes that would send each other's money in a circle: the second does not fit any more.
#[test]
fn d6_what_does_not_fit_any_more_fails_and_changes_nothing() {
    let mut chain = chain_of(2);
    let [alice_key, bob_key] = [alice(), bob()].map(|key| key.public_key());
    let first = chain.act(chain.next(), &member(0), revoke(alice_key, Some(bob_key)));
    let second = chain.act(chain.next(), &member(0), revoke(bob_key, Some(alice_key)));
    chain.act(chain.next(), &member(1), approve(first));
    chain.act(chain.next(), &member(1), approve(second));
    let change = Change::Standing(StandingChange::Revoke { account: bob_key, withdraw_to: Some(alice_key) });
    assert_eq!(chain.events.last().unwrap().event, Event::ProposalFailed { proposal: second, change });
    assert!(chain.account(&alice()).standing.is_revoked());
    assert_eq!(chain.account(&bob()).standing, Standing::Admitted(Roles::PRODUCER));
    assert_eq!(chain.state.proposal(second).unwrap(), None);
}

#[test]
fn d6_a_vote_takes_roles_and_brings_the_revoked_back() {
    let mut chain = Chain::new();
    let carols = carol().public_key();
    chain.act(chain.next(), &authority(), set_roles(carols, Roles::PRODUCER));
    assert_eq!(chain.account(&carol()).standing, Standing::Admitted(Roles::PRODUCER));
    let set = Event::RolesSet { account: carols, roles: Roles::PRODUCER };
    assert!(chain.events.iter().any(|record| record.event == set));
    revoke_alone(&mut chain, &carol(), Some(&bob()));
    // A4: no single authority undoes the vote.
    assert_eq!(
        chain.rejected(chain.next(), &authority(), admit(carols, Roles::ALL, None)),
        ParticipantReason::Revoked { participant: carols }.into()
    );
    chain.act(chain.next(), &authority(), set_roles(carols, Roles::ALL));
    let after = chain.account(&carol());
    assert_eq!(
        (after.standing, after.withdraw_to),
        (Standing::Admitted(Roles::ALL), Some(bob().public_key()))
    );
    chain.act(chain.next(), &carol(), pay(bob().public_key(), 5));
    // Its place stays with it, whatever the next vote would like.
    assert!(matches!(
        chain.rejected(chain.next(), &authority(), revoke(carols, Some(alice().public_key()))),
        RejectReason::Standing(StandingReason::WithdrawalAccountStays { .. })
    ));
}

#[test]
fn g4_a7_the_revoked_withdraw_everything_and_pay_nobody_else() {
    // The highest fees that a vote can set.
    for fee in [Amount::ZERO, money(2), money(MONEY), Amount::MAX] {
        let mut chain = Chain::with(short_epochs());
        revoke_alone(&mut chain, &alice(), Some(&bob()));
        let change = Change::SetParam(ParamChange::FeeFlat(fee));
        if fee != money(2) {
            chain.act(chain.next(), &authority(), Action::Propose(Propose { change }));
        }
        let change = Change::SetParam(ParamChange::FeePerByte(fee));
        if fee != Amount::ZERO {
            chain.act(chain.next(), &authority(), Action::Propose(Propose { change }));
        }
        chain.end_epoch();
        let sender = alice().public_key();
        let rejected = |chain: &Chain, action| chain.rejected(chain.next(), &alice(), action);
        assert_eq!(rejected(&chain, pay(bob().public_key(), 5)), RejectReason::Revoked { sender });
        let withdraw_to = bob().public_key();
        let elsewhere = WithdrawReason::ElsewhereTo { sender, withdraw_to };
        assert_eq!(rejected(&chain, withdraw(&carol())), elsewhere.into());
        chain.act(chain.next(), &alice(), withdraw(&bob()));
        assert_eq!((chain.balance(&alice()), chain.balance(&bob())), (0, 2 * MONEY), "fee {fee}");
        let amount = money(MONEY);
        assert_eq!(chain.events[0].event, Event::Withdrawn { from: sender, to: withdraw_to, amount });
        assert_eq!(rejected(&chain, withdraw(&bob())), WithdrawReason::NothingLeft { sender }.into());
    }
    let chain = Chain::new();
    let sender = alice().public_key();
    let reason = chain.rejected(chain.next(), &alice(), withdraw(&bob()));
    assert_eq!(reason, WithdrawReason::NotRevoked { sender }.into());
}

/// From a sponsored consumer to its sponsor, and on to the sponsor's own place, though both are revoked.
#[test]
fn a7_money_goes_on_through_places_that_are_revoked_themselves() {
    let mut chain = Chain::new();
    let zeta = dave();
    chain.act(chain.next(), &alice(), pay(zeta.public_key(), 500));
    revoke_alone(&mut chain, &alice(), Some(&carol()));
    // What a revoked sponsor has sponsored goes on, until a vote is about it, too.
    chain.act(chain.next(), &zeta, pay(bob().public_key(), 98));
    revoke_alone(&mut chain, &zeta, None);
    let carols = chain.balance(&carol());
    chain.act(chain.next(), &alice(), withdraw(&carol()));
    chain.act(chain.next(), &zeta, withdraw(&alice()));
    assert_eq!((chain.balance(&zeta), chain.balance(&alice())), (0, 400));
    chain.act(chain.next(), &alice(), withdraw(&carol()));
    assert_eq!(chain.balance(&carol()) - carols, MONEY - 500 - 2 + 400);
}

/// What was open before still comes in, be it by itself or by a claim that its owner cannot pay the fee of.
#[test]
fn g5_what_settles_later_is_withdrawn_later() {
    let mut chain = Chain::new();
    let lock = |payee: &KeyPair, deadline| {
        let (payee, hash) = (payee.public_key(), preimage(1).lock());
        Action::CreateLock(CreateLock { payee, amount: money(700), hash, deadline })
    };
    chain.act(at(1), &alice(), lock(&bob(), at(MINUTE)));
    let claimed = chain.act(at(2), &carol(), lock(&alice(), at(MINUTE)));
    revoke_alone(&mut chain, &alice(), Some(&treasury()));
    chain.act(at(10), &alice(), withdraw(&treasury()));
    let (fees, before) = (chain.balance(&treasury()), chain.total_of(&[alice(), treasury()]));
    assert_eq!(chain.balance(&alice()), 0);
    let claim = Action::Claim(Claim::Lock(ClaimLock { lock: claimed, preimage: preimage(1) }));
    chain.act(at(11), &alice(), claim);
    assert_eq!((chain.balance(&alice()), chain.balance(&treasury())), (700, fees), "no money, no fee");
    chain.act(at(12), &alice(), withdraw(&treasury()));
    chain.pass(at(MINUTE));
    assert_eq!(chain.balance(&alice()), 700);
    chain.act(chain.next(), &alice(), withdraw(&treasury()));
    assert_eq!(chain.total_of(&[alice(), treasury()]), before + 1400);
    assert_eq!(chain.balance(&alice()), 0);
}

#[test]
fn a4_a5_an_admission_gives_and_never_takes() {
    let mut chain = Chain::new();
    let rejected = |chain: &Chain, action| chain.rejected(chain.next(), &authority(), action);
    let [alice_key, bob_key, carol_key, dave_key] =
        [alice(), bob(), carol(), dave()].map(|key| key.public_key());
    let has = Roles::CONSUMER.with(Roles::PRODUCER);
    for roles in [Roles::CONSUMER, Roles::PRODUCER, Roles::AUDITOR, Roles::PRODUCER.with(Roles::AUDITOR)] {
        let reason = ParticipantReason::TakesRoles { participant: carol_key, has };
        assert_eq!(rejected(&chain, admit(carol_key, roles, None)), reason.into());
    }
    chain.act(chain.next(), &authority(), admit(carol_key, Roles::ALL, None));
    let not_first = ParticipantReason::NotFirst { participant: bob_key };
    assert_eq!(rejected(&chain, admit(bob_key, has, Some(alice_key))), not_first.into());

    // A sponsored consumer stays one. Whoever paid it first, so that it is its sponsor, is no longer its place.
    chain.act(chain.next(), &alice(), pay(dave_key, 500));
    let reason = ParticipantReason::TakesRoles { participant: dave_key, has: Roles::CONSUMER };
    assert_eq!(rejected(&chain, admit(dave_key, Roles::AUDITOR, None)), reason.into());
    let not_first = ParticipantReason::NotFirst { participant: dave_key };
    assert_eq!(rejected(&chain, admit(dave_key, has, Some(bob_key))), not_first.into());
    let new = key(9).public_key();
    let nothing = key(10).public_key();
    for (withdraw_to, reason) in [
        (new, StandingReason::OwnWithdrawalAccount { account: new }),
        (nothing, StandingReason::NothingToWithdrawTo { withdraw_to: nothing }),
        (dave_key, StandingReason::WithdrawalAccountHasOne { withdraw_to: dave_key, next: alice_key }),
    ] {
        assert_eq!(rejected(&chain, admit(new, has, Some(withdraw_to))), reason.into());
    }
    chain.act(chain.next(), &authority(), admit(dave_key, has, None));
    assert_eq!(chain.account(&dave()).withdrawal_account(), None);
    chain.act(chain.next(), &authority(), admit(new, has, Some(dave_key)));
    assert_eq!(chain.account(&key(9)).withdraw_to, Some(dave_key));
    revoke_alone(&mut chain, &key(9), None);
    revoke_alone(&mut chain, &dave(), Some(&bob()));
}

#[test]
fn a6_e7_admissions_are_counted_by_authority_and_epoch() {
    let params = Params { max_admissions: 2, ..short_epochs() };
    let mut chain = Chain::of(&with_members(2, params));
    let new = |number: u8| key(30 + number).public_key();
    let (first, second) = (member(0), member(1));
    chain.act(chain.next(), &first, admit(new(0), Roles::CONSUMER, None));
    // More roles for the same key are an admission, too.
    chain.act(chain.next(), &first, admit(new(0), Roles::ALL, None));
    let authority = first.public_key();
    let reason = RejectReason::from(ParticipantReason::TooMany { authority, made: 2 });
    assert_eq!(chain.rejected(chain.next(), &first, admit(new(1), Roles::CONSUMER, None)), reason);
    chain.act(chain.next(), &second, admit(new(1), Roles::CONSUMER, None));
    assert_eq!(chain.state.admissions(&second.public_key()).unwrap(), Some(Admissions(1)));
    chain.end_epoch();
    for authority in [&first, &second] {
        assert_eq!(chain.state.admissions(&authority.public_key()).unwrap(), None);
    }
    chain.act(chain.next(), &first, admit(new(2), Roles::CONSUMER, None));
}

/// A leader that is the attacker packs its own block with what costs it nothing.
#[test]
fn one_authority_fills_no_block_for_nothing() {
    let params = Params { epoch_length: 2000, ..params() };
    let chain = Chain::of(&with_members(4, params.clone()));
    let mut random = Random::new(5);
    let attacker = member(0);
    let mut transactions = Vec::new();
    let mut trial = chain.clone();
    let mut accepted = 0_usize;
    let roles = [Roles::CONSUMER, Roles::PRODUCER, Roles::AUDITOR, Roles::ALL];
    for number in 0..3000_u32 {
        let fresh =
            KeyPair::from_secret(&[number.to_le_bytes(); 8].concat().try_into().unwrap()).public_key();
        let to = if random.below(2) == 0 { fresh } else { alice().public_key() };
        let action = match random.below(4) {
            0 => revoke(to, Some(treasury().public_key())),
            1 => set_roles(to, random.pick(&roles).unwrap()),
            2 => Action::Propose(Propose { change: Change::SetParam(ParamChange::MaxBids(number + 3)) }),
            _ => admit(to, random.pick(&roles).unwrap(), None),
        };
        transactions.push(action);
    }
    for batch in transactions.chunks(100) {
        let nonce = trial.nonce(&attacker.public_key()).get();
        let mut signed = Vec::new();
        let mut next = nonce;
        // Each is tried with the nonce that the ones before it leave.
        for action in batch {
            let nonce = Nonce::new(next);
            let transaction = trial.sign_with(&attacker, nonce, action.clone()).unwrap();
            let mut candidates = signed.clone();
            candidates.push(transaction);
            let built = trial.try_block(trial.next(), candidates).unwrap();
            if built.rejected.is_empty() {
                next += 1;
                signed = built.transactions;
            }
        }
        accepted += signed.len();
        trial.block(trial.next(), signed);
    }
    let most = usize::try_from(params.max_admissions).unwrap() + MAX_OPEN_PROPOSALS;
    assert_eq!(accepted, most, "it tried {} things", transactions.len());
    assert!(MAX_OFFENCES * 4 * 2 < most, "reports are few, too (V4)");
}

/// Whom the coalition is against: participants with roles, money and a sponsored key.
fn honest() -> [KeyPair; 4] {
    [alice(), bob(), carol(), key(8)]
}

/// What members of a coalition may send: whatever could take something from somebody.
fn attack(random: &mut Random, chain: &Chain, coalition: &[KeyPair]) -> Option<(KeyPair, Action)> {
    let attacker = random.pick(coalition)?;
    let targets: Vec<PublicKey> =
        honest().iter().chain([&treasury(), &dave()]).chain(coalition).map(KeyPair::public_key).collect();
    let target = random.pick(&targets)?;
    let place = random.pick(&targets).filter(|_| random.below(2) == 0);
    let roles = random.pick(&[Roles::CONSUMER, Roles::PRODUCER, Roles::AUDITOR, Roles::ALL, Roles::NONE])?;
    let open: Vec<TxRef> = chain
        .state
        .iter()
        .filter_map(|(key, _)| if let StateKey::Proposal(name) = key { Some(*name) } else { None })
        .collect();
    let action = match random.below(9) {
        0 => admit(target, roles, place),
        1 => revoke(target, place),
        2 => set_roles(target, roles),
        3 => {
            let change = [
                Change::SetParam(ParamChange::FeeFlat(Amount::MAX)),
                Change::SetParam(ParamChange::MaxOpenRequests(1)),
                Change::SetParam(ParamChange::MaxWindow(Span::new(1))),
                Change::SetParam(ParamChange::EpochLength(2)),
                Change::RemoveAuthority(random.pick(&[member(0), member(1), member(2)])?.public_key()),
                Change::AddAuthority(target),
            ];
            Action::Propose(Propose { change: random.pick(&change)? })
        }
        _ => approve(random.pick(&open)?),
    };
    Some((attacker, action))
}

/// Whether this action would be taken into the next block.
fn is_possible(chain: &Chain, sender: &KeyPair, action: Action) -> bool {
    let built = chain.try_block(chain.next(), vec![chain.sign(sender, action)]).unwrap();
    if let Some((_, reason)) = built.rejected.first() {
        println!("{}: {reason}", sender.public_key());
    }
    built.rejected.is_empty()
}

#[test]
fn no_coalition_of_two_thirds_or_fewer_freezes_anybody() {
    for seed in 0..24 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let authorities = 2 + u8::try_from(seed % 6).unwrap();
        let mut chain = chain_of(authorities);
        chain.act(chain.next(), &alice(), pay(honest()[3].public_key(), 1000));
        let before = honest().map(|key| chain.account(&key));
        let coalition: Vec<KeyPair> = (0..authorities * 2 / 3).map(member).collect();
        let mut tried = 0;
        for _ in 0..60 {
            for _ in 0..4 {
                let Some((attacker, action)) = attack(&mut random, &chain, &coalition) else { continue };
                let Ok(transaction) = chain.try_sign(&attacker, action) else { continue };
                let built = chain.block(chain.next(), vec![transaction]);
                tried += built.transactions.len();
            }
            if random.below(4) == 0 {
                chain.end_epoch();
            }
        }
        assert!(tried > 20, "seed {seed}: {tried} attacks that the ledger takes mean little");
        assert_eq!(chain.authorities().set.len(), usize::from(authorities));
        assert_eq!(chain.state.params().unwrap().unwrap(), short_epochs());
        for (owner, before) in honest().iter().zip(before) {
            let after = chain.account(owner);
            assert_eq!(after.balance, before.balance);
            assert!(!after.standing.is_revoked());
            assert!(after.standing.is_consumer() || !before.standing.is_consumer());
            assert!(after.standing.is_producer() || !before.standing.is_producer());
            assert!(is_possible(&chain, owner, pay(treasury().public_key(), 1)), "seed {seed}");
            if before.standing.is_consumer() {
                let mut request = a_request();
                let now = chain.tip.time_ms.get();
                let minutes = |number: u64| Timestamp::new(now + number * MINUTE);
                request.bid_deadline = minutes(10).floor_to_tick();
                request.window.start = minutes(20).floor_to_tick();
                request.window.end = minutes(60).floor_to_tick();
                let request = Action::PlaceRequest(request.try_into().unwrap());
                assert!(is_possible(&chain, owner, request), "seed {seed}");
            }
            if before.standing.is_producer() {
                let record = Action::RecordStation(RecordStation { station: a_station() });
                assert!(is_possible(&chain, owner, record), "seed {seed}");
            }
        }
    }
}
