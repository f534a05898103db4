//! The one clock of the daemon: wall time once at the start, from then on what the monotonic clock adds to it.
//!
//! The driver reads it once per event. It never goes backwards and never jumps when somebody sets the system's
//! time, because delays, timeouts and restart windows are counted with it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shared::ids::Time;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Time,
    start: Instant,
}

impl Clock {
    /// Reads the system's time, for the only time.
    pub fn start() -> Self {
        // A clock before 1970 counts as 1970: only differences are ever used for decisions.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_at_start: Time(millis(since_epoch)), start: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.wall_at_start.plus_ms(millis(self.start.elapsed()))
    }

    /// The instant at which [`Clock::now`] reaches `time`; now if it has passed. Rounded up to the next
    /// millisecond, so that a timer never fires just before its time and has to be set again.
    pub fn instant_of(&self, time: Time) -> Instant {
        let wait_ms = time.since_ms(self.wall_at_start);
        self.start + std::time::Duration::from_millis(wait_ms)
    }
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_set_for_a_time_does_not_fire_before_the_clock_shows_it() {
        let clock = Clock::start();
        let due = clock.now().plus_ms(3);
        std::thread::sleep(clock.instant_of(due).saturating_duration_since(Instant::now()));
        assert!(clock.now() >= due);
    }
}
