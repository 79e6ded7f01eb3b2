//! Goal: rules G, A and W. Method: one transaction for each way to break a rule, each on a chain
//! where everything else about it is right; then the accepted cases and what they change.

use evchain_protocol::crypto::{ChainId, Hash, PublicKey};
use evchain_protocol::event::Event;
use evchain_protocol::execute::StandingReason;
use evchain_protocol::governance::{Change, StandingChange};
use evchain_protocol::params::Params;
use evchain_protocol::primitives::{Amount, Nonce, Position, RegionId};
use evchain_protocol::state::account::{Roles, Standing};
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::participant::{Admit, ParticipantReason};
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::station::{RecordStation, StationReason};
use evchain_protocol::transaction::transfer::{Transfer, TransferReason};
use evchain_protocol::transaction::{Action, RejectReason, Transaction, VerifyError};

use crate::chain::*;

fn pay(to: PublicKey, units: u64) -> Action {
    Action::Transfer(Transfer { to, amount: money(units) })
}

fn admit(participant: PublicKey, roles: Roles) -> Action {
    Action::Admit(Admit { participant, roles, withdraw_to: None })
}

fn set_roles(account: PublicKey, roles: Roles) -> Action {
    Action::Propose(Propose { change: Change::Standing(StandingChange::SetRoles { account, roles }) })
}

#[test]
fn g1_signature_covers_sender_chain_and_content() {
    let chain = Chain::new();
    let (sender, other) = (alice().public_key(), bob().public_key());
    let transaction = Transaction { sender, nonce: Nonce::ZERO, action: pay(other, 5) };
    let good = transaction.clone().sign(&alice(), chain.id);
    let bad = VerifyError::BadSignature { sender, chain: chain.id };

    assert!(good.clone().verify(chain.id).is_ok());
    let by_other = transaction.clone().sign(&bob(), chain.id);
    assert_eq!(by_other.verify(chain.id), Err(bad.clone()));
    let elsewhere = ChainId(Hash::from_bytes([7; 32]));
    assert_eq!(good.clone().verify(elsewhere), Err(VerifyError::BadSignature { sender, chain: elsewhere }));
    let mut changed = good.clone();
    changed.transaction.nonce = Nonce::new(1);
    assert_eq!(changed.verify(chain.id), Err(bad));

    let verified = good.clone().verify(chain.id).unwrap();
    assert_eq!(verified.id(), good.id());
    assert_eq!(verified.encoded_len(), good.to_bytes().len());
}

#[test]
fn g1_a_transaction_verified_for_one_chain_does_not_execute_on_another() {
    let chain = Chain::new();
    let other = Chain::with(Params { fee_flat: money(3), ..params() });
    let transaction = chain.sign(&alice(), pay(bob().public_key(), 5));
    let reason = other.rejected_transaction(at(1), transaction);
    assert_eq!(reason, RejectReason::OtherChain { chain: chain.id });
}

#[test]
fn g2_to_g5_in_this_order() {
    let mut chain = Chain::new();
    let (to, sender) = (bob().public_key(), alice().public_key());
    let with_nonce = |chain: &Chain, nonce| {
        let transaction = chain.sign_with(&alice(), Nonce::new(nonce), pay(to, 5)).unwrap();
        chain.rejected_transaction(at(10), transaction)
    };
    assert_eq!(
        chain.rejected(at(1), &dave(), pay(to, 5)),
        RejectReason::NoAccount { sender: dave().public_key() }
    );
    chain.act(at(1), &alice(), pay(to, 5));
    let expected = Nonce::new(1);
    assert_eq!(with_nonce(&chain, 0), RejectReason::NonceTooLow { expected, given: Nonce::ZERO });
    assert_eq!(with_nonce(&chain, 2), RejectReason::NonceTooHigh { expected, given: Nonce::new(2) });

    // The nonce comes before the revocation, and that before the fee.
    let balance = money(chain.balance(&alice()));
    chain.act(at(2), &alice(), pay(to, balance.get() - 3));
    assert_eq!(
        chain.rejected(at(3), &alice(), pay(to, 5)),
        RejectReason::FeeNotCovered { balance: money(1), fee: money(2) }
    );
    chain.act(at(4), &authority(), chain.revocation(sender));
    assert_eq!(chain.rejected(at(5), &alice(), pay(to, 5)), RejectReason::Revoked { sender });
    assert!(matches!(with_nonce(&chain, 0), RejectReason::NonceTooLow { .. }));
}

#[test]
fn g5_the_fee_counts_bytes_and_goes_to_the_treasury() {
    let mut chain = Chain::with(Params { fee_flat: money(2), fee_per_byte: money(3), ..params() });
    let transaction = chain.sign(&alice(), pay(bob().public_key(), 50));
    let fee = 2 + 3 * transaction.encoded_len() as u64;
    chain.block(at(1), vec![transaction]);
    assert_eq!(chain.balance(&alice()), MONEY - 50 - fee);
    assert_eq!(chain.balance(&treasury()), fee);
    assert_eq!(chain.balance(&bob()), MONEY + 50);
    let payer = alice().public_key();
    assert_eq!(chain.events[0].event, Event::FeePaid { payer, amount: money(fee) });
}

#[test]
fn g5_the_treasury_can_pay_fees_to_itself() {
    let mut chain = Chain::new();
    chain.act(at(1), &alice(), pay(treasury().public_key(), 100));
    chain.act(at(2), &treasury(), pay(bob().public_key(), 90));
    assert_eq!(chain.balance(&treasury()), 2 + 100 - 90);
}

