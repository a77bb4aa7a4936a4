//! How far a command has come, as a table of states with times. Only what the phone signed is a fact; reads no clock.
use core::fmt;

/// Milliseconds since 1970-01-01 UTC by the owner's clock.
pub type UnixMs = i64;

/// Where a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In the owner's outbox.
    Queued,
    /// Handed to the broker at least once; proves nothing.
    Sent,
    /// The phone signed that it accepted it.
    Delivered,
    /// The phone signed that it has begun.
    Running,
    /// The phone signed that it is done.
    Done,
    /// The phone signed that it tried and could not.
    Failed,
    /// The phone signed that it will not.
    Refused,
    /// Its time passed before it began.
    Expired,
    /// A newer one took its place.
    Superseded,
    /// Ended by a later order before it was done.
    Cancelled,
}

impl State {
    /// Every state, in the order a command can pass through them; the last six end it.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Refused,
        Self::Expired,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The stable word for it, as shown and stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.rank() == 4
    }

    /// Queued 0, sent 1, delivered 2, running 3, every end 4. A command never goes to a lower rank, except back to queued when the phone asks for a new signature.
    const fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Delivered => 2,
            Self::Running => 3,
            Self::Done
            | Self::Failed
            | Self::Refused
            | Self::Expired
            | Self::Superseded
            | Self::Cancelled => 4,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// This owner client: what it did or concluded itself.
    Owner,
    /// The phone, by its signature.
    Phone,
}

/// One step of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state that was entered.
    pub state: State,
    /// When this client did it or heard of it.
    pub at: UnixMs,
    /// Who says so.
    pub witness: Witness,
    /// A stable word more, such as the reason of a refusal; empty when there is none.
    pub detail: String,
}

/// What recording a step changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    /// The command stands further than before.
    Advanced,
    /// It was known, or arrived after something later: remembered nowhere.
    Nothing,
}

/// Steps that are remembered before a reason more is one too many: an order may wait for years.
const MOST_STEPS: usize = 64;

/// The steps of one command, oldest first; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress(Vec<Step>);

impl Progress {
    /// A command that has just been written into the outbox.
    #[must_use]
    pub fn queued(at: UnixMs) -> Self {
        Self(vec![Step {
            state: State::Queued,
            at,
            witness: Witness::Owner,
            detail: String::new(),
        }])
    }

    /// Takes up stored steps again; `None` when there are none.
    #[must_use]
    pub fn from_steps(steps: Vec<Step>) -> Option<Self> {
        (!steps.is_empty()).then_some(Self(steps))
    }

