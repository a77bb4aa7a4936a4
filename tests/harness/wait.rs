//! Waiting for a condition with a deadline. The only place of the harness that lets time pass.

use std::time::{Duration, Instant};

/// How long a test waits for what takes milliseconds on an idle machine; two busy cores may need seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at `condition` until it holds something, and returns that.
///
/// # Panics
/// After `deadline`, naming `what` was waited for.
#[track_caller]
pub fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "after {} s still waiting for {what}",
            deadline.as_secs_f32()
        );
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_returns_what_was_found_as_soon_as_it_is_there() {
        let mut looks = 0;
        let found = wait_until(PATIENCE, "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "still waiting for a miracle")]
    fn waiting_in_vain_names_what_was_waited_for() {
        wait_until(Duration::from_millis(1), "a miracle", || None::<()>);
    }
}
