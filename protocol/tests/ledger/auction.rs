//! Goal: rules B. Method: one transaction for each way to break a rule, on a chain where everything
//! else about it is right, at the moments just before and at each deadline.

use evchain_protocol::compact::TICK;
use evchain_protocol::crypto::{Hash, KeyPair};
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Amount, Energy, Position, RegionId, Span, Timestamp, TxRef, Window};
use evchain_protocol::state::account::Roles;
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode, PaymentKinds, Place};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::bid::{BidReason, PlaceBid};
use evchain_protocol::transaction::commitment::{Commit, CommitmentReason};
use evchain_protocol::transaction::participant::Admit;
use evchain_protocol::transaction::request::{RequestReason, RequestTerms};
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::{Action, RejectReason};

use crate::chain::*;

const DAY: u64 = 24 * 60 * MINUTE;

fn request_with(change: impl FnOnce(&mut RequestTerms)) -> Action {
    let mut request = a_request();
    change(&mut request);
    Action::PlaceRequest(request.try_into().unwrap())
}

fn bid_with(request: TxRef, change: impl FnOnce(&mut Bid)) -> Action {
    let mut bid = a_bid();
    change(&mut bid);
    Action::PlaceBid(PlaceBid::new(request, bid).unwrap())
}

fn admit_producer(chain: &mut Chain, time: Timestamp, producer: &KeyPair) {
    let admit = Admit { participant: producer.public_key(), roles: Roles::PRODUCER, withdraw_to: None };
    chain.act(time, &authority(), Action::Admit(admit));
    chain.act(
        Timestamp::new(time.get() + 1),
        &carol(),
        Action::Transfer(evchain_protocol::transaction::transfer::Transfer {
            to: producer.public_key(),
            amount: money(100),
        }),
    );
}

#[test]
fn b1_to_b3_request() {
    let chain = Chain::new();
    let now = at(MINUTE);
    let reject = |action| chain.rejected(now, &alice(), action);
    let Window { start, end } = a_request().window;
    let params = params();

    assert_eq!(
        chain.rejected(now, &bob(), request_with(|_| {})),
        RequestReason::NotConsumer { sender: bob().public_key() }.into()
    );
    assert_eq!(reject(request_with(|r| r.region = RegionId::ZERO)), RequestReason::NoRegion.into());
    assert_eq!(reject(request_with(|r| r.energy = Energy::ZERO)), RequestReason::NoEnergy.into());
    assert_eq!(
        reject(request_with(|r| r.window.end = start)),
        RequestReason::EmptyWindow { start, end: start }.into()
    );
    assert_eq!(
        reject(request_with(|r| r.bid_deadline = start)),
        RequestReason::DeadlineAfterStart { deadline: start, start }.into()
    );
    let length = Span::new(params.max_window.get() + TICK.get());
    assert_eq!(
        reject(request_with(|r| r.window.end = start.after(length).unwrap())),
        RequestReason::WindowTooLong { length, max: params.max_window }.into()
    );
    assert_eq!(
        reject(request_with(|r| r.bid_deadline = now)),
        RequestReason::DeadlinePassed { deadline: now, now }.into()
    );
    let latest = now.after(params.max_lead).unwrap();
    let late = latest.after(TICK).unwrap();
    assert_eq!(
        reject(request_with(|r| {
            r.window = Window { start: late, end: late.after(TICK).unwrap() };
            r.bid_deadline = late.before(Span::new(DAY));
        })),
        RequestReason::TooFarAhead { start: late, latest }.into()
    );
    // The farthest and longest that is allowed.
    let mut longest = chain.clone();
    longest.act(
        now,
        &alice(),
        request_with(|r| {
            r.window = Window { start: latest, end: latest.after(params.max_window).unwrap() };
            r.bid_deadline = latest.before(Span::new(DAY));
        }),
    );
    assert!(start < end);
}

#[test]
fn b1_open_requests_are_counted_until_their_end() {
    let mut chain = Chain::new();
    for minute in [1, 2] {
        let request = chain.act(at(minute * MINUTE), &alice(), request_with(|_| {}));
        assert_eq!(
            chain.rejected(at(minute * MINUTE + 1), &alice(), request_with(|_| {})),
            RequestReason::Undecided { request }.into()
        );
        chain.act(at(minute * MINUTE + 1), &bob(), bid_with(request, |_| {}));
        let commitment = Hash::from_bytes([9; 32]);
        chain.act(at(minute * MINUTE + 2), &alice(), Action::Commit(Commit { commitment }));
    }
    assert_eq!(
        chain.rejected(at(3 * MINUTE), &alice(), request_with(|_| {})),
        RequestReason::TooManyOpen { open: 2, max: 2 }.into()
    );
    chain.pass(at(120 * MINUTE));
    assert_eq!(chain.account(&alice()).open_requests, 0);
    let later = |r: &mut RequestTerms| {
        r.bid_deadline = at(130 * MINUTE);
        r.window = Window { start: at(140 * MINUTE), end: at(150 * MINUTE) };
    };
    chain.act(at(121 * MINUTE), &alice(), request_with(later));
}