    /// All steps, oldest first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.last().map_or(State::Queued, |step| step.state)
    }

    /// Takes a step into account. Receipts may come twice, late or in any order; the furthest state stands, and an end stays the end.
    ///
    /// An end that only this client concluded gives way to one that the phone signed: the phone knows better.
    pub fn record(&mut self, step: Step) -> Recorded {
        let now = self.state();
        let concluded = self
            .0
            .last()
            .is_some_and(|last| last.witness == Witness::Owner);
        let overruled = now.is_final() && concluded && step.witness == Witness::Phone;
        let further = !now.is_final() && step.state.rank() > now.rank();
        // Why it does not get further is worth knowing, each time that it is something else.
        let explained = step.state == State::Delivered
            && now == State::Delivered
            && !step.detail.is_empty()
            && self.0.len() < MOST_STEPS
            && self.0.last().is_some_and(|last| last.detail != step.detail);
        if further || overruled || explained {
            // What the phone has begun or ended it has received, also when it saved itself the receipt.
            let skipped = matches!(now, State::Queued | State::Sent)
                && matches!(step.state, State::Running | State::Done | State::Failed);
            if skipped && step.witness == Witness::Phone {
                self.0.push(Step {
                    state: State::Delivered,
                    detail: String::new(),
                    ..step.clone()
                });
            }
            self.0.push(step);
            Recorded::Advanced
        } else {
            Recorded::Nothing
        }
    }

    /// Goes back to queued because what this client concluded has proved wrong: the phone that was said to be gone is there. What the phone has signed stays.
    pub fn open_again(&mut self, at: UnixMs, reason: &str) -> Recorded {
        let concluded = |last: &Step| last.state.is_final() && last.witness == Witness::Owner;
        if !self.0.last().is_some_and(concluded) {
            return Recorded::Nothing;
        }
        self.0.push(Step {
            state: State::Queued,
            at,
            witness: Witness::Owner,
            detail: reason.to_owned(),
        });
        Recorded::Advanced
    }

    /// Goes back to queued because the phone asked for a new signature (`seq-too-old`, `unknown-beacon`, `need-authority`); an ended command stays ended.
    pub fn requeue(&mut self, at: UnixMs, reason: &str) -> Recorded {
        if self.state().is_final() || self.state() == State::Queued {
            return Recorded::Nothing;
        }
        self.0.push(Step {
            state: State::Queued,
            at,
            witness: Witness::Owner,
            detail: reason.to_owned(),
        });
        Recorded::Advanced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(state: State, at: UnixMs) -> Step {
        let witness = if matches!(state, State::Queued | State::Sent) {
            Witness::Owner
        } else {
            Witness::Phone
        };
        Step {
            state,
            at,
            witness,
            detail: String::new(),
        }
    }

    /// What follows when `second` arrives while `first` stands: `+` the second, `.` the first.
    /// Columns: queued sent delivered running done failed refused expired superseded cancelled.
    const TABLE: [(State, &str); 10] = [
        (State::Queued, ".+++++++++"),
        (State::Sent, "..++++++++"),
        (State::Delivered, "...+++++++"),
        (State::Running, "....++++++"),
        (State::Done, ".........."),
        (State::Failed, ".........."),
        (State::Refused, ".........."),
        (State::Expired, ".........."),
        (State::Superseded, ".........."),
        (State::Cancelled, ".........."),
    ];

    #[test]
    fn every_pair_of_states_ends_as_the_table_says() {
        for (first, row) in TABLE {
            for (second, expected) in State::ALL.into_iter().zip(row.chars()) {
                let mut progress = Progress(vec![step(first, 1)]);
                let _ = progress.record(step(second, 2));
                let stands = if expected == '+' { second } else { first };
                assert_eq!(progress.state(), stands, "{first} then {second}");
            }
        }
    }

    #[test]
    fn what_runs_or_has_ended_was_delivered() {
        for (end, delivered) in [
            (State::Running, true),
            (State::Done, true),
            (State::Refused, false),
            (State::Expired, false),
        ] {
            let mut progress = Progress::queued(0);
            let _ = progress.record(step(end, 7));
            let found = progress
                .steps()
                .iter()
                .any(|step| step.state == State::Delivered && step.at == 7);
            assert_eq!(found, delivered, "{end}");
        }
    }

    #[test]
    fn why_an_order_does_not_get_further_is_remembered_each_time_that_it_is_something_else() {
        let mut progress = Progress::queued(0);
        let delivered = |detail: &str| Step {
            state: State::Delivered,
            at: 1,
            witness: Witness::Phone,
            detail: detail.to_owned(),
        };
        for (detail, recorded) in [
            ("", Recorded::Advanced),
            ("", Recorded::Nothing),
            ("no actor", Recorded::Advanced),
            ("no actor", Recorded::Nothing),
            ("disk full", Recorded::Advanced),
            ("", Recorded::Nothing),
        ] {
            assert_eq!(progress.record(delivered(detail)), recorded, "{detail}");
        }
        for reason in 0..200 {
            let _ = progress.record(delivered(&reason.to_string()));
        }
        assert_eq!(progress.steps().len(), MOST_STEPS);
        let done = Step {
            state: State::Done,
            ..delivered("")
        };
        assert_eq!(progress.record(done), Recorded::Advanced);
    }

    #[test]
    fn a_conclusion_of_the_owner_gives_way_to_the_phones_word() {
        let mut progress = Progress::queued(0);
        let expired = Step {
            state: State::Expired,
            at: 5,
            witness: Witness::Owner,
            detail: String::new(),
        };
        assert_eq!(progress.record(expired), Recorded::Advanced);
        assert_eq!(progress.record(step(State::Done, 6)), Recorded::Advanced);
        assert_eq!(progress.state(), State::Done);
    }

    #[test]
    fn asking_for_a_new_signature_queues_again_but_wakes_no_ended_command() {
        let mut progress = Progress::queued(0);
        let _ = progress.record(step(State::Sent, 1));
        assert_eq!(progress.requeue(2, "seq-too-old"), Recorded::Advanced);
        assert_eq!(progress.state(), State::Queued);
        let _ = progress.record(step(State::Done, 3));
        assert_eq!(progress.requeue(4, "seq-too-old"), Recorded::Nothing);
        assert_eq!(progress.state(), State::Done);
    }

    #[test]
    fn every_word_reads_back_as_its_state() {
        for state in State::ALL {
            assert_eq!(State::from_word(state.word()), Some(state));
        }
    }

    proptest! {
        #[test]
        fn in_whatever_order_steps_arrive_the_end_stays_and_rank_never_falls(
            order in proptest::collection::vec(0..State::ALL.len(), 0..40)
        ) {
            let mut progress = Progress::queued(0);
            let mut end = None;
            for (at, index) in order.into_iter().enumerate() {
                let before = progress.state().rank();
                let _ = progress.record(step(State::ALL[index], at as i64));
                prop_assert!(progress.state().rank() >= before);
                if let Some(end) = end {
                    prop_assert_eq!(progress.state(), end);
                } else if progress.state().is_final() {
                    end = Some(progress.state());
                }
            }
        }
    }
}