#[test]
fn g7_authorities_need_no_account_no_money_and_no_standing() {
    let mut chain = Chain::new();
    let (someone, sender) = (dave().public_key(), alice().public_key());
    assert_eq!(
        chain.rejected(at(1), &alice(), admit(someone, Roles::CONSUMER)),
        RejectReason::NotAuthority { sender }
    );
    let first = chain.sign(&authority(), admit(someone, Roles::CONSUMER));
    chain.block(at(1), vec![first.clone()]);
    assert_eq!(chain.balance(&treasury()), 0);
    // Its nonce guards against a replay.
    chain.act(at(2), &authority(), chain.revocation(someone));
    assert!(matches!(chain.rejected_transaction(at(3), first), RejectReason::NonceTooLow { .. }));
    chain.act(at(3), &authority(), chain.revocation(authority().public_key()));
    chain.act(at(4), &authority(), set_roles(someone, Roles::PRODUCER));
    chain.act(at(5), &authority(), admit(key(9).public_key(), Roles::PRODUCER));
    assert_eq!(chain.account(&dave()).standing, Standing::Admitted(Roles::PRODUCER));
}

#[test]
fn a1_to_a3_transfer() {
    let mut chain = Chain::new();
    let (sender, to) = (alice().public_key(), bob().public_key());
    let reject = |chain: &Chain, action| chain.rejected(at(100), &alice(), action);

    assert_eq!(reject(&chain, pay(to, 0)), TransferReason::ZeroAmount.into());
    assert_eq!(reject(&chain, pay(sender, 5)), TransferReason::ToSelf { sender }.into());
    let unusable = PublicKey::from_bytes([0; 32]);
    assert_eq!(reject(&chain, pay(unusable, 5)), TransferReason::UnusableKey { to: unusable }.into());
    let balance = money(MONEY - 2);
    let amount = money(MONEY - 1);
    assert_eq!(reject(&chain, pay(to, amount.get())), RejectReason::NotCovered { balance, amount });

    chain.act(at(1), &authority(), chain.revocation(to));
    assert_eq!(reject(&chain, pay(to, 5)), TransferReason::RecipientRevoked { to }.into());

    // Sponsoring: the admitted may, the sponsored may not.
    let (zeta, next) = (dave(), key(7).public_key());
    chain.act(at(2), &alice(), pay(zeta.public_key(), 500));
    assert_eq!(chain.account(&zeta).standing, Standing::Sponsored(sender));
    assert!(chain.account(&zeta).standing.is_consumer());
    assert_eq!(chain.rejected(at(3), &zeta, pay(next, 5)), TransferReason::CannotSponsor { to: next }.into());
    chain.act(at(3), &zeta, pay(carol().public_key(), 498));
    assert_eq!(chain.balance(&zeta), 0);
}

#[test]
fn a4_admit_and_d6_revoke() {
    let mut chain = Chain::new();
    let participant = dave().public_key();
    let reject = |chain: &Chain, action| chain.rejected(at(100), &authority(), action);
    let roles = Roles::CONSUMER;

    assert_eq!(reject(&chain, admit(participant, Roles::NONE)), ParticipantReason::NoRoles.into());
    let unusable = PublicKey::from_bytes([0; 32]);
    assert_eq!(
        reject(&chain, admit(unusable, roles)),
        ParticipantReason::UnusableKey { participant: unusable }.into()
    );
    let account = participant;
    assert_eq!(reject(&chain, chain.revocation(account)), StandingReason::NoAccount { account }.into());
    chain.act(at(1), &authority(), admit(participant, roles));
    assert_eq!(chain.account(&dave()).balance, Amount::ZERO);
    assert_eq!(
        reject(&chain, admit(participant, roles)),
        ParticipantReason::SameRoles { participant, roles }.into()
    );
    chain.act(at(2), &authority(), set_roles(participant, Roles::PRODUCER));
    chain.act(at(3), &authority(), chain.revocation(participant));
    assert_eq!(reject(&chain, chain.revocation(account)), StandingReason::AlreadyRevoked { account }.into());
    chain.act(at(4), &authority(), set_roles(participant, roles));
    assert_eq!(chain.account(&dave()).standing, Standing::Admitted(roles));
}

#[test]
fn w1_w2_station() {
    let mut chain = Chain::new();
    let record = |station| Action::RecordStation(RecordStation { station });
    let reject = |chain: &Chain, station| chain.rejected(at(100), &bob(), record(station));
    let good = a_station();

    assert_eq!(
        chain.rejected(at(1), &alice(), record(good.clone())),
        StationReason::NotProducer { sender: alice().public_key() }.into()
    );
    let mut station = good.clone();
    station.region = RegionId::ZERO;
    assert_eq!(reject(&chain, station), StationReason::NoRegion.into());
    let mut station = good.clone();
    station.power_w = 0;
    assert_eq!(reject(&chain, station), StationReason::NoPower.into());
    let mut station = good.clone();
    station.connectors = 0;
    assert_eq!(reject(&chain, station), StationReason::NoConnectors.into());
    for (latitude_e7, longitude_e7) in
        [(900_000_001, 0), (-900_000_001, 0), (0, 1_800_000_001), (0, i32::MIN)]
    {
        let position = Position { latitude_e7, longitude_e7 };
        let mut station = good.clone();
        station.position = position;
        assert_eq!(reject(&chain, station), StationReason::OffTheGlobe { position }.into());
    }
    let mut edge = good.clone();
    edge.position = Position { latitude_e7: 900_000_000, longitude_e7: -1_800_000_000 };
    chain.act(at(1), &bob(), record(edge));
    chain.act(at(2), &bob(), record(good.clone()));
    assert_eq!(chain.state.station(&bob().public_key()).unwrap(), Some(good));
}
