//! Blocks of arbitrary transactions: money is conserved, leader and follower agree, nothing fails, and
//! everything ends by itself. `chain.rs` asserts the first two after every block.

use arbitrary::{Result, Unstructured};
use evchain_protocol::codec;
use evchain_protocol::crypto::{Hash, KeyPair, PublicKey};
use evchain_protocol::hash_chain::HashChain;
use evchain_protocol::payment::DepositRule;
use evchain_protocol::primitives::{Nonce, Span, Timestamp, TxRef, Window};
use evchain_protocol::state::auction::BidPosition;
use evchain_protocol::state::channel::{ChannelState, CoSignedState};
use evchain_protocol::state::key::StateKey;
use evchain_protocol::state::payment::HashLocks;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::value::StateValue;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::cancel::Cancel;
use evchain_protocol::transaction::channel::{
    ChallengeChannel, CloseChannel, ForceCloseChannel, OpenChannel,
};
use evchain_protocol::transaction::claim::{Claim, ClaimChain, ClaimHashes, ClaimLock, IndexedPreimage};
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::installments::{ChainAnchor, InstallmentLocks, LockInstallments};
use evchain_protocol::transaction::lock::CreateLock;
use evchain_protocol::transaction::post::PostState;
use evchain_protocol::transaction::station::RecordStation;
use evchain_protocol::transaction::transfer::Transfer;
use evchain_protocol::transaction::{Action, VerifiedTransaction};

use crate::chain::{Chain, MINUTE, a_bid, a_request, a_station, count, key, money, preimage};

const MAX_BLOCKS: usize = 24;
const MAX_TRANSACTIONS: u8 = 12;
/// An action that is taken as it comes, in bytes.
const MAX_RAW_BYTES: usize = 512;
/// The one secret.
const ANY: u8 = 1;
/// Long after every deadline.
const FOR_GOOD: Span = Span::new(60 * 24 * 3_600_000);

pub fn fuzz_ledger(data: &[u8]) {
    let mut walk = Walk { chain: Chain::new(), cast: (1..=7).map(key).collect() };
    let mut source = Unstructured::new(data);
    for _ in 0..MAX_BLOCKS {
        if source.is_empty() || walk.block(&mut source).is_err() {
            break;
        }
    }
    walk.chain.pass(walk.now().saturating_after(FOR_GOOD));
    let due = walk.chain.state.due(Timestamp::MAX, 1).expect("the state is in memory");
    assert_eq!(due, [], "everything ends by itself");
}

struct Walk {
    chain: Chain,
    cast: Vec<KeyPair>,
}

impl Walk {
    fn now(&self) -> Timestamp {
        self.chain.tip.time_ms
    }

    fn block(&mut self, source: &mut Unstructured) -> Result<()> {
        let mut transactions: Vec<VerifiedTransaction> = Vec::new();
        for _ in 0..source.int_in_range(1..=MAX_TRANSACTIONS)? {
            let Some((sender, action)) = self.act(source)? else { continue };
            let own = transactions.iter().filter(|other| *other.sender() == sender.public_key()).count();
            let nonce = self.chain.nonce(&sender.public_key()).get() + own as u64;
            transactions.extend(self.chain.sign_with(&sender, Nonce::new(nonce), action));
        }
        let unit = if source.ratio(1, 8)? { MINUTE / 100 } else { 16 };
        let pause = 1 + u64::from(source.arbitrary::<u16>()?) * unit;
        self.chain.block(Timestamp::new(self.now().get() + pause), transactions);
        Ok(())
    }

    /// Who acts and what: nobody where there is nothing to do it to.
    fn act(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let someone = source.choose(&self.cast)?.clone();
        let to = source.choose(&self.cast)?.public_key();
        Ok(match source.int_in_range(0..=17_u8)? {
            0 => {
                let amount = money(source.arbitrary::<u32>()?.into());
                Some((someone, Action::Transfer(Transfer { to, amount })))
            }
            1 | 2 => Some((someone, self.request(source)?)),
            3 | 4 => self.bid(source)?.map(|action| (someone, action)),
            5 => self.commit(source)?,
            6 | 7 => self.installments(source)?,
            8 => self.channel(source)?,
            9 => {
                let (amount, deadline) = (money(source.arbitrary::<u16>()?.into()), self.soon(source)?);
                Some((
                    someone,
                    Action::CreateLock(CreateLock {
                        payee: to,
                        amount,
                        hash: preimage(ANY).lock(),
                        deadline,
                    }),
                ))
            }
            10 => self.claim_lock(source)?,
            11 | 12 => self.claim(source)?,
            13 => self.cancel(source)?,
            14 | 15 => self.end_channel(source)?,
            16 => Some((someone, Action::RecordStation(RecordStation { station: a_station() }))),
            _ => {
                let len = usize::from(source.arbitrary::<u16>()?) % MAX_RAW_BYTES;
                let bytes = source.bytes(len.min(source.len()))?;
                codec::decode::<Action>(bytes, MAX_RAW_BYTES).ok().map(|action| (someone, action))
            }
        })
    }

