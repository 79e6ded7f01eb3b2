//! One agreement in all the shapes that it can have.

use evchain_protocol::codec::List;
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, Preimage};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use evchain_protocol::primitives::{Amount, Energy, Height, RegionId, Span, Timestamp, TxRef, Window};
use evchain_protocol::session::{Beginning, ChainFacts, OnChain, Open, PaymentKind, Secrets, Terms};
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode, PaymentKinds, Request};
use evchain_protocol::state::channel::Channel;
use evchain_protocol::state::payment::{ChainLock, HashLocks, Payment};

/// A window of one hour that starts at a round moment.
pub const START: Timestamp = Timestamp::new(1_000_000_000);
pub const END: Timestamp = Timestamp::new(START.get() + 3_600_000);
/// Divisible by every N of the tests, so that a lost installment is not also lost to rounding.
pub const ENERGY: Energy = Energy::new(10_000);
/// Not divisible by any N above 1.
pub const PRICE: Amount = Amount::new(49_999);

/// What varies between deals.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub kind: PaymentKind,
    pub count: u32,
    pub deposit: DepositRule,
    pub claim_margin: Span,
    pub cancel_by: Timestamp,
}

impl Shape {
    pub fn new(kind: PaymentKind, count: u32) -> Self {
        Self {
            kind,
            count,
            deposit: DepositRule::Forfeit,
            claim_margin: Span::new(600_000),
            cancel_by: Timestamp::ZERO,
        }
    }
}

pub const KINDS: [PaymentKind; 3] = [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel];

/// An agreement with its keys, its secrets and its objects on the chain.
#[derive(Clone)]
pub struct Deal {
    pub consumer: KeyPair,
    pub producer: KeyPair,
    pub facts: ChainFacts,
    pub open: Open,
    pub secrets: Secrets,
    pub terms: Terms,
}

pub fn reference(index: u32) -> TxRef {
    TxRef::new(Height::new(7), index).unwrap()
}

impl Deal {
    pub fn new(shape: Shape) -> Self {
        let chain = ChainId(Hash::from_bytes([9; 32]));
        let consumer = KeyPair::from_secret(&[1; 32]);
        let producer = KeyPair::from_secret(&[2; 32]);
        let count = InstallmentCount::new(shape.count).unwrap();
        let window = Window { start: START, end: END };
        let opening = Opening {
            request: reference(1),
            price: PRICE,
            consumer: consumer.public_key(),
            producer: producer.public_key(),
            secret: Preimage::from_bytes([3; 32]),
        };
        let request = Request {
            consumer: consumer.public_key(),
            region: RegionId::new(1),
            window,
            energy: ENERGY,
            mode: BiddingMode::FirstOnly,
            bid_deadline: Timestamp::new(START.get() - 1000),
            bids: 1,
            commitment: Some(opening.commitment(chain)),
            payment: Some(reference(2)),
        };
        let bid = Bid {
            price: PRICE,
            kinds: PaymentKinds::ALL,
            max_installments: count,
            position: BidPosition::Station,
            cancel_by: shape.cancel_by,
        };
        let plan = InstallmentPlan {
            price: PRICE,
            count,
            window,
            deposit: shape.deposit,
            claim_margin: shape.claim_margin,
        };
        let (secrets, locks) = secrets(shape.kind, count);
        let payment = match locks {
            Some(locks) => OnChain::Installments(Payment {
                consumer: consumer.public_key(),
                producer: producer.public_key(),
                request: reference(1),
                plan,
                cancel_by: shape.cancel_by,
                locks,
            }),
            None => OnChain::Channel(Channel {
                consumer: consumer.public_key(),
                producer: producer.public_key(),
                request: reference(1),
                price: PRICE,
                count,
                challenge: Span::new(300_000),
                deadline: Timestamp::new(END.get() + 1_800_000),
                cancel_by: shape.cancel_by,
                posted: None,
            }),
        };
        let open = Open { opening, kind: shape.kind, payment: reference(2) };
        let terms = Terms::new(chain, &open, &request, &payment);
        let facts = ChainFacts {
            chain,
            time: START,
            request: Some(request),
            bid: Some(bid),
            payment: Some(payment),
            served: false,
        };
        Self { consumer, producer, facts, open, secrets, terms }
    }

    pub fn beginning(&self) -> Beginning {
        Beginning { terms: self.terms, opening: self.open.opening, secrets: self.secrets.clone() }
    }

    pub fn locks(&self) -> Option<&HashLocks> {
        match self.facts.payment.as_ref().unwrap() {
            OnChain::Installments(payment) => Some(&payment.locks),
            OnChain::Channel(_) => None,
        }
    }

    /// The energy of these installments together.
    pub fn energy_of(&self, installments: impl IntoIterator<Item = u32>) -> u64 {
        let carried = |released| self.terms.plan.count.energy_released(ENERGY, released).get();
        installments.into_iter().map(|index| carried(index + 1) - carried(index)).sum()
    }
}

fn secrets(kind: PaymentKind, count: InstallmentCount) -> (Secrets, Option<HashLocks>) {
    match kind {
        PaymentKind::Hashes | PaymentKind::Single => {
            let preimages: Vec<_> = (0..count.get())
                .map(|index| {
                    Preimage::from_bytes(
                        *Hash::of(evchain_protocol::crypto::Purpose::WalletKey, &index.to_le_bytes())
                            .as_bytes(),
                    )
                })
                .collect();
            let locks = preimages.iter().map(|preimage| Some(preimage.lock())).collect();
            (
                Secrets::Hashes(List::new(preimages).unwrap()),
                Some(HashLocks::Hashes(List::new(locks).unwrap())),
            )
        }
        PaymentKind::Chain => {
            let seed = Preimage::from_bytes([5; 32]);
            let anchor = HashChain::new(seed, count).anchor();
            (Secrets::Chain(seed), Some(HashLocks::Chain(ChainLock { anchor, settled: 0 })))
        }
        PaymentKind::Channel => (Secrets::Channel, None),
    }
}
