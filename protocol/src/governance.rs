//! What the authorities can change together.

use serde::{Deserialize, Serialize};

use crate::crypto::PublicKey;
use crate::params::Params;
use crate::payment::InstallmentCount;
use crate::primitives::{Amount, Span};
use crate::state::account::Roles;
use crate::tagged_enum;

/// How many of one authority's proposals can be open at a time (D3).
pub const MAX_OPEN_PROPOSALS: usize = 4;

/// One change of who runs the chain, how, or of who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The key becomes an authority.
    AddAuthority(PublicKey),
    /// The key is no authority any more.
    RemoveAuthority(PublicKey),
    /// A parameter gets another value.
    SetParam(ParamChange),
    /// A participant's standing becomes another, at once (D6).
    Standing(StandingChange),
}

tagged_enum!(Change {
    0 => AddAuthority(PublicKey),
    1 => RemoveAuthority(PublicKey),
    2 => SetParam(ParamChange),
    3 => Standing(StandingChange),
});

/// A participant's new standing: what takes from it, or gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingChange {
    /// The account is shut out. It can still settle what is open, and withdraw its balance.
    Revoke {
        /// Whose.
        account: PublicKey,
        /// Its withdrawal account, if it has none.
        withdraw_to: Option<PublicKey>,
    },
    /// The account has exactly these roles, be they fewer than before. It is how a revoked one comes back.
    SetRoles {
        /// Whose.
        account: PublicKey,
        /// Its roles; with none it holds and sends money only.
        roles: Roles,
    },
}

tagged_enum!(StandingChange {
    0 => Revoke { account: PublicKey, withdraw_to: Option<PublicKey> },
    1 => SetRoles { account: PublicKey, roles: Roles },
});

impl StandingChange {
    /// Whose standing changes.
    pub const fn account(&self) -> PublicKey {
        match self {
            Self::Revoke { account, .. } | Self::SetRoles { account, .. } => *account,
        }
    }
}

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
    19 => MaxAdmissions(u32) sets max_admissions,
);
