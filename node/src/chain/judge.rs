use evchain_protocol::crypto::PublicKey;
use evchain_protocol::execute::{BlockContext, ExecuteError, Ledger};
use evchain_protocol::primitives::{Amount, Height, Timestamp};
use evchain_protocol::state::account::Account;
use evchain_protocol::state::read::{ReadError, StateRead};
use evchain_protocol::transaction::VerifiedTransaction;

use super::error::{ChainError, CheckError};
use super::reader::ChainReader;
use super::state::CommittedState;
use crate::clock;
use crate::store::StoreError;
use crate::store::tables::STATE;

/// Judges transactions that are in no block yet by the newest final state. It reads what all have in common
/// once for each final block.
#[derive(Debug)]
pub struct Judge {
    reader: ChainReader,
    /// None where a final block has come since.
    context: Option<BlockContext>,
}

impl Judge {
    /// A judge by this chain.
    pub const fn new(reader: ChainReader) -> Self {
        Self { reader, context: None }
    }

    /// Another block is final.
    pub fn move_on(&mut self) {
        self.context = None;
    }

    /// What the next block has in common for all transactions, as far as it is known.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn context(&mut self) -> Result<&BlockContext, ChainError> {
        let context = match self.context.take() {
            Some(context) => context,
            None => self.read_context()?,
        };
        Ok(self.context.insert(context))
    }

    /// An account in the newest final state.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn account(&self, key: &PublicKey) -> Result<Option<Account>, ChainError> {
        Ok(self.reader.state().account(key)?)
    }

    /// What a transaction costs: nothing if it is an authority's and free for those (G7), else its fee (G5).
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn fee(&mut self, transaction: &VerifiedTransaction) -> Result<Option<Amount>, ChainError> {
        let context = self.context()?;
        let is_free = transaction.action().is_free_for_authorities()
            && context.authorities.set.index_of(transaction.sender()).is_some();
        Ok((!is_free).then(|| context.fee(transaction.encoded_len())))
    }

    /// Whether a transaction could be the first of the next block, if its sender's before it were in.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub fn check(&mut self, transaction: &VerifiedTransaction) -> Result<(), CheckError> {
        let mut context = match self.context.take() {
            Some(context) => context,
            None => self.read_context()?,
        };
        context.time = clock::now().max(self.reader.tip().time_ms.saturating_add(Timestamp::new(1)));
        let outcome = {
            let committed = CommittedState::new(self.reader.store.snapshot());
            Ledger::new(&context, &committed).execute_out_of_turn(transaction)
        };
        self.context = Some(context);
        match outcome {
            Ok(()) => Ok(()),
            Err(ExecuteError::Rejected(reason)) => Err(CheckError::Rejected(reason)),
            Err(ExecuteError::Failed(error)) => Err(CheckError::Failed(failed(&error))),
        }
    }

    fn read_context(&self) -> Result<BlockContext, ChainError> {
        let tip = self.reader.tip();
        let committed = CommittedState::new(self.reader.store.snapshot());
        let height = tip.height.saturating_add(Height::new(1));
        let state: &dyn StateRead = &committed;
        BlockContext::new(self.reader.chain, height, tip.time_ms, state).map_err(|error| failed(&error))
    }
}

fn failed(error: &ReadError) -> ChainError {
    ChainError::Store(StoreError::Read { table: STATE.name, reason: error.to_string() })
}
