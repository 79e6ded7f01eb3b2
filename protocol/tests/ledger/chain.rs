//! A small chain for tests. Every block is built as a leader does, executed as a follower does, and
//! both must agree; after each, no money was made or lost (K4).

use evchain_protocol::block::Header;
use evchain_protocol::codec::List;
use evchain_protocol::crypto::{ChainId, Hash, KeyPair, Preimage, PublicKey};
use evchain_protocol::event::{Event, EventRecord};
use evchain_protocol::execute::{BlockError, BuiltBlock, Parent, build_block, execute_block};
use evchain_protocol::genesis::{Genesis, GenesisAccount, GenesisBlock};
use evchain_protocol::governance::{Change, StandingChange};
use evchain_protocol::params::Params;
use evchain_protocol::payment::InstallmentCount;
use evchain_protocol::primitives::{
    Amount, Energy, Height, Nonce, Position, RegionId, Span, Timestamp, TxRef, Window,
};
use evchain_protocol::state::account::{Account, Roles};
use evchain_protocol::state::auction::{Bid, BidPosition, BiddingMode, PaymentKinds, Place, Station};
use evchain_protocol::state::authority::Authorities;
use evchain_protocol::state::memory::MemoryState;
use evchain_protocol::state::read::StateRead;
use evchain_protocol::state::tree::{Tree, TreeDepth};
use evchain_protocol::state::value::StateValue;
use evchain_protocol::text::Text;
use evchain_protocol::transaction::approve::Approve;
use evchain_protocol::transaction::bid::PlaceBid;
use evchain_protocol::transaction::commitment::Commit;
use evchain_protocol::transaction::propose::Propose;
use evchain_protocol::transaction::request::RequestTerms;
use evchain_protocol::transaction::{Action, RejectReason, Transaction, VerifiedTransaction, VerifyError};

/// Time of block 0 in ms. Tests give times relative to it.
pub(crate) const START: u64 = 1_000_000;
pub(crate) const MINUTE: u64 = 60_000;
/// Money of each participant at the start.
pub(crate) const MONEY: u64 = 1_000_000;

pub(crate) fn key(number: u8) -> KeyPair {
    KeyPair::from_secret(&[number; 32])
}

/// The cast of the tests.
pub(crate) fn authority() -> KeyPair {
    key(1)
}
pub(crate) fn treasury() -> KeyPair {
    key(2)
}
pub(crate) fn alice() -> KeyPair {
    key(3) // a consumer
}
pub(crate) fn bob() -> KeyPair {
    key(4) // a producer
}
pub(crate) fn carol() -> KeyPair {
    key(5) // both
}
pub(crate) fn dave() -> KeyPair {
    key(6) // without account
}

pub(crate) fn at(relative: u64) -> Timestamp {
    Timestamp::new(START + relative)
}

pub(crate) fn money(units: u64) -> Amount {
    Amount::new(units)
}

pub(crate) fn count(installments: u32) -> InstallmentCount {
    InstallmentCount::new(installments).unwrap()
}

pub(crate) fn preimage(number: u8) -> Preimage {
    Preimage::from_bytes([number; 32])
}

pub(crate) fn params() -> Params {
    Params {
        fee_flat: money(2),
        fee_per_byte: Amount::ZERO,
        claim_margin: Span::new(10 * MINUTE),
        max_open_requests: 2,
        max_bids: 2,
        max_installments: count(100),
        state_tree_depth: 4,
        epoch_length: 1000,
        ..Params::default()
    }
}

pub(crate) fn genesis(params: Params) -> Genesis {
    let account =
        |pair: KeyPair, roles| GenesisAccount { key: pair.public_key(), balance: money(MONEY), roles };
    Genesis {
        name: Text::new("test").unwrap(),
        time: Timestamp::new(START),
        authorities: List::new(vec![authority().public_key()]).unwrap(),
        treasury: treasury().public_key(),
        params,
        accounts: List::new(vec![
            account(alice(), Roles::CONSUMER),
            account(bob(), Roles::PRODUCER),
            account(carol(), Roles::CONSUMER.with(Roles::PRODUCER)),
        ])
        .unwrap(),
    }
}

