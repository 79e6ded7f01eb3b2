//! Goal: leads chosen from how fast a chain is let everything be collected in time, and leads that
//! cannot do that are refused (T3 to T5, O7).
//! Method: all combinations of claim margins, skews and measured finality; limits from both sides.

use evchain_protocol::params::Params;
use evchain_protocol::primitives::Span;
use evchain_protocol::session::{
    BadMargins, Margins, PaymentKind, ProducerPolicy, RejectReason, WantedLeads, check_open, reaction,
};

use crate::deal::{CHALLENGE, Deal, START, Shape};

const MS: fn(u64) -> Span = Span::new;
const NONE: WantedLeads = WantedLeads { claim: None, settle: None };

fn params(claim_margin: u64, max_skew: u64) -> Params {
    Params { claim_margin: MS(claim_margin), max_skew: MS(max_skew), ..Params::default() }
}

#[test]
fn what_is_chosen_fits_into_the_claim_margin() {
    let (mut chosen, mut refused) = (0, 0);
    for claim_margin in [0, 1_000, 6_000, 30_000, 600_000, 86_400_000] {
        for max_skew in [0, 500, 10_000] {
            for finality in [0, 15, 600, 2_000, 60_000, 3_600_000] {
                let params = params(claim_margin, max_skew);
                let needed = max_skew + 2 * finality;
                match Margins::choose(&params, MS(finality), NONE) {
                    Ok(Margins { reaction, settle_lead, claim_lead }) => {
                        chosen += 1;
                        assert_eq!(reaction, MS(needed));
                        assert!(reaction <= settle_lead && settle_lead < claim_lead);
                        assert!(claim_lead.get() <= claim_margin * 2 / 3);
                    }
                    Err(BadMargins::ClaimMargin { .. }) => {
                        refused += 1;
                        assert!(2 * needed > claim_margin * 2 / 3, "{params:?} would do for {finality}");
                    }
                    Err(error) => {
                        // Nothing is ahead of nothing.
                        refused += 1;
                        assert!(claim_margin == 0 && needed == 0, "{error}");
                    }
                }
            }
        }
    }
    assert!(chosen > 30 && refused > 30, "{chosen} chosen, {refused} refused");
}

#[test]
fn with_the_usual_parameters_there_is_time() {
    let margins = Margins::choose(&Params::default(), MS(515), NONE).unwrap();
    let expected = Margins { reaction: MS(1_530), settle_lead: MS(30_000), claim_lead: MS(60_000) };
    assert_eq!(margins, expected);
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    let params = params(30_000, 500);
    let choose = |claim: Option<u64>, settle: Option<u64>| {
        Margins::choose(&params, MS(1_000), WantedLeads { claim: claim.map(MS), settle: settle.map(MS) })
    };
    assert_eq!(choose(None, Some(2_500)).unwrap().claim_lead, MS(5_000));
    assert_eq!(choose(Some(8_000), None).unwrap().settle_lead, MS(4_000));
    assert_eq!(
        choose(None, Some(2_499)),
        Err(BadMargins::SettleLead { settle_lead: MS(2_499), reaction: MS(2_500) })
    );
    assert_eq!(
        choose(Some(3_000), Some(3_000)),
        Err(BadMargins::ClaimLead { claim_lead: MS(3_000), settle_lead: MS(3_000) })
    );
    assert_eq!(choose(Some(20_000), Some(3_000)).unwrap().claim_lead, MS(20_000));
    assert_eq!(
        choose(Some(20_001), Some(3_000)),
        Err(BadMargins::ClaimMargin {
            claim_lead: MS(20_001),
            longest: MS(20_000),
            claim_margin: MS(30_000)
        })
    );
}

#[test]
fn a_producer_waits_longer_than_a_link_can_be_held_back() {
    for finality in [15, 10_000, 60_000] {
        let margins = Margins::at_best(&Params::default(), MS(finality));
        let policy = ProducerPolicy::default().with_margins(margins);
        assert!(policy.release_timeout.get() > 2 * policy.claim_lead.get(), "{policy:?}");
        assert!(policy.settle_lead >= policy.reaction && policy.settle_lead < policy.claim_lead);
    }
}

#[test]
fn a_channel_that_ends_before_it_can_be_answered_is_refused() {
    let deal = Deal::new(Shape::new(PaymentKind::Channel, 10));
    let open = |reaction: u64| {
        let policy = ProducerPolicy { reaction: MS(reaction), ..ProducerPolicy::default() };
        let (own, remote) = (deal.producer.public_key(), deal.consumer.public_key());
        check_open(own, remote, &deal.open, &deal.facts, &policy, START).map(drop)
    };
    assert!(open(CHALLENGE.get()).is_ok());
    let longer = CHALLENGE.get() + 1;
    assert_eq!(open(longer), Err(RejectReason::ChallengeTooShort(MS(longer))));
}

#[test]
fn blocks_that_may_be_far_ahead_need_a_claim_margin_to_match() {
    assert!(params(2_000, 500).validate().is_ok());
    let error = params(1_999, 500).validate().unwrap_err();
    assert_eq!(error.name, "max_skew");
    assert!(error.rule.contains("claim_margin"), "{error}");
    assert_eq!(reaction(&params(2_000, 500), MS(0)), MS(500));
}
