//! One agreement in all the shapes that it can have, made on a chain of its own: each request, bid,
//! commitment and payment below is a signed transaction in an executed block.

use evchain_protocol::codec::List;
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::{Hash, KeyPair, Preimage, Purpose, Signature};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::params::Params;
use evchain_protocol::payment::{DepositRule, InstallmentCount, InstallmentPlan};
use evchain_protocol::primitives::{Amount, Energy, Height, Nonce, Span, Timestamp, TxRef, Window};
use evchain_protocol::session::{Beginning, ChainFacts, OnChain, Open, PaymentKind, Proof, Secrets, Terms};
use evchain_protocol::state::auction::Bid;
use evchain_protocol::state::channel::ChannelState;
use evchain_protocol::state::payment::{HashLocks, Lock};
use evchain_protocol::state::read::StateRead;
use evchain_protocol::transaction::Action;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::channel::OpenChannel;
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::request::RequestTerms;

use crate::chain::{self, Chain, a_bid, a_request, alice, bob};

/// A window of one hour that starts at a round moment.
pub const START: Timestamp = Timestamp::new(1_000_000_000);
pub const END: Timestamp = Timestamp::new(START.get() + 3_600_000);
/// When the request is made. The rest of the agreement follows within seconds.
const ASKED: Timestamp = Timestamp::new(START.get() - 7_200_000);
/// Divisible by every N of the tests, so that a lost installment is not also lost to rounding.
pub const ENERGY: Energy = Energy::new(10_000);
/// Not divisible by any N above 1.
pub const PRICE: Amount = Amount::new(49_999);
/// A channel's challenge period.
pub const CHALLENGE: Span = Span::new(300_000);

/// When the deposit returns that single locks have.
pub const T_MAX: Timestamp = Timestamp::new(START.get() - 60_000);

/// What varies between deals.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub kind: PaymentKind,
    pub count: u32,
    pub deposit: DepositRule,
    pub claim_margin: Span,
    pub cancel_by: Timestamp,
    /// The bid's price when the consumer chose. If it is higher than `PRICE`, the bid fell to that before
    /// the commitment was final.
    pub chosen_at: Amount,
}

impl Shape {
    pub fn new(kind: PaymentKind, count: u32) -> Self {
        Self {
            kind,
            count,
            // Single locks have no other rule (S10).
            deposit: if kind == PaymentKind::Single {
                DepositRule::Refund(T_MAX)
            } else {
                DepositRule::Forfeit
            },
            claim_margin: Span::new(600_000),
            cancel_by: Timestamp::ZERO,
            chosen_at: PRICE,
        }
    }
}

/// The kinds with a deposit that is the producer's if the consumer does not come.
pub const KINDS: [PaymentKind; 3] = [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel];
pub const ALL_KINDS: [PaymentKind; 4] =
    [PaymentKind::Hashes, PaymentKind::Chain, PaymentKind::Channel, PaymentKind::Single];

/// Each kind of payment with each rule for its deposit, and with a time until which it can be cancelled.
pub fn shapes(count: u32) -> Vec<Shape> {
    let plain = ALL_KINDS.map(|kind| Shape::new(kind, count));
    let refund = |shape: &Shape| Shape { deposit: DepositRule::Refund(T_MAX), ..*shape };
    let cancel_by = |shape: &Shape| Shape { cancel_by: Timestamp::new(START.get() - 100_000), ..*shape };
    let [hashes, chain, channel, _] = &plain;
    let mut shapes = plain.to_vec();
    shapes.extend([hashes, chain].map(refund));
    shapes.extend([hashes, chain, channel].map(cancel_by));
    shapes.extend([hashes, chain].map(refund).each_ref().map(cancel_by));
    shapes
}

