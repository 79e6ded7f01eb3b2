//! How long before a deadline a side must act, from how fast the chain is (T4, T5).

use crate::params::Params;
use crate::primitives::Span;

use super::producer::ProducerPolicy;

/// The usual `settle_lead` where the chain's claim margin leaves room for it.
const USUAL_SETTLE_LEAD_MS: u64 = 30_000;

/// How many blocks a transaction is given to get into one.
const BLOCKS: u64 = 2;

/// Leads that an operator wishes; none for what suits the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WantedLeads {
    /// See [`ProducerPolicy::claim_lead`].
    pub claim: Option<Span>,
    /// See [`ProducerPolicy::settle_lead`].
    pub settle: Option<Span>,
}

/// Leads with which a producer collects in time on a chain that is as fast as was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margins {
    /// How long it takes at most until a transaction counts (T4).
    pub reaction: Span,
    /// See [`ProducerPolicy::settle_lead`].
    pub settle_lead: Span,
    /// See [`ProducerPolicy::claim_lead`].
    pub claim_lead: Span,
}

/// Margins that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMargins {
    /// A claim sent then could come too late.
    #[error(
        "a settle lead of {settle_lead} is too short for this chain: a transaction takes up to {reaction} to count. \
         Choose at least that"
    )]
    SettleLead {
        /// What was wished.
        settle_lead: Span,
        /// The least.
        reaction: Span,
    },
    /// An installment would be taken that is to be claimed already.
    #[error("the claim lead of {claim_lead} must be longer than the settle lead of {settle_lead}")]
    ClaimLead {
        /// What was wished.
        claim_lead: Span,
        /// What it must exceed.
        settle_lead: Span,
    },
    /// Installments would be late before they are due.
    #[error(
        "a claim lead of {claim_lead} does not fit into this chain's claim margin of {claim_margin}: it is at most \
         {longest}. Choose less, or have the authorities raise claim_margin"
    )]
    ClaimMargin {
        /// What was wished, or follows from how slow the chain is.
        claim_lead: Span,
        /// The most.
        longest: Span,
        /// The parameter.
        claim_margin: Span,
    },
}

/// How long it takes at most, by block time, from sending a transaction until it is in a block (T4).
/// `finality` is how long most blocks take until they are known as final.
pub fn reaction(params: &Params, finality: Span) -> Span {
    params.max_skew.saturating_add(Span::new(finality.get().saturating_mul(BLOCKS)))
}

impl Margins {
    /// What is wished, or else what suits a chain with these parameters that is as fast as `finality`
    /// says (T5).
    ///
    /// # Errors
    /// [`BadMargins`] where a claim could come too late.
    pub fn choose(params: &Params, finality: Span, wanted: WantedLeads) -> Result<Self, BadMargins> {
        let reaction = reaction(params, finality);
        let claim_margin = params.claim_margin;
        let comfortable = Span::new(USUAL_SETTLE_LEAD_MS.min(claim_margin.get() / 4)).max(reaction);
        let settle_lead = match wanted {
            WantedLeads { settle: Some(settle), .. } => settle,
            WantedLeads { claim: Some(claim), .. } => Span::new(claim.get() / 2),
            _ => comfortable,
        };
        let claim_lead = wanted.claim.unwrap_or(Span::new(settle_lead.get().saturating_mul(2)));
        if settle_lead < reaction {
            return Err(BadMargins::SettleLead { settle_lead, reaction });
        }
        if claim_lead <= settle_lead {
            return Err(BadMargins::ClaimLead { claim_lead, settle_lead });
        }
        // T3
        let longest = Span::new(claim_margin.get().saturating_mul(2) / 3);
        if claim_lead > longest {
            return Err(BadMargins::ClaimMargin { claim_lead, longest, claim_margin });
        }
        Ok(Self { reaction, settle_lead, claim_lead })
    }

    /// The same where sessions run that must be ended as well as can be: what cannot be kept is not
    /// refused.
    pub fn at_best(params: &Params, finality: Span) -> Self {
        let reaction = reaction(params, finality);
        let doubled = Span::new(reaction.get().saturating_mul(2));
        Self::choose(params, finality, WantedLeads::default()).unwrap_or(Self {
            reaction,
            settle_lead: reaction,
            claim_lead: doubled,
        })
    }
}

impl ProducerPolicy {
    /// The same with these margins.
    #[must_use]
    pub fn with_margins(self, margins: Margins) -> Self {
        let Margins { reaction, settle_lead, claim_lead } = margins;
        // T3
        let least_patience = Span::new(claim_lead.get().saturating_mul(3));
        let release_timeout = self.release_timeout.max(least_patience);
        Self { claim_lead, settle_lead, reaction, release_timeout, ..self }
    }
}