    /// Within some hours, or a moment ago.
    fn soon(&self, source: &mut Unstructured) -> Result<Timestamp> {
        let span = u64::from(source.arbitrary::<u16>()?) * 256;
        Ok(Timestamp::new(self.now().get().saturating_sub(MINUTE) + span))
    }

    /// One of the objects that the state holds.
    fn one_of<T>(
        &self,
        source: &mut Unstructured,
        wanted: impl Fn(&StateKey, &StateValue) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut found: Vec<T> =
            self.chain.state.iter().filter_map(|(key, value)| wanted(key, value)).collect();
        if found.is_empty() {
            return Ok(None);
        }
        let index = source.choose_index(found.len())?;
        Ok(Some(found.swap_remove(index)))
    }

    fn key_of(&self, address: &PublicKey) -> Option<KeyPair> {
        self.cast.iter().find(|pair| pair.public_key() == *address).cloned()
    }

    fn request(&self, source: &mut Unstructured) -> Result<Action> {
        let mut terms = a_request();
        terms.bid_deadline = self.soon(source)?.floor_to_tick();
        let start =
            terms.bid_deadline.saturating_after(Span::new(u64::from(source.arbitrary::<u16>()?) * 64));
        let start = start.ceil_to_tick();
        terms.window = Window { start, end: start.saturating_after(Span::new(60 * MINUTE)) };
        // Where the times do not fit the compact form, another request is as good.
        Ok(terms
            .try_into()
            .map_or(Action::RecordStation(RecordStation { station: a_station() }), Action::PlaceRequest))
    }

    fn bid(&self, source: &mut Unstructured) -> Result<Option<Action>> {
        let name = |key: &StateKey, _: &StateValue| match key {
            StateKey::Request(name) => Some(*name),
            _ => None,
        };
        let Some(request) = self.one_of(source, name)? else { return Ok(None) };
        let mut bid = a_bid();
        bid.price = money(u64::from(source.arbitrary::<u16>()?));
        bid.cancel_by = self.soon(source)?.floor_to_tick();
        if source.arbitrary()? {
            bid.position = BidPosition::Station;
        }
        Ok(PlaceBid::new(request, bid).ok().map(Action::PlaceBid))
    }

    fn commit(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let consumer = |_: &StateKey, value: &StateValue| match value {
            StateValue::Request(request) => Some(request.consumer),
            _ => None,
        };
        let Some(consumer) = self.one_of(source, consumer)? else { return Ok(None) };
        let commitment = Hash::from_bytes([3; 32]);
        Ok(self.key_of(&consumer).map(|key| (key, Action::Commit(Commit { commitment }))))
    }

    /// A request, its consumer and one of its bidders.
    fn payable(&self, source: &mut Unstructured) -> Result<Option<(TxRef, KeyPair, PublicKey)>> {
        let bid = |key: &StateKey, _: &StateValue| match key {
            StateKey::Bid(request, producer) => Some((*request, *producer)),
            _ => None,
        };
        let Some((request, producer)) = self.one_of(source, bid)? else { return Ok(None) };
        let Ok(Some(terms)) = self.chain.state.request(request) else { return Ok(None) };
        Ok(self.key_of(&terms.consumer).map(|consumer| (request, consumer, producer)))
    }

    fn installments(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let Some((request, consumer, producer)) = self.payable(source)? else { return Ok(None) };
        let number = source.int_in_range(1..=11_u8)?;
        let locks = if source.arbitrary()? {
            let hashes = vec![preimage(ANY).lock(); number.into()];
            InstallmentLocks::Hashes(hashes.try_into().expect("few hashes"))
        } else {
            let count = count(number.into());
            InstallmentLocks::Chain(ChainAnchor {
                anchor: HashChain::new(preimage(ANY), count).anchor(),
                count,
            })
        };
        let deposit =
            if source.arbitrary()? { DepositRule::Forfeit } else { DepositRule::Refund(self.soon(source)?) };
        let action = LockInstallments { request, producer, deposit, locks };
        Ok(Some((consumer, Action::LockInstallments(action))))
    }

