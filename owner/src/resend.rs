//! When to publish a command (again): the sender's outbox is the queue, a broker's acknowledgement proves nothing. Reads no clock, sends nothing.
use crate::delivery::{State, UnixMs};

/// First wait before a command is published again by time alone, milliseconds; doubles each time.
pub const FIRST_WAIT_MS: i64 = 10_000;

/// First such wait once the phone has signed that it accepted the command: only its next receipt can be missing, which the phone keeps.
pub const FIRST_WAIT_ACCEPTED_MS: i64 = 60_000;

/// Longest such wait: the link's own longest back-off.
pub const LONGEST_WAIT_MS: i64 = 15 * 60_000;

/// How old a publication must be before a later beacon that does not show it counts as proof of loss: the two may have crossed on their way.
pub const TRAVEL_MS: i64 = 2_000;

/// What the newest beacon of the phone says about a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No beacon, or none that arrived after the last publication.
    Unknown,
    /// A beacon that arrived after the last publication does not have it.
    No,
    /// A beacon has it.
    Yes,
}

/// Whether every receipt that the phone's newest beacon counts is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipts {
    /// As far as is known.
    Whole,
    /// It counts more than are here.
    Missing,
}

/// What is known about one command on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Where it stands.
    pub state: State,
    /// When it was last handed to the broker; `None` when never since it was last signed.
    pub published_at: Option<UnixMs>,
    /// How often it was handed to the broker since it was last signed.
    pub published_times: u32,
    /// What the phone's newest beacon says.
    pub seen: Seen,
    /// When that beacon arrived, if there is one.
    pub beacon_at: Option<UnixMs>,
    /// Whether it counts receipts that are not here.
    pub receipts: Receipts,
}

/// What to do with a command now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Publish it.
    Publish,
    /// Look again then, or when something arrives.
    WaitUntil(UnixMs),
    /// It has ended.
    Nothing,
}

/// Since when this client is connected, by a clock that may be set while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected(UnixMs);

impl Connected {
    /// Connected now.
    #[must_use]
    pub const fn new(now: UnixMs) -> Self {
        Self(now)
    }
    /// Since when, seen from `now`. When the clock was set back, from now on it is since now: otherwise every publication
    /// would seem to lie before the connection, and be made again and again.
    pub fn since(&mut self, now: UnixMs) -> UnixMs {
        self.0 = self.0.min(now);
        self.0
    }
}

/// Decides for one command while this client is connected since `connected_at`.
pub fn next(sending: &Sending, connected_at: UnixMs, now: UnixMs) -> Next {
    if sending.state.is_final() {
        return Next::Nothing;
    }
    let Some(published_at) = sending.published_at else {
        return Next::Publish;
    };
    // What was under way when a connection ended is forgotten by the link, perhaps by the broker too, unless the
    // phone has signed that it has it: then only its next receipt can be missing, which time alone asks for again.
    let accepted = matches!(sending.state, State::Delivered | State::Running);
    // A clock that was set back makes the last publication lie in the future: treat it as lost as well.
    if (published_at < connected_at && !accepted) || published_at > now {
        return Next::Publish;
    }
    let due = published_at.saturating_add(wait_after(sending.state, sending.published_times));
    let travelled = published_at.saturating_add(TRAVEL_MS);
    // A beacon that came after it without it: lost, unless the two crossed on their way.
    let missed = sending.seen == Seen::No && sending.beacon_at.is_some_and(|at| at > published_at);
    let due = if missed { due.min(travelled) } else { due };
    let settled = sending
        .beacon_at
        .map_or(connected_at, |at| at.max(connected_at));
    let due = if asks(sending, connected_at) {
        due.min(settled.saturating_add(TRAVEL_MS))
    } else {
        due
    };
    if now >= due {
        Next::Publish
    } else {
        Next::WaitUntil(due)
    }
}

/// Whether a receipt is missing that this command brings again: the phone gives it to whoever asks with the same command, which each
/// connection does once, when what was on its way has had time to come. Whoever leaves before that is not told.
#[must_use]
pub fn asks(sending: &Sending, connected_at: UnixMs) -> bool {
    matches!(sending.state, State::Delivered | State::Running)
        && sending.receipts == Receipts::Missing
        && sending.published_at.is_some_and(|at| at < connected_at)
}

