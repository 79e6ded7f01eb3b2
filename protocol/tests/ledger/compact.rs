//! Goal: requests, bids and commitments are short, and say exactly what was meant or nothing.
//! Method: sizes are pinned; each field is put just inside and just outside of what its bytes can say;
//! terms at random either come back as they were or are refused, and so does every 16-byte string.

use evchain_protocol::codec::{Encode, decode, encode, encoded_len};
use evchain_protocol::compact::{NotCompact, TICK};
use evchain_protocol::crypto::Hash;
use evchain_protocol::primitives::{Energy, Nonce, RegionId, Span, Timestamp, TxRef, Window};
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode};
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::request::{PlaceRequest, RequestTerms};
use evchain_protocol::transaction::{Action, Transaction};
use proptest::prelude::*;

use crate::chain::*;

const DAY: u64 = 24 * 60 * MINUTE;

/// P18 Table 2 counts 8, 38 and 16 bytes, without sender, nonce, kind and signature: 105 here.
#[test]
fn what_is_sent_most_is_short() {
    let signed = |action| {
        let sender = alice().public_key();
        let transaction = Transaction { sender, nonce: Nonce::MAX, action };
        transaction.sign(&alice(), Chain::new().id).to_bytes().len()
    };
    let sizes = |payload: usize, action| (payload, signed(action));
    let request = asked(|_| {}).unwrap();
    assert_eq!(sizes(encoded_len(&request), Action::PlaceRequest(request)), (16, 121));
    let bid = PlaceBid::new(TxRef::MAX, station_bid()).unwrap();
    assert_eq!(sizes(encoded_len(&bid), Action::PlaceBid(bid)), (23, 128));
    let commit = Commit { commitment: Hash::ZERO };
    assert_eq!(sizes(encoded_len(&commit), Action::Commit(commit)), (32, 137));
}

#[test]
fn requests_say_exactly_what_is_asked_for_or_nothing() {
    assert_eq!(asked(|_| {}).unwrap().terms(), a_request());

    let length = "the window's length in ms";
    let lead = "the time from the bid deadline to the window's start in ms";
    let between = |what, ms| Err(NotCompact::BetweenTicks { what, ms });
    assert_eq!(asked(|r| r.window.end = at(120 * MINUTE + 99)), between(length, 60 * MINUTE + 99));
    assert_eq!(asked(|r| r.bid_deadline = at(30 * MINUTE - 1)), between(lead, 30 * MINUTE + 1));
    let shifted = |r: &mut RequestTerms| {
        r.window = Window { start: at(60 * MINUTE + 1), end: at(120 * MINUTE + 1) };
        r.bid_deadline = at(30 * MINUTE + 1);
    };
    assert_eq!(asked(shifted), between("the window's start in ms", at(60 * MINUTE + 1).get()));

    // Not an empty window, nor bids until the start.
    assert_eq!(asked(|r| r.window.end = at(59 * MINUTE)), Err(NotCompact::BelowZero { what: length }));
    assert_eq!(asked(|r| r.bid_deadline = at(61 * MINUTE)), Err(NotCompact::BelowZero { what: lead }));

    let large = asked(|r| r.energy = Energy::new(1 << 24)).unwrap_err();
    assert_eq!(large.to_string(), "the energy in Wh is 16777216, and at most 16777215 can be sent");
    assert!(asked(|r| r.energy = Energy::new((1 << 24) - 1)).is_ok());
    let too_large = |what, ticks: u64, max: u64| {
        Err(NotCompact::TooLarge { what, value: ticks * TICK.get(), max: max * TICK.get() })
    };
    let with_length =
        |ticks: u64| asked(|r| r.window.end = r.window.start.after(Span::new(ticks * TICK.get())).unwrap());
    assert!(with_length((1 << 24) - 1).is_ok());
    assert_eq!(with_length(1 << 24), too_large(length, 1 << 24, (1 << 24) - 1));
    for mode in [BiddingMode::FirstOnly, BiddingMode::Updates] {
        let with_lead = |ticks: u64| {
            asked(|r| {
                r.mode = mode;
                r.window = Window { start: at(30 * DAY), end: at(31 * DAY) };
                r.bid_deadline = r.window.start.before(Span::new(ticks * TICK.get()));
            })
        };
        assert_eq!(with_lead((1 << 23) - 1).unwrap().terms().mode, mode);
        assert_eq!(with_lead(1 << 23), too_large(lead, 1 << 23, (1 << 23) - 1));
    }
}