    fn channel(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let Some((request, consumer, producer)) = self.payable(source)? else { return Ok(None) };
        let Ok(Some(terms)) = self.chain.state.request(request) else { return Ok(None) };
        let open = OpenChannel {
            request,
            producer,
            count: count(source.int_in_range(1..=11_u8)?.into()),
            challenge: Span::new(u64::from(source.int_in_range(0..=10_u8)?) * MINUTE),
            deadline: terms
                .window
                .end
                .saturating_after(Span::new(u64::from(source.arbitrary::<u8>()?) * MINUTE / 4)),
        };
        Ok(Some((consumer, Action::OpenChannel(open))))
    }

    fn claim_lock(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let lock = |key: &StateKey, value: &StateValue| match (key, value) {
            (StateKey::Lock(name), StateValue::Lock(lock)) => Some((*name, lock.payee)),
            _ => None,
        };
        let Some((lock, payee)) = self.one_of(source, lock)? else { return Ok(None) };
        let claim = Claim::Lock(ClaimLock { lock, preimage: preimage(ANY) });
        Ok(self.key_of(&payee).map(|key| (key, Action::Claim(claim))))
    }

    fn claim(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let payment = |key: &StateKey, value: &StateValue| match (key, value) {
            (StateKey::Payment(name), StateValue::Payment(payment)) => Some((*name, payment.clone())),
            _ => None,
        };
        let Some((name, payment)) = self.one_of(source, payment)? else { return Ok(None) };
        let claim = match payment.locks {
            HashLocks::Hashes(_) => {
                let mut preimages = Vec::new();
                for index in 0..payment.plan.count.get() {
                    if source.arbitrary()? {
                        preimages.push(IndexedPreimage { index, preimage: preimage(ANY) });
                    }
                }
                let preimages = preimages.try_into().expect("no more than there are");
                Claim::Hashes(ClaimHashes { payment: name, preimages })
            }
            HashLocks::Chain(_) => {
                let index = u32::from(source.arbitrary::<u8>()?) % payment.plan.count.get();
                let Some(link) = HashChain::new(preimage(ANY), payment.plan.count).link(index) else {
                    return Ok(None);
                };
                Claim::Chain(ClaimChain { payment: name, index, link })
            }
        };
        Ok(self.key_of(&payment.producer).map(|key| (key, Action::Claim(claim))))
    }

    fn cancel(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let open = |key: &StateKey, value: &StateValue| match (key, value) {
            (StateKey::Payment(name), StateValue::Payment(it)) => Some((Cancel::Payment(*name), it.consumer)),
            (StateKey::Channel(name), StateValue::Channel(it)) => Some((Cancel::Channel(*name), it.consumer)),
            _ => None,
        };
        let Some((cancel, consumer)) = self.one_of(source, open)? else { return Ok(None) };
        Ok(self.key_of(&consumer).map(|key| (key, Action::Cancel(cancel))))
    }

    fn end_channel(&self, source: &mut Unstructured) -> Result<Option<(KeyPair, Action)>> {
        let channel = |key: &StateKey, value: &StateValue| match (key, value) {
            (StateKey::Channel(name), StateValue::Channel(channel)) => Some((*name, *channel)),
            _ => None,
        };
        let Some((name, channel)) = self.one_of(source, channel)? else { return Ok(None) };
        let sides = [channel.consumer, channel.producer].map(|side| self.key_of(&side));
        let [Some(consumer), Some(producer)] = sides else { return Ok(None) };
        let (sender, other) =
            if source.arbitrary()? { (&consumer, &producer) } else { (&producer, &consumer) };
        let released = u32::from(source.arbitrary::<u8>()?) % (channel.count.get() + 2);
        let state = ChannelState { channel: name, released, closing: source.arbitrary()? };
        let signed = state.sign(other, self.chain.id);
        let action = match source.int_in_range(0..=4_u8)? {
            0 => Action::CloseChannel(CloseChannel { state: signed }),
            1 => Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: None }),
            2 => Action::ForceCloseChannel(ForceCloseChannel { channel: name, state: Some(signed) }),
            3 => Action::ChallengeChannel(ChallengeChannel { state: signed }),
            _ => {
                let sign = |key| state.sign(key, self.chain.id).signature;
                let state = CoSignedState { state, consumer: sign(&consumer), producer: sign(&producer) };
                Action::PostState(PostState { state })
            }
        };
        Ok(Some((sender.clone(), action)))
    }
}
