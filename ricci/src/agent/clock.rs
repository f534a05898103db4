//! The wall clock, read in one place. For stamps that people read and for the life of one-time tokens; deadlines use
//! tokio's monotonic clock instead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the UNIX epoch; 0 if the clock stands before it.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
