//! The ledger while a block executes: its state so far, its events so far, and rules G.

use super::context::BlockContext;
use crate::crypto::PublicKey;
use crate::event::{Event, EventRecord};
use crate::primitives::{Amount, OutOfRange, Timestamp, TxRef};
use crate::state::account::{Account, Roles, Standing};
use crate::state::auction::Request;
use crate::state::changes::Changes;
use crate::state::key::{DueItem, StateKey};
use crate::state::overlay::Overlay;
use crate::state::read::{ReadError, StateRead};
use crate::state::value::StateValue;
use crate::transaction::{RejectReason, VerifiedTransaction};

/// A block's working state. Transactions go in one by one, and each leaves either all of its
/// changes or none.
pub struct Ledger<'a> {
    pub(crate) block: &'a BlockContext,
    pub(crate) state: Overlay<'a>,
    events: Vec<EventRecord>,
    /// The transaction under way, none while deadlines settle.
    current: Option<TxRef>,
}

/// Why a transaction was not executed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The transaction breaks a rule.
    #[error(transparent)]
    Rejected(RejectReason),
    /// We could not tell: our state could not be read.
    #[error(transparent)]
    Failed(#[from] ReadError),
}

impl<R: Into<RejectReason>> From<R> for ExecuteError {
    fn from(reason: R) -> Self {
        Self::Rejected(reason.into())
    }
}

/// Who sent the transaction under way, and the name of what it makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) key: PublicKey,
    pub(crate) name: TxRef,
}

impl<'a> Ledger<'a> {
    /// The state before any of the block's transactions. `base` is the state after its parent.
    pub fn new(block: &'a BlockContext, base: &'a dyn StateRead) -> Self {
        Self { block, state: Overlay::new(base), events: Vec::new(), current: None }
    }

    /// Executes a transaction as the one with this index in the block (rules G2 to G7).
    ///
    /// # Errors
    /// See [`ExecuteError`]. Nothing has changed in every case.
    pub fn execute(&mut self, transaction: &VerifiedTransaction, index: u32) -> Result<(), ExecuteError> {
        self.state.checkpoint();
        let events = self.events.len();
        let result = self.execute_unchecked(transaction, index);
        self.current = None;
        if result.is_err() {
            // G6
            self.state.rollback();
            self.events.truncate(events);
        }
        result
    }

    /// The state so far.
    pub fn state(&self) -> &dyn StateRead {
        &self.state
    }

    /// The events so far.
    pub fn events(&self) -> &[EventRecord] {
        &self.events
    }

    /// What was changed, and what happened.
    pub fn finish(self) -> (Changes, Vec<EventRecord>) {
        (self.state.into_changes(), self.events)
    }

    fn execute_unchecked(
        &mut self,
        transaction: &VerifiedTransaction,
        index: u32,
    ) -> Result<(), ExecuteError> {
        if transaction.chain() != self.block.chain {
            return Err(RejectReason::OtherChain { chain: transaction.chain() }.into());
        }
        let name = TxRef::new(self.block.height, index)
            .map_err(|OutOfRange(_)| RejectReason::BlockFull { height: self.block.height, index })?;
        let sender = Sender { key: *transaction.sender(), name };
        self.current = Some(name);
        self.admit_sender(transaction)?;
        transaction.action().apply(sender, self)
    }

