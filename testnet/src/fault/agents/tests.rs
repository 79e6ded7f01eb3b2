//! Goal: every record has its case, a seed repeats them, a loss is seen where there is one, and so is energy
//! that nobody got.
//! Method: the plan is compared with what journals of real sessions held; entries and ends made by hand are judged.

use std::collections::BTreeSet;

use evchain_node::agents::sessions::{EntryState, SessionEntry, Side};
use evchain_protocol::primitives::{Amount, Energy, TxRef};
use evchain_protocol::session::PaymentKind;

use super::case::Ended;
use super::fates::wrong_fates;
use super::journals::{complete_records, last_record};
use super::judge::{Fate, loss};
use super::plan::{Case, Cases, Victim};

fn records(cases: &[Case], kind: PaymentKind, count: u32, victim: Victim, side: Side) -> Vec<u32> {
    let is_one =
        |case: &&Case| (case.kind, case.count, case.victim, case.moment.side) == (kind, count, victim, side);
    let mut records: Vec<u32> = cases.iter().filter(is_one).map(|case| case.moment.records).collect();
    records.sort_unstable();
    records
}

#[test]
fn every_record_of_a_short_session_has_its_case() {
    let cases = Cases::All.of(1);
    // What undisturbed sessions wrote: the kind, N, and the records of consumer and producer.
    let seen = [
        (PaymentKind::Channel, 2, 19, 7),
        (PaymentKind::Chain, 1, 18, 5),
        (PaymentKind::Chain, 2, 20, 8),
        (PaymentKind::Hashes, 2, 20, 8),
        (PaymentKind::Single, 2, 23, 9),
    ];
    for (kind, count, bought, sold) in seen {
        let of = |victim, side| records(&cases, kind, count, victim, side);
        assert_eq!(of(Victim::Consumer, Side::Buys), (0..=bought).collect::<Vec<_>>());
        assert_eq!(of(Victim::Both, Side::Buys), (1..=bought).collect::<Vec<_>>());
        assert_eq!(of(Victim::Producer, Side::Sells), (1..=sold).collect::<Vec<_>>());
        assert_eq!(of(Victim::Consumer, Side::Sells), Vec::<u32>::new());
    }
    let numbers: BTreeSet<usize> = cases.iter().map(|case| case.number).collect();
    assert_eq!(numbers, (1..=cases.len()).collect());
    assert!(cases.iter().any(|case| case.count == 100));
}

#[test]
fn a_seed_repeats_its_cases() {
    assert_eq!(Cases::Sample(50).of(7), Cases::Sample(50).of(7));
    assert_ne!(Cases::Sample(50).of(7), Cases::Sample(50).of(8));
    let sample = Cases::Sample(50).of(7);
    assert_eq!(sample.len(), 50);
    let case = sample.last().expect("fifty");
    assert_eq!(Cases::One(case.number).of(7), vec![case.clone()]);
    assert_eq!(Cases::One(0).of(7), Vec::new());
    let is_quick =
        |case: &Case| matches!(case.kind, PaymentKind::Channel | PaymentKind::Chain) && case.count < 100;
    assert!(Cases::Quick(30).of(7).iter().all(is_quick));
}