/// An agreement with its keys, its secrets and the chain that it stands on.
#[derive(Clone)]
pub struct Deal {
    pub consumer: KeyPair,
    pub producer: KeyPair,
    /// After the block that holds the payment.
    pub chain: Chain,
    /// The names of single locks, by installment.
    pub locks: Vec<TxRef>,
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
        let (consumer, producer) = (alice(), bob());
        let count = InstallmentCount::new(shape.count).unwrap();
        let mut chain = start(shape.claim_margin);
        let opening = agree(&mut chain, count, &shape);
        let secrets = secrets(shape.kind, count);
        let payments = pay(&shape, opening.request, &secrets);
        let transactions = (0..).zip(payments).map(|(nth, action)| {
            let nonce = Nonce::new(chain.nonce(&consumer.public_key()).get() + nth);
            chain.sign_with(&consumer, nonce, action).unwrap()
        });
        let transactions: Vec<_> = transactions.collect();
        let names = 0..u32::try_from(transactions.len()).unwrap();
        let built = chain.block(Timestamp::new(ASKED.get() + 3_000), transactions);
        assert_eq!(built.rejected.len() + built.left_over.len(), 0, "the price is locked");
        let locks: Vec<TxRef> = names.map(|index| TxRef::new(chain.tip.height, index).unwrap()).collect();

        let open = Open { opening, kind: shape.kind, payment: locks[0] };
        let request = chain.state.request(opening.request).unwrap();
        let on_chain = on_chain(&chain, &open, &locks);
        let terms = Terms::new(chain.id, &open, request.as_ref().unwrap(), on_chain.as_ref().unwrap());
        let facts = ChainFacts {
            chain: chain.id,
            time: START,
            bid: chain.state.bid(opening.request, &producer.public_key()).unwrap(),
            request,
            payment: on_chain,
            served: false,
        };
        Self { consumer, producer, chain, locks, facts, open, secrets, terms }
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

    /// What proves that the consumer released an installment. Above the last one it proves nothing.
    pub fn proof(&self, index: u32) -> Proof {
        match &self.secrets {
            Secrets::Hashes(preimages) => Proof::Preimage(
                preimages.get(index as usize).copied().unwrap_or(Preimage::from_bytes([0; 32])),
            ),
            Secrets::Chain(seed) => {
                let chain = HashChain::new(*seed, self.terms.plan.count);
                Proof::Preimage(chain.link(index).unwrap_or(*seed))
            }
            Secrets::Channel => Proof::State(self.state_signature(&self.consumer, index)),
        }
    }

    /// One side's signature of the channel's state that releases an installment.
    pub fn state_signature(&self, key: &KeyPair, index: u32) -> Signature {
        let state = ChannelState { channel: self.terms.payment, released: index + 1, closing: false };
        state.sign(key, self.terms.chain).signature
    }

    /// The energy of these installments together.
    pub fn energy_of(&self, installments: impl IntoIterator<Item = u32>) -> u64 {
        let carried = |released| self.terms.plan.count.energy_released(ENERGY, released).get();
        installments.into_iter().map(|index| carried(index + 1) - carried(index)).sum()
    }
}

/// A payment as the chain has it, while it is open.
pub fn on_chain(chain: &Chain, open: &Open, names: &[TxRef]) -> Option<OnChain> {
    match open.kind {
        PaymentKind::Hashes | PaymentKind::Chain => {
            chain.state.payment(open.payment).unwrap().map(OnChain::Installments)
        }
        PaymentKind::Channel => chain.state.channel(open.payment).unwrap().map(OnChain::Channel),
        PaymentKind::Single => {
            let request = chain.state.request(open.opening.request).unwrap()?;
            OnChain::of_locks(open, &request, &open_locks(chain, names))
        }
    }
}

/// The single locks that are open, with their names.
pub fn open_locks(chain: &Chain, names: &[TxRef]) -> Vec<(TxRef, Lock)> {
    names.iter().filter_map(|name| Some((*name, chain.state.lock(*name).unwrap()?))).collect()
}

