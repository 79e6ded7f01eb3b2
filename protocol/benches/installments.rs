//! Goal: what checking an installment costs the producer, and checking a co-signature the consumer,
//! on one core.
//!
//! Method: all proofs of a payment of 1024 installments (256 for a channel), made beforehand, go through
//! the verifier that sessions use; a whole payment is one iteration, counted in installments.
//! `cargo bench -p evchain-protocol --bench installments`

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, Preimage};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use evchain_protocol::primitives::{Amount, Energy, Height, Span, Timestamp, TxRef, Window};
use evchain_protocol::session::{PaymentKind, Proof, Terms, Verifier};
use evchain_protocol::state::channel::{ChannelState, SignedChannelState};
use evchain_protocol::state::payment::{ChainLock, HashLocks};

criterion_group!(benches, hash_chain, independent_hashes, channel_states, cosignatures);
criterion_main!(benches);

const HASHES: u32 = 1024;
const STATES: u32 = 256;
const CHAIN: ChainId = ChainId(Hash::from_bytes([9; 32]));

fn consumer() -> KeyPair {
    KeyPair::from_secret(&[1; 32])
}

fn terms(kind: PaymentKind, count: u32) -> Terms {
    let payment = TxRef::new(Height::new(7), 1).unwrap();
    let start = Timestamp::new(1_000_000_000);
    let window = Window { start, end: start.after(Span::new(3_600_000)).unwrap() };
    Terms {
        chain: CHAIN,
        request: payment,
        payment,
        kind,
        consumer: consumer().public_key(),
        producer: KeyPair::from_secret(&[2; 32]).public_key(),
        energy: Energy::new(20_000),
        plan: InstallmentPlan {
            price: Amount::new(80_000),
            count: InstallmentCount::new(count).unwrap(),
            window,
            deposit: DepositRule::Forfeit,
            claim_margin: Span::new(600_000),
        },
        cancel_by: Timestamp::ZERO,
        channel_deadline: None,
    }
}

/// The states that release 2 to `count` installments: the first comes with the channel (S3).
fn states(count: u32) -> Vec<(u32, SignedChannelState)> {
    let (key, channel) = (consumer(), terms(PaymentKind::Channel, count).payment);
    let sign = |index: u32| {
        let state = ChannelState { channel, released: index + 1, closing: false };
        (index, state.sign(&key, CHAIN))
    };
    (1..count).map(sign).collect()
}

/// Times a verifier that takes all of these proofs in turn.
fn accept_all(criterion: &mut Criterion, name: &str, verifier: &Verifier, proofs: &[(u32, Proof)]) {
    let mut group = criterion.benchmark_group("accept");
    group.throughput(Throughput::Elements(u64::try_from(proofs.len()).unwrap()));
    group.bench_function(name, |bench| {
        bench.iter_batched_ref(
            || verifier.clone(),
            |verifier| {
                for (index, proof) in proofs {
                    verifier.accept(*index, black_box(proof)).unwrap();
                }
            },
            BatchSize::SmallInput,
        );
    });
}

fn hash_chain(criterion: &mut Criterion) {
    let terms = terms(PaymentKind::Chain, HASHES);
    let chain = HashChain::new(Preimage::from_bytes([3; 32]), terms.plan.count);
    let locks = HashLocks::Chain(ChainLock { anchor: chain.anchor(), settled: 0 });
    let proofs: Vec<_> =
        (0..HASHES).map(|index| (index, Proof::Preimage(chain.link(index).unwrap()))).collect();
    accept_all(criterion, "hash chain", &Verifier::new(terms, Some(locks)), &proofs);
}

fn independent_hashes(criterion: &mut Criterion) {
    let chain = HashChain::new(Preimage::from_bytes([3; 32]), InstallmentCount::new(HASHES).unwrap());
    // Any distinct secrets will do: each is checked against its own lock.
    let secrets: Vec<_> = (0..HASHES).map(|index| chain.link(index).unwrap()).collect();
    let locks = List::new(secrets.iter().map(|secret| Some(secret.lock())).collect()).unwrap();
    let verifier = Verifier::new(terms(PaymentKind::Hashes, HASHES), Some(HashLocks::Hashes(locks)));
    let proofs: Vec<_> = (0..HASHES).zip(secrets.into_iter().map(Proof::Preimage)).collect();
    accept_all(criterion, "independent hashes", &verifier, &proofs);
}

fn channel_states(criterion: &mut Criterion) {
    let verifier = Verifier::new(terms(PaymentKind::Channel, STATES), None);
    let proofs: Vec<_> =
        states(STATES).into_iter().map(|(index, signed)| (index, Proof::State(signed.signature))).collect();
    accept_all(criterion, "channel states", &verifier, &proofs);
}

/// What a producer does for a state besides: it signs it, too.
fn cosignatures(criterion: &mut Criterion) {
    let key = KeyPair::from_secret(&[2; 32]);
    let (_, signed) = states(2).pop().unwrap();
    let mut group = criterion.benchmark_group("channel state");
    group.throughput(Throughput::Elements(1));
    group.bench_function("co-sign", |bench| bench.iter(|| black_box(signed.state).sign(&key, CHAIN)));
    let consumer = consumer().public_key();
    group.bench_function("verify and co-sign", |bench| {
        bench.iter(|| {
            black_box(&signed).verify(&consumer, CHAIN).unwrap();
            signed.state.sign(&key, CHAIN)
        });
    });
}
