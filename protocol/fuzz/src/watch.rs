//! The watchtower's machine: clients that ask for guard with states that are true, old, forged or another's, and
//! a chain that shows any channel at any time.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use evchain_protocol::crypto::{KeyPair, PublicKey, Signature};
use evchain_protocol::primitives::{Span, Timestamp, TxRef};
use evchain_protocol::session::{
    MAX_WATCH_BYTES, OnChain, PaymentKind, WatchInput, WatchMessage, WatchOutput, WatchPolicy, WatchRecord,
    Watchtower,
};
use evchain_protocol::state::channel::{Channel, ChannelState, CoSignedState, PostedState};

use crate::deal::{Deal, START, Shape, reference};

const COUNT: u32 = 4;
const CHANNELS: u32 = 5;
const MAX_STEPS: usize = 80;
const POLICY: WatchPolicy = WatchPolicy {
    lead: Span::new(120_000),
    retry: Span::new(5_000),
    max_channels: 3,
    max_channels_per_client: 2,
};

static DEAL: LazyLock<Deal> = LazyLock::new(|| Deal::new(Shape::new(PaymentKind::Channel, COUNT)));

pub fn fuzz_watch(data: &[u8]) {
    let mut source = Unstructured::new(data);
    let mut tower = Tower {
        machine: Watchtower::new(DEAL.terms.chain, POLICY),
        disk: Vec::new(),
        now: Timestamp::new(START.get() - 60_000),
    };
    for _ in 0..MAX_STEPS {
        if source.is_empty() || tower.step(&mut source).is_err() {
            break;
        }
    }
}

struct Tower {
    machine: Watchtower,
    disk: Vec<WatchRecord>,
    now: Timestamp,
}

impl Tower {
    fn step(&mut self, source: &mut Unstructured) -> Result<()> {
        self.now = self.now.saturating_after(Span::new(u64::from(source.arbitrary::<u16>()?) * 10));
        let name = reference(u32::from(source.arbitrary::<u8>()?) % CHANNELS);
        let input = match source.int_in_range(0..=9_u8)? {
            0..=3 => guard(source, name)?,
            4 | 5 => WatchInput::Found(name, found(source)?),
            6 => WatchInput::ChainTime(self.now),
            7 => WatchInput::Failed(name),
            8 => {
                self.crash();
                return Ok(());
            }
            _ => WatchInput::Timeout,
        };
        let mut out = Vec::new();
        self.machine.step(self.now, &input, &mut out);
        for output in out {
            match output {
                WatchOutput::Persist(record) => self.disk.push(record),
                WatchOutput::Answer(answer) => {
                    assert!(matches!(input, WatchInput::Guard { .. }), "nobody asked: {answer:?}");
                    assert!(answer.encode().len() <= MAX_WATCH_BYTES);
                }
                WatchOutput::Post(state) => {
                    assert!(self.disk.contains(&WatchRecord::Posted(state.state.channel)), "W9");
                    let Deal { consumer, producer, .. } = &*DEAL;
                    assert_eq!(state, both(consumer, producer, state.state), "both have signed");
                }
            }
        }
        assert!(self.machine.guards().len() <= POLICY.max_channels);
        Ok(())
    }

    /// What is on disk is what the tower knows.
    fn crash(&mut self) {
        let again = Watchtower::recover(DEAL.terms.chain, POLICY, &self.disk).expect("its own records");
        let names = |tower: &Watchtower| tower.guards().keys().copied().collect::<Vec<_>>();
        assert_eq!(names(&again), names(&self.machine));
        self.machine = again;
    }
}

fn guard(source: &mut Unstructured, channel: TxRef) -> Result<WatchInput> {
    let Deal { consumer, producer, .. } = &*DEAL;
    let stranger = KeyPair::from_secret(&[99; 32]);
    let from = pick(source, &[producer.public_key(), consumer.public_key(), stranger.public_key()])?;
    let state = ChannelState {
        channel,
        released: u32::from(source.arbitrary::<u8>()?) % (COUNT + 2),
        closing: source.int_in_range(0..=7_u8)? == 0,
    };
    let mut signed = both(consumer, producer, state);
    match source.int_in_range(0..=7_u8)? {
        0 => signed.consumer = Signature::from_bytes([8; 64]),
        1 => signed.state.released ^= 1,
        2 => signed = both(&stranger, producer, state),
        3 => {
            // Whatever a client may send.
            let len = usize::from(source.arbitrary::<u8>()?).min(source.len());
            if let Ok(WatchMessage::Guard(state)) = WatchMessage::decode(source.bytes(len)?) {
                signed = state;
            }
        }
        _ => {}
    }
    Ok(WatchInput::Guard { from, state: signed, found: found(source)? })
}

fn both(consumer: &KeyPair, producer: &KeyPair, state: ChannelState) -> CoSignedState {
    let sign = |key| state.sign(key, DEAL.terms.chain).signature;
    CoSignedState { state, consumer: sign(consumer), producer: sign(producer) }
}

/// What the chain may show under a name.
fn found(source: &mut Unstructured) -> Result<Option<Channel>> {
    let Some(OnChain::Channel(channel)) = DEAL.facts.payment.clone() else { return Ok(None) };
    let by = |key: &KeyPair| key.public_key();
    Ok(match source.int_in_range(0..=5_u8)? {
        0 => None,
        1 => Some(Channel { producer: by(&DEAL.consumer), ..channel }),
        2 | 3 => {
            let sides: [PublicKey; 2] = [by(&DEAL.consumer), by(&DEAL.producer)];
            let posted = PostedState {
                released: u32::from(source.arbitrary::<u8>()?) % (COUNT + 1),
                until: START.saturating_after(Span::new(u64::from(source.arbitrary::<u16>()?) * 100)),
                by: pick(source, &sides)?,
            };
            Some(Channel { posted: Some(posted), ..channel })
        }
        _ => Some(channel),
    })
}

fn pick<T: Copy>(source: &mut Unstructured, from: &[T]) -> Result<T> {
    source.choose(from).copied()
}
