//! Sequence spaces: which numbers of a client's session were seen, as RFC 4303's anti-replay window does it, 1,024 wide.

use homing_protocol::beacon::{MOST_BITMAP, Window};
use homing_protocol::id::{ClientId, SessionId};

/// Numbers behind the highest that are still told apart (protocol v1).
pub const WIDTH: u64 = 1024;
const WORDS: usize = (WIDTH / 64) as usize;

/// What is known of one space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// The client.
    pub client: ClientId,
    /// Its session.
    pub session: SessionId,
    /// The highest number seen.
    pub high: u64,
    /// The highest number of a stop; rings below it are over.
    pub stop: u64,
    /// Bit `seq % 1024` tells whether `seq` within the window was seen.
    seen: [u64; WORDS],
}

/// What a number means in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen before.
    New,
    /// Seen before.
    Seen,
    /// So old that nobody knows.
    TooOld,
}

impl Space {
    /// A space in which nothing was seen.
    #[must_use]
    pub const fn new(client: ClientId, session: SessionId) -> Self {
        Self {
            client,
            session,
            high: 0,
            stop: 0,
            seen: [0; WORDS],
        }
    }
    const fn place(seq: u64) -> (usize, u64) {
        let bit = seq % WIDTH;
        ((bit / 64) as usize, 1 << (bit % 64))
    }
    /// Judges a number, from 1.
    #[must_use]
    pub const fn judge(&self, seq: u64) -> Verdict {
        if seq > self.high {
            return Verdict::New;
        }
        if seq == 0 || self.high - seq >= WIDTH {
            return Verdict::TooOld;
        }
        let (word, bit) = Self::place(seq);
        if self.seen[word] & bit == 0 {
            Verdict::New
        } else {
            Verdict::Seen
        }
    }
    /// Marks a number as seen.
    pub fn mark(&mut self, seq: u64) {
        if self.judge(seq) != Verdict::New {
            return;
        }
        if seq > self.high {
            // What the window moves over was not seen.
            for skipped in (self.high + 1..seq).rev().take(WORDS * 64) {
                let (word, bit) = Self::place(skipped);
                self.seen[word] &= !bit;
            }
            self.high = seq;
        }
        let (word, bit) = Self::place(seq);
        self.seen[word] |= bit;
    }
    /// The numbers in the window that were seen, ascending.
    pub fn seen(&self) -> impl Iterator<Item = u64> + '_ {
        let lowest = self.high.saturating_sub(WIDTH - 1).max(1);
        (lowest..=self.high).filter(|seq| self.judge(*seq) == Verdict::Seen)
    }
    /// As a beacon shows it.
    #[must_use]
    pub fn shown(&self) -> Window {
        let mut missing = vec![0u8; MOST_BITMAP];
        for behind in 0..(MOST_BITMAP as u64 * 8).min(self.high.saturating_sub(1)) {
            if self.judge(self.high - 1 - behind) == Verdict::New {
                missing[(behind / 8) as usize] |= 1 << (behind % 8);
            }
        }
        missing.truncate(
            missing
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1),
        );
        Window {
            client: self.client,
            session: self.session,
            high: self.high,
            missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_window_agrees_with_a_set_that_remembers_everything(numbers in prop::collection::vec(1u64..4000, 1..300)) {
            let mut space = Space::new(ClientId([1; 16]), SessionId([2; 8]));
            let mut all = BTreeSet::new();
            for seq in numbers {
                let high = all.last().copied().unwrap_or(0);
                let expected = if seq + WIDTH <= high { Verdict::TooOld } else if all.contains(&seq) { Verdict::Seen } else { Verdict::New };
                prop_assert_eq!(space.judge(seq), expected);
                space.mark(seq);
                if expected == Verdict::New { all.insert(seq); }
                let shown = space.shown();
                let high = *all.last().unwrap_or(&0);
                for seq in high.saturating_sub(128).max(1)..=high {
                    prop_assert_eq!(shown.has_seen(seq), all.contains(&seq), "{} of {:?}", seq, shown);
                }
            }
        }
    }
}
