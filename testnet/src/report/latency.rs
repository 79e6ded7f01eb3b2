use serde::Serialize;

/// Measured times in ms.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<u64>);

/// What measured times come to, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LatencyFigures {
    /// How many there are.
    pub count: usize,
    /// Half are at most this.
    pub p50_ms: u64,
    /// Of a hundred, 99 are at most this.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample_ms: u64) {
        self.0.push(sample_ms);
    }

    /// What they come to, none if there are none.
    pub fn figures(&self) -> Option<LatencyFigures> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let max_ms = *sorted.last()?;
        Some(LatencyFigures {
            count: sorted.len(),
            p50_ms: percentile(&sorted, 50),
            p99_ms: percentile(&sorted, 99),
            max_ms,
        })
    }
}

/// The smallest sample that at least `percent` of all do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
