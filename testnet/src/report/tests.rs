//! Goal: percentiles, tables and the audit's verdicts are right.
//! Method: small values whose results are known.

use evchain_protocol::crypto::{Hash, Purpose};
use evchain_protocol::primitives::{Amount, Height};

use super::{Audit, Samples, Table, ValidatorAudit};

#[test]
fn percentiles_are_samples() {
    let mut samples = Samples::default();
    assert_eq!(samples.figures(), None);
    for sample in (1..=200).rev() {
        samples.add(sample);
    }
    let figures = samples.figures().unwrap();
    assert_eq!((figures.count, figures.p50_ms, figures.p99_ms, figures.max_ms), (200, 100, 198, 200));
    let mut one = Samples::default();
    one.add(7);
    let figures = one.figures().unwrap();
    assert_eq!((figures.p50_ms, figures.p99_ms), (7, 7));
}

#[test]
fn table_is_aligned_by_characters() {
    let mut table = Table::new(["kind", "count"]);
    table.row(["Dürr".to_owned(), "10".to_owned()]);
    table.row(["x".to_owned(), "100000".to_owned()]);
    assert_eq!(table.to_string(), "  kind   count\n  Dürr      10\n  x     100000\n");
}

fn audit(third: ValidatorAudit) -> Audit {
    let validators = vec![validator(1), validator(2), third];
    Audit { supply: Amount::new(100), height: Height::new(9), validators }
}

fn validator(number: usize) -> ValidatorAudit {
    ValidatorAudit {
        number,
        block: Hash::of(Purpose::Genesis, b"block"),
        state_root: Hash::of(Purpose::Genesis, b"state"),
        in_accounts: Amount::new(60),
        locked: Amount::new(40),
    }
}

#[test]
fn audit_sees_missing_and_surplus_money_of_one_validator() {
    assert!(audit(validator(3)).is_conserved());
    assert!(!audit(ValidatorAudit { locked: Amount::new(39), ..validator(3) }).is_conserved());
    assert!(!audit(ValidatorAudit { in_accounts: Amount::new(61), ..validator(3) }).is_conserved());
    assert!(!audit(ValidatorAudit { in_accounts: Amount::MAX, ..validator(3) }).is_conserved());
}

#[test]
fn audit_sees_another_state_or_chain_of_one_validator() {
    assert!(audit(validator(3)).is_agreed());
    let other = Hash::of(Purpose::Genesis, b"other");
    assert!(!audit(ValidatorAudit { state_root: other, ..validator(3) }).is_agreed());
    assert!(!audit(ValidatorAudit { block: other, ..validator(3) }).is_agreed());
}