#[test]
fn bids_say_exactly_what_is_offered_or_nothing() {
    let bid = |change: fn(&mut Bid)| {
        let mut bid = station_bid();
        change(&mut bid);
        PlaceBid::new(TxRef::MAX, bid)
    };
    assert_eq!(bid(|_| {}).unwrap().bid(), station_bid());
    let most = (1 << 48) - 1;
    assert_eq!(bid(|b| b.price = money((1 << 48) - 1)).unwrap().bid().price, money(most));
    let what = "the price in EUR 0.0001";
    assert_eq!(
        bid(|b| b.price = money(1 << 48)),
        Err(NotCompact::TooLarge { what, value: most + 1, max: most })
    );
    let what = "the moment until which it can be cancelled in ms";
    assert_eq!(bid(|b| b.cancel_by = at(1)), Err(NotCompact::BetweenTicks { what, ms: at(1).get() }));
    let max = ((1 << 40) - 1) * TICK.get();
    let value = max + TICK.get();
    assert_eq!(
        PlaceBid::new(TxRef::MAX, Bid { cancel_by: Timestamp::new(value), ..station_bid() }),
        Err(NotCompact::TooLarge { what, value, max })
    );
}

/// Two requests would have the same terms otherwise.
#[test]
fn a_bid_deadline_before_the_epoch_does_not_decode() {
    let bytes = |start: u8, lead: u8| [1, 0, start, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, lead, 0, 0];
    let deadline = decode::<PlaceRequest>(&bytes(7, 7), 16).map(|request| request.terms().bid_deadline);
    assert_eq!(deadline, Ok(Timestamp::ZERO));
    assert!(decode::<PlaceRequest>(&bytes(7, 8), 16).is_err());
}

#[test]
fn a_window_on_ticks_lies_within_the_window() {
    let window = |start, end| Window { start: Timestamp::new(start), end: Timestamp::new(end) };
    for (given, narrowed) in [
        (window(1_000, 2_000), window(1_000, 2_000)),
        (window(1_001, 2_099), window(1_100, 2_000)),
        (window(1_099, 2_001), window(1_100, 2_000)),
        (window(u64::MAX, u64::MAX), window(u64::MAX - 15, u64::MAX - 15)),
    ] {
        assert_eq!(given.on_ticks(), narrowed, "{given:?}");
    }
}

fn asked(change: impl FnOnce(&mut RequestTerms)) -> Result<PlaceRequest, NotCompact> {
    let mut terms = a_request();
    change(&mut terms);
    PlaceRequest::try_from(terms)
}

fn station_bid() -> Bid {
    Bid { position: BidPosition::Station, ..a_bid() }
}

/// Values around everything that the short fields can say, on ticks more often than not.
fn any_number() -> impl Strategy<Value = u64> + Clone {
    (any::<u64>(), 16..=64u32, 0..8u8).prop_map(|(bits, shift, kind)| {
        let number = bits.checked_shr(shift).unwrap_or(0);
        if kind == 0 { number } else { number / TICK.get() * TICK.get() }
    })
}

/// Terms of which about one in five can be said.
fn any_terms() -> impl Strategy<Value = RequestTerms> {
    (any::<u16>(), any_number(), any_number(), any_number(), any_number(), 0..8u8, any::<bool>()).prop_map(
        |(region, start, length, lead, energy, forward, updates)| {
            let start = Timestamp::new(start);
            let (after, before) = (start.saturating_after(Span::new(length)), start.before(Span::new(lead)));
            let (end, bid_deadline) = if forward > 0 { (after, before) } else { (before, after) };
            let mode = if updates { BiddingMode::Updates } else { BiddingMode::FirstOnly };
            let (region, window) = (RegionId::new(region), Window { start, end });
            RequestTerms { region, window, energy: Energy::new(energy), mode, bid_deadline }
        },
    )
}

fn one_encoding<T: Encode>(value: &T, bytes: &[u8]) {
    assert_eq!(encode(value), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn terms_are_kept_or_refused(terms in any_terms()) {
        if let Ok(request) = PlaceRequest::try_from(terms.clone()) {
            prop_assert_eq!(request.terms(), terms);
        }
    }

    #[test]
    fn every_request_has_terms_and_one_encoding(bytes in any::<[u8; 16]>()) {
        if let Ok(request) = decode::<PlaceRequest>(&bytes, 16) {
            one_encoding(&request, &bytes);
            prop_assert_eq!(PlaceRequest::try_from(request.terms()), Ok(request));
        }
    }
}
