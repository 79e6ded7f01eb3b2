//! Goal: the scenarios can fail. Whoever breaks one of these rules is told by one of them.
//! Method: each rule is broken on purpose, and a scenario is run with one seed after the other until an
//! invariant fails; with the rule in force, the same seed passes.

use super::{Breakage, with_broken};
use crate::sim::boundaries;
use crate::sim::byzantine::{BogusJustification, Equivocator, Flooder, Slanderer, Spoiler};
use crate::sim::scenarios::{self, Outcome};

/// What notices, and which invariants it may name.
fn catcher(rule: Breakage) -> (fn(u64) -> Outcome, &'static [&'static str]) {
    let random = scenarios::random_faults;
    match rule {
        Breakage::SendBeforePersist => (random, &["I6"]),
        Breakage::SkipGapCheck => (scenarios::forks_before_anything_is_final, &["I1", "I4", "halt"]),
        Breakage::ForgetNullify | Breakage::ForgetVotesAtRestart => (random, &["I5"]),
        Breakage::TrustUnlistedSkips => (scenarios::forks_over_more_skips_than_fit, &["I1", "I4", "halt"]),
        Breakage::IgnoreJustification => (scenarios::justifications_are_enough_to_follow, &["I13"]),
        Breakage::ForgetOwnVotes => (scenarios::all_crash_after_their_nullify, &["I13"]),
        Breakage::QuorumOffByOne => {
            (|seed| scenarios::tolerates(seed, 4, &Equivocator), &["I1", "I2", "I8", "halt"])
        }
        Breakage::CommitBackwards => (random, &["I4", "I8"]),
        Breakage::NeverBackOff => (scenarios::short_timeouts_back_off, &["I13"]),
        Breakage::BackOffForever | Breakage::WaitForLeader => (scenarios::dead_leaders_cost_little, &["I13"]),
        Breakage::TrustCertificates => (|seed| scenarios::tolerates(seed, 4, &BogusJustification), &["I8"]),
        // Not a mutation: the simulator signs for real, so it sees at once that others do not.
        Breakage::NoSignatures => (random, &["I8"]),
        Breakage::FinalizeOtherBlock => (|seed| scenarios::tolerates(seed, 4, &Equivocator), &["I5"]),
        Breakage::ForgetBodies => (random, &["I6", "I7"]),
        Breakage::AccuseUnverified => (|seed| scenarios::tolerates(seed, 4, &Slanderer::default()), &["I12"]),
        Breakage::TakeFarVotes => (|seed| scenarios::tolerates(seed, 4, &Flooder::default()), &["I14"]),
        Breakage::TakeSecondHand => (|seed| scenarios::tolerates(seed, 4, &Spoiler::default()), &["I12"]),
        Breakage::DedupeBySubject | Breakage::CacheBySigner => {
            (|seed| scenarios::tolerates(seed, 4, &BogusJustification), &["I8", "I12"])
        }
        Breakage::AskFirstTeller => {
            (|seed| scenarios::a_silent_teller_keeps_nobody_behind(seed, true), &["I13"])
        }
        _ => at_a_boundary(rule),
    }
}

/// The same for the rules about the end of an epoch.
fn at_a_boundary(rule: Breakage) -> (fn(u64) -> Outcome, &'static [&'static str]) {
    match rule {
        Breakage::LeaveOutAncestors => (boundaries::the_last_block_is_proposed_until_it_is_final, &["I4"]),
        Breakage::BuildAboveLast => (boundaries::the_last_block_is_proposed_until_it_is_final, &["I9"]),
        Breakage::NotarizeAboveLast => (boundaries::goes_beyond_the_epoch, &["I9"]),
        Breakage::NeverProposeAgain => {
            (|seed| boundaries::the_last_block_is_proposed_again(seed, true), &["I13"])
        }
        Breakage::TrustEnvelopes => (boundaries::bogus_envelopes, &["I8"]),
        Breakage::VoteAfterTheEnd => (boundaries::a_slow_handover, &["E3"]),
        Breakage::BelieveAnySet => (boundaries::a_state_that_names_others, &["E3", "I8", "I12"]),
        Breakage::BoundaryNotDurable => (boundaries::a_joiner_across_epochs, &["E3"]),
        Breakage::NeverServeBoundary => (boundaries::who_was_down_at_the_end_asks, &["I13"]),
        Breakage::NeverPushBoundary => (boundaries::the_end_is_pushed, &["I13"]),
        Breakage::NeverAskAhead | Breakage::AskOnlyMembers => {
            (boundaries::the_first_authorities_are_gone, &["I13"])
        }
        Breakage::DropEarly | Breakage::TakeBuiltOfAnyEpoch => {
            (boundaries::a_boundary_costs_no_timeout, &["I13"])
        }
        Breakage::KeepAllEarly => (boundaries::floods_of_early_messages, &["I14"]),
        Breakage::CountNoEnvelopes => (boundaries::floods_of_early_bytes, &["I14"]),
        Breakage::VoteAfterWipe => (boundaries::a_wiped_disk_and_no_company, &["I5"]),
        Breakage::ServeAcrossEpochs => (boundaries::a_joiner_across_epochs, &["I13"]),
        other => unreachable!("{other:?} is no rule about the end of an epoch"),
    }
}

