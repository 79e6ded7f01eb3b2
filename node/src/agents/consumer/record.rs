//! What a consumer's journal holds.

use evchain_protocol::codec::{Decode, Encode};
use evchain_protocol::commitment::Opening;
use evchain_protocol::crypto::PublicKey;
use evchain_protocol::primitives::{Amount, TxRef};
use evchain_protocol::session::{ConsumerRecord, PaymentKind, Secrets};
use evchain_protocol::state::auction::MAX_CONTACT_BYTES;
use evchain_protocol::tagged_enum;
use evchain_protocol::text::Text;
use evchain_protocol::transaction::SignedTransaction;

use crate::agents::report::Phase;

/// A record of a charge with one fresh key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // a few in a charge
pub(in crate::agents) enum ChargeRecord {
    /// It began.
    Started(Started),
    /// This transaction is about to be sent: the same bytes are sent again after a crash, so that
    /// nothing is ever done twice.
    Sending(Sending),
    /// That transaction is final.
    Final(Landed),
    /// The bid is chosen. Stands before the commitment and the locks, which hang on its secrets.
    Decided(Decision),
    /// The session's own.
    Session(ConsumerRecord),
}

tagged_enum!(ChargeRecord {
    0 => Started(Started),
    1 => Sending(Sending),
    2 => Final(Landed),
    3 => Decided(Decision),
    4 => Session(ConsumerRecord),
});

/// Whose charge it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(in crate::agents) struct Started {
    /// The wallet's index of the fresh key.
    pub(in crate::agents) key_index: u64,
    /// zeta.
    pub(in crate::agents) consumer: PublicKey,
}

/// A transaction on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(in crate::agents) struct Sending {
    pub(in crate::agents) step: Step,
    pub(super) transaction: SignedTransaction,
}

/// A transaction that is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(in crate::agents) struct Landed {
    pub(in crate::agents) step: Step,
    pub(in crate::agents) place: TxRef,
    pub(super) fee: Amount,
}

/// The transactions that a charge takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agents) enum Step {
    /// The fresh key gets money.
    Fund,
    /// The request.
    Request,
    /// The commitment.
    Commit,
    /// The price is locked.
    Pay,
    /// What is left goes back.
    Sweep,
    /// The single lock of one installment.
    Lock(u32),
    /// What the session put on the chain to settle, by its place. It stands here for its fee alone.
    Settle(TxRef),
}

tagged_enum!(Step {
    0 => Fund,
    1 => Request,
    2 => Commit,
    3 => Pay,
    4 => Sweep,
    5 => Lock(u32),
    6 => Settle(TxRef),
});

/// The bid chosen, and the secrets that go with it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(in crate::agents) struct Decision {
    pub(in crate::agents) opening: Opening,
    pub(in crate::agents) kind: PaymentKind,
    /// N.
    pub(in crate::agents) installments: u32,
    pub(super) secrets: Secrets,
    /// Where the producer takes sessions.
    pub(super) contact: Text<MAX_CONTACT_BYTES>,
    /// What the station gives, if it says so.
    pub(super) power_w: Option<u32>,
    pub(super) distance_m: u64,
    /// What the producer's track record said.
    pub(super) doubt_permille: u64,
}

impl Step {
    /// What is sent, in words.
    pub(in crate::agents) const fn name(self) -> &'static str {
        match self {
            Self::Fund => "money to the fresh key",
            Self::Request => "the request",
            Self::Commit => "the commitment",
            Self::Pay => "the payment",
            Self::Sweep => "what is left",
            Self::Lock(_) => "a single lock",
            Self::Settle(_) => "the settlement",
        }
    }

    /// For which phase it is.
    pub(super) const fn phase(self) -> Phase {
        match self {
            Self::Fund => Phase::Funding,
            Self::Request => Phase::Exploration,
            Self::Commit => Phase::Evaluation,
            Self::Pay | Self::Lock(_) => Phase::Deposit,
            Self::Settle(_) => Phase::Settlement,
            Self::Sweep => Phase::Sweep,
        }
    }
}
