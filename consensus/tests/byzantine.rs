//! Goal: up to f authorities may do whatever they like (scenarios 11 to 13, 30).
//! Method: simulated clusters in which f authorities run each behaviour of `sim::byzantine`; besides,
//! runs with random faults of all kinds, and the digests of equal seeds.

mod common;

use common::{passes, seeds};
use evchain_consensus::sim::byzantine::{
    BadBody, Behaviour, BodySpoiler, BogusJustification, CopyForger, DeliversToOne, Equivocator, FarFinality,
    Flooder, Forker, SignsEverything, Spoiler, Withholder,
};
use evchain_consensus::sim::{random, scenarios};

fn tolerates(behaviour: &(impl Behaviour + Clone + 'static)) {
    for authorities in [4, 7] {
        passes(5, |seed| scenarios::tolerates(seed, authorities, behaviour));
    }
}

/// Scenario 11: two or three blocks in a view, to overlapping halves.
#[test]
fn equivocating_leader() {
    tolerates(&Equivocator);
}

/// Scenario 12: votes for everything.
#[test]
fn signs_everything() {
    tolerates(&SignsEverything::default());
}

/// Scenario 12: keeps certificates and bodies to itself.
#[test]
fn withholds_certificates() {
    tolerates(&Withholder);
}

/// Scenario 12: tells everything to one node only.
#[test]
fn delivers_to_one_node() {
    tolerates(&DeliversToOne);
}

/// Scenario 13: justifications with a certificate missing, repeated or forged.
#[test]
fn bogus_justification() {
    tolerates(&BogusJustification);
}

/// Scenario 13: blocks beside their parent, without the nullifications that this takes.
#[test]
fn forks_off_the_parent() {
    tolerates(&Forker::default());
}

/// Scenario 13: the same while nothing can become final, so that what is left out is still open.
#[test]
fn forks_before_anything_is_final() {
    passes(8, scenarios::forks_before_anything_is_final);
}

/// Scenario 13: the same where no justification reaches back to what is left out (N5).
#[test]
fn forks_over_more_skips_than_fit() {
    passes(2, scenarios::forks_over_more_skips_than_fit);
}

/// Scenario 23: votes for views far ahead take no memory.
#[test]
fn floods_of_far_votes() {
    tolerates(&Flooder::default());
}

/// A payload that is not the header's says nothing about the block: it is fetched elsewhere.
#[test]
fn bodies_that_are_not_the_headers() {
    tolerates(&BadBody);
}

/// N1: a node passes on at once what others propose, with another payload; nobody blames the leader.
#[test]
fn spoiled_proposals() {
    tolerates(&Spoiler::default());
}

/// S7: a node answers who catches up with a finalization far ahead and no blocks.
#[test]
fn finalizations_without_blocks() {
    tolerates(&FarFinality::default());
}

/// A2, W4: forged copies of certificates, alone and by the dozen, and votes with bad signatures.
#[test]
fn forged_copies() {
    tolerates(&CopyForger::default());
}

/// S5, S8: final blocks with spoiled payloads, sent unasked and in answers.
#[test]
fn spoiled_bodies() {
    tolerates(&BodySpoiler::default());
    passes(4, scenarios::a_spoiler_keeps_nobody_behind);
}

/// S8: who tells of every finalization first and answers nothing.
#[test]
fn silent_tellers() {
    for tells_one_only in [false, true] {
        passes(4, |seed| scenarios::a_silent_teller_keeps_nobody_behind(seed, tells_one_only));
    }
}

/// Random faults of all kinds; the seed that fails is named.
fn random_faults(odd: bool) {
    for seed in seeds(300).into_iter().filter(|seed| (seed % 2 == 1) == odd) {
        let report = random::run(seed);
        if let Some(violation) = report.violation {
            panic!("EVCHAIN_SEED={seed}: {violation} ({})", report.summary);
        }
    }
}

#[test]
fn random_faults_of_odd_seeds() {
    random_faults(true);
}

#[test]
fn random_faults_of_even_seeds() {
    random_faults(false);
}

/// Scenario 30: the same seed gives the same trace, another one another.
#[test]
fn equal_seeds_give_equal_traces() {
    for seed in seeds(5) {
        let digest = random::run(seed).digest;
        assert_eq!(digest, random::run(seed).digest, "EVCHAIN_SEED={seed}");
        assert_ne!(digest, random::run(seed + 1).digest, "EVCHAIN_SEED={seed}");
    }
}
