//! Goal: the newest state that both signed is what a channel pays out, whoever posts an older one,
//! when, and for how long the other side sleeps within the challenge period (C5-C10, E4, E6, P17, C18).
//!
//! Method: at each installment of a session the consumer force-closes behind the producer's back with
//! each state that it ever held; the producer is up, or down until a minute before the period ends.
//! Then, on the ledger alone, every sequence of three posts by either side.

use evchain_protocol::crypto::KeyPair;
use evchain_protocol::primitives::{Span, Timestamp, TxRef};
use evchain_protocol::session::{ConsumerRecord, PaymentKind, ProducerRecord, Settlement};
use evchain_protocol::state::channel::{ChannelState, SignedChannelState};
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::channel::{ChallengeChannel, ForceCloseChannel};

use crate::bank::Side;
use crate::chain::Chain;
use crate::deal::{CHALLENGE, Deal, START, Shape};
use crate::world::{World, at_start};

/// A session over a channel of so many installments, stopped at an energy.
pub fn stopped_at(deal: &Deal, at: u64) -> World {
    let mut world = at_start(deal.clone());
    world.run_until(|world| world.flowed >= at);
    world
}

/// What the consumer can post: the initial state, and each that the producer signed.
pub fn held(world: &World) -> Vec<Option<SignedChannelState>> {
    let signed = world.consumer_disk.iter().filter_map(|record| match record {
        ConsumerRecord::Delivered(record) => Some(record.state),
        _ => None,
    });
    std::iter::once(None).chain(signed).collect()
}

pub fn released(world: &World) -> usize {
    let last = world.producer_disk.iter().filter(|it| matches!(it, ProducerRecord::Released(_)));
    last.count() + 1
}

#[test]
fn an_older_state_never_wins_while_the_producer_wakes_within_the_challenge_period() {
    for count in [1, 2, 10, 100] {
        let deal = Deal::new(Shape::new(PaymentKind::Channel, count));
        let moments: Vec<u64> = match count {
            100 => vec![50, 150, 5_050, 9_850, 9_950],
            _ => (0..count).map(|k| 10_000 / u64::from(count) * u64::from(k) + 50).collect(),
        };
        for at in moments {
            let states = held(&stopped_at(&deal, at));
            let some = |place: usize| {
                states.len() <= 11 || place < 2 || place.is_multiple_of(33) || place + 2 >= states.len()
            };
            for (place, state) in states.iter().enumerate().filter(|(place, _)| some(*place)) {
                for sleeps in [None, Some(Span::new(CHALLENGE.get() - 60_000))] {
                    let mut world = stopped_at(&deal, at);
                    if let Some(down) = sleeps {
                        world.kill(Side::Producer, usize::MAX, down);
                    }
                    let newest = released(&world);
                    world.bring(Side::Consumer, Settlement::ForceClose(*state));
                    world.run();
                    let what = format!("N = {count}, state {place} posted at {at} Wh, sleeps {sleeps:?}");
                    world.assert_risk_bounds(&what);
                    assert_eq!(world.bank.posted_by, Some(deal.consumer.public_key()), "{what}");
                    assert_eq!(world.bank.paid.len(), newest, "{what}: the newest state wins");
                }
            }
        }
    }
}

/// The producer gains nothing by an old state either, and the consumer does not need to answer it.
#[test]
fn an_older_state_of_the_producer_is_its_own_loss() {
    let deal = Deal::new(Shape::new(PaymentKind::Channel, 10));
    for at in [1_050, 5_050, 9_050] {
        let mut world = stopped_at(&deal, at);
        let signature = deal.state_signature(&deal.consumer, 0);
        let state = ChannelState { channel: deal.terms.payment, released: 1, closing: false };
        world.bring(Side::Producer, Settlement::Close(SignedChannelState { state, signature }));
        world.run();
        assert_eq!(world.bank.paid.len(), 1, "at {at} Wh");
        assert_eq!(world.consumer_loss(), 0, "at {at} Wh");
    }
}

/// A state of the channel, signed by the side across from the one that posts it.
fn post(chain: &Chain, channel: TxRef, by_consumer: bool, released: u32, deal: &Deal) -> (KeyPair, Action) {
    let (sender, other) =
        if by_consumer { (&deal.consumer, &deal.producer) } else { (&deal.producer, &deal.consumer) };
    let state = ChannelState { channel, released, closing: false }.sign(other, chain.id);
    let is_posted = chain.state.channel(channel).unwrap().unwrap().posted.is_some();
    let action = if is_posted {
        Action::ChallengeChannel(ChallengeChannel { state })
    } else {
        Action::ForceCloseChannel(ForceCloseChannel { channel, state: Some(state) })
    };
    (sender.clone(), action)
}

#[test]
fn of_all_sequences_of_posts_the_newest_state_pays_out() {
    const COUNT: u32 = 4;
    let deal = Deal::new(Shape::new(PaymentKind::Channel, COUNT));
    let channel = deal.terms.payment;
    let posts: Vec<(bool, u32)> =
        [true, false].into_iter().flat_map(|by| (1..=COUNT).map(move |released| (by, released))).collect();
    for first in &posts {
        for second in &posts {
            for third in &posts {
                let mut chain = deal.chain.clone();
                let before = chain.balance(&deal.producer);
                // The last post comes in the last moment of the period.
                for (after, (by_consumer, released)) in
                    [0, 1, CHALLENGE.get() - 1].into_iter().zip([first, second, third])
                {
                    let time = Timestamp::new(START.get() + after);
                    let (sender, action) = post(&chain, channel, *by_consumer, *released, &deal);
                    let transaction = chain.sign(&sender, action);
                    // What is not newer is refused (C9).
                    chain.block(time, vec![transaction]);
                }
                chain.pass(START.after(CHALLENGE).unwrap());
                let newest = first.1.max(second.1).max(third.1);
                let share = deal.terms.plan.count.money_released(deal.terms.plan.price, newest);
                let what = format!("{first:?}, {second:?}, {third:?}");
                assert_eq!(chain.balance(&deal.producer) - before, share.get(), "{what}");
                assert_eq!(chain.state.channel(channel).unwrap(), None, "{what}");
            }
        }
    }
}