/// A chain without fees, so that accounts show nothing but what the session moved, and in one epoch.
fn start(claim_margin: Span) -> Chain {
    let params = Params { fee_flat: Amount::ZERO, claim_margin, epoch_length: 1_000_000, ..chain::params() };
    let mut genesis = chain::genesis(params);
    genesis.time = Timestamp::new(ASKED.get() - 1000);
    Chain::of(&genesis)
}

/// Request, bid and commitment.
fn agree(chain: &mut Chain, count: InstallmentCount, shape: &Shape) -> Opening {
    let (consumer, producer) = (alice(), bob());
    let terms = RequestTerms {
        window: Window { start: START, end: END },
        energy: ENERGY,
        bid_deadline: Timestamp::new(START.get() - 1000),
        ..a_request()
    };
    let request = chain.act(ASKED, &consumer, Action::PlaceRequest(terms.try_into().unwrap()));
    let Shape { cancel_by, chosen_at, .. } = *shape;
    let mut prices = vec![chosen_at, PRICE];
    prices.dedup();
    for (nth, price) in (1..).zip(prices) {
        let bid = Bid { price, max_installments: count, cancel_by, ..a_bid() };
        let place = Action::PlaceBid(PlaceBid::new(request, bid).unwrap());
        chain.act(Timestamp::new(ASKED.get() + nth * 500), &producer, place);
    }
    let opening = Opening {
        request,
        price: chosen_at,
        consumer: consumer.public_key(),
        producer: producer.public_key(),
        secret: Preimage::from_bytes([3; 32]),
    };
    let commit = Action::Commit(Commit { commitment: opening.commitment(chain.id) });
    chain.act(Timestamp::new(ASKED.get() + 2_000), &consumer, commit);
    opening
}

/// What locks the price: one action, or a lock for each installment.
fn pay(shape: &Shape, request: TxRef, secrets: &Secrets) -> Vec<Action> {
    let producer = bob().public_key();
    let Shape { kind, deposit, claim_margin, .. } = *shape;
    let count = InstallmentCount::new(shape.count).unwrap();
    let locks = match secrets {
        Secrets::Hashes(preimages) if kind == PaymentKind::Single => {
            let window = Window { start: START, end: END };
            let plan = InstallmentPlan { price: PRICE, count, window, deposit, claim_margin };
            let lock = |(index, preimage): (u32, &Preimage)| {
                let (amount, deadline) = (plan.amount(index), plan.deadline(index));
                Action::CreateLock(CreateLock { payee: producer, amount, hash: preimage.lock(), deadline })
            };
            return (0..).zip(preimages.iter()).map(lock).collect();
        }
        Secrets::Hashes(preimages) => InstallmentLocks::Hashes(preimages.map(Preimage::lock)),
        Secrets::Chain(seed) => {
            InstallmentLocks::Chain(ChainAnchor { anchor: HashChain::new(*seed, count).anchor(), count })
        }
        Secrets::Channel => {
            let earliest = END.after(claim_margin).unwrap().after(CHALLENGE).unwrap();
            let deadline = earliest.max(Timestamp::new(END.get() + 1_800_000));
            let open = OpenChannel { request, producer, count, challenge: CHALLENGE, deadline };
            return vec![Action::OpenChannel(open)];
        }
    };
    vec![Action::LockInstallments(LockInstallments { request, producer, deposit, locks })]
}

fn secrets(kind: PaymentKind, count: InstallmentCount) -> Secrets {
    let preimage =
        |index: u32| Preimage::from_bytes(*Hash::of(Purpose::WalletKey, &index.to_le_bytes()).as_bytes());
    match kind {
        PaymentKind::Hashes | PaymentKind::Single => {
            Secrets::Hashes(List::new((0..count.get()).map(preimage).collect()).unwrap())
        }
        PaymentKind::Chain => Secrets::Chain(Preimage::from_bytes([5; 32])),
        PaymentKind::Channel => Secrets::Channel,
    }
}