    /// Rules G2 to G5 and G7: the sender may send this now, and pays for it.
    fn admit_sender(&mut self, transaction: &VerifiedTransaction) -> Result<(), ExecuteError> {
        let (key, given) = (*transaction.sender(), transaction.nonce());
        let action = transaction.action();
        let is_authority = self.block.authorities.set.index_of(&key).is_some();
        // G7, in place of G2, G4 and G5
        if action.is_by_authority() && !is_authority {
            return Err(RejectReason::NotAuthority { sender: key }.into());
        }
        let is_free = is_authority && action.is_free_for_authorities();
        let mut account = match self.state.account(&key)? {
            None if is_free => Account::new(Amount::ZERO, Standing::Admitted(Roles::NONE)),
            // G2
            None => return Err(RejectReason::NoAccount { sender: key }.into()),
            Some(account) => account,
        };
        // G3
        if given < account.nonce {
            return Err(RejectReason::NonceTooLow { expected: account.nonce, given }.into());
        }
        if given > account.nonce {
            return Err(RejectReason::NonceTooHigh { expected: account.nonce, given }.into());
        }
        // G4
        if account.standing.is_revoked() && !is_free && !action.settles() {
            return Err(RejectReason::Revoked { sender: key }.into());
        }
        account.nonce = given.next().map_err(|OutOfRange(_)| RejectReason::NoncesUsedUp { sender: key })?;
        // G5
        let balance = account.balance;
        let fee = match self.block.fee(transaction.encoded_len()) {
            _ if is_free || action.is_free() => Amount::ZERO,
            // Nobody can send it money for a fee (A3), and what it settles must not depend on that.
            fee if account.standing.is_revoked() => fee.min(balance),
            fee => fee,
        };
        account.balance =
            balance.checked_sub(fee).map_err(|OutOfRange(_)| RejectReason::FeeNotCovered { balance, fee })?;
        self.put_account(key, account);
        if fee > Amount::ZERO {
            self.credit(&self.block.treasury, fee)?;
            self.emit(Event::FeePaid { payer: key, amount: fee });
        }
        Ok(())
    }
}

/// What the kinds of transactions and the deadlines do to the state.
impl Ledger<'_> {
    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push(EventRecord { transaction: self.current, event });
    }

    /// An account that must be there: it sent a transaction or is a party of an object, and
    /// accounts are never removed.
    pub(crate) fn existing_account(&self, key: &PublicKey) -> Result<Account, ReadError> {
        self.state.account(key)?.ok_or(ReadError::Inconsistent {
            key: StateKey::Account(*key),
            reason: "the account of a sender or a party",
        })
    }

    /// The account's newest request, if it is in the state (B1, B9).
    pub(crate) fn newest_request(&self, key: &PublicKey) -> Result<Option<(TxRef, Request)>, ReadError> {
        let Some(name) = self.existing_account(key)?.newest_request else { return Ok(None) };
        Ok(self.state.request(name)?.map(|request| (name, request)))
    }

    pub(crate) fn put_account(&mut self, key: PublicKey, account: Account) {
        self.state.put(StateKey::Account(key), StateValue::Account(account));
    }

    /// Gives money to an account.
    pub(crate) fn credit(&mut self, key: &PublicKey, amount: Amount) -> Result<(), ReadError> {
        let mut account = self.existing_account(key)?;
        account.balance = account.balance.checked_add(amount).map_err(|OutOfRange(_)| {
            // K4: all money together is an amount, so this cannot be.
            ReadError::Inconsistent { key: StateKey::Account(*key), reason: "less money than there is" }
        })?;
        self.put_account(*key, account);
        Ok(())
    }

    /// Takes money from the sender's account, which must cover it (A3, L3, I4, C4).
    pub(crate) fn debit(&mut self, key: &PublicKey, amount: Amount) -> Result<(), ExecuteError> {
        let mut account = self.existing_account(key)?;
        let balance = account.balance;
        account.balance = balance
            .checked_sub(amount)
            .map_err(|OutOfRange(_)| RejectReason::NotCovered { balance, amount })?;
        self.put_account(*key, account);
        Ok(())
    }

    /// Moves an item in the queue of what settles by itself, from one time or nowhere to another
    /// or nowhere.
    pub(crate) fn reschedule(&mut self, item: DueItem, from: Option<Timestamp>, to: Option<Timestamp>) {
        if from == to {
            return;
        }
        if let Some(time) = from {
            self.state.remove(StateKey::Due(time, item));
        }
        if let Some(time) = to {
            self.state.put(StateKey::Due(time, item), StateValue::Due);
        }
    }
}
