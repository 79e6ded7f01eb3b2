//! Whether so many cases ended as they should: where nobody loses anything, nobody may have charged either.

use super::case::Ended;
use super::judge::Fate;

/// Of those that nobody hit, at least so many in 100 are charged in full.
const UNDISTURBED_PERCENT: usize = 90;
/// Of all, at least so many in 100 get energy. One case of four is hit before its price is locked, which ends it.
const SERVED_PERCENT: usize = 40;
/// Fewer say nothing about all.
const ENOUGH: usize = 20;

/// What is wrong with the fates of these cases.
pub(super) fn wrong_fates(ended: &[Ended]) -> Vec<String> {
    let mut wrong = Vec::new();
    let undisturbed: Vec<_> = ended.iter().filter(|ended| ended.kills == 0).collect();
    let charged = undisturbed.iter().filter(|ended| ended.fate == Some(Fate::Charged)).count();
    // Among few, one that was late on a busy machine counts for much.
    let wanted = if undisturbed.len() >= ENOUGH { UNDISTURBED_PERCENT } else { SERVED_PERCENT };
    if charged * 100 < undisturbed.len() * wanted {
        let all = undisturbed.len();
        wrong.push(format!("of {all} pairs that nobody hit, {charged} have charged in full"));
    }
    let is_served = |ended: &&Ended| matches!(ended.fate, Some(Fate::Charged | Fate::InPart));
    let served = ended.iter().filter(is_served).count();
    if ended.len() >= ENOUGH && served * 100 < ended.len() * SERVED_PERCENT {
        wrong.push(format!("of {} pairs, {served} have got energy", ended.len()));
    }
    for ended in ended {
        if ended.fate == Some(Fate::NotServed) && ended.refusal.is_none() {
            wrong.push(format!("{}: locked and not served, and nobody said why", ended.case));
        }
    }
    wrong
}
