//! Random values of everything that is sent or stored, for the other tests.

use std::sync::Arc;

use evchain_protocol::authority::{AuthorityIndex, AuthoritySet};
use evchain_protocol::block::Header;
use evchain_protocol::codec;
use evchain_protocol::commitment::Opening;
use evchain_protocol::compact::TICK;
use evchain_protocol::crypto::{ChainId, Hash, Preimage, PublicKey, Signature};
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::finality::{
    Certificate, ConflictingVotes, Evidence, Justification, OffenceKind, ParentProof, Subject,
    UnjustifiedVote, Vote,
};
use evchain_protocol::governance::{Change, ParamChange, StandingChange};
use evchain_protocol::params::Params;
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use evchain_protocol::primitives::{
    Amount, Energy, Epoch, Height, Nonce, Position, RegionId, Span, Timestamp, TxRef, View, Window,
};
use evchain_protocol::sealed::SealedPlace;
use evchain_protocol::state::account::{Account, Roles, Standing};
use evchain_protocol::state::auction::{
    Bid, BidPosition, BiddingMode, PaymentKinds, Place, Request, Station,
};
use evchain_protocol::state::authority::Authorities;
use evchain_protocol::state::channel::{
    Channel, ChannelState, CoSignedState, PostedState, SignedChannelState,
};
use evchain_protocol::state::governance::{Admissions, Offence, Proposal};
use evchain_protocol::state::key::{DueItem, StateKey};
use evchain_protocol::state::payment::{ChainLock, HashLocks, Lock, Payment};
use evchain_protocol::state::record::TrackRecord;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::text::Text;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{
    ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel,
};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::evidence::ReportOffence;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::request::RequestTerms;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::withdraw::Withdraw;
use evchain_protocol::transaction::{Action, SignedTransaction, Transaction};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) fn hash() -> impl Strategy<Value = Hash> + Clone {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

pub(crate) fn public_key() -> impl Strategy<Value = PublicKey> + Clone {
    any::<[u8; 32]>().prop_map(PublicKey::from_bytes)
}

fn preimage() -> impl Strategy<Value = Preimage> {
    any::<[u8; 32]>().prop_map(Preimage::from_bytes)
}

fn signature() -> impl Strategy<Value = Signature> {
    vec(any::<u8>(), 64).prop_map(|bytes| Signature::from_bytes(bytes.try_into().unwrap()))
}

fn amount() -> impl Strategy<Value = Amount> + Clone {
    any::<u64>().prop_map(Amount::new)
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> + Clone {
    any::<u64>().prop_map(Timestamp::new)
}

/// A moment as requests and bids can have it.
fn ticks() -> impl Strategy<Value = Timestamp> + Clone {
    (0..1u64 << 40).prop_map(|ticks| Timestamp::new(ticks * TICK.get()))
}

pub(crate) fn tx_ref() -> impl Strategy<Value = TxRef> + Clone {
    any::<[u8; 8]>().prop_map(TxRef::from_be_bytes)
}

fn window() -> impl Strategy<Value = Window> + Clone {
    (timestamp(), timestamp()).prop_map(|(start, end)| Window { start, end })
}

fn region() -> impl Strategy<Value = RegionId> + Clone {
    any::<u16>().prop_map(RegionId::new)
}

pub(crate) fn installments() -> impl Strategy<Value = InstallmentCount> + Clone {
    (1..=1024u32).prop_map(|count| InstallmentCount::new(count).unwrap())
}

fn roles() -> impl Strategy<Value = Roles> {
    let role =
        prop_oneof![Just(Roles::NONE), Just(Roles::CONSUMER), Just(Roles::PRODUCER), Just(Roles::AUDITOR)];
    (role.clone(), role).prop_map(|(a, b)| a.with(b))
}

fn kinds() -> impl Strategy<Value = PaymentKinds> {
    let kind =
        prop_oneof![Just(PaymentKinds::HASHES), Just(PaymentKinds::CHAIN), Just(PaymentKinds::CHANNEL)];
    (kind.clone(), kind).prop_map(|(a, b)| a.with(b))
}

fn mode() -> impl Strategy<Value = BiddingMode> {
    prop_oneof![Just(BiddingMode::FirstOnly), Just(BiddingMode::Updates)]
}

fn position() -> impl Strategy<Value = Position> {
    any::<(i32, i32)>().prop_map(|(latitude_e7, longitude_e7)| Position { latitude_e7, longitude_e7 })
}

fn deposit() -> impl Strategy<Value = DepositRule> {
    prop_oneof![Just(DepositRule::Forfeit), timestamp().prop_map(DepositRule::Refund)]
}

fn contact() -> impl Strategy<Value = Text<128>> {
    "[ -~äß€]{0,30}".prop_map(|contact| Text::new(contact).unwrap())
}

fn station() -> impl Strategy<Value = Station> {
    (region(), position(), any::<u32>(), any::<u16>(), contact()).prop_map(
        |(region, position, power_w, connectors, contact)| Station {
            region,
            position,
            power_w,
            connectors,
            contact,
        },
    )
}

fn bid() -> impl Strategy<Value = Bid> {
    let place = (position(), contact()).prop_map(|(position, contact)| Place { position, contact });
    let sealed = vec(any::<u8>(), SealedPlace::LEN)
        .prop_map(|bytes| BidPosition::Sealed(codec::decode(&bytes, SealedPlace::LEN).unwrap()));
    let place = prop_oneof![Just(BidPosition::Station), place.prop_map(BidPosition::Public), sealed];
    (amount(), kinds(), installments(), place, timestamp()).prop_map(
        |(price, kinds, max_installments, position, cancel_by)| Bid {
            price,
            kinds,
            max_installments,
            position,
            cancel_by,
        },
    )
}

fn channel_state() -> impl Strategy<Value = SignedChannelState> {
    (tx_ref(), any::<u32>(), any::<bool>(), signature()).prop_map(
        |(channel, released, closing, signature)| SignedChannelState {
            state: ChannelState { channel, released, closing },
            signature,
        },
    )
}

fn claim() -> impl Strategy<Value = Claim> {
    let indexed =
        (any::<u32>(), preimage()).prop_map(|(index, preimage)| IndexedPreimage { index, preimage });
    prop_oneof![
        (tx_ref(), preimage()).prop_map(|(lock, preimage)| Claim::Lock(ClaimLock { lock, preimage })),
        (tx_ref(), vec(indexed, 0..5)).prop_map(|(payment, preimages)| {
            Claim::Hashes(ClaimHashes { payment, preimages: preimages.try_into().unwrap() })
        }),
        (tx_ref(), any::<u32>(), preimage()).prop_map(|(payment, index, link)| Claim::Chain(ClaimChain {
            payment,
            index,
            link
        })),
    ]
}

fn auction_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        station().prop_map(|station| Action::RecordStation(RecordStation { station })),
        (region(), ticks(), 0..1u64 << 23, 0..1u64 << 24, 0..1u64 << 24, mode()).prop_map(
            |(region, start, lead, length, energy, mode)| {
                let window = Window { start, end: start.after(Span::new(length * TICK.get())).unwrap() };
                let bid_deadline = start.before(Span::new(lead * TICK.get()));
                let energy = Energy::new(energy);
                Action::PlaceRequest(
                    RequestTerms { region, window, energy, mode, bid_deadline }.try_into().unwrap(),
                )
            }
        ),
        (tx_ref(), bid(), 0..1u64 << 48, ticks()).prop_map(|(request, bid, price, cancel_by)| {
            let bid = Bid { price: Amount::new(price), cancel_by, ..bid };
            Action::PlaceBid(PlaceBid::new(request, bid).unwrap())
        }),
        hash().prop_map(|commitment| Action::Commit(Commit { commitment })),
    ]
}