#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) id: ChainId,
    pub(crate) tip: Header,
    pub(crate) state: MemoryState,
    pub(crate) tree: Tree,
    pub(crate) supply: Amount,
    /// Of the last block.
    pub(crate) events: Vec<EventRecord>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self::with(params())
    }

    pub(crate) fn with(params: Params) -> Self {
        Self::of(&genesis(params))
    }

    pub(crate) fn of(genesis: &Genesis) -> Self {
        let depth = TreeDepth::new(genesis.params.state_tree_depth).unwrap();
        let GenesisBlock { chain, header, state: first, supply, .. } = genesis.build().unwrap();
        let mut tree = Tree::empty(depth);
        let delta = tree.unchanged().update(first.to_bytes());
        tree.apply(delta).unwrap();
        let mut state = MemoryState::default();
        state.apply(first);
        Self { id: chain, tip: header, state, tree, supply, events: Vec::new() }
    }

    pub(crate) fn nonce(&self, of: &PublicKey) -> Nonce {
        self.state.account(of).unwrap().map_or(Nonce::ZERO, |account| account.nonce)
    }

    /// The sender's next transaction.
    pub(crate) fn sign(&self, sender: &KeyPair, action: Action) -> VerifiedTransaction {
        self.try_sign(sender, action).unwrap()
    }

    pub(crate) fn try_sign(
        &self,
        sender: &KeyPair,
        action: Action,
    ) -> Result<VerifiedTransaction, VerifyError> {
        let nonce = self.nonce(&sender.public_key());
        self.sign_with(sender, nonce, action)
    }

    pub(crate) fn sign_with(
        &self,
        sender: &KeyPair,
        nonce: Nonce,
        action: Action,
    ) -> Result<VerifiedTransaction, VerifyError> {
        let transaction = Transaction { sender: sender.public_key(), nonce, action };
        transaction.sign(sender, self.id).verify(self.id)
    }

    /// Builds a block at this time, has it executed and commits it.
    pub(crate) fn block(
        &mut self,
        time: Timestamp,
        candidates: Vec<VerifiedTransaction>,
    ) -> BuiltBlock<VerifiedTransaction> {
        let tip = self.tip.clone();
        let view = self.tree.unchanged();
        let parent = Parent { header: &tip, state: &self.state, tree: &view };
        let built = build_block(&parent, time, candidates).unwrap();
        let header = header_of(&tip, time, &built);
        let executed = execute_block(&parent, &header, &built.transactions).unwrap();
        assert_eq!(executed, built.executed, "leader and follower agree");
        drop(view);
        self.tree.apply(executed.tree).unwrap();
        self.state.apply(executed.changes);
        self.tip = header;
        self.events = executed.events;
        assert_eq!(total_money(&self.state), u128::from(self.supply.get()), "money is conserved");
        built
    }

    pub(crate) fn try_block(
        &self,
        time: Timestamp,
        candidates: Vec<VerifiedTransaction>,
    ) -> Result<BuiltBlock<VerifiedTransaction>, BlockError> {
        let view = self.tree.unchanged();
        let parent = Parent { header: &self.tip, state: &self.state, tree: &view };
        build_block(&parent, time, candidates)
    }

    /// Executes one action in a block of its own. Gives the name of what it made.
    pub(crate) fn act(&mut self, time: Timestamp, sender: &KeyPair, action: Action) -> TxRef {
        let transaction = self.sign(sender, action);
        let built = self.block(time, vec![transaction]);
        if let Some((_, reason)) = built.rejected.first() {
            panic!("rejected: {reason}");
        }
        TxRef::new(self.tip.height, 0).unwrap()
    }

    /// The reason why an action cannot stand in a block at this time. Nothing else may happen.
    pub(crate) fn rejected(&self, time: Timestamp, sender: &KeyPair, action: Action) -> RejectReason {
        match self.try_sign(sender, action) {
            Err(VerifyError::Action(reason)) => reason,
            Err(other) => panic!("not a rule: {other}"),
            Ok(transaction) => self.rejected_transaction(time, transaction),
        }
    }

    pub(crate) fn rejected_transaction(
        &self,
        time: Timestamp,
        transaction: VerifiedTransaction,
    ) -> RejectReason {
        let empty = self.try_block(time, Vec::new()).unwrap();
        let built = self.try_block(time, vec![transaction]).unwrap();
        // G6
        assert_eq!(built.executed, empty.executed, "a rejected transaction leaves nothing behind");
        let [(_, reason)] = <[_; 1]>::try_from(built.rejected).expect("it was accepted");
        reason
    }

    /// A block without transactions, which settles what is due.
    pub(crate) fn pass(&mut self, time: Timestamp) -> Vec<Event> {
        self.block(time, Vec::new());
        self.events.iter().map(|record| record.event.clone()).collect()
    }

    /// One millisecond after the last block.
    pub(crate) fn next(&self) -> Timestamp {
        Timestamp::new(self.tip.time_ms.get() + 1)
    }

    /// Passes blocks until the next one is the first of the next epoch. Gives the last one's events.
    pub(crate) fn end_epoch(&mut self) -> Vec<Event> {
        let epoch = self.authorities().epoch;
        loop {
            let events = self.pass(self.next());
            if self.authorities().epoch > epoch {
                return events;
            }
        }
    }

    /// What revokes a participant if enough authorities approve (D6). Where it has no withdrawal account, the
    /// treasury is to be it.
    pub(crate) fn revocation(&self, account: PublicKey) -> Action {
        let own = self.state.account(&account).unwrap().and_then(|account| account.withdrawal_account());
        let withdraw_to = if own.is_some() { None } else { Some(treasury().public_key()) };
        let change = Change::Standing(StandingChange::Revoke { account, withdraw_to });
        Action::Propose(Propose { change })
    }

    /// Has these authorities revoke a participant.
    pub(crate) fn revoke(&mut self, authorities: &[KeyPair], account: PublicKey) {
        let proposal = self.act(self.next(), &authorities[0], self.revocation(account));
        for authority in &authorities[1..] {
            self.act(self.next(), authority, Action::Approve(Approve { proposal }));
        }
        assert!(self.state.account(&account).unwrap().unwrap().standing.is_revoked());
    }

    pub(crate) fn authorities(&self) -> Authorities {
        self.state.authorities().unwrap().unwrap()
    }

    pub(crate) fn account(&self, of: &KeyPair) -> Account {
        self.state.account(&of.public_key()).unwrap().unwrap()
    }

    pub(crate) fn balance(&self, of: &KeyPair) -> u64 {
        self.account(of).balance.get()
    }

    pub(crate) fn total_of(&self, owners: &[KeyPair]) -> u64 {
        owners.iter().map(|owner| self.balance(owner)).sum()
    }
}

