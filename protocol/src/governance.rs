//! What the authorities can change together.

use serde::{Deserialize, Serialize};

use crate::crypto::PublicKey;
use crate::params::Params;
use crate::payment::InstallmentCount;
use crate::primitives::{Amount, Span};
use crate::tagged_enum;

/// How many of one authority's proposals can be open at a time (D3).
pub const MAX_OPEN_PROPOSALS: usize = 4;

/// One change of who runs the chain, or how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The key becomes an authority.
    AddAuthority(PublicKey),
    /// The key is no authority any more.
    RemoveAuthority(PublicKey),
    /// A parameter gets another value.
    SetParam(ParamChange),
}

tagged_enum!(Change { 0 => AddAuthority(PublicKey), 1 => RemoveAuthority(PublicKey), 2 => SetParam(ParamChange) });

macro_rules! param_changes {
    ($($tag:literal => $variant:ident($kind:ty) sets $field:ident),+ $(,)?) => {
        /// A parameter's new value. The depth of the state's tree is not among them: to change it is
        /// to build the tree anew.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "name", content = "value", rename_all = "snake_case")]
        #[allow(missing_docs)] // each is described in `Params`
        pub enum ParamChange {
            $($variant($kind)),+
        }

        tagged_enum!(ParamChange { $($tag => $variant($kind)),+ });

        impl ParamChange {
            /// The names of the parameters that can change.
            pub const NAMES: &[&str] = &[$(stringify!($field)),+];

            /// The parameter's name in JSON.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($field)),+
                }
            }

            /// Makes the change.
            pub fn apply_to(self, params: &mut Params) {
                match self {
                    $(Self::$variant(value) => params.$field = value),+
                }
            }
        }
    };
}

param_changes!(
    0 => FeeFlat(Amount) sets fee_flat,
    1 => FeePerByte(Amount) sets fee_per_byte,
    2 => ClaimMargin(Span) sets claim_margin,
    3 => MinChallenge(Span) sets min_challenge,
    4 => MaxChallenge(Span) sets max_challenge,
    5 => MaxInstallments(InstallmentCount) sets max_installments,
    6 => MaxOpenRequests(u32) sets max_open_requests,
    7 => MaxBids(u32) sets max_bids,
    8 => MaxWindow(Span) sets max_window,
    9 => MaxLead(Span) sets max_lead,
    10 => MaxSkew(Span) sets max_skew,
    11 => MaxBlockTransactions(u32) sets max_block_transactions,
    12 => MaxBlockBytes(u32) sets max_block_bytes,
    13 => HopBound(Span) sets hop_bound,
    14 => IdleInterval(Span) sets idle_interval,
    15 => MinBlockInterval(Span) sets min_block_interval,
    16 => EpochLength(u64) sets epoch_length,
    17 => ProposalEpochs(u64) sets proposal_epochs,
    18 => EvidenceRemoves(bool) sets evidence_removes,
);
