//! What a schedule is made of: steps that mean something whatever came before, so that any of them may be left out.

use std::fmt;
use std::str::FromStr;

use super::family::Size;

/// Numbers that look random and are the same for the same seed (splitmix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident $word:literal $weight:literal,)*) => {
        /// What happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Verb { $($(#[$doc])* $name,)* }

        impl Verb {
            /// Each with its word and how often it comes.
            const ALL: &'static [(Self, &'static str, u64)] = &[$((Self::$name, $word, $weight),)*];
        }
    };
}

verbs! {
    /// The owner orders something of a phone.
    Order "order" 14,
    /// A client tells a phone from which numbers to count on.
    Resume "resume" 1,
    /// The delegate says falsely that a phone's state was set back.
    Claim "claim" 1,
    /// A message is passed on as it should be.
    Pass "pass" 40,
    /// The same, and the message is passed on again later.
    Copy "copy" 6,
    /// A message is lost.
    Lose "lose" 5,
    /// A publication is answered, truly or not.
    Answer "answer" 12,
    /// A message of the past comes again.
    Replay "replay" 6,
    /// All of the past comes again.
    ReplayAll "replay-all" 1,
    /// A message of one phone comes to the other.
    Swap "swap" 3,
    /// A message comes on another topic of its phone.
    Cross "cross" 2,
    /// A message comes with a bit turned over.
    Bend "bend" 2,
    /// A message comes that is too large, or none at all.
    Oversize "oversize" 1,
    /// A connection ends.
    Cut "cut" 5,
    /// A connection stands again, with true or false words about the session.
    Welcome "welcome" 8,
    /// What waits for a client is forgotten.
    Forget "forget" 2,
    /// A subscription is not granted.
    Deny "deny" 1,
    /// Time passes.
    Later "later" 10,
    /// A search ends.
    Find "find" 8,
    /// The siren's process looks at its order.
    Siren "siren" 10,
    /// The agent is killed and starts again.
    Kill "kill" 2,
    /// The agent will be killed at a write.
    KillAt "kill-at" 3,
    /// The phone's power is cut and it starts again.
    Reboot "reboot" 1,
    /// A client's machine is killed and starts again.
    OwnerDies "owner-dies" 2,
    /// A phone's disk stops working, or works again.
    Disk "disk" 2,
    /// ROOT signs a newer authority list.
    List "list" 1,
    /// ROOT signs a newer key set.
    KeySet "key-set" 1,
    /// A phone's wall clock is set.
    Clock "clock" 1,
}

/// How many numbers name somebody where the owner has one machine.
const ALONE: usize = 6;

/// Who must be there for a schedule.
pub(super) fn company(schedule: &[Step]) -> Size {
    let by_others = |step: &Step| step.who >= ALONE || step.verb == Verb::Claim;
    if schedule.iter().any(by_others) {
        Size::Company
    } else {
        Size::Alone
    }
}

/// One step: to whom, and two numbers whose meaning depends on the verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) verb: Verb,
    pub(super) who: usize,
    pub(super) n: usize,
    pub(super) m: usize,
}

impl Step {
    fn rolled(dice: &mut Dice, company: usize) -> Self {
        let sum: u64 = Verb::ALL.iter().map(|(.., weight)| weight).sum();
        let mut at = dice.below(sum);
        let (verb, ..) = Verb::ALL
            .iter()
            .find(|(.., weight)| match at.checked_sub(*weight) {
                Some(rest) => {
                    at = rest;
                    false
                }
                None => true,
            })
            .expect("the weights add up");
        let mut number = || usize::try_from(dice.below(1_000)).expect("small");
        // Only in company is there a delegate.
        let verb = match verb {
            Verb::Claim if company == ALONE => Verb::Order,
            verb => *verb,
        };
        Self {
            verb,
            who: number() % company,
            n: number(),
            m: number(),
        }
    }
}

/// The schedule of a seed.
pub(super) fn schedule(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let length = 20 + dice.below(70);
    // In one world of ten the owner's machine is not alone: three that listen cost more than one.
    let company = if seed.is_multiple_of(10) { 12 } else { ALONE };
    let rolled = (0..length).map(|_| Step::rolled(&mut dice, company));
    rolled.collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, word, _) = Verb::ALL
            .iter()
            .find(|(verb, ..)| *verb == self.verb)
            .expect("every verb has a word");
        write!(f, "{word} {} {} {}", self.who, self.n, self.m)
    }
}

impl FromStr for Step {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no step: {text:?}");
        let mut words = text.split_whitespace();
        let word = words.next().ok_or_else(wrong)?;
        let (verb, ..) = Verb::ALL
            .iter()
            .find(|(_, known, _)| *known == word)
            .ok_or_else(wrong)?;
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let step = (number(), number(), number());
        let (Some(who), Some(n), Some(m)) = step else {
            return Err(wrong());
        };
        Ok(Self {
            verb: *verb,
            who,
            n,
            m,
        })
    }
}

/// The schedules in a text: steps of one on a line, separated by commas; lines that begin with # are remarks.
pub(super) fn read_all(text: &str) -> Vec<Vec<Step>> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let steps = line.split(',').map(str::trim);
            let steps = steps.filter(|step| !step.is_empty());
            steps
                .map(|step| step.parse().expect("a kept schedule"))
                .collect()
        })
        .collect()
}

/// One line for [`read_all`].
pub(super) fn write(schedule: &[Step]) -> String {
    let steps: Vec<String> = schedule.iter().map(ToString::to_string).collect();
    steps.join(", ")
}

#[test]
fn a_schedule_is_the_same_for_the_same_seed_and_reads_back_as_it_was_written() {
    for seed in 0..50 {
        let steps = schedule(seed);
        assert_eq!(steps, schedule(seed));
        assert_eq!(read_all(&write(&steps)), [steps]);
    }
}