pub(crate) fn header_of<T>(parent: &Header, time: Timestamp, built: &BuiltBlock<T>) -> Header {
    let ends_epoch = parent.next_authority_root != parent.authority_root;
    Header {
        epoch: if ends_epoch { parent.epoch.next().unwrap() } else { parent.epoch },
        height: Height::new(parent.height.get() + 1),
        view: parent.view.next().unwrap(),
        parent_hash: parent.hash(),
        parent_view: parent.view,
        proposer: authority().public_key(),
        time_ms: time,
        tx_root: built.executed.tx_root,
        event_root: built.executed.event_root,
        state_root: built.executed.state_root,
        just_root: Hash::ZERO,
        authority_root: parent.next_authority_root,
        next_authority_root: built.executed.next_authorities.root(),
        ..parent.clone()
    }
}

/// The money of a whole state: free, locked, in payments and in channels.
pub(crate) fn total_money(state: &MemoryState) -> u128 {
    let held = state.iter().map(|(_, value)| match value {
        StateValue::Account(account) => account.balance,
        StateValue::Lock(lock) => lock.amount,
        StateValue::Payment(payment) => payment.held(),
        StateValue::Channel(channel) => channel.price,
        _ => Amount::ZERO,
    });
    held.map(|amount| u128::from(amount.get())).sum()
}

/// A request from minute 60 to 120, with bids until minute 30.
pub(crate) fn a_request() -> RequestTerms {
    RequestTerms {
        region: RegionId::new(244),
        window: Window { start: at(60 * MINUTE), end: at(120 * MINUTE) },
        energy: Energy::new(17_000),
        mode: BiddingMode::Updates,
        bid_deadline: at(30 * MINUTE),
    }
}

/// A bid of 1003 units in up to 10 installments of any kind, which can be cancelled until minute 50.
pub(crate) fn a_bid() -> Bid {
    Bid {
        price: money(1003),
        kinds: PaymentKinds::ALL,
        max_installments: count(10),
        position: BidPosition::Public(Place { position: a_station().position, contact: a_station().contact }),
        cancel_by: at(50 * MINUTE),
    }
}

pub(crate) fn a_station() -> Station {
    Station {
        region: RegionId::new(244),
        position: Position { latitude_e7: 478_000_000, longitude_e7: 130_000_000 },
        power_w: 22_000,
        connectors: 2,
        contact: Text::new("https://example.org").unwrap(),
    }
}

/// A chain with Alice's request, at 0:01.
pub(crate) fn with_request() -> (Chain, TxRef) {
    let mut chain = Chain::new();
    let request = chain.act(at(MINUTE), &alice(), Action::PlaceRequest(a_request().try_into().unwrap()));
    (chain, request)
}

/// A chain where Bob has bid for Alice's request, at 0:02.
pub(crate) fn with_bid() -> (Chain, TxRef) {
    let (mut chain, request) = with_request();
    chain.act(at(2 * MINUTE), &bob(), Action::PlaceBid(PlaceBid::new(request, a_bid()).unwrap()));
    (chain, request)
}

/// A chain where Alice has decided, at 0:03.
pub(crate) fn with_commitment() -> (Chain, TxRef) {
    let (mut chain, request) = with_bid();
    let commitment = Hash::from_bytes([9; 32]);
    chain.act(at(3 * MINUTE), &alice(), Action::Commit(Commit { commitment }));
    (chain, request)
}
