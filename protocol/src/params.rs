//! The chain's parameters: set in its genesis, part of its state.

use serde::{Deserialize, Serialize};

use crate::codec::{Decode, Encode};
use crate::payment::InstallmentCount;
use crate::primitives::{Amount, Span};

/// The most transactions that a block can have on any chain.
pub const MAX_BLOCK_TRANSACTIONS: u32 = 16_384;
/// The longest body that a block can have on any chain, in bytes.
pub const MAX_BLOCK_BYTES: u32 = 8 * 1024 * 1024;
/// The most bids that a request can have on any chain. Its end removes them all in one piece.
pub const MAX_BIDS: u32 = 1024;

/// The fewest blocks in an epoch on any chain.
pub const MIN_EPOCH_LENGTH: u64 = 2;
/// The most blocks in an epoch on any chain: years.
pub const MAX_EPOCH_LENGTH: u64 = 1_000_000_000;
/// The most epochs for which a proposal can stay open on any chain.
pub const MAX_PROPOSAL_EPOCHS: u64 = 1_000_000;

/// The most admissions that one authority can make in an epoch on any chain.
pub const MAX_ADMISSIONS: u32 = 65_536;

const SECOND_MS: u64 = 1000;
const HOUR_MS: u64 = 3600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What a chain's participants agree on besides its rules. Money is in [`Amount`] units, times in
/// ms. A JSON object may leave fields out; these then have their default.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The fee of each transaction (G5). Default 0.
    pub fee_flat: Amount,
    /// The fee of each byte of a signed transaction (G5). Default 0.
    pub fee_per_byte: Amount,
    /// How long after its slice of the window an installment can still be claimed (I5), and the
    /// least time for closing a channel after the window (C3). Default 10 minutes.
    pub claim_margin: Span,
    /// The shortest challenge period of a channel (C3). Default 1 minute.
    pub min_challenge: Span,
    /// The longest challenge period of a channel (C3). Default 7 days.
    pub max_challenge: Span,
    /// The most installments that a bid can offer (B6). Default 1000.
    pub max_installments: InstallmentCount,
    /// How many requests of one consumer can be open at a time (B1). Default 16.
    pub max_open_requests: u32,
    /// How many producers can bid for a request (B8). Default 256.
    pub max_bids: u32,
    /// The longest window of a request (B2). Default 2 days.
    pub max_window: Span,
    /// How far ahead a window can start, a lock end and a channel's deadline follow the window's
    /// end (B3, L2, C3). Default 30 days.
    pub max_lead: Span,
    /// How far a block's time may be ahead of a voter's clock. Default 500 ms.
    pub max_skew: Span,
    /// The most transactions in a block (K3). Default 4096.
    pub max_block_transactions: u32,
    /// The most bytes of signed transactions in a block (K3). Default 2 MiB.
    pub max_block_bytes: u32,
    /// The state's tree has 2^depth buckets, see [`TreeDepth`](crate::state::tree::TreeDepth).
    /// Default 20.
    pub state_tree_depth: u8,
    /// D of the consensus: within which time a message is assumed to arrive. Default 500 ms.
    pub hop_bound: Span,
    /// How long a leader with nothing to propose waits before it proposes an empty block, so that
    /// deadlines pass. At most `hop_bound`, or the others would give up on the leader. Default 500 ms.
    pub idle_interval: Span,
    /// How long after its parent a leader proposes at the earliest. Default 50 ms.
    pub min_block_interval: Span,
    /// The number of blocks in an epoch (E1). Default 1000.
    pub epoch_length: u64,
    /// For how many epochs after its own a proposal stays open (E6). Default 100.
    pub proposal_epochs: u64,
    /// Whether an authority against which there is evidence leaves at the epoch's end (E3). Default
    /// true.
    pub evidence_removes: bool,
    /// How many admissions one authority can make in an epoch (A6). Each costs nothing and leaves an account
    /// for good. Default 100.
    pub max_admissions: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            fee_flat: Amount::ZERO,
            fee_per_byte: Amount::ZERO,
            claim_margin: Span::new(600 * SECOND_MS),
            min_challenge: Span::new(60 * SECOND_MS),
            max_challenge: Span::new(7 * DAY_MS),
            max_installments: InstallmentCount::new(1000).unwrap_or(InstallmentCount::ONE),
            max_open_requests: 16,
            max_bids: 256,
            max_window: Span::new(2 * DAY_MS),
            max_lead: Span::new(30 * DAY_MS),
            max_skew: Span::new(500),
            max_block_transactions: 4096,
            max_block_bytes: 2 * 1024 * 1024,
            state_tree_depth: 20,
            hop_bound: Span::new(500),
            idle_interval: Span::new(500),
            min_block_interval: Span::new(50),
            epoch_length: 1000,
            proposal_epochs: 100,
            evidence_removes: true,
            max_admissions: 100,
        }
    }
}

/// A parameter that no chain can work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name} is {value}, but it must be {rule}")]
pub struct BadParam {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What holds for it.
    pub rule: String,
}

impl Params {
    /// Checks that a chain can work with these.
    ///
    /// # Errors
    /// [`BadParam`] for the first that it cannot.
    pub fn validate(&self) -> Result<(), BadParam> {
        let within = |name, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(BadParam { name, value, rule: format!("{low} to {high}") })
        };
        // The long bound keeps each sum of a block time and a few spans far from overflow.
        let year_ms = DAY_MS.saturating_mul(366);
        within("claim_margin", self.claim_margin.get(), 0, year_ms)?;
        within("max_challenge", self.max_challenge.get(), 1, year_ms)?;
        within("min_challenge", self.min_challenge.get(), 1, self.max_challenge.get())?;
        within("max_open_requests", self.max_open_requests.into(), 1, 65_536)?;
        within("max_bids", self.max_bids.into(), 1, MAX_BIDS.into())?;
        within("max_window", self.max_window.get(), 1, year_ms)?;
        within("max_lead", self.max_lead.get(), 1, year_ms)?;
        // Or nobody could claim in time: a block may be ahead of every clock by the skew (T5 of the session).
        let longest_skew = HOUR_MS.min(self.claim_margin.get() / 4);
        if self.max_skew.get() > longest_skew {
            let rule = format!("at most {longest_skew}: an hour, and a quarter of claim_margin");
            return Err(BadParam { name: "max_skew", value: self.max_skew.get(), rule });
        }
        within(
            "max_block_transactions",
            self.max_block_transactions.into(),
            1,
            MAX_BLOCK_TRANSACTIONS.into(),
        )?;
        let longest = crate::transaction::MAX_TRANSACTION_BYTES as u64;
        within("max_block_bytes", self.max_block_bytes.into(), longest, MAX_BLOCK_BYTES.into())?;
        within("hop_bound", self.hop_bound.get(), 1, HOUR_MS)?;
        within("idle_interval", self.idle_interval.get(), 1, self.hop_bound.get())?;
        within("min_block_interval", self.min_block_interval.get(), 0, self.idle_interval.get())?;
        within("epoch_length", self.epoch_length, MIN_EPOCH_LENGTH, MAX_EPOCH_LENGTH)?;
        within("proposal_epochs", self.proposal_epochs, 1, MAX_PROPOSAL_EPOCHS)?;
        within("max_admissions", self.max_admissions.into(), 1, MAX_ADMISSIONS.into())
    }
}
