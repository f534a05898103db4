//! Slows down guessing at passwords and tokens: after each failure an address waits twice as long, and all addresses
//! together may fail only so often. An attempt counts as failed from its beginning and is forgiven when it succeeds, so
//! that many at the same time gain nothing. Time is handed in.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait of one address.
const WAIT_MAX_S: u64 = 60;
/// An address that kept quiet this long starts afresh.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Addresses remembered; more fail together as one.
const ADDRESSES_MAX: usize = 1024;
/// Failures of all addresses together within the window.
const FAILURES_MAX: usize = 30;
const WINDOW: Duration = Duration::from_secs(60);

/// Who failed when.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Failures>,
    all: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    again_at: Instant,
}

impl Attempts {
    /// Counts an attempt of `address` as failed and lets it happen, or says how long to wait.
    pub(super) fn begin(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.all.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            state.all.pop_front();
        }
        if state.all.len() >= FAILURES_MAX
            && let Some(oldest) = state.all.front()
        {
            return Err(WINDOW.saturating_sub(now.duration_since(*oldest)));
        }
        state.addresses.retain(|_, failures| now < failures.again_at + FORGET_AFTER);
        let key = state.key(address);
        let before = state.addresses.get(&key).copied();
        if let Some(failures) = before
            && now < failures.again_at
        {
            return Err(failures.again_at - now);
        }
        let count = before.map_or(0, |failures| failures.count).saturating_add(1);
        let wait_s = 1_u64.checked_shl(count - 1).unwrap_or(WAIT_MAX_S).min(WAIT_MAX_S);
        state.addresses.insert(key, Failures { count, again_at: now + Duration::from_secs(wait_s) });
        state.all.push_back(now);
        Ok(())
    }

    /// The attempt begun last by `address` succeeded.
    pub(super) fn forgive(&self, address: IpAddr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = state.key(address);
        state.addresses.remove(&key);
        state.all.pop_back();
    }
}

impl State {
    /// One IPv6 network counts as one address: its owner has all of it. When too many are known, newcomers share one.
    fn key(&self, address: IpAddr) -> IpAddr {
        let key = match address.to_canonical() {
            IpAddr::V6(six) => {
                let [a, b, c, d, ..] = six.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            four => four,
        };
        let shared = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&key) { shared } else { key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_waits_twice_as_long_after_each_failure_and_others_do_not() {
        let attempts = Attempts::default();
        let mut now = Instant::now();
        for seconds in [1, 2, 4, 8] {
            assert_eq!(attempts.begin(address(1), now), Ok(()));
            assert_eq!(attempts.begin(address(1), now), Err(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
        }
        assert_eq!(attempts.begin(address(2), now), Ok(()));
    }

    #[test]
    fn success_is_forgiven() {
        let attempts = Attempts::default();
        let now = Instant::now();
        assert_eq!(attempts.begin(address(1), now), Ok(()));
        attempts.forgive(address(1));
        assert_eq!(attempts.begin(address(1), now), Ok(()));
    }

    #[test]
    fn many_addresses_together_are_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for last in 0..30 {
            assert_eq!(attempts.begin(address(last), now), Ok(()));
        }
        assert_eq!(attempts.begin(address(200), now), Err(WINDOW));
        assert_eq!(attempts.begin(address(200), now + WINDOW), Ok(()));
    }
}
