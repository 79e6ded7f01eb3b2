//! Goal: what nobody can use does not travel on because something in its message can (M16).
//! Method: a table of what messages hold.

use super::Tally;
use crate::network::Verdict;

#[test]
fn a_message_is_passed_on_for_what_most_of_it_is() {
    let tally = |useful, is_news, is_bad| Tally { total: 1_001, useful, is_news, is_bad }.verdict();
    assert_eq!(tally(1_001, true, false), Verdict::Accept);
    assert_eq!(tally(501, true, false), Verdict::Accept, "half may be what only some can use yet");
    assert_eq!(tally(500, true, false), Verdict::Ignore, "gaps do not ride along");
    assert_eq!(tally(1_001, false, false), Verdict::Ignore, "known to all");
    assert_eq!(tally(1_001, true, true), Verdict::Reject);
}
