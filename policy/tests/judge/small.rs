//! A world small enough to be searched whole: the judge's state, a siren process and a search, without history. It checks each step by rules of its own; it must not use the judge's.

use crate::house::*;
use crate::locate::PLACE;
use homing_policy::NonceMaker;
use homing_policy::{
    Batch, Effect, Event, Journal, Now, Outgoing, Record, SearchOutcome, SirenPhase, State, codec,
    decide,
};
use homing_protocol::beacon::ClockTrust;
use homing_protocol::command::{Command, Op, Verified};
use homing_protocol::id::{BootId, CommandId};
use homing_protocol::keys::sha256;
use homing_protocol::receipt::CommandState;
use std::collections::BTreeMap;

/// How long a step of time is: two lie between a ring of [`house::ring`] and its deadline and the grace after it,
/// and the third is past both.
pub(crate) const STEP_MS: u64 = 31_000;
/// After this time a ring that nobody ended is over (`policy`'s grace is 5 s).
const GRACE_MS: u64 = 5_000;
/// A search that nobody ended hangs so long after its time (`policy`'s grace is 10 s).
const SEARCH_GRACE_MS: u64 = 10_000;
/// A phone that restarts for ever rings this often at most.
const MOST_STARTS: u32 = 3;
/// The first start of the phone, in which the beacon was made that all orders quote.
const FIRST_BOOT: u32 = 1;

/// One thing that may happen at any time, any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The broker delivers this order: for the first time or again. What it never delivers is lost.
    Deliver(u8, Life),
    Siren(Word, Life),
    /// It is gone, and nobody heard it say so.
    SirenDies,
    /// A word of a siren process about an order that is not its order any more.
    Stray(u8, Word),
    SearchEnds(Found, Life),
    Tick(Life),
    Later,
    Days,
    Restart,
    Reboot,
    Clock(ClockTrust),
}

/// Whether the daemon survives the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Goes,
    /// It dies after the journal's fsync, before any effect, and starts again.
    DiesWritten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Sounding,
    Failing,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Place,
    Nothing,
}

/// What one commit wrote.
#[derive(Default)]
struct Written {
    records: Vec<Record>,
    sent: Vec<Outgoing>,
}

impl Journal for Written {
    type Error = std::convert::Infallible;
    fn commit(&mut self, batch: Batch<'_>) -> Result<(), Self::Error> {
        self.records.extend_from_slice(batch.records);
        self.sent.extend_from_slice(batch.outgoing);
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Small {
    pub(crate) state: State,
    now: Now,
    boot: u32,
    intent: Option<CommandId>,
    search: Option<CommandId>,
}

fn boot_id(boot: u32) -> BootId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&boot.to_be_bytes());
    BootId(bytes)
}