fn payment_action() -> impl Strategy<Value = Action> {
    let locks = prop_oneof![
        vec(hash(), 0..5).prop_map(|hashes| InstallmentLocks::Hashes(hashes.try_into().unwrap())),
        (hash(), installments())
            .prop_map(|(anchor, count)| InstallmentLocks::Chain(ChainAnchor { anchor, count })),
    ];
    prop_oneof![
        (public_key(), amount(), hash(), timestamp()).prop_map(|(payee, amount, hash, deadline)| {
            Action::CreateLock(CreateLock { payee, amount, hash, deadline })
        }),
        (tx_ref(), public_key(), deposit(), locks).prop_map(|(request, producer, deposit, locks)| {
            Action::LockInstallments(LockInstallments { request, producer, deposit, locks })
        }),
        claim().prop_map(Action::Claim),
        tx_ref().prop_map(|name| Action::Cancel(Cancel::Payment(name))),
        tx_ref().prop_map(|name| Action::Cancel(Cancel::Channel(name))),
    ]
}

fn channel_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (tx_ref(), public_key(), installments(), any::<u64>(), timestamp()).prop_map(
            |(request, producer, count, challenge, deadline)| {
                let challenge = Span::new(challenge);
                Action::OpenChannel(OpenChannel { request, producer, count, challenge, deadline })
            }
        ),
        channel_state().prop_map(|state| Action::CloseChannel(CloseChannel { state })),
        (tx_ref(), option::of(channel_state()))
            .prop_map(|(channel, state)| { Action::ForceCloseChannel(ForceCloseChannel { channel, state }) }),
        channel_state().prop_map(|state| Action::ChallengeChannel(ChallengeChannel { state })),
        (channel_state(), signature()).prop_map(|(SignedChannelState { state, signature }, producer)| {
            let state = CoSignedState { state, consumer: signature, producer };
            Action::PostState(PostState { state })
        }),
    ]
}

