//! What the supervisor is told (sd_notify); it must not matter to anything else: without `NOTIFY_SOCKET` each call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells the supervisor that start-up is over.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Tells the supervisor in one sentence what the process is doing; `systemctl status` shows it.
pub fn status(sentence: &str) {
    // A line break would start a new assignment of the supervisor's protocol.
    let line: String = sentence
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    send(&[NotifyState::Status(&line)]);
}

/// Tells the supervisor that the process still turns its loop, if it watches for that.
pub fn alive() {
    if watchdog_interval().is_some() {
        send(&[NotifyState::Watchdog]);
    }
}

/// Tells the supervisor that an orderly end has begun.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// How often [`alive`] is to be called: half of the supervisor's patience, or `None` when it does not watch.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the supervisor cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_supervisor_every_message_is_a_quiet_success() {
        ready();
        status("two\nlines");
        alive();
        stopping();
        assert_eq!(watchdog_interval(), None);
    }
}
