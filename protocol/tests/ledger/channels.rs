//! Goal: rules C. Method: one transaction for each way to break a rule; then closes, forced closes
//! and challenges by either side, and where the collateral goes.

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::event::Event;
use evchain_protocol::primitives::{Span, Timestamp, TxRef};
use evchain_protocol::state::channel::{ChannelState, CoSignedState, SignedChannelState};
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::cancel::{Cancel, CancelReason};
use evchain_protocol::transaction::channel::{
    ChallengeChannel, ChannelReason, CloseChannel, ForceCloseChannel, OpenChannel,
};
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::{Action, PayableReason, RejectReason};

use crate::chain::*;

/// The first moment that C3 allows: the window's end, the margin, the challenge period.
const DEADLINE: u64 = (120 + 10 + 5) * MINUTE;

pub(crate) fn open_with(request: TxRef, change: impl FnOnce(&mut OpenChannel)) -> Action {
    let mut open = OpenChannel {
        request,
        producer: bob().public_key(),
        count: count(10),
        challenge: Span::new(5 * MINUTE),
        deadline: at(DEADLINE),
    };
    change(&mut open);
    Action::OpenChannel(open)
}

/// Alice's channel to Bob: 1003 in 10 installments, opened at 0:04.
pub(crate) fn with_channel() -> (Chain, TxRef) {
    let (mut chain, request) = with_commitment();
    let channel = chain.act(at(4 * MINUTE), &alice(), open_with(request, |_| {}));
    (chain, channel)
}

pub(crate) fn state(chain: &Chain, signer: &KeyPair, channel: TxRef, released: u32) -> SignedChannelState {
    ChannelState { channel, released, closing: false }.sign(signer, chain.id)
}

pub(crate) fn closing(chain: &Chain, signer: &KeyPair, channel: TxRef, released: u32) -> SignedChannelState {
    ChannelState { channel, released, closing: true }.sign(signer, chain.id)
}

pub(crate) fn close(state: SignedChannelState) -> Action {
    Action::CloseChannel(CloseChannel { state })
}

pub(crate) fn force(channel: TxRef, state: Option<SignedChannelState>) -> Action {
    Action::ForceCloseChannel(ForceCloseChannel { channel, state })
}

pub(crate) fn challenge(state: SignedChannelState) -> Action {
    Action::ChallengeChannel(ChallengeChannel { state })
}

pub(crate) fn both(chain: &Chain, channel: TxRef, released: u32, closing: bool) -> CoSignedState {
    let state = ChannelState { channel, released, closing };
    let sign = |key: &KeyPair| state.sign(key, chain.id).signature;
    CoSignedState { state, consumer: sign(&alice()), producer: sign(&bob()) }
}

/// What anybody can post.
pub(crate) fn post(state: CoSignedState) -> Action {
    Action::PostState(PostState { state })
}

#[test]
fn c1_to_c4_open() {
    let (chain, request) = with_bid();
    let now = at(4 * MINUTE);
    assert_eq!(
        chain.rejected(now, &alice(), open_with(request, |_| {})),
        PayableReason::NotCommitted { request }.into()
    );
    let (mut chain, request) = with_commitment();
    let reject = |chain: &Chain, action| chain.rejected(now, &alice(), action);
    assert_eq!(
        reject(&chain, open_with(request, |o| o.count = count(11))),
        PayableReason::TooManyInstallments { count: count(11), max: count(10) }.into()
    );
    let (min, max) = (params().min_challenge, params().max_challenge);
    for challenge in [Span::new(min.get() - 1), Span::new(max.get() + 1)] {
        assert_eq!(
            reject(&chain, open_with(request, |o| o.challenge = challenge)),
            ChannelReason::ChallengePeriod { challenge, min, max }.into()
        );
    }
    let earliest = at(DEADLINE);
    let latest = at(120 * MINUTE).after(params().max_lead).unwrap();
    for deadline in [Timestamp::new(earliest.get() - 1), Timestamp::new(latest.get() + 1)] {
        assert_eq!(
            reject(&chain, open_with(request, |o| o.deadline = deadline)),
            ChannelReason::Deadline { deadline, earliest, latest }.into()
        );
    }
    let before = chain.balance(&alice());
    let channel = chain.act(now, &alice(), open_with(request, |_| {}));
    assert_eq!(chain.balance(&alice()), before - 2 - 1003);
    assert_eq!(
        chain.rejected(at(5 * MINUTE), &alice(), open_with(request, |_| {})),
        PayableReason::AlreadyPaid { request, payment: channel }.into()
    );
}