/// A key waits with its next request as long as a commitment could mean the last one, and no longer.
#[test]
fn b1_a_request_that_cannot_be_decided_is_in_nobodys_way() {
    let another = || {
        request_with(|r| {
            r.bid_deadline = at(70 * MINUTE);
            r.window = Window { start: at(80 * MINUTE), end: at(90 * MINUTE) };
        })
    };
    let (deadline, start) = (a_request().bid_deadline, a_request().window.start);
    let a_moment = Span::new(1);

    // Nobody has bid, and nobody can any more.
    let (mut chain, request) = with_request();
    let undecided = RejectReason::from(RequestReason::Undecided { request });
    assert_eq!(chain.rejected(deadline.before(a_moment), &alice(), another()), undecided);
    let second = chain.act(deadline, &alice(), another());
    assert_eq!(chain.account(&alice()).newest_request, Some(second));

    // There is a bid, so it can be decided until its window starts.
    let (mut chain, request) = with_bid();
    let undecided = RejectReason::from(RequestReason::Undecided { request });
    assert_eq!(chain.rejected(deadline, &alice(), another()), undecided);
    assert_eq!(chain.rejected(start.before(a_moment), &alice(), another()), undecided);
    chain.act(start, &alice(), another());
}

#[test]
fn b9_a_commitment_decides_the_newest_request() {
    let (mut chain, first) = with_commitment();
    let second = chain.act(at(4 * MINUTE), &alice(), request_with(|_| {}));
    chain.act(at(5 * MINUTE), &bob(), bid_with(second, |_| {}));
    let commitment = Hash::from_bytes([8; 32]);
    chain.act(at(6 * MINUTE), &alice(), Action::Commit(Commit { commitment }));
    let decided = |name| chain.state.request(name).unwrap().unwrap().commitment;
    assert_eq!(decided(first), Some(Hash::from_bytes([9; 32])));
    assert_eq!(decided(second), Some(commitment));
    assert_eq!(chain.account(&alice()).newest_request, Some(second));
    chain.pass(at(120 * MINUTE));
    assert_eq!(chain.account(&alice()).newest_request, None);
    let sender = alice().public_key();
    assert_eq!(
        chain.rejected(at(121 * MINUTE), &alice(), Action::Commit(Commit { commitment })),
        CommitmentReason::NoRequest { sender }.into()
    );
}

#[test]
fn b4_to_b7_bid() {
    let (mut chain, request) = with_request();
    let now = at(2 * MINUTE);
    let start = a_request().window.start;
    let reject = |chain: &Chain, action| chain.rejected(now, &bob(), action);

    assert_eq!(
        chain.rejected(now, &alice(), bid_with(request, |_| {})),
        BidReason::NotProducer { sender: alice().public_key() }.into()
    );
    let absent = TxRef::MAX;
    assert_eq!(reject(&chain, bid_with(absent, |_| {})), BidReason::NoRequest { request: absent }.into());
    assert_eq!(reject(&chain, bid_with(request, |b| b.price = Amount::ZERO)), BidReason::ZeroPrice.into());
    assert_eq!(
        reject(&chain, bid_with(request, |b| b.kinds = PaymentKinds::NONE)),
        BidReason::NoPaymentKind.into()
    );
    assert_eq!(
        reject(&chain, bid_with(request, |b| b.max_installments = count(101))),
        BidReason::TooManyInstallments { offered: count(101), max: count(100) }.into()
    );
    let cancel_by = start.after(TICK).unwrap();
    assert_eq!(
        reject(&chain, bid_with(request, |b| b.cancel_by = cancel_by)),
        BidReason::CancelAfterStart { cancel_by, start }.into()
    );
    let position = Position { latitude_e7: 0, longitude_e7: 1_800_000_001 };
    let place = Place { position, contact: a_station().contact };
    assert_eq!(
        reject(&chain, bid_with(request, |b| b.position = BidPosition::Public(place))),
        BidReason::OffTheGlobe { position }.into()
    );
    let at_station = || bid_with(request, |b| b.position = BidPosition::Station);
    assert_eq!(reject(&chain, at_station()), BidReason::NoStation { sender: bob().public_key() }.into());
    let mut elsewhere = a_station();
    elsewhere.region = RegionId::new(1);
    chain.act(at(MINUTE + 1), &bob(), Action::RecordStation(RecordStation { station: elsewhere }));
    assert_eq!(
        reject(&chain, at_station()),
        BidReason::StationElsewhere { station: RegionId::new(1), request: RegionId::new(244) }.into()
    );
    chain.act(at(MINUTE + 2), &bob(), Action::RecordStation(RecordStation { station: a_station() }));
    // The last moment, and the deadline itself.
    let mut in_time = chain.clone();
    let deadline = a_request().bid_deadline;
    assert_eq!(
        chain.rejected(deadline, &bob(), at_station()),
        BidReason::DeadlinePassed { deadline, now: deadline }.into()
    );
    in_time.act(Timestamp::new(deadline.get() - 1), &bob(), at_station());
}

