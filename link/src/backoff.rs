//! How long to wait before the next attempt to connect. It must not sleep or read a clock itself.

use std::time::Duration;

/// The limits of the jittered exponential back-off between attempts to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait at all.
    pub ceiling: Duration,
}

impl Default for Backoff {
    /// 1 s doubling to 15 min: soon back after a hiccup, and a broker that is away for a day costs a phone about a
    /// hundred attempts.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            ceiling: Duration::from_secs(15 * 60),
        }
    }
}

/// The running state: how far the back-off has grown.
#[derive(Debug)]
pub(crate) struct Retry {
    limits: Backoff,
    failures: u32,
}

impl Retry {
    pub(crate) fn new(limits: Backoff) -> Self {
        Self {
            limits,
            failures: 0,
        }
    }

    /// Forgets earlier failures: the network changed, or a connection lasted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt, drawn evenly from the upper half of the current step, so that a thousand
    /// phones that lost one broker at once do not return at once. `random` is any evenly spread number.
    pub(crate) fn next_wait(&mut self, random: u32) -> Duration {
        let doubled = self
            .limits
            .first
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let step = doubled.min(self.limits.ceiling);
        if step < self.limits.ceiling {
            self.failures += 1;
        }
        let half = step / 2;
        let nanos = half.as_nanos() * u128::from(random) / u128::from(u32::MAX);
        half + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// An evenly spread number for the jitter. If the kernel has no randomness yet (early boot), the middle is used:
/// jitter is a courtesy, not a secret.
pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => u32::MAX / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_one_second_to_fifteen_minutes_and_stays_there() {
        let mut retry = Retry::new(Backoff::default());
        let steps: Vec<u64> = (0..13)
            .map(|_| retry.next_wait(u32::MAX).as_secs())
            .collect();
        assert_eq!(
            steps,
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
        );
    }

    #[test]
    fn the_jitter_spans_the_upper_half_of_the_step() {
        let mut low = Retry::new(Backoff::default());
        let mut high = Retry::new(Backoff::default());
        assert_eq!(low.next_wait(0), Duration::from_millis(500));
        assert_eq!(high.next_wait(u32::MAX), Duration::from_secs(1));
        for _ in 0..40 {
            let wait = low.next_wait(random());
            assert!(
                wait >= Duration::from_millis(500) && wait <= Duration::from_secs(900),
                "{wait:?}"
            );
        }
    }

    #[test]
    fn a_reset_starts_from_the_first_step_again() {
        let mut retry = Retry::new(Backoff::default());
        for _ in 0..20 {
            let _ = retry.next_wait(u32::MAX);
        }
        retry.reset();
        assert_eq!(retry.next_wait(u32::MAX), Duration::from_secs(1));
    }
}