#[test]
fn c5_c6_which_states_count() {
    let (chain, channel) = with_channel();
    let now = at(70 * MINUTE);
    let by_alice = |released| state(&chain, &alice(), channel, released);
    let absent = state(&chain, &alice(), TxRef::MAX, 4);
    assert_eq!(
        chain.rejected(now, &bob(), close(absent)),
        ChannelReason::NoChannel { channel: TxRef::MAX }.into()
    );
    assert_eq!(
        chain.rejected(now, &carol(), close(by_alice(4))),
        ChannelReason::NotParty { channel, sender: carol().public_key() }.into()
    );
    let due = at(DEADLINE);
    assert_eq!(
        chain.rejected(due, &bob(), close(by_alice(4))),
        ChannelReason::Ended { channel, due, now: due }.into()
    );
    assert_eq!(
        chain.rejected(now, &bob(), force(channel, Some(absent))),
        ChannelReason::OtherChannel { given: TxRef::MAX, channel }.into()
    );
    for released in [0, 11] {
        assert_eq!(
            chain.rejected(now, &bob(), close(by_alice(released))),
            ChannelReason::ReleasedOutOfRange { released, count: count(10) }.into()
        );
    }
    // The sender's own signature, one for another number, one for another chain.
    let signer = alice().public_key();
    let own = state(&chain, &bob(), channel, 4);
    let mut raised = by_alice(4);
    raised.state.released = 5;
    let mut made_closing = by_alice(4);
    made_closing.state.closing = true;
    let elsewhere = evchain_protocol::crypto::ChainId(evchain_protocol::crypto::Hash::ZERO);
    let foreign = ChannelState { channel, released: 4, closing: false }.sign(&alice(), elsewhere);
    for bad in [own, raised, made_closing, foreign] {
        for action in [close(bad), force(channel, Some(bad)), challenge(bad)] {
            assert_eq!(chain.rejected(now, &bob(), action), ChannelReason::NotCoSigned { signer }.into());
        }
    }
}

#[test]
fn c7_the_payee_closes_by_any_state_and_the_payer_by_a_closing_one() {
    let (chain, channel) = with_channel();
    let now = at(70 * MINUTE);
    assert_eq!(
        chain.rejected(now, &alice(), close(state(&chain, &bob(), channel, 4))),
        ChannelReason::NotClosing.into()
    );
    for (who, state) in
        [(bob(), state(&chain, &alice(), channel, 4)), (alice(), closing(&chain, &bob(), channel, 4))]
    {
        let mut closed = chain.clone();
        let before = (closed.balance(&alice()), closed.balance(&bob()));
        closed.act(now, &who, close(state));
        let fees = if who.public_key() == bob().public_key() { (0, 2) } else { (2, 0) };
        // floor(4 * 1003 / 10) = 401
        assert_eq!(closed.balance(&bob()), before.1 - fees.1 + 401);
        assert_eq!(closed.balance(&alice()), before.0 - fees.0 + 602);
        assert_eq!(closed.state.channel(channel).unwrap(), None);
        assert_eq!(closed.state.due(Timestamp::MAX, 9).unwrap().len(), 1, "only the request is due");
    }
}

#[test]
fn c8_c9_c10_a_newer_state_wins_a_forced_close() {
    let (mut chain, channel) = with_channel();
    let posted_at = at(70 * MINUTE);
    let until = at(75 * MINUTE);
    let by_alice = |chain: &Chain, released| state(chain, &alice(), channel, released);
    assert_eq!(
        chain.rejected(posted_at, &bob(), challenge(by_alice(&chain, 5))),
        ChannelReason::NothingPosted { channel }.into()
    );
    // Alice posts the initial state though she has released 6.
    chain.act(posted_at, &alice(), force(channel, None));
    let now = at(71 * MINUTE);
    assert_eq!(
        chain.rejected(now, &alice(), force(channel, None)),
        ChannelReason::AlreadyPosted { until }.into()
    );
    assert_eq!(
        chain.rejected(now, &bob(), challenge(by_alice(&chain, 1))),
        ChannelReason::NotNewer { released: 1, posted: 1 }.into()
    );
    chain.act(now, &bob(), challenge(by_alice(&chain, 5)));
    let before = chain.balance(&bob());
    // C7 against a posted state.
    assert_eq!(
        chain.rejected(at(72 * MINUTE), &alice(), close(closing(&chain, &bob(), channel, 4))),
        ChannelReason::OlderThanPosted { released: 4, posted: 5 }.into()
    );
    let mut agreed = chain.clone();
    agreed.act(at(72 * MINUTE), &bob(), close(by_alice(&chain, 5)));
    assert_eq!(agreed.balance(&bob()), before - 2 + 501);

    chain.act(at(72 * MINUTE), &bob(), challenge(by_alice(&chain, 6)));
    assert_eq!(
        chain.rejected(until, &bob(), challenge(by_alice(&chain, 7))),
        ChannelReason::Ended { channel, due: until, now: until }.into()
    );
    assert_eq!(chain.pass(Timestamp::new(until.get() - 1)), []);
    // The challenges did not move the end.
    assert!(matches!(
        chain.pass(until).as_slice(),
        [Event::ChannelClosed { released: 6, to_producer, .. }] if *to_producer == money(601)
    ));
    assert_eq!(chain.balance(&bob()), before - 2 + 601);
}