fn authority_set() -> impl Strategy<Value = AuthoritySet> {
    let keys: Vec<PublicKey> = (1..=5).map(|number| crate::chain::key(number).public_key()).collect();
    proptest::sample::subsequence(keys, 1..=5).prop_map(|keys| AuthoritySet::new(keys).unwrap())
}

fn authorities() -> impl Strategy<Value = Authorities> {
    (any::<[u64; 3]>(), authority_set()).prop_map(|([epoch, first, last], set)| Authorities {
        epoch: Epoch::new(epoch),
        set,
        first_height: Height::new(first),
        last_height: Height::new(last),
    })
}

fn change() -> impl Strategy<Value = Change> {
    let param = prop_oneof![
        amount().prop_map(ParamChange::FeeFlat),
        any::<u64>().prop_map(|span| ParamChange::HopBound(Span::new(span))),
        installments().prop_map(ParamChange::MaxInstallments),
        any::<u64>().prop_map(ParamChange::EpochLength),
        any::<u32>().prop_map(ParamChange::MaxBids),
        any::<bool>().prop_map(ParamChange::EvidenceRemoves),
    ];
    prop_oneof![
        public_key().prop_map(Change::AddAuthority),
        public_key().prop_map(Change::RemoveAuthority),
        param.prop_map(Change::SetParam),
        standing_change().prop_map(Change::Standing),
    ]
}