#[test]
fn b4_nobody_bids_for_an_own_request() {
    let mut chain = Chain::new();
    let request = chain.act(at(MINUTE), &carol(), request_with(|_| {}));
    assert_eq!(
        chain.rejected(at(2 * MINUTE), &carol(), bid_with(request, |_| {})),
        BidReason::OwnRequest { request }.into()
    );
}

#[test]
fn b8_updates_lower_the_price_and_bidders_are_limited() {
    let (mut chain, request) = with_bid();
    let now = at(4 * MINUTE);
    for price in [1003, 1004] {
        assert_eq!(
            chain.rejected(now, &bob(), bid_with(request, |b| b.price = money(price))),
            BidReason::NotLower { price: money(price), earlier: money(1003) }.into()
        );
    }
    chain.act(at(3 * MINUTE), &bob(), bid_with(request, |b| b.price = money(1002)));
    let bid = chain.state.bid(request, &bob().public_key()).unwrap().unwrap();
    assert_eq!(bid.price, money(1002));
    chain.act(now, &carol(), bid_with(request, |_| {}));
    assert_eq!(chain.state.request(request).unwrap().unwrap().bids, 2);

    admit_producer(&mut chain, at(5 * MINUTE), &dave());
    assert_eq!(
        chain.rejected(at(6 * MINUTE), &dave(), bid_with(request, |_| {})),
        BidReason::TooManyBids { max: 2 }.into()
    );
    // An update does not count as another bidder.
    chain.act(at(6 * MINUTE), &bob(), bid_with(request, |b| b.price = money(1001)));
}

#[test]
fn b8_first_bid_only() {
    let mut chain = Chain::new();
    let request = chain.act(at(MINUTE), &alice(), request_with(|r| r.mode = BiddingMode::FirstOnly));
    chain.act(at(2 * MINUTE), &bob(), bid_with(request, |_| {}));
    assert_eq!(
        chain.rejected(at(3 * MINUTE), &bob(), bid_with(request, |b| b.price = money(1))),
        BidReason::NoUpdates { request }.into()
    );
}

#[test]
fn b9_commitment() {
    let (mut chain, request) = with_request();
    let commit = || Action::Commit(Commit { commitment: Hash::from_bytes([9; 32]) });
    let reject = |chain: &Chain, who: &KeyPair, minute| -> RejectReason {
        chain.rejected(at(minute * MINUTE), who, commit())
    };
    let sender = carol().public_key();
    assert_eq!(reject(&chain, &carol(), 2), CommitmentReason::NoRequest { sender }.into());
    assert_eq!(reject(&chain, &alice(), 2), CommitmentReason::NoBids { request }.into());
    chain.act(at(2 * MINUTE), &bob(), bid_with(request, |_| {}));
    let start = a_request().window.start;
    assert_eq!(reject(&chain, &alice(), 60), CommitmentReason::TooLate { start, now: start }.into());
    chain.act(at(3 * MINUTE), &alice(), commit());
    assert_eq!(reject(&chain, &alice(), 4), CommitmentReason::AlreadyCommitted { request }.into());
    // B5: the bidding is over.
    assert_eq!(
        chain.rejected(at(4 * MINUTE), &carol(), bid_with(request, |_| {})),
        BidReason::Committed { request }.into()
    );
}

#[test]
fn b10_everything_leaves_at_the_end_of_the_window() {
    let (mut chain, request) = with_commitment();
    let end = a_request().window.end;
    assert_eq!(chain.pass(Timestamp::new(end.get() - 1)), []);
    assert!(chain.state.request(request).unwrap().is_some());
    assert_eq!(chain.pass(end), [Event::RequestEnded { request, bids: 1 }]);
    assert_eq!(chain.state.request(request).unwrap(), None);
    assert_eq!(chain.state.range(StateKey::bids_of(request), 10).unwrap(), []);
    assert_eq!(chain.state.due(Timestamp::MAX, 10).unwrap(), []);
}