#[test]
fn c10_without_any_close_the_deposit_goes_to_the_producer() {
    let (mut chain, channel) = with_channel();
    chain.pass(at(DEADLINE - 1));
    let before = chain.balance(&bob());
    assert!(matches!(chain.pass(at(DEADLINE)).as_slice(), [Event::ChannelClosed { released: 1, .. }]));
    assert_eq!(chain.balance(&bob()), before + 100);
    assert_eq!(chain.state.channel(channel).unwrap(), None);
}

#[test]
fn c10_a_forced_close_before_the_deadline_keeps_its_challenge_period() {
    let (mut chain, channel) = with_channel();
    chain.act(at(DEADLINE - 1), &bob(), force(channel, Some(state(&chain, &alice(), channel, 9))));
    assert_eq!(chain.pass(at(DEADLINE)), []);
    let end = DEADLINE - 1 + 5 * MINUTE;
    assert_eq!(chain.pass(at(end - 1)), []);
    assert!(matches!(chain.pass(at(end)).as_slice(), [Event::ChannelClosed { released: 9, .. }]));
}

#[test]
fn c11_cancel() {
    let (chain, channel) = with_channel();
    let cancel = || Action::Cancel(Cancel::Channel(channel));
    assert_eq!(
        chain.rejected(at(5 * MINUTE), &bob(), cancel()),
        CancelReason::NotPayer { payer: alice().public_key() }.into()
    );
    assert_eq!(
        chain.rejected(at(5 * MINUTE), &alice(), Action::Cancel(Cancel::Channel(TxRef::MAX))),
        CancelReason::NoChannel { channel: TxRef::MAX }.into()
    );
    let cancel_by = a_bid().cancel_by;
    assert_eq!(
        chain.rejected(cancel_by, &alice(), cancel()),
        CancelReason::TooLate { cancel_by, now: cancel_by }.into()
    );
    let mut posted = chain.clone();
    posted.act(at(5 * MINUTE), &bob(), force(channel, None));
    assert_eq!(posted.rejected(at(6 * MINUTE), &alice(), cancel()), CancelReason::Posted { channel }.into());
    let mut cancelled = chain.clone();
    let before = cancelled.balance(&alice());
    cancelled.act(at(50 * MINUTE - 1), &alice(), cancel());
    assert_eq!(cancelled.balance(&alice()), before - 2 + 1003);
    assert_eq!(cancelled.state.due(Timestamp::MAX, 9).unwrap().len(), 1, "only the request is due");
}

#[test]
fn c12_anybody_posts_what_both_signed() {
    let (chain, channel) = with_channel();
    let now = at(70 * MINUTE);
    for (who, closing) in [(carol(), false), (carol(), true), (alice(), false), (bob(), false)] {
        let mut posted = chain.clone();
        let before = [carol(), alice(), bob()].map(|key| posted.balance(&key));
        posted.act(now, &who, post(both(&chain, channel, 4, closing)));
        // As C8: the period runs, and nobody was paid yet.
        let until = at(75 * MINUTE);
        let found = posted.state.channel(channel).unwrap().unwrap().posted.unwrap();
        assert_eq!((found.released, found.until), (4, until));
        // As C9: what is newer replaces it, and the end stays.
        posted.act(at(71 * MINUTE), &who, post(both(&chain, channel, 5, closing)));
        assert!(posted.events.iter().any(|record| matches!(
            record.event,
            Event::ChannelPosted { by, released: 5, until: end, .. } if by == who.public_key() && end == until
        )));
        posted.pass(until);
        let paid = [carol(), alice(), bob()].map(|key| posted.balance(&key));
        // The sender's is the fee and nothing else: floor(5 * 1003 / 10) = 501 are Bob's.
        let fee = |key: &KeyPair| if key.public_key() == who.public_key() { 4 } else { 0 };
        assert_eq!(paid[0], before[0] - fee(&carol()));
        assert_eq!(paid[1], before[1] - fee(&alice()) + 502);
        assert_eq!(paid[2], before[2] - fee(&bob()) + 501);
    }
}