fn standing_change() -> impl Strategy<Value = StandingChange> {
    let revoke = (public_key(), option::of(public_key()));
    prop_oneof![
        revoke.prop_map(|(account, withdraw_to)| StandingChange::Revoke { account, withdraw_to }),
        (public_key(), roles()).prop_map(|(account, roles)| StandingChange::SetRoles { account, roles }),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    let place = (any::<u64>(), any::<u64>(), hash());
    let place = place.prop_map(|(epoch, view, block)| (Epoch::new(epoch), View::new(view), block));
    (0..3_u8, place).prop_map(|(kind, (epoch, view, block))| match kind {
        0 => Subject::notarize(epoch, view, block),
        1 => Subject::nullify(epoch, view),
        _ => Subject::finalize(epoch, view, block),
    })
}

fn vote() -> impl Strategy<Value = Vote> {
    (subject(), any::<u8>(), signature()).prop_map(|(subject, signer, signature)| Vote {
        subject,
        signer: AuthorityIndex::new(signer),
        signature,
    })
}

fn certificate() -> impl Strategy<Value = Arc<Certificate>> {
    (subject(), vec(0..128_u8, 0..5), vec(signature(), 0..5)).prop_map(|(subject, signers, signatures)| {
        Arc::new(Certificate {
            subject,
            signers: signers.into_iter().map(AuthorityIndex::new).collect(),
            signatures: signatures.try_into().unwrap(),
        })
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let parent = prop_oneof![Just(ParentProof::Root), certificate().prop_map(ParentProof::Certificate)];
    let just = (parent, vec(certificate(), 0..5))
        .prop_map(|(parent, skips)| Justification { parent, skips: skips.try_into().unwrap() });
    let header = (hash(), any::<[u64; 4]>(), public_key(), timestamp()).prop_map(
        |(hash, [epoch, height, view, parent_view], proposer, time_ms)| Header {
            chain: ChainId(hash),
            epoch: Epoch::new(epoch),
            height: Height::new(height),
            view: View::new(view),
            parent_hash: hash,
            parent_view: View::new(parent_view),
            proposer,
            time_ms,
            tx_root: hash,
            event_root: hash,
            state_root: hash,
            just_root: hash,
            authority_root: hash,
            next_authority_root: hash,
        },
    );
    prop_oneof![
        (vote(), vote())
            .prop_map(|(first, second)| Evidence::Votes(Box::new(ConflictingVotes { first, second }))),
        (vote(), header, just, any::<proptest::sample::Index>()).prop_map(|(vote, header, just, index)| {
            let (item, proof) = just.prove(index.index(just.skips.len() + 1)).unwrap();
            Evidence::Justification(Box::new(UnjustifiedVote { vote, header, item, proof }))
        }),
    ]
}

fn offence_kind() -> impl Strategy<Value = OffenceKind> {
    (OffenceKind::FIRST.tag()..=OffenceKind::LAST.tag()).prop_map(|tag| OffenceKind::from_tag(tag).unwrap())
}

fn governance_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        change().prop_map(|change| Action::Propose(Propose { change })),
        tx_ref().prop_map(|proposal| Action::Approve(Approve { proposal })),
        evidence().prop_map(|evidence| Action::ReportOffence(ReportOffence { evidence })),
    ]
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (public_key(), amount()).prop_map(|(to, amount)| Action::Transfer(Transfer { to, amount })),
        (public_key(), roles(), option::of(public_key())).prop_map(|(participant, roles, withdraw_to)| {
            Action::Admit(Admit { participant, roles, withdraw_to })
        }),
        public_key().prop_map(|to| Action::Withdraw(Withdraw { to })),
        auction_action(),
        payment_action(),
        channel_action(),
        governance_action(),
    ]
}

pub(crate) fn signed_transaction() -> impl Strategy<Value = SignedTransaction> {
    (public_key(), any::<u64>(), action(), signature()).prop_map(|(sender, nonce, action, signature)| {
        let transaction = Transaction { sender, nonce: Nonce::new(nonce), action };
        SignedTransaction { transaction, signature }
    })
}

pub(crate) fn opening() -> impl Strategy<Value = Opening> {
    (tx_ref(), amount(), public_key(), public_key(), preimage()).prop_map(
        |(request, price, consumer, producer, secret)| Opening { request, price, consumer, producer, secret },
    )
}

fn payment() -> impl Strategy<Value = Payment> {
    let locks = prop_oneof![
        vec(option::of(hash()), 0..5).prop_map(|hashes| HashLocks::Hashes(hashes.try_into().unwrap())),
        (hash(), any::<u32>()).prop_map(|(anchor, settled)| HashLocks::Chain(ChainLock { anchor, settled })),
    ];
    let plan = (amount(), installments(), window(), deposit(), any::<u64>()).prop_map(
        |(price, count, window, deposit, margin)| InstallmentPlan {
            price,
            count,
            window,
            deposit,
            claim_margin: Span::new(margin),
        },
    );
    (public_key(), public_key(), tx_ref(), plan, timestamp(), any::<u32>(), locks).prop_map(
        |(consumer, producer, request, plan, cancel_by, installments_paid, locks)| Payment {
            consumer,
            producer,
            request,
            plan,
            cancel_by,
            installments_paid,
            locks,
        },
    )
}

