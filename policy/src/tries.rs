//! How long nobody may try a secret again after wrong tries, by a clock that nobody can set. It compares no secrets.

use homing_protocol::id::BootId;
use std::time::Duration;

/// Wrong tries that cost nothing but themselves.
pub const FREE_TRIES: u32 = 5;
/// What the last of them costs; each further one twice as much, up to [`LONGEST_WAIT`].
pub const FIRST_WAIT: Duration = Duration::from_secs(60);
/// 24 tries a day: half of a million six-digit secrets takes 57 years.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The wrong tries since the last right one. A start of the phone is named as whoever keeps them names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries<Boot = BootId> {
    /// How many.
    pub wrong: u32,
    /// When the last was: in which start of the phone, milliseconds since it.
    pub last: Option<(Boot, u64)>,
}

impl<Boot> Default for Tries<Boot> {
    fn default() -> Self {
        Self {
            wrong: 0,
            last: None,
        }
    }
}

impl<Boot: PartialEq> Tries<Boot> {
    /// How long nobody may try at this moment. After a restart of the phone the whole wait begins anew: a restart must not
    /// be the quicker way.
    #[must_use]
    pub fn wait(&self, boot: &Boot, boottime_ms: u64) -> Duration {
        let whole = after(self.wrong);
        let now = Duration::from_millis(boottime_ms);
        match &self.last {
            Some((last_boot, at_ms)) if last_boot == boot => Duration::from_millis(*at_ms)
                .saturating_add(whole)
                .saturating_sub(now),
            Some(_) => whole.saturating_sub(now),
            None => Duration::ZERO,
        }
    }
    /// One more, counted before it is looked at, so that whoever cuts it short has used it up.
    #[must_use]
    pub fn one_more(&self, boot: Boot, boottime_ms: u64) -> Self {
        Self {
            wrong: self.wrong.saturating_add(1),
            last: Some((boot, boottime_ms)),
        }
    }
}

/// The wait after so many wrong tries in a row.
fn after(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE_TRIES) {
        None => Duration::ZERO,
        Some(more) => FIRST_WAIT
            .saturating_mul(2_u32.saturating_pow(more))
            .min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_wrong_tries_each_further_one_costs_twice_as_much_up_to_an_hour() {
        let (boot, other) = (BootId([1; 16]), BootId([2; 16]));
        let mut tries = Tries::default();
        for (wrong, wait_s) in [0, 0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600]
            .into_iter()
            .enumerate()
        {
            tries = tries.one_more(boot, 100_000);
            assert_eq!(
                tries.wait(&boot, 100_000),
                Duration::from_secs(wait_s),
                "{wrong}"
            );
        }
        assert_eq!(
            tries.wait(&boot, 100_000 + 3_599_000),
            Duration::from_secs(1)
        );
        assert_eq!(tries.wait(&boot, 100_000 + 3_600_000), Duration::ZERO);
        // After a restart the wait is counted from the start.
        assert_eq!(tries.wait(&other, 20_000), Duration::from_secs(3580));
        let endless = Tries {
            wrong: u32::MAX,
            last: Some((boot, u64::MAX / 2_000_000)),
        };
        assert!(endless.wait(&boot, 0) >= LONGEST_WAIT);
    }
}