#[test]
fn c12_replaces_and_is_replaced_as_by_the_two() {
    let (mut chain, channel) = with_channel();
    let until = at(75 * MINUTE);
    chain.act(at(70 * MINUTE), &alice(), force(channel, None));
    chain.act(at(71 * MINUTE), &carol(), post(both(&chain, channel, 5, false)));
    let now = at(72 * MINUTE);
    for released in [1, 5] {
        assert_eq!(
            chain.rejected(now, &carol(), post(both(&chain, channel, released, true))),
            ChannelReason::NotNewer { released, posted: 5 }.into()
        );
    }
    let newer = state(&chain, &alice(), channel, 6);
    chain.act(at(72 * MINUTE), &bob(), challenge(newer));
    // The payee needs nobody's period.
    let mut closed = chain.clone();
    closed.act(at(73 * MINUTE), &bob(), close(newer));
    assert_eq!(closed.state.channel(channel).unwrap(), None);
    assert_eq!(
        chain.rejected(until, &carol(), post(both(&chain, channel, 7, false))),
        ChannelReason::Ended { channel, due: until, now: until }.into()
    );
    assert!(matches!(chain.pass(until).as_slice(), [Event::ChannelClosed { released: 6, .. }]));
}

#[test]
fn c12_what_others_cannot_do() {
    let (chain, channel) = with_channel();
    let now = at(70 * MINUTE);
    let good = both(&chain, channel, 4, false);
    let reject = |action| chain.rejected(now, &carol(), action);
    // A third party never closes at once or by one signature, whatever was signed.
    let agreed = closing(&chain, &alice(), channel, 4);
    for action in [close(agreed), force(channel, Some(agreed)), force(channel, None), challenge(agreed)] {
        assert_eq!(reject(action), ChannelReason::NotParty { channel, sender: carol().public_key() }.into());
    }
    assert_eq!(
        reject(post(both(&chain, TxRef::MAX, 4, false))),
        ChannelReason::NoChannel { channel: TxRef::MAX }.into()
    );
    for released in [0, 11] {
        assert_eq!(
            reject(post(both(&chain, channel, released, false))),
            ChannelReason::ReleasedOutOfRange { released, count: count(10) }.into()
        );
    }
    // A side's signature that is another's, for another number, or for a state that closes.
    let by_carol = state(&chain, &carol(), channel, 4).signature;
    let [older, closing] = [both(&chain, channel, 3, false), both(&chain, channel, 4, true)];
    for forged in [by_carol, good.producer, older.consumer, closing.consumer] {
        let bad = CoSignedState { consumer: forged, ..good };
        let signer = alice().public_key();
        assert_eq!(reject(post(bad)), ChannelReason::NotCoSigned { signer }.into());
    }
    for forged in [by_carol, good.consumer, older.producer, closing.producer] {
        let bad = CoSignedState { producer: forged, ..good };
        let signer = bob().public_key();
        assert_eq!(reject(post(bad)), ChannelReason::NotCoSigned { signer }.into());
        // Nor do the two post it so themselves.
        assert_eq!(chain.rejected(now, &alice(), post(bad)), ChannelReason::NotCoSigned { signer }.into());
    }
    // Who has no account pays no fee, and cannot act.
    assert!(matches!(chain.rejected(now, &dave(), post(good)), RejectReason::NoAccount { .. }));
}

#[test]
fn g4_a_revoked_tower_answers_for_those_it_guards() {
    let (mut chain, channel) = with_channel();
    chain.act(chain.next(), &authority(), chain.revocation(carol().public_key()));
    chain.act(at(70 * MINUTE), &alice(), force(channel, None));
    chain.act(at(71 * MINUTE), &carol(), post(both(&chain, channel, 6, false)));
    assert!(matches!(chain.pass(at(75 * MINUTE)).as_slice(), [Event::ChannelClosed { released: 6, .. }]));
}

#[test]
fn g4_the_revoked_settle_their_channels() {
    let (mut chain, channel) = with_channel();
    for participant in [alice().public_key(), bob().public_key()] {
        chain.act(chain.next(), &authority(), chain.revocation(participant));
    }
    chain.act(at(70 * MINUTE), &alice(), force(channel, None));
    let newer = state(&chain, &alice(), channel, 3);
    chain.act(at(71 * MINUTE), &bob(), challenge(newer));
    chain.act(at(72 * MINUTE), &bob(), close(newer));
    assert_eq!(chain.state.channel(channel).unwrap(), None);
}