/// Runs the scenario until the broken rule shows.
fn is_caught(rule: Breakage) {
    const SEEDS: u64 = 100;
    let (scenario, invariants) = catcher(rule);
    let found = (1..=SEEDS).find_map(|seed| {
        let violation = with_broken(Some(rule), || scenario(seed)).err()?;
        Some((seed, violation))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{rule:?}: {SEEDS} seeds did not notice"));
    println!("{rule:?}: seed {seed}, {violation}");
    assert!(invariants.contains(&violation.invariant), "{rule:?}: seed {seed} says {violation}");
    assert_eq!(scenario(seed), Ok(()), "seed {seed} fails with every rule in force");
}

#[test]
fn send_before_persist() {
    is_caught(Breakage::SendBeforePersist);
}

#[test]
fn skip_the_gap_check() {
    is_caught(Breakage::SkipGapCheck);
}

#[test]
fn forget_a_nullified_view() {
    is_caught(Breakage::ForgetNullify);
}

#[test]
fn trust_unlisted_skips() {
    is_caught(Breakage::TrustUnlistedSkips);
}

#[test]
fn ignore_justifications() {
    is_caught(Breakage::IgnoreJustification);
}

#[test]
fn forget_own_votes_in_the_pool() {
    is_caught(Breakage::ForgetOwnVotes);
}

#[test]
fn quorum_off_by_one() {
    is_caught(Breakage::QuorumOffByOne);
}

#[test]
fn forget_votes_at_restart() {
    is_caught(Breakage::ForgetVotesAtRestart);
}

#[test]
fn commit_backwards() {
    is_caught(Breakage::CommitBackwards);
}

#[test]
fn never_back_off() {
    is_caught(Breakage::NeverBackOff);
}

#[test]
fn back_off_forever() {
    is_caught(Breakage::BackOffForever);
}

#[test]
fn trust_certificates() {
    is_caught(Breakage::TrustCertificates);
}

#[test]
fn no_signatures() {
    is_caught(Breakage::NoSignatures);
}

#[test]
fn finalize_another_block() {
    is_caught(Breakage::FinalizeOtherBlock);
}

#[test]
fn forget_bodies() {
    is_caught(Breakage::ForgetBodies);
}

#[test]
fn wait_for_leaders_forever() {
    is_caught(Breakage::WaitForLeader);
}

#[test]
fn accuse_unverified() {
    is_caught(Breakage::AccuseUnverified);
}

#[test]
fn take_votes_far_ahead() {
    is_caught(Breakage::TakeFarVotes);
}

#[test]
fn take_proposals_second_hand() {
    is_caught(Breakage::TakeSecondHand);
}

#[test]
fn dedupe_certificates_by_subject() {
    is_caught(Breakage::DedupeBySubject);
}

#[test]
fn cache_signatures_by_signer() {
    is_caught(Breakage::CacheBySigner);
}

#[test]
fn leave_out_ancestors() {
    is_caught(Breakage::LeaveOutAncestors);
}

#[test]
fn build_above_the_last_block() {
    is_caught(Breakage::BuildAboveLast);
}

#[test]
fn notarize_above_the_last_block() {
    is_caught(Breakage::NotarizeAboveLast);
}

#[test]
fn take_what_was_built_for_another_epoch() {
    is_caught(Breakage::TakeBuiltOfAnyEpoch);
}

#[test]
fn never_propose_the_last_block_again() {
    is_caught(Breakage::NeverProposeAgain);
}

#[test]
fn trust_envelopes() {
    is_caught(Breakage::TrustEnvelopes);
}

#[test]
fn vote_after_the_end() {
    is_caught(Breakage::VoteAfterTheEnd);
}

#[test]
fn believe_any_set() {
    is_caught(Breakage::BelieveAnySet);
}

#[test]
fn boundary_not_durable() {
    is_caught(Breakage::BoundaryNotDurable);
}

#[test]
fn never_serve_the_boundary() {
    is_caught(Breakage::NeverServeBoundary);
}

#[test]
fn never_push_the_boundary() {
    is_caught(Breakage::NeverPushBoundary);
}

#[test]
fn never_ask_who_is_ahead() {
    is_caught(Breakage::NeverAskAhead);
}

#[test]
fn drop_early_messages() {
    is_caught(Breakage::DropEarly);
}

#[test]
fn keep_all_early_messages() {
    is_caught(Breakage::KeepAllEarly);
}

#[test]
fn vote_after_a_wipe() {
    is_caught(Breakage::VoteAfterWipe);
}

#[test]
fn serve_across_epochs() {
    is_caught(Breakage::ServeAcrossEpochs);
}

#[test]
fn ask_only_members() {
    is_caught(Breakage::AskOnlyMembers);
}

#[test]
fn ask_the_first_teller() {
    is_caught(Breakage::AskFirstTeller);
}

#[test]
fn count_no_envelopes() {
    is_caught(Breakage::CountNoEnvelopes);
}
