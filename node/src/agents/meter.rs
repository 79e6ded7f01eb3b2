//! A simulated energy meter: what a station's or a vehicle's hardware would be.

use std::time::Duration;

use evchain_protocol::primitives::Energy;
use tokio::time::Instant;

/// Counts at constant power while energy flows, up to a limit.
#[derive(Debug)]
pub(super) struct Meter {
    /// In W, with the compression of time in it.
    power: u128,
    /// The reading when it was last set.
    base: Energy,
    limit: Energy,
    flowing_since: Option<Instant>,
}

const MS_PER_HOUR: u128 = 3_600_000;

impl Meter {
    /// A meter of this reading. Time is compressed here and nowhere else: the power is so many times
    /// the real one.
    pub(super) fn new(power_w: u32, speed: u32, reading: Energy) -> Self {
        let power = u128::from(power_w.max(1)) * u128::from(speed.max(1));
        Self { power, base: reading, limit: reading, flowing_since: None }
    }

    /// Lets energy flow until the reading is `limit`.
    pub(super) fn flow_to(&mut self, limit: Energy, now: Instant) {
        if limit > self.limit {
            if self.flowing_since.is_none() || self.read(now) >= self.limit {
                self.stop(now);
                self.flowing_since = Some(now);
            }
            self.limit = limit;
        }
    }

    /// Lets no more flow.
    pub(super) fn stop(&mut self, now: Instant) {
        self.base = self.read(now);
        self.limit = self.base;
        self.flowing_since = None;
    }

    /// What it shows.
    pub(super) fn read(&self, now: Instant) -> Energy {
        let Some(since) = self.flowing_since else { return self.base };
        let flowed = self.power * now.saturating_duration_since(since).as_millis() / MS_PER_HOUR;
        let flowed = Energy::new(u64::try_from(flowed).unwrap_or(u64::MAX));
        self.base.saturating_add(flowed).min(self.limit.max(self.base))
    }

    /// What it shows, for whoever waits for `full_at`: flowing ends here where the limit is reached.
    pub(super) fn take_reading(&mut self, now: Instant) -> Energy {
        let reading = self.read(now);
        if reading >= self.limit {
            self.stop(now);
        }
        reading
    }

    /// When the limit is reached, while energy flows. Due until `take_reading` has told of it: a caller
    /// that was busy at that moment must not miss it.
    pub(super) fn full_at(&self) -> Option<Instant> {
        let since = self.flowing_since?;
        let to_flow = u128::from(self.limit.saturating_sub(self.base).get());
        let takes_ms = (to_flow * MS_PER_HOUR).div_ceil(self.power);
        Some(since + Duration::from_millis(u64::try_from(takes_ms).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One Wh each ms.
    fn meter() -> Meter {
        Meter::new(3_600_000, 1, Energy::ZERO)
    }

    #[test]
    fn counts_at_its_power_and_stops_at_its_limit() {
        let (mut meter, start) = (meter(), Instant::now());
        meter.flow_to(Energy::new(100), start);
        assert_eq!(meter.read(start + Duration::from_millis(40)), Energy::new(40));
        assert_eq!(meter.read(start + Duration::from_millis(400)), Energy::new(100));
        meter.stop(start + Duration::from_millis(60));
        assert_eq!(meter.read(start + Duration::from_millis(400)), Energy::new(60));
        assert_eq!(meter.full_at(), None);
    }

    #[test]
    fn a_full_meter_is_due_until_it_was_read_as_such() {
        let (mut meter, start) = (meter(), Instant::now());
        let full = start + Duration::from_millis(100);
        meter.flow_to(Energy::new(100), start);
        assert_eq!(meter.take_reading(start + Duration::from_millis(99)), Energy::new(99));
        assert_eq!(meter.full_at(), Some(full));
        // Somebody who was busy with something else looks late.
        let late = start + Duration::from_millis(130);
        assert_eq!((meter.read(late), meter.full_at()), (Energy::new(100), Some(full)));
        assert_eq!((meter.take_reading(late), meter.full_at()), (Energy::new(100), None));
        meter.flow_to(Energy::new(150), late);
        assert_eq!(meter.full_at(), Some(late + Duration::from_millis(50)));
    }
}
