//! Entry of the episode's code: digits go in, one question comes out, an answer says how it goes on. Pure; the code is forgotten as soon as it was asked about.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// What the actor says about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right: the episode ends.
    Right,
    /// It is wrong; nobody may try again before this long.
    Wrong(Duration),
    /// It was not looked at, because this long is still to be waited.
    Wait(Duration),
    /// Nobody could be asked; the code may be typed again.
    Unheard,
}

/// What the keypad is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Typing,
    Asking,
    /// Closed until then; whether the last code was wrong.
    Closed(Instant, Cause),
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Wrong,
    TooSoon,
    Unheard,
}

/// What is shown of the keypad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Digits may be typed.
    Typing,
    /// The code is being judged.
    Asking,
    /// The last code was wrong, and may be tried again in so many seconds; 0 is at once.
    Wrong {
        /// Seconds left, rounded up.
        wait_s: u64,
    },
    /// Nobody may try before so many seconds.
    Wait {
        /// Seconds left, rounded up.
        wait_s: u64,
    },
    /// Nobody could look at the last code; it may be typed again.
    Unheard,
    /// The code was right.
    Right,
}

/// A keypad for a code of so many digits.
#[derive(Clone)]
pub struct Keypad {
    wanted: usize,
    typed: Zeroizing<String>,
    phase: Phase,
}

impl std::fmt::Debug for Keypad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Keypad({} of {}, {:?})",
            self.typed.len(),
            self.wanted,
            self.phase
        )
    }
}

/// Longest code that can be typed; the protocol's codes are shorter.
const LONGEST: usize = 16;

impl Keypad {
    /// An empty keypad.
    #[must_use]
    pub fn new(code_digits: u8) -> Self {
        Self {
            wanted: usize::from(code_digits).clamp(1, LONGEST),
            typed: Zeroizing::new(String::with_capacity(LONGEST)),
            phase: Phase::Typing,
        }
    }

    /// Types a digit, 0 to 9. The last one asks: the digits are returned once, and forgotten here.
    pub fn digit(&mut self, digit: u8, now: Instant) -> Option<Zeroizing<String>> {
        self.pass(now);
        match self.phase {
            Phase::Asking | Phase::Right => return None,
            Phase::Closed(until, _) if now < until => return None,
            Phase::Typing | Phase::Closed(..) => self.phase = Phase::Typing,
        }
        let letter = char::from_digit(u32::from(digit), 10)?;
        self.typed.push(letter);
        if self.typed.len() < self.wanted {
            return None;
        }
        self.phase = Phase::Asking;
        let empty = Zeroizing::new(String::with_capacity(LONGEST));
        Some(std::mem::replace(&mut self.typed, empty))
    }

    /// Takes the last digit back.
    pub fn delete(&mut self) {
        self.typed.pop();
    }

    /// Forgets what was typed: somebody left the keypad, or the panel went off.
    pub fn clear(&mut self) {
        self.typed.clear();
    }

    /// Takes the answer.
    pub fn answer(&mut self, verdict: Verdict, now: Instant) {
        self.phase = match verdict {
            Verdict::Right => Phase::Right,
            Verdict::Wrong(wait) => Phase::Closed(now + wait, Cause::Wrong),
            Verdict::Wait(wait) => Phase::Closed(now + wait, Cause::TooSoon),
            Verdict::Unheard => Phase::Closed(now, Cause::Unheard),
        };
    }

    /// Lets time pass: a wait ends, and a wrong code stays said until the next digit.
    pub fn pass(&mut self, now: Instant) {
        if let Phase::Closed(until, Cause::TooSoon) = self.phase
            && now >= until
        {
            self.phase = Phase::Typing;
        }
    }

    /// What to show.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let left = |until: Instant| {
            let left = until.saturating_duration_since(now);
            left.as_secs() + u64::from(left.subsec_nanos() > 0)
        };
        match self.phase {
            Phase::Typing => State::Typing,
            Phase::Asking => State::Asking,
            Phase::Right => State::Right,
            Phase::Closed(until, Cause::Wrong) => State::Wrong {
                wait_s: left(until),
            },
            Phase::Closed(until, Cause::TooSoon) => State::Wait {
                wait_s: left(until),
            },
            Phase::Closed(_, Cause::Unheard) => State::Unheard,
        }
    }

    /// When what is shown changes by itself.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Closed(until, _) if now < until => {
                let left = until - now;
                let part = Duration::from_nanos(u64::from(left.subsec_nanos()));
                Some(match part.is_zero() {
                    true => now + Duration::from_secs(1).min(left),
                    false => now + part,
                })
            }
            Phase::Closed(..) | Phase::Typing | Phase::Asking | Phase::Right => None,
        }
    }

    /// How many digits are typed, and how many the code has.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        match self.phase {
            Phase::Asking | Phase::Right => (self.wanted, self.wanted),
            Phase::Typing | Phase::Closed(..) => (self.typed.len(), self.wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(keypad: &mut Keypad, digits: &[u8], now: Instant) -> Option<Zeroizing<String>> {
        digits
            .iter()
            .map(|digit| keypad.digit(*digit, now))
            .find(Option::is_some)
            .flatten()
    }

    #[test]
    fn the_last_digit_asks_once_and_the_code_is_forgotten() {
        let now = Instant::now();
        let mut keypad = Keypad::new(4);
        assert_eq!(type_in(&mut keypad, &[1, 2, 3], now), None);
        keypad.delete();
        assert_eq!(keypad.progress(), (2, 4));
        let code = type_in(&mut keypad, &[7, 0], now);
        assert_eq!(code.unwrap().as_str(), "1270");
        assert_eq!(keypad.state(now), State::Asking);
        assert_eq!(type_in(&mut keypad, &[1, 2, 3, 4], now), None);
        assert!(!format!("{keypad:?}").contains("127"));
        keypad.answer(Verdict::Right, now);
        assert_eq!(keypad.state(now), State::Right);
    }

    #[test]
    fn a_wrong_code_closes_the_keypad_for_its_wait_and_counts_down_by_the_second() {
        let now = Instant::now();
        let mut keypad = Keypad::new(1);
        assert!(keypad.digit(5, now).is_some());
        keypad.answer(Verdict::Wrong(Duration::from_secs(30)), now);
        assert_eq!(keypad.state(now), State::Wrong { wait_s: 30 });
        let later = now + Duration::from_millis(29_300);
        assert_eq!(keypad.digit(5, later), None);
        assert_eq!(keypad.state(later), State::Wrong { wait_s: 1 });
        assert_eq!(keypad.next(later), Some(now + Duration::from_secs(30)));
        let open = now + Duration::from_secs(30);
        assert_eq!(keypad.state(open), State::Wrong { wait_s: 0 });
        assert_eq!(keypad.next(open), None);
        assert!(keypad.digit(5, open).is_some());
        keypad.answer(Verdict::Wait(Duration::from_secs(9)), open);
        assert_eq!(keypad.state(open), State::Wait { wait_s: 9 });
        keypad.pass(open + Duration::from_secs(9));
        assert_eq!(keypad.state(open + Duration::from_secs(9)), State::Typing);
    }

    #[test]
    fn a_code_that_nobody_heard_may_be_typed_again() {
        let now = Instant::now();
        let mut keypad = Keypad::new(2);
        assert!(type_in(&mut keypad, &[1, 2], now).is_some());
        keypad.answer(Verdict::Unheard, now);
        assert_eq!(keypad.state(now), State::Unheard);
        assert_eq!(keypad.next(now), None);
        assert!(type_in(&mut keypad, &[1, 2], now).is_some());
    }
}