impl Small {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            state: State::new((1, b"list 1".to_vec()), (1, b"readers 1".to_vec())),
            now: Now {
                boot: boot_id(FIRST_BOOT),
                boottime_ms: HOUR_MS,
                wall_unix_s: TODAY,
                clock: ClockTrust::Unset,
            },
            boot: FIRST_BOOT,
            intent: None,
            search: None,
        };
        let nonce = quoting(1).nonce;
        world.hear(
            &Event::BeaconDue {
                nonce,
                maker: NonceMaker::Agent,
            },
            Life::Goes,
        );
        world
    }

    pub(crate) fn take(&mut self, step: Step, orders: &[Verified]) {
        match step {
            Step::Deliver(order, life) => self.deliver(&orders[usize::from(order)], life),
            Step::Siren(word, life) => {
                let Some(command) = self.intent else { return };
                if word == Word::Ended {
                    self.intent = None;
                }
                let phase = phase(word);
                self.hear(&Event::Siren { command, phase }, life);
            }
            Step::SirenDies => self.intent = None,
            Step::Stray(order, word) => {
                let command = orders[usize::from(order)].command().id;
                let phase = phase(word);
                self.hear(&Event::Siren { command, phase }, Life::Goes);
            }
            Step::SearchEnds(found, life) => {
                let Some(command) = self.search.take() else {
                    return;
                };
                let outcome = match found {
                    Found::Place => SearchOutcome::Found(PLACE),
                    Found::Nothing => SearchOutcome::Failed("dark"),
                };
                self.hear(&Event::SearchEnded { command, outcome }, life);
            }
            Step::Tick(life) => self.hear(&Event::Tick, life),
            Step::Later => self.now.boottime_ms += STEP_MS,
            Step::Days => self.now.boottime_ms += 2 * DAY * 1_000,
            Step::Restart => self.start(),
            Step::Reboot => {
                self.boot += 1;
                self.now.boot = boot_id(self.boot);
                self.now.boottime_ms = 20_000;
                self.intent = None;
                self.start();
            }
            Step::Clock(clock) => {
                self.now.clock = clock;
                self.now.wall_unix_s = TODAY + 10 * DAY;
            }
        }
    }

    /// The steps that can do anything here.
    pub(crate) fn steps(&self, orders: &[Verified], clocks: &[ClockTrust]) -> Vec<Step> {
        use Life::{DiesWritten, Goes};
        let mut steps = vec![Step::Later, Step::Restart, Step::Reboot, Step::Tick(Goes)];
        steps.push(Step::Tick(DiesWritten));
        for (index, order) in (0u8..).zip(orders) {
            steps.push(Step::Deliver(index, Goes));
            let (id, op) = (order.command().id, &order.command().op);
            if self.state.command(id).is_none() {
                steps.push(Step::Deliver(index, DiesWritten));
            } else if matches!(op, Op::Ring { .. }) && self.intent != Some(id) {
                steps.push(Step::Stray(index, Word::Sounding));
                steps.push(Step::Stray(index, Word::Ended));
            }
        }
        if self.intent.is_some() {
            steps.push(Step::SirenDies);
            for word in [Word::Sounding, Word::Failing, Word::Ended] {
                steps.push(Step::Siren(word, Goes));
                steps.push(Step::Siren(word, DiesWritten));
            }
        }
        if self.search.is_some() {
            for found in [Found::Place, Found::Nothing] {
                steps.push(Step::SearchEnds(found, Goes));
                steps.push(Step::SearchEnds(found, DiesWritten));
            }
        }
        for clock in clocks.iter().filter(|clock| **clock != self.now.clock) {
            steps.push(Step::Clock(*clock));
        }
        if !clocks.is_empty() {
            steps.push(Step::Days);
        }
        steps
    }

    fn deliver(&mut self, verified: &Verified, life: Life) {
        let command = verified.command();
        let known = self.state.command(command.id).is_some();
        let before = self.clone();
        let (written, effects) = self.judge(&Event::Command(verified));
        if known {
            assert!(effects.is_empty(), "a repetition has an effect");
            let repeat = Outgoing::Repeat {
                command: command.id,
            };
            assert_eq!(written.sent, [repeat], "a repetition is answered as before");
            let only_seen =
                |record: &Record| matches!(record, Record::Seen { .. } | Record::Paced { .. });
            assert!(written.records.iter().all(only_seen), "it changes nothing");
        } else {
            crate::rules::check_arrival(&before.state, &before.now, &self.state, command, &effects);
        }
        self.go_on(&effects, life);
    }

    fn hear(&mut self, event: &Event<'_>, life: Life) {
        let (_, effects) = self.judge(event);
        self.go_on(&effects, life);
    }

    /// The daemon starts again: the journal and the siren's order are what is left.
    fn start(&mut self) {
        self.search = None;
        let (_, effects) = self.judge(&Event::Started);
        self.go_on(&effects, Life::Goes);
    }

    fn judge(&mut self, event: &Event<'_>) -> (Written, Vec<Effect>) {
        let before = self.state.clone();
        let mut written = Written::default();
        let decision = decide(&self.state, &self.now, event);
        let effects = match decision.commit(&mut self.state, &mut written) {
            Ok(effects) => effects,
            Err(never) => match never {},
        };
        self.check_receipts(&before, &written.sent, event);
        (written, effects)
    }

    fn go_on(&mut self, effects: &[Effect], life: Life) {
        if life == Life::DiesWritten {
            return self.start();
        }
        for effect in effects {
            match effect {
                Effect::Sound {
                    ring,
                    boot,
                    deadline_ms,
                } => {
                    self.check_sound(*ring, *boot, *deadline_ms);
                    self.intent = Some(*ring);
                }
                Effect::Search { command, .. } => self.search = Some(*command),
                Effect::Silence => self.intent = None,
                Effect::HandOver { .. }
                | Effect::PublishBeacon { .. }
                | Effect::BeaconSoon
                | Effect::TrackSearch
                | Effect::ResendReports { .. }
                | Effect::AuthorityChanged
                | Effect::ReadersChanged => {}
            }
        }
        self.check();
    }

    fn check_sound(&self, ring: CommandId, boot: BootId, deadline_ms: u64) {
        assert_eq!(boot, self.now.boot);
        let entry = self.state.command(ring).expect("a ring that was taken on");
        assert!(!entry.state.is_final(), "a ring that is over sounds");
        assert!(!crate::rules::is_stopped(&self.state, &entry.accepted));
        assert!(deadline_ms > self.now.boottime_ms, "it is over already");
        assert!(deadline_ms <= self.now.boottime_ms + 60_000, "too long");
        let order = self.state.siren.expect("it is written down first");
        assert_eq!(
            (order.ring, order.boot, order.deadline_ms),
            (ring, boot, deadline_ms)
        );
        assert!(order.times <= MOST_STARTS, "it rings for ever");
    }

    /// Each state of each command is told once, forwards, and nothing after an end.
    fn check_receipts(&self, before: &State, sent: &[Outgoing], event: &Event<'_>) {
        let mut newest: BTreeMap<CommandId, CommandState> = BTreeMap::new();
        let mut counter = before.receipts;
        for message in sent {
            let Outgoing::Receipt {
                counter: number,
                command,
                state,
                refusal,
                ..
            } = message
            else {
                continue;
            };
            counter += 1;
            assert_eq!(*number, counter, "the receipts have a gap");
            if refusal.is_some() {
                continue;
            }
            let told = newest.get(command).copied();
            let was = told.or_else(|| before.command(*command).map(|entry| entry.state));
            if let Some(was) = was {
                assert!(
                    !was.is_final(),
                    "{command:?} ended twice: {was:?}, {state:?}"
                );
                assert!(was < *state, "{command:?} from {was:?} to {state:?}");
            }
            crate::rules::check_advance(&self.state, *command, was, *state, event);
            newest.insert(*command, *state);
        }
        assert_eq!(self.state.receipts, counter);
        for entry in before.commands() {
            let id = entry.accepted.id;
            let now = self.state.command(id).expect("no command is forgotten");
            let expected = newest.get(&id).copied().unwrap_or(entry.state);
            assert_eq!(now.state, expected, "a state that nobody was told");
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let open = |kind: fn(&Op) -> bool| {
            let entries = self.state.open().map(|entry| &entry.accepted);
            let mut ids = entries.filter(move |accepted| kind(&accepted.op));
            let first = ids.next();
            assert!(ids.next().is_none(), "two of a kind are open");
            first
        };
        let ring = open(|op| matches!(op, Op::Ring { .. }));
        let search = open(|op| matches!(op, Op::Locate { .. }));
        if let Some(intent) = self.intent {
            let serves = ring.is_some_and(|ring| ring.id == intent);
            assert!(serves, "the siren serves a ring that is over");
        }
        if let Some(search) = search {
            assert_eq!(self.search, Some(search.id), "a search was forgotten");
        }
        if let Some(ring) = ring {
            assert!(
                !crate::rules::is_stopped(&self.state, ring),
                "a stopped ring is open"
            );
        }
    }

    /// The facts give the state again, and from here everything can end: each order that came, and then each that
    /// never came, in exactly one way, and a second delivery of everything does nothing.
    pub(crate) fn check_future(&self, orders: &[Verified]) {
        let mut fresh = State::default();
        for fact in self.state.facts() {
            fresh.apply(&fact);
        }
        assert_eq!(fresh, self.state, "the facts tell the state");
        let mut end = self.clone();
        end.settle();
        for order in orders {
            end.deliver(order, Life::Goes);
        }
        end.settle();
        let ended = end.state.clone();
        for order in orders {
            let entry = end.state.command(order.command().id);
            assert!(entry.is_some_and(|entry| entry.state.is_final()));
            end.deliver(order, Life::Goes);
        }
        end.settle();
        let states = |state: &State| -> Vec<_> {
            let entries = state.commands();
            entries.map(|e| (e.accepted.id, e.state)).collect()
        };
        assert_eq!(states(&end.state), states(&ended));
        assert_eq!((end.intent, end.search), (None, None));
    }

    /// Time goes on without another word: searches end, the siren process has died.
    fn settle(&mut self) {
        self.take(Step::SearchEnds(Found::Place, Life::Goes), &[]);
        self.now.boottime_ms += 2 * HOUR_MS;
        self.hear(&Event::Tick, Life::Goes);
        self.hear(&Event::Tick, Life::Goes);
        let open: Vec<_> = self.state.open().map(|entry| entry.accepted.id).collect();
        assert!(open.is_empty(), "never answered: {open:?}");
    }

    /// Equal for states that no rule can tell apart: numbers of receipts and reports, clocks of the ledger and places
    /// are left out, times count from now, starts of the phone are this one or another, and what has ended has no
    /// order. So time, restarts and repetitions without end make finitely many states.
    pub(crate) fn likeness(&self) -> [u8; 16] {
        let mut facts: Vec<Vec<u8>> = Vec::new();
        for mut fact in self.state.facts() {
            match &mut fact {
                Record::Receipt { counter, .. } => *counter = 0,
                Record::Accepted(accepted) => accepted.at_unix_s = 0,
                Record::SirenOrdered {
                    boot, deadline_ms, ..
                } => {
                    let here = *boot == self.now.boot;
                    let over = *deadline_ms + GRACE_MS <= self.now.boottime_ms;
                    *deadline_ms = if here && !over {
                        (*deadline_ms + GRACE_MS) - self.now.boottime_ms
                    } else {
                        0
                    };
                    *boot = boot_id(u32::from(here));
                }
                Record::SearchOrdered {
                    command,
                    boot,
                    deadline_ms,
                } => {
                    if self
                        .state
                        .command(*command)
                        .is_none_or(|entry| entry.state.is_final())
                    {
                        continue;
                    }
                    let here = *boot == self.now.boot;
                    let over = *deadline_ms + SEARCH_GRACE_MS < self.now.boottime_ms;
                    *deadline_ms = if here && !over {
                        (*deadline_ms + SEARCH_GRACE_MS) - self.now.boottime_ms
                    } else {
                        0
                    };
                    *boot = boot_id(u32::from(here));
                }
                // A few orders are far from too many, and time only takes the debt away.
                Record::Paced { .. } => continue,
                Record::TrackPlace(_) | Record::Report { .. } => continue,
                _ => {}
            }
            facts.push(codec::encode(&fact));
        }
        facts.sort();
        let mut bytes = facts.concat();
        for entry in self.state.open() {
            bytes.extend(entry.accepted.id.0);
        }
        let made_here = self.boot == FIRST_BOOT;
        let fresh = made_here && self.now.boottime_ms <= HOUR_MS + DAY * 1_000;
        bytes.extend(self.intent.map_or([0; 16], |id| id.0));
        bytes.extend(self.search.map_or([0; 16], |id| id.0));
        bytes.push(u8::from(self.now.clock == ClockTrust::Synchronised));
        // Only who trusts a clock ever asks how old a beacon is, and may come to trust it later.
        bytes.push(u8::from(fresh));
        let digest = sha256(&bytes);
        *digest.first_chunk().expect("32 bytes")
    }
}

fn phase(word: Word) -> SirenPhase<'static> {
    match word {
        Word::Sounding => SirenPhase::Sounding,
        Word::Failing => SirenPhase::Failing("busy"),
        Word::Ended => SirenPhase::Ended,
    }
}

/// For [`crate::rules`]: whether an order of this time may be found too late at all.
pub(crate) fn may_expire(now: &Now, command: &Command) -> bool {
    now.clock == ClockTrust::Synchronised
        && command
            .not_after
            .is_some_and(|until| now.wall_unix_s > until)
}
