//! Failed logins, counted exactly over a sliding period, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::domain::user::username_key;

/// How many failures are borne in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimit {
    /// Failures from one address; from anywhere, one user name bears three times as many.
    pub failures: u32,
    /// Within this time.
    pub period: Duration,
}

impl Default for AttemptLimit {
    fn default() -> Self {
        Self { failures: 10, period: Duration::from_mins(1) }
    }
}

/// How many addresses and how many names are remembered at once.
const MAX_KEYS: usize = 50_000;
/// A longer name belongs to nobody and is not remembered.
const MAX_NAME_BYTES: usize = 1024;

/// What failed lately.
pub(super) struct Attempts {
    by_address: Window<IpAddr>,
    by_name: Window<String>,
}

impl Attempts {
    pub(super) fn new(limit: AttemptLimit) -> Self {
        let period_ms = i64::try_from(limit.period.as_millis()).unwrap_or(i64::MAX);
        let failures = limit.failures as usize;
        Self {
            by_address: Window::new(failures, period_ms),
            by_name: Window::new(failures.saturating_mul(3), period_ms),
        }
    }

    /// How long this address or this name must wait; `None` when it need not.
    pub(super) fn wait(&mut self, address: IpAddr, username: &str, now_ms: i64) -> Option<Duration> {
        let of_address = self.by_address.wait_ms(&network_of(address), now_ms);
        let of_name = self.by_name.wait_ms(&username_key(username), now_ms);
        let wait_ms = of_address.max(of_name)?;
        Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default()))
    }

    /// Counts a failure.
    pub(super) fn failed(&mut self, address: IpAddr, username: &str, now_ms: i64) {
        self.by_address.add(network_of(address), now_ms);
        if username.len() <= MAX_NAME_BYTES {
            self.by_name.add(username_key(username), now_ms);
        }
    }

    /// Clears an address that logged in.
    pub(super) fn succeeded(&mut self, address: IpAddr) {
        self.by_address.times.remove(&network_of(address));
    }
}

/// Whoever has one IPv6 address has the 2^64 around it too.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The last failures by key, never more than the limit for each.
struct Window<K> {
    limit: usize,
    period_ms: i64,
    times: HashMap<K, VecDeque<i64>>,
}

impl<K: Eq + Hash + Clone> Window<K> {
    fn new(limit: usize, period_ms: i64) -> Self {
        Self { limit, period_ms, times: HashMap::new() }
    }

    /// The time until the oldest of the last `limit` failures leaves the period.
    fn wait_ms(&self, key: &K, now_ms: i64) -> Option<i64> {
        let times = self.times.get(key).filter(|times| times.len() >= self.limit)?;
        let free_at = times.front()?.saturating_add(self.period_ms);
        (free_at > now_ms).then(|| free_at - now_ms)
    }

    fn add(&mut self, key: K, now_ms: i64) {
        if self.times.len() >= MAX_KEYS && !self.times.contains_key(&key) {
            self.make_room(now_ms);
        }
        let times = self.times.entry(key).or_default();
        if times.len() >= self.limit {
            times.pop_front();
        }
        times.push_back(now_ms);
    }

    /// Forgets what has left the period, and if that is not enough, whoever failed least.
    fn make_room(&mut self, now_ms: i64) {
        let oldest = now_ms.saturating_sub(self.period_ms);
        self.times.retain(|_, times| times.back().is_some_and(|&at| at > oldest));
        let mut n_failures = 1;
        while self.times.len() >= MAX_KEYS {
            self.times.retain(|_, times| times.len() > n_failures);
            n_failures *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const LIMIT: AttemptLimit = AttemptLimit { failures: 2, period: Duration::from_mins(1) };

    #[test]
    fn an_address_waits_until_its_oldest_failure_leaves_the_period() {
        let mut attempts = Attempts::new(LIMIT);
        attempts.failed(HERE, "a", 0);
        assert_eq!(attempts.wait(HERE, "b", 1000), None);
        attempts.failed(HERE, "b", 10_000);
        assert_eq!(attempts.wait(HERE, "c", 20_000), Some(Duration::from_secs(40)));
        assert_eq!(attempts.wait(HERE, "c", 59_999), Some(Duration::from_millis(1)));
        assert_eq!(attempts.wait(HERE, "c", 60_000), None);
        attempts.failed(HERE, "c", 60_000);
        assert_eq!(
            attempts.wait(HERE, "c", 60_001),
            Some(Duration::from_millis(9_999)),
            "the one of 10 s counts"
        );
    }

    #[test]
    fn a_name_bears_three_times_as_many_from_anywhere_in_any_case() {
        let mut attempts = Attempts::new(LIMIT);
        for n in 0..6_u8 {
            let address = IpAddr::from([198, 51, 100, n]);
            assert_eq!(attempts.wait(address, "A@b.c", 0), None, "{n}");
            attempts.failed(address, if n % 2 == 0 { "a@b.c" } else { "A@B.C" }, 0);
        }
        assert_eq!(attempts.wait(HERE, "a@B.c", 0), Some(Duration::from_mins(1)));
        assert_eq!(attempts.wait(HERE, "other@b.c", 0), None);
    }

    #[test]
    fn a_success_clears_the_address_and_not_the_name() {
        let mut attempts = Attempts::new(LIMIT);
        for _ in 0..6 {
            attempts.failed(HERE, "a", 0);
        }
        attempts.succeeded(HERE);
        assert_eq!(attempts.wait(HERE, "b", 0), None);
        assert_eq!(attempts.wait(HERE, "a", 0), Some(Duration::from_mins(1)));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let mut attempts = Attempts::new(LIMIT);
        attempts.failed("2001:db8::1".parse().unwrap(), "a", 0);
        attempts.failed("2001:db8::2".parse().unwrap(), "b", 0);
        assert_eq!(attempts.wait("2001:db8::3".parse().unwrap(), "c", 0), Some(Duration::from_mins(1)));
        assert_eq!(attempts.wait("2001:db8:0:1::3".parse().unwrap(), "c", 0), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut attempts = Attempts::new(LIMIT);
        attempts.failed(HERE, "often", 0);
        attempts.failed(HERE, "often", 0);
        for n in 0..2 * u32::try_from(MAX_KEYS).unwrap() {
            attempts.failed(IpAddr::from(n.to_be_bytes()), "x", 0);
        }
        assert!(attempts.by_address.times.len() <= MAX_KEYS);
        assert!(attempts.wait(HERE, "y", 0).is_some(), "those at their limit are kept longest");
    }
}
