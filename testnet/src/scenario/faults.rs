use std::time::Duration;

/// When to kill validators, counted from the first request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// One of them.
    pub kill_one_at: Option<Duration>,
    /// All at once.
    pub kill_all_at: Option<Duration>,
}

/// What to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// One validator.
    One,
    /// All validators.
    All,
}

impl Faults {
    /// The faults in the order in which they come.
    pub(super) fn in_order(self) -> Vec<(Duration, Fault)> {
        let one = self.kill_one_at.map(|at| (at, Fault::One));
        let all = self.kill_all_at.map(|at| (at, Fault::All));
        let mut faults: Vec<_> = one.into_iter().chain(all).collect();
        faults.sort_by_key(|(at, _)| *at);
        faults
    }
}
