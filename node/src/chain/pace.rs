use std::time::Duration;

/// A block of so many transactions is built whatever the last ones took: by then it is something else that is
/// slow.
const LEAST: usize = 256;
/// How much of good news is believed at once: a quarter.
const TRUST: u32 = 4;

/// How many transactions this node gets done in a time, by what its recent blocks took (M14). It only ever
/// decides how much this node packs; blocks of others are executed whole.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// For each transaction of a block, with its share of what comes after them all.
    each: Duration,
}

impl Pace {
    /// A block with so many transactions took so long, from the first to its roots.
    pub(super) fn learn(&mut self, transactions: usize, took: Duration) {
        // A short block says little about each transaction, since the deadlines and the roots take their time too.
        let count = u32::try_from(transactions.max(LEAST)).unwrap_or(u32::MAX);
        let each = took / count;
        // Bad news at once, good news by and by.
        self.each = each.max(self.each.saturating_sub(self.each.saturating_sub(each) / TRUST));
    }

    /// The most transactions for a block that may take this long.
    pub(super) fn within(&self, time: Duration) -> usize {
        let each = self.each.as_nanos().max(1);
        usize::try_from(time.as_nanos() / each).unwrap_or(usize::MAX).max(LEAST)
    }
}

#[cfg(test)]
mod tests;
