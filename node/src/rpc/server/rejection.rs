use evchain_protocol::transaction::RejectReason;

use crate::rpc::error::CallError;

/// A broken rule as a call's error.
pub(super) fn rejected(reason: &RejectReason) -> CallError {
    CallError::Rejected { reason: name(reason), message: reason.to_string() }
}

/// A name for programs: the names of the variants in lower case, such as `bid.too_late`. They are
/// read off the derived `Debug` form, so a new reason cannot be forgotten here.
fn name(reason: &RejectReason) -> String {
    let debug = format!("{reason:?}");
    let mut name = String::new();
    for part in debug.split('(') {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (variant, rest) = part.split_at(end);
        if !variant.starts_with(|c: char| c.is_ascii_uppercase()) {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        push_snake_case(&mut name, variant);
        // Whatever follows but an opening parenthesis are fields, not a reason within.
        if !rest.is_empty() {
            break;
        }
    }
    name
}

fn push_snake_case(name: &mut String, variant: &str) {
    for (index, c) in variant.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    //! Goal: programs can tell reasons apart by stable names. Method: reasons of each shape.

    use evchain_protocol::primitives::{Amount, Nonce};
    use evchain_protocol::transaction::RejectReason;

    use super::name;

    #[test]
    fn names_are_those_of_the_variants() {
        let flat = RejectReason::NonceTooLow { expected: Nonce::new(2), given: Nonce::new(1) };
        assert_eq!(name(&flat), "nonce_too_low");
        let covered = RejectReason::NotCovered { balance: Amount::ZERO, amount: Amount::new(1) };
        assert_eq!(name(&covered), "not_covered");
        let nested = evchain_protocol::transaction::transfer::TransferReason::ZeroAmount;
        assert_eq!(name(&nested.into()), "transfer.zero_amount");
    }
}
