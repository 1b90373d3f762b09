//! What becomes of many numbers: medians, ranges, percentiles.

use std::time::Duration;

use serde::Serialize;

/// The median of some rounds, with the lowest and the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of the rounds' values; all zero without any.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Self { median: f64::midpoint(lower, upper), min, max }
    }
}

/// One figure of the calls of all rounds together, with the lowest and the highest of single rounds.
pub(crate) fn pooled(rounds: &[Latencies], figure: impl Fn(&Latencies) -> f64) -> Spread {
    let each: Vec<f64> = rounds.iter().map(&figure).collect();
    Spread { median: figure(&Latencies::pooled(rounds)), ..Spread::of(&each) }
}

/// How long calls took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    /// Of the calls' durations in any order.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    /// Of the calls of some rounds together: a percentile of all of them rests on more calls than one of each.
    pub(crate) fn pooled(rounds: &[Self]) -> Self {
        Self::of(rounds.iter().flat_map(|round| round.sorted.iter().copied()).collect())
    }

    /// How many calls they are.
    pub(crate) fn n_calls(&self) -> usize {
        self.sorted.len()
    }

    /// The time within which so many of a thousand calls ended, in milliseconds; 0 without calls.
    pub(crate) fn permille_ms(&self, permille: usize) -> f64 {
        let rank = (self.sorted.len() * permille).div_ceil(1000).max(1);
        self.sorted.get(rank - 1).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
    }

    /// The median in milliseconds.
    pub(crate) fn p50_ms(&self) -> f64 {
        self.permille_ms(500)
    }

    /// The 99th percentile in milliseconds.
    pub(crate) fn p99_ms(&self) -> f64 {
        self.permille_ms(990)
    }

    /// The longest in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        self.permille_ms(1000)
    }
}

/// A count as a number to calculate with.
pub(crate) fn count(n: u64) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

/// How many a second.
pub(crate) fn per_second(n: u64, elapsed: Duration) -> f64 {
    count(n) / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        assert_eq!(Spread::of(&[]), Spread::default());
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
    }

    #[test]
    fn percentiles_are_of_calls_that_happened() {
        let of = |ms: &[u64]| Latencies::of(ms.iter().map(|ms| Duration::from_millis(*ms)).collect());
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let cases = [(&[][..], 0.0, 0.0), (&[7][..], 7.0, 7.0), (&hundred[..], 50.0, 99.0)];
        for (ms, p50, p99) in cases {
            let latencies = of(ms);
            assert!((latencies.p50_ms() - p50).abs() < 1e-6, "{ms:?}");
            assert!((latencies.p99_ms() - p99).abs() < 1e-6, "{ms:?}");
        }
        assert!((of(&hundred).max_ms() - 100.0).abs() < 1e-6);
        let pooled = Latencies::pooled(&[of(&hundred), of(&[1000]), of(&[])]);
        assert_eq!(pooled.n_calls(), 101);
        assert!((pooled.p99_ms() - 100.0).abs() < 1e-6);
    }
}