/// 10 s (accepted: 60 s), then doubling, at most 15 min.
fn wait_after(state: State, times: u32) -> i64 {
    let first = match state {
        State::Delivered | State::Running => FIRST_WAIT_ACCEPTED_MS,
        _ => FIRST_WAIT_MS,
    };
    let doublings = times.saturating_sub(1).min(10);
    (first << doublings).min(LONGEST_WAIT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONNECTED: UnixMs = 1_000_000;

    fn sent(published_at: UnixMs, times: u32) -> Sending {
        Sending {
            state: State::Sent,
            published_at: Some(published_at),
            published_times: times,
            seen: Seen::Unknown,
            beacon_at: None,
            receipts: Receipts::Whole,
        }
    }

    #[test]
    fn a_clock_that_is_set_back_while_connected_costs_one_publication_and_no_storm() {
        let two_hours = 2 * 3_600_000;
        let mut connected = Connected::new(CONNECTED + two_hours);
        let mut sending = sent(CONNECTED + two_hours + 5, 1);
        let mut publications = 0;
        for millisecond in 0..9_000 {
            let now = CONNECTED + millisecond;
            if next(&sending, connected.since(now), now) == Next::Publish {
                publications += 1;
                sending.published_at = Some(now);
                sending.published_times += 1;
            }
        }
        assert_eq!(publications, 1);
    }

    #[test]
    fn each_situation_is_decided_as_the_table_says() {
        let at = CONNECTED + 1_000;
        let fresh = sent(at, 1);
        for (what, sending, now, expected) in [
            (
                "never published",
                Sending {
                    published_at: None,
                    ..fresh
                },
                at,
                Next::Publish,
            ),
            (
                "ended",
                Sending {
                    state: State::Done,
                    ..fresh
                },
                at,
                Next::Nothing,
            ),
            ("just published", fresh, at, Next::WaitUntil(at + 10_000)),
            ("first wait over", fresh, at + 10_000, Next::Publish),
            (
                "second wait",
                sent(at, 2),
                at + 10_000,
                Next::WaitUntil(at + 20_000),
            ),
            (
                "eleventh wait",
                sent(at, 11),
                at + 10_000,
                Next::WaitUntil(at + LONGEST_WAIT_MS),
            ),
            (
                "published before the reconnect",
                sent(CONNECTED - 1, 1),
                at,
                Next::Publish,
            ),
            (
                "published in the millisecond of the connect",
                sent(CONNECTED, 1),
                CONNECTED,
                Next::WaitUntil(CONNECTED + 10_000),
            ),
            ("clock set back", sent(at + 50_000, 1), at, Next::Publish),
        ] {
            assert_eq!(next(&sending, CONNECTED, now), expected, "{what}");
        }
    }

    #[test]
    fn a_receipt_that_the_broker_has_lost_is_asked_for_once_on_the_next_connection() {
        let beacon = CONNECTED + 500;
        let accepted = Sending {
            state: State::Running,
            beacon_at: Some(beacon),
            receipts: Receipts::Missing,
            ..sent(CONNECTED - 1, 1)
        };
        let due = beacon + TRAVEL_MS;
        assert_eq!(next(&accepted, CONNECTED, beacon), Next::WaitUntil(due));
        assert_eq!(next(&accepted, CONNECTED, due), Next::Publish);
        let again = Sending {
            published_at: Some(due),
            published_times: 2,
            ..accepted
        };
        assert_eq!(
            next(&again, CONNECTED, due + 1),
            Next::WaitUntil(due + 120_000)
        );
        let whole = Sending {
            receipts: Receipts::Whole,
            ..accepted
        };
        assert_eq!(
            next(&whole, CONNECTED, due),
            Next::WaitUntil(CONNECTED - 1 + 60_000)
        );
    }

    #[test]
    fn beacons_and_receipts_are_weighed_as_the_table_says() {
        let at = CONNECTED + 1_000;
        let fresh = sent(at, 1);
        for (what, sending, now, expected) in [
            (
                "a later beacon does not show it",
                Sending {
                    seen: Seen::No,
                    beacon_at: Some(at + TRAVEL_MS),
                    ..fresh
                },
                at + TRAVEL_MS,
                Next::Publish,
            ),
            (
                "a beacon that may have crossed it",
                Sending {
                    seen: Seen::No,
                    beacon_at: Some(at + 1),
                    ..fresh
                },
                at + 2,
                Next::WaitUntil(at + TRAVEL_MS),
            ),
            (
                "a beacon from before it",
                Sending {
                    seen: Seen::No,
                    beacon_at: Some(at - 1),
                    ..fresh
                },
                at + TRAVEL_MS,
                Next::WaitUntil(at + 10_000),
            ),
            (
                "running",
                Sending {
                    state: State::Running,
                    ..fresh
                },
                at + 10_000,
                Next::WaitUntil(at + FIRST_WAIT_ACCEPTED_MS),
            ),
            (
                "seen, receipt missing",
                Sending {
                    seen: Seen::Yes,
                    beacon_at: Some(at + 5_000),
                    ..fresh
                },
                at + 10_000,
                Next::Publish,
            ),
        ] {
            assert_eq!(next(&sending, CONNECTED, now), expected, "{what}");
        }
    }

    #[test]
    fn what_the_phone_has_accepted_is_not_sent_again_on_every_connection() {
        for (state, expected) in [
            (State::Sent, Next::Publish),
            (
                State::Delivered,
                Next::WaitUntil(CONNECTED - 1 + FIRST_WAIT_ACCEPTED_MS),
            ),
            (
                State::Running,
                Next::WaitUntil(CONNECTED - 1 + FIRST_WAIT_ACCEPTED_MS),
            ),
        ] {
            let before = Sending {
                state,
                ..sent(CONNECTED - 1, 1)
            };
            assert_eq!(next(&before, CONNECTED, CONNECTED), expected, "{state}");
        }
    }

    #[test]
    fn the_longest_wait_is_reached_and_not_passed() {
        for state in [State::Sent, State::Running] {
            assert_eq!(
                (1..12).map(|times| wait_after(state, times)).max(),
                Some(LONGEST_WAIT_MS)
            );
            assert_eq!(wait_after(state, u32::MAX), LONGEST_WAIT_MS);
        }
    }

    proptest! {
        #[test]
        fn a_command_that_has_not_ended_is_always_published_again_in_the_end(
            published_at in 0..i64::MAX / 2, times in 0u32..1_000, later in 0..i64::MAX / 4
        ) {
            let sending = sent(published_at, times);
            match next(&sending, 0, published_at + later) {
                Next::Publish => {}
                Next::WaitUntil(until) => {
                    prop_assert!(until > published_at + later);
                    prop_assert_eq!(next(&sending, 0, until), Next::Publish);
                }
                Next::Nothing => prop_assert!(false),
            }
        }
    }
}