fn channel() -> impl Strategy<Value = Channel> {
    let posted = (any::<u32>(), timestamp(), public_key()).prop_map(|(released, until, by)| PostedState {
        released,
        until,
        by,
    });
    let disputed = (option::of(posted), any::<bool>());
    (public_key(), public_key(), tx_ref(), amount(), installments(), timestamp(), timestamp(), disputed)
        .prop_map(|(consumer, producer, request, price, count, deadline, cancel_by, disputed)| Channel {
            consumer,
            producer,
            request,
            price,
            count,
            challenge: Span::new(price.get()),
            deadline,
            cancel_by,
            posted: disputed.0,
            dispute_lost: disputed.1,
        })
}

fn account() -> impl Strategy<Value = Account> {
    let standing = prop_oneof![
        roles().prop_map(Standing::Admitted),
        public_key().prop_map(Standing::Sponsored),
        Just(Standing::Revoked),
    ];
    let standing = (standing, option::of(public_key()));
    (amount(), any::<u64>(), standing, any::<u32>(), option::of(tx_ref())).prop_map(
        |(balance, nonce, (standing, withdraw_to), open_requests, newest_request)| {
            let nonce = Nonce::new(nonce);
            Account { balance, nonce, standing, withdraw_to, open_requests, newest_request }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    (
        (public_key(), region(), window(), any::<u64>(), mode(), timestamp()),
        (any::<u32>(), option::of(hash()), option::of(tx_ref())),
    )
        .prop_map(
            |((consumer, region, window, energy, mode, bid_deadline), (bids, commitment, payment))| {
                let energy = Energy::new(energy);
                Request { consumer, region, window, energy, mode, bid_deadline, bids, commitment, payment }
            },
        )
}

fn track_record() -> impl Strategy<Value = TrackRecord> {
    any::<[u64; 7]>().prop_map(|[completed, broken_off, unpaid, agreed, paid, shortfall, disputes_lost]| {
        TrackRecord {
            completed,
            broken_off,
            unpaid,
            installments_agreed: agreed,
            installments_paid: paid,
            shortfall,
            disputes_lost,
        }
    })
}

pub(crate) fn state_value() -> impl Strategy<Value = StateValue> {
    let proposal = (public_key(), change(), any::<u64>(), vec(public_key(), 0..5)).prop_map(
        |(proposer, change, last_epoch, approvals)| Proposal {
            proposer,
            change,
            last_epoch: Epoch::new(last_epoch),
            approvals: approvals.try_into().unwrap(),
        },
    );
    prop_oneof![
        proposal.prop_map(StateValue::Proposal),
        authorities().prop_map(StateValue::FormerAuthorities),
        (tx_ref(), public_key())
            .prop_map(|(evidence, reporter)| StateValue::Offence(Offence { evidence, reporter })),
        any::<u32>().prop_map(|max_bids| StateValue::Params(Params { max_bids, ..Params::default() })),
        public_key().prop_map(StateValue::Treasury),
        authorities().prop_map(StateValue::Authorities),
        account().prop_map(StateValue::Account),
        station().prop_map(StateValue::Station),
        request().prop_map(StateValue::Request),
        bid().prop_map(StateValue::Bid),
        (public_key(), public_key(), amount(), hash(), timestamp()).prop_map(
            |(payer, payee, amount, hash, deadline)| {
                StateValue::Lock(Lock { payer, payee, amount, hash, deadline })
            }
        ),
        payment().prop_map(StateValue::Payment),
        channel().prop_map(StateValue::Channel),
        track_record().prop_map(StateValue::TrackRecord),
        any::<u32>().prop_map(|made| StateValue::Admissions(Admissions(made))),
        Just(StateValue::Due),
    ]
}

pub(crate) fn state_key() -> impl Strategy<Value = StateKey> {
    let item = prop_oneof![
        tx_ref().prop_map(DueItem::Request),
        tx_ref().prop_map(DueItem::Lock),
        tx_ref().prop_map(DueItem::Payment),
        tx_ref().prop_map(DueItem::Channel),
    ];
    prop_oneof![
        Just(StateKey::Params),
        Just(StateKey::Treasury),
        Just(StateKey::Authorities),
        public_key().prop_map(StateKey::Account),
        public_key().prop_map(StateKey::Station),
        tx_ref().prop_map(StateKey::Request),
        (tx_ref(), public_key()).prop_map(|(request, producer)| StateKey::Bid(request, producer)),
        tx_ref().prop_map(StateKey::Lock),
        tx_ref().prop_map(StateKey::Payment),
        tx_ref().prop_map(StateKey::Channel),
        (timestamp(), item).prop_map(|(time, item)| StateKey::Due(time, item)),
        tx_ref().prop_map(StateKey::Proposal),
        Just(StateKey::FormerAuthorities),
        (any::<[u64; 2]>(), public_key(), offence_kind()).prop_map(|([epoch, view], key, kind)| {
            StateKey::Offence(Epoch::new(epoch), key, View::new(view), kind)
        }),
        public_key().prop_map(StateKey::TrackRecord),
        public_key().prop_map(StateKey::Admissions),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = EventRecord> {
    let (name, key) = (tx_ref(), public_key());
    let event = prop_oneof![
        (name.clone(), key.clone(), change()).prop_map(|(proposal, authority, change)| Event::Proposed {
            proposal,
            authority,
            change
        }),
        (name.clone(), change()).prop_map(|(proposal, change)| Event::ProposalPassed { proposal, change }),
        (key.clone(), public_key(), any::<[u64; 2]>(), offence_kind()).prop_map(
            |(authority, reporter, [epoch, view], offence)| Event::OffenceRecorded {
                authority,
                epoch: Epoch::new(epoch),
                view: View::new(view),
                offence,
                reporter,
            }
        ),
        any::<[u64; 3]>().prop_map(|[epoch, first, last]| Event::EpochStarted {
            epoch: Epoch::new(epoch),
            first: Height::new(first),
            last: Height::new(last),
        }),
        (key.clone(), amount()).prop_map(|(payer, amount)| Event::FeePaid { payer, amount }),
        (key.clone(), roles(), option::of(public_key()), public_key()).prop_map(
            |(account, roles, withdraw_to, authority)| Event::Admitted {
                account,
                roles,
                withdraw_to,
                authority
            }
        ),
        (key.clone(), public_key())
            .prop_map(|(account, withdraw_to)| Event::Revoked { account, withdraw_to }),
        (key.clone(), roles()).prop_map(|(account, roles)| Event::RolesSet { account, roles }),
        (key.clone(), public_key(), amount()).prop_map(|(from, to, amount)| Event::Withdrawn {
            from,
            to,
            amount
        }),
        (name.clone(), key.clone(), region(), window()).prop_map(|(request, consumer, region, window)| {
            Event::Requested { request, consumer, region, window }
        }),
        (name.clone(), hash()).prop_map(|(request, commitment)| Event::Committed { request, commitment }),
        (name.clone(), key.clone(), any::<u32>(), any::<u32>(), amount()).prop_map(
            |(payment, producer, up_to, installments, amount)| Event::InstallmentsClaimed {
                payment,
                producer,
                up_to,
                installments,
                amount
            }
        ),
        (name.clone(), tx_ref(), key.clone(), public_key(), amount(), installments(), timestamp()).prop_map(
            |(channel, request, consumer, producer, price, installments, deadline)| {
                Event::ChannelOpened { channel, request, consumer, producer, price, installments, deadline }
            }
        ),
        (name, key, any::<u32>(), timestamp())
            .prop_map(|(channel, by, released, until)| Event::ChannelPosted { channel, by, released, until }),
    ];
    (option::of(tx_ref()), event).prop_map(|(transaction, event)| EventRecord { transaction, event })
}