#[test]
fn records_are_counted_as_far_as_they_are_complete() {
    let mut bytes = b"evjrnl1\n".to_vec();
    assert_eq!(complete_records(&bytes), 0);
    for content in [&b"one"[..], b"seven"] {
        bytes.extend(u32::try_from(content.len()).expect("short").to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(content);
    }
    assert_eq!(complete_records(&bytes), 2);
    assert_eq!(complete_records(&bytes[..bytes.len() - 1]), 1);
    assert_eq!(complete_records(b"evj"), 0);
}

/// A session of ten installments of EUR 0.0010 each.
fn entry(side: Side, released: u32, delivered: u32) -> SessionEntry {
    SessionEntry {
        name: "key-1".to_owned(),
        side,
        state: EntryState::Over,
        stage: "charging".to_owned(),
        consumer: None,
        producer: None,
        request: None,
        payment: Some(TxRef::MIN),
        paid_by: Some(PaymentKind::Chain),
        window: None,
        price: Some(Amount::new(100)),
        installments: Some(10),
        released,
        amount: Amount::new(u64::from(released) * 10),
        delivered,
        energy: Energy::ZERO,
        receipt: false,
    }
}

#[test]
fn a_loss_of_either_side_is_seen() {
    let bought = |delivered| vec![entry(Side::Buys, delivered, delivered)];
    let sold = |delivered| vec![entry(Side::Sells, delivered, delivered)];
    let lost = |bought: &[_], sold: &[_], got| loss(bought, sold, Amount::new(got)).is_some();
    assert!(!lost(&bought(3), &sold(3), 30));
    // One installment may be on its way.
    assert!(!lost(&bought(3), &sold(4), 40));
    assert!(lost(&bought(3), &sold(3), 41));
    assert!(lost(&bought(4), &sold(4), 39));
    // The last installment has no successor.
    assert!(!lost(&bought(10), &sold(10), 100));
    assert!(lost(&bought(10), &sold(10), 101));
    // What the consumer has counts where the producer's journal is lost.
    assert!(!lost(&bought(4), &[], 40));
    assert!(lost(&bought(4), &[], 39));
    // Nothing was locked.
    assert!(!lost(&[], &[], 0));
    assert!(lost(&[], &[], 1));
    assert!(lost(&[], &sold(1), 0));
    // What was skipped is not owed.
    let skipped = |side| [SessionEntry { amount: Amount::new(20), ..entry(side, 5, 5) }];
    assert!(!lost(&skipped(Side::Buys), &skipped(Side::Sells), 20));
    assert!(lost(&skipped(Side::Buys), &skipped(Side::Sells), 19));
}

/// Thirty ends of these fates in turn.
fn ends(kills: u64, fates: &[Fate], refusal: Option<&str>) -> Vec<Ended> {
    let cases = Cases::Quick(30).of(1).into_iter();
    cases
        .zip(fates.iter().cycle())
        .map(|(case, fate)| Ended {
            case,
            kills,
            struck_after: None,
            fate: Some(*fate),
            refusal: refusal.map(str::to_owned),
            failures: Vec::new(),
        })
        .collect()
}

#[test]
fn energy_that_nobody_got_is_seen() {
    use Fate::{Charged, GivenUp, InPart, NotServed};
    let wrong = |kills, fates: &[Fate], refusal| wrong_fates(&ends(kills, fates, refusal));
    assert_eq!(wrong(1, &[Charged, InPart, GivenUp], None), Vec::<String>::new());
    assert_eq!(wrong(0, &[Charged], None), Vec::<String>::new());
    assert_eq!(wrong(0, &[Charged, Charged, GivenUp], None).len(), 1);
    // Killed or not, all of them without energy is no good end.
    assert_eq!(wrong(1, &[GivenUp], None), ["of 30 pairs, 0 have got energy"]);
    assert_eq!(wrong(1, &[NotServed], Some("sold out")), ["of 30 pairs, 0 have got energy"]);
    let silent = wrong(1, &[Charged, NotServed], None);
    assert_eq!(silent.len(), 15);
    assert!(silent.iter().all(|wrong| wrong.contains("nobody said why")), "{silent:?}");
    assert_eq!(wrong(1, &[Charged, NotServed], Some("sold out")), Vec::<String>::new());
    assert_eq!(wrong_fates(&ends(0, &[GivenUp], None)[..1]).len(), 1);
    // One alone that was hit says nothing about all.
    assert_eq!(wrong_fates(&ends(1, &[GivenUp], None)[..1]), Vec::<String>::new());
}

#[test]
fn the_last_record_is_named() {
    assert_eq!(last_record(&[]), "no journal yet");
    assert_eq!(last_record(&[entry(Side::Buys, 3, 2)]), "an installment is released");
    assert_eq!(last_record(&[entry(Side::Buys, 3, 3)]), "an installment is delivered");
    assert_eq!(last_record(&[entry(Side::Buys, 0, 0)]), "the session is accepted");
    let stage = |stage: &str| SessionEntry { stage: stage.to_owned(), ..entry(Side::Sells, 3, 3) };
    assert_eq!(last_record(&[stage("3 installments are settled")]), "the chain has settled");
    assert_eq!(last_record(&[stage("sends the request")]), "sends the request");
}
