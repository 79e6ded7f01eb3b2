//! Goal: the tower hears of each channel's newest state, also where it had no room at first, and no channel
//! keeps another waiting.
//! Method: states of channels that differ by name; time is given.

use std::time::Duration;

use evchain_protocol::crypto::Signature;
use evchain_protocol::primitives::{Height, TxRef};
use evchain_protocol::session::GuardRefusal;
use evchain_protocol::state::channel::{ChannelState, CoSignedState};
use tokio::time::Instant;

use super::{Newest, Next, Questions};

fn state(number: u64, released: u32) -> CoSignedState {
    let channel = TxRef::new(Height::new(number), 0).expect("a name");
    // Nobody verifies them here.
    let signature = Signature::from_bytes([0; 64]);
    let state = ChannelState { channel, released, closing: false };
    CoSignedState { state, consumer: signature, producer: signature }
}

fn newest(states: &[CoSignedState]) -> Newest {
    states.iter().map(|state| (state.state.channel, *state)).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn what_had_no_room_is_asked_again_without_a_further_installment() {
    for (reason, pauses) in [
        (GuardRefusal::Full, [10, 20, 40, 60, 60]),
        (GuardRefusal::ClientFull, [10, 20, 40, 60, 60]),
        (GuardRefusal::NoChannel, [1, 2, 4, 8, 16]),
    ] {
        let (mut questions, mut now, held) = (Questions::default(), Instant::now(), state(1, 4));
        for pause in pauses {
            assert_eq!(questions.next(&newest(&[held]), now), Next::Ask(held), "{reason}");
            questions.refused(&held, Some(reason), now);
            let again = now + seconds(pause);
            let newer = newest(&[state(1, 5)]);
            assert_eq!(questions.next(&newer, again - Duration::from_millis(1)), Next::Wait(Some(again)));
            questions.connected();
            assert_eq!(questions.next(&newer, now), Next::Wait(Some(again)), "nor on a new connection");
            now = again;
        }
        questions.guarded(&held);
        assert_eq!(questions.next(&newest(&[held]), now + seconds(1_000)), Next::Wait(None));
        // From the beginning.
        questions.refused(&state(1, 6), Some(reason), now);
        let again = now + seconds(pauses[0]);
        assert_eq!(questions.next(&newest(&[state(1, 6)]), now), Next::Wait(Some(again)));
    }
}

#[test]
fn other_refusals_are_final_for_the_state() {
    let now = Instant::now();
    for reason in [
        Some(GuardRefusal::NotAllowed),
        Some(GuardRefusal::NotProducer),
        Some(GuardRefusal::OutOfRange),
        Some(GuardRefusal::NotSigned),
        Some(GuardRefusal::Answered),
        None,
    ] {
        let mut questions = Questions::default();
        questions.refused(&state(1, 4), reason, now);
        questions.connected();
        assert_eq!(questions.next(&newest(&[state(1, 4)]), now + seconds(1_000)), Next::Wait(None));
        assert_eq!(questions.next(&newest(&[state(1, 5)]), now), Next::Ask(state(1, 5)));
    }
}

#[test]
fn what_is_guarded_is_told_again_on_a_new_connection() {
    let (mut questions, now) = (Questions::default(), Instant::now());
    let all = newest(&[state(1, 4)]);
    questions.guarded(&state(1, 4));
    assert_eq!(questions.next(&all, now), Next::Wait(None));
    questions.connected();
    assert_eq!(questions.next(&all, now), Next::Ask(state(1, 4)));
}

#[test]
fn a_fast_channel_does_not_keep_the_others_waiting() {
    let (mut questions, now) = (Questions::default(), Instant::now());
    let mut asked = Vec::new();
    for released in 2..8 {
        // Channel 1 has a new state each time.
        let all = newest(&[state(1, released), state(2, 4), state(3, 4)]);
        let Next::Ask(state) = questions.next(&all, now) else { panic!("channel 1 has news") };
        asked.push(state.state.channel.height().get());
        questions.guarded(&state);
    }
    assert_eq!(asked, [1, 2, 3, 1, 1, 1]);
}

#[test]
fn a_channel_that_ended_is_forgotten() {
    let (mut questions, now) = (Questions::default(), Instant::now());
    questions.refused(&state(1, 4), Some(GuardRefusal::Full), now);
    assert_eq!(questions.next(&newest(&[]), now), Next::Wait(None));
}
