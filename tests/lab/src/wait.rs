//! Waiting for a condition with a deadline, and the lab's clock.
//!
//! All hosts share the machine's clock, so wall-clock times of probes, events and hosts' logs compare directly.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// Pause between two looks at a condition that has no event of its own.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` gives a value; fails with `what` when the time is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain for: {what}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Seconds since 1970 of a moment, as in events.log.
pub fn epoch_s(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
